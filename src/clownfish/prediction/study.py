"""What photos do not tell about a camera-trap study: where and when each camera stood, and who did it.

The user gives it in the two files of the Camtrap DP standard that hold it, `deployments.csv` and `datapackage.json`.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from clownfish.errors import PhotosError

DEPLOYMENTS_FILE = "deployments.csv"
PACKAGE_FILE = "datapackage.json"
_REQUIRED = ("deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd")
_LIMITS = {"latitude": 90.0, "longitude": 180.0}
_PROJECT = ("title", "samplingDesign", "captureMethod", "individualAnimals")
_DESIGNS = "simpleRandom systematicRandom clusteredRandom experimental targeted opportunistic".split()
_METHODS = "activityDetection timeLapse".split()
_ROLES = "contact principalInvestigator rightsHolder publisher contributor".split()
_SCOPES = ("data", "media")
_MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """One camera at one place for some time."""

    name: str
    latitude: float
    longitude: float
    start: datetime
    """With the time zone, which is taken to be that of the camera's clock."""
    end: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A camera-trap study."""

    deployments: Mapping[str, Deployment]
    """By their names."""
    table: Sequence[Mapping[str, str]]
    """Rows of deployments.csv as they were given."""
    package: Mapping[str, Any]
    """datapackage.json as it was given."""

    def find_deployment(self, file: str, columns: Mapping[str, str]) -> Deployment | None:
        """Find where a photo was taken.

        Args:
            file: path of the photo, relative to the photo folder.
            columns: further columns of the user's CSV.

        Returns:
            The deployment that the column "deploymentID" names, else the innermost folder that is called like one, else
            the only one that there is; None if none of these.
        """
        named = columns.get("deploymentID", "")
        if named:
            return self.deployments.get(named)
        for folder in reversed(PurePosixPath(file).parts[:-1]):
            if folder in self.deployments:
                return self.deployments[folder]
        return next(iter(self.deployments.values())) if len(self.deployments) == 1 else None

    def name_taxa(self) -> dict[str, str]:
        """Find the scientific name by each name that the study has for a taxon, in small letters."""
        names: dict[str, str] = {}
        for taxon in self.package.get("taxonomic") or []:
            for name in (taxon["scientificName"], *(taxon.get("vernacularNames") or {}).values()):
                names[fold_name(name)] = taxon["scientificName"]
        return names


def fold_name(name: str) -> str:
    """Write a name so that names which differ in capitals or underscores only are equal."""
    return name.replace("_", " ").strip().casefold()


def read_study(folder: Path) -> Study:
    """Read and check what the user says about a study.

    Args:
        folder: holds `deployments.csv` and `datapackage.json`.

    Returns:
        The study.

    Raises:
        PhotosError: lists everything that is missing or wrong.
    """
    try:
        text = (folder / DEPLOYMENTS_FILE).read_bytes().decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        package = json.loads((folder / PACKAGE_FILE).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, csv.Error) as error:
        raise PhotosError(
            [
                f"The study in {folder} cannot be read ({getattr(error, 'strerror', None) or error}). A folder is"
                f" needed that holds {DEPLOYMENTS_FILE}, with the columns {', '.join(_REQUIRED)}, and {PACKAGE_FILE},"
                " with contributors and project."
            ]
        ) from error
    problems: list[str] = []
    deployments = _read_deployments(rows, folder / DEPLOYMENTS_FILE, problems)
    problems += _find_package_problems(package, folder / PACKAGE_FILE)
    if problems:
        raise PhotosError(problems)
    return Study(deployments=deployments, table=rows, package=package)


def _read_deployments(rows: Sequence[Mapping[str, str]], path: Path, problems: list[str]) -> dict[str, Deployment]:
    if not rows:
        problems.append(f"{path} has no row. It needs one row a deployment: one camera at one place for some time.")
        return {}
    missing = [name for name in _REQUIRED if name not in rows[0]]
    if missing:
        problems.append(f"{path} lacks the column {', '.join(missing)}. See https://camtrap-dp.tdwg.org/data.")
        return {}
    deployments: dict[str, Deployment] = {}
    for line, row in enumerate(rows, start=2):
        try:
            deployment = _read_deployment(row)
        except ValueError as error:
            if len(problems) < _MAX_NAMED:
                problems.append(f"{path}, row {line}: {error}")
            continue
        if deployment.name in deployments and len(problems) < _MAX_NAMED:
            problems.append(
                f"{path}, row {line}: deployment {deployment.name!r} is there already. Give each its own name."
            )
        deployments[deployment.name] = deployment
    return deployments


def _read_deployment(row: Mapping[str, str]) -> Deployment:
    if not row["deploymentID"]:
        raise ValueError("the deploymentID is empty. Give each deployment a name of its own.")
    place = {}
    for name, limit in _LIMITS.items():
        try:
            place[name] = float(row[name])
        except (ValueError, TypeError):
            place[name] = float("nan")
        if not abs(place[name]) <= limit:
            raise ValueError(f"{name} is {row[name]!r}; degrees from -{limit:g} to {limit:g} are needed, such as 52.7.")
    times = {}
    for name in ("deploymentStart", "deploymentEnd"):
        try:
            times[name] = datetime.fromisoformat(row[name] or "")
        except ValueError:
            times[name] = datetime.min
        if times[name].tzinfo is None:
            raise ValueError(
                f"{name} is {row[name]!r}; a time with its zone is needed, such as 2026-03-01T12:00:00+02:00."
            )
    return Deployment(
        name=row["deploymentID"],
        latitude=place["latitude"],
        longitude=place["longitude"],
        start=times["deploymentStart"],
        end=times["deploymentEnd"],
    )


def _find_package_problems(package: Any, path: Path) -> list[str]:
    if not isinstance(package, dict):
        return [f"{path} is no JSON object. It needs contributors and project."]
    problems = []
    contributors, project = package.get("contributors"), package.get("project")
    project = project if isinstance(project, dict) else {}
    if not (isinstance(contributors, list) and contributors and all(_has_title(entry) for entry in contributors)):
        problems.append(f'{path} lacks contributors. Add who did the study: "contributors": [{{"title": "A name"}}].')
    elif not {entry.get("role", "contributor") for entry in contributors} <= set(_ROLES):
        problems.append(f"{path}: the role of a contributor has to be one of {', '.join(_ROLES)}.")
    licences = package.get("licenses")
    if licences is not None and not _covers_data_and_media(licences):
        problems.append(
            f'{path}: licenses has to have one entry with "scope": "data" and one with "scope": "media". Add them, or'
            " leave licenses out."
        )
    missing = [name for name in _PROJECT if project.get(name) in (None, "", [])]
    if missing:
        problems.append(
            f"{path} lacks {', '.join(f'project.{name}' for name in missing)}. See https://camtrap-dp.tdwg.org/metadata."
        )
    elif project["samplingDesign"] not in _DESIGNS:
        problems.append(f"{path}: project.samplingDesign has to be one of {', '.join(_DESIGNS)}.")
    elif not (isinstance(project["captureMethod"], list) and set(project["captureMethod"]) <= set(_METHODS)):
        problems.append(f"{path}: project.captureMethod has to be a list of {' and '.join(_METHODS)}.")
    taxa = package.get("taxonomic") or []
    if not (isinstance(taxa, list) and all(isinstance(taxon, dict) and taxon.get("scientificName") for taxon in taxa)):
        problems.append(f"{path}: each entry of taxonomic needs a scientificName.")
    return problems


def _covers_data_and_media(licences: object) -> bool:
    if not isinstance(licences, list) or not all(isinstance(entry, dict) for entry in licences):
        return False
    return [entry.get("scope") in _SCOPES for entry in licences].count(True) == len(licences) >= len(_SCOPES)


def _has_title(entry: object) -> bool:
    return isinstance(entry, dict) and bool(entry.get("title"))
