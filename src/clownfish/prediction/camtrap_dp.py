"""Answers as a Camera Trap Data Package, version 1.0.2: one observation a photo, at the level of media.

Source:
    Bubnicki et al. (2024), Camtrap DP: an open standard for the FAIR exchange and archiving of camera trap data,
    https://camtrap-dp.tdwg.org.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from clownfish.files import encode_text, format_cell, format_line
from clownfish.prediction.answer_lines import PhotoAnswer, classify_name
from clownfish.prediction.classifier import Classifier
from clownfish.prediction.study import DEPLOYMENTS_FILE, PACKAGE_FILE, Deployment, Study

FILES = frozenset({PACKAGE_FILE, DEPLOYMENTS_FILE, "media.csv", "observations.csv"})
_SCHEMAS = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2"
_DEPLOYMENT_COLUMNS = (
    *("deploymentID", "locationID", "locationName", "latitude", "longitude", "coordinateUncertainty"),
    *("deploymentStart", "deploymentEnd", "setupBy", "cameraID", "cameraModel", "cameraDelay", "cameraHeight"),
    *("cameraDepth", "cameraTilt", "cameraHeading", "detectionDistance", "timestampIssues", "baitUse", "featureType"),
    *("habitat", "deploymentGroups", "deploymentTags", "deploymentComments"),
)
_MEDIA_COLUMNS = (
    *("mediaID", "deploymentID", "captureMethod", "timestamp", "filePath", "filePublic", "fileName", "fileMediatype"),
    *("exifData", "favorite", "mediaComments"),
)
_OBSERVATION_COLUMNS = (
    *("observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel"),
    *("observationType", "cameraSetupType", "scientificName", "count", "lifeStage", "sex", "behavior", "individualID"),
    *("individualPositionRadius", "individualPositionAngle", "individualSpeed", "bboxX", "bboxY", "bboxWidth"),
    *("bboxHeight", "classificationMethod", "classifiedBy", "classificationTimestamp", "classificationProbability"),
    *("observationTags", "observationComments"),
)
"""All of them, in the order of the standard, for readers that look columns up by their place."""
_MEDIA_TYPES = {"JPEG": "image/jpeg", "HEIF": "image/heic", "TIFF": "image/tiff", "MPO": "image/jpeg"}
_MAX_LEFT_OUT = 20


@dataclass(slots=True)
class PackageSummary:
    """What was written."""

    left_out: list[str] = field(default_factory=list)
    """Photos that are not in the package, with the reason; the first few."""
    num_left_out: int = 0
    num_outside: int = 0
    """Photos taken before their deployment began or after it ended."""
    used: set[str] = field(default_factory=set)
    """Names of the classes that were given as answers and are animals."""


def write_camtrap_dp(
    classifier: Classifier,
    answers: Iterable[PhotoAnswer],
    study: Study,
    scientific_names: Mapping[str, str],
    folder: Path,
) -> PackageSummary:
    """Write the four files of a package.

    An answer that is "unsure" or "unlike anything seen" is an observation of type "unknown" without a name, and says
    which of the two as a tag; a photo that cannot be read has no known time, which the standard needs, and is left out.

    Args:
        classifier: the model.
        answers: of all photos.
        study: what photos do not tell.
        scientific_names: by class; a class without one has only its own name, as a tag.
        folder: exists, and is empty.

    Returns:
        What was written.
    """
    summary = PackageSummary()
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    author = f"clownfish {version('clownfish')}, model {classifier.hash[:8]}"
    _write_deployments(study, folder / DEPLOYMENTS_FILE)
    with (
        (folder / "media.csv").open("w", encoding="utf-8", newline="") as media,
        (folder / "observations.csv").open("w", encoding="utf-8", newline="") as observations,
    ):
        media.write(format_line(_MEDIA_COLUMNS))
        observations.write(format_line(_OBSERVATION_COLUMNS))
        for answer in answers:
            deployment = study.find_deployment(answer.file, answer.columns)
            reason = _find_obstacle(answer, deployment)
            time = None if deployment is None else _find_time(answer, deployment)
            if reason or deployment is None or time is None:
                summary.num_left_out += 1
                if len(summary.left_out) < _MAX_LEFT_OUT:
                    summary.left_out.append(f"{answer.file}: {reason}")
                continue
            summary.num_outside += not deployment.start <= time <= deployment.end
            _write_row(media, _MEDIA_COLUMNS, _describe_medium(answer, deployment, time))
            told = _describe_observation(answer, classifier, scientific_names, summary)
            place = {"observationID": f"clownfish:{answer.file}", "deploymentID": deployment.name}
            place |= {"mediaID": answer.file, "eventStart": time.isoformat(), "eventEnd": time.isoformat()}
            made = {"classificationMethod": "machine", "classifiedBy": author, "classificationTimestamp": now}
            row = {**place, "observationLevel": "media", **made, **told}
            _write_row(observations, _OBSERVATION_COLUMNS, row)
    package = _describe_package(study, {scientific_names[name] for name in summary.used & scientific_names.keys()}, now)
    (folder / PACKAGE_FILE).write_bytes(encode_text(json.dumps(package, indent=2, ensure_ascii=False) + "\n"))
    return summary


def _find_obstacle(answer: PhotoAnswer, deployment: Deployment | None) -> str:
    """Why a photo cannot be in a package; "" for most."""
    if answer.status is None:
        return f"unusable ({answer.note})"
    if deployment is None:
        return f"no row of {DEPLOYMENTS_FILE} is called like one of its folders"
    if _find_time(answer, deployment) is None:
        return "it does not tell when it was taken; a CSV with the columns file,timestamp could"
    if answer.file[:1] in tuple("./~") or ".." in answer.file:
        return "its name begins with . / or ~ or holds two points, which the standard forbids"
    if encode_text(format_cell(answer.file)).decode() != answer.file:
        return "its name begins with = + - or @ or holds a line end, which tables cannot hold safely"
    return ""


def _find_time(answer: PhotoAnswer, deployment: Deployment) -> datetime | None:
    """When a photo was taken: as the user's CSV says, else as the photo does; None if neither."""
    try:
        time = datetime.fromisoformat(answer.columns.get("timestamp") or answer.taken).replace(microsecond=0)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=deployment.start.tzinfo)


def _write_deployments(study: Study, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(format_line(_DEPLOYMENT_COLUMNS))
        for row in study.table:
            deployment = study.deployments[row["deploymentID"]]
            times = {"deploymentStart": deployment.start, "deploymentEnd": deployment.end}
            written = {name: time.isoformat(timespec="seconds") for name, time in times.items()}
            numbers = {"latitude": deployment.latitude, "longitude": deployment.longitude}
            _write_row(file, _DEPLOYMENT_COLUMNS, {**row, **written, **numbers})


def _describe_medium(answer: PhotoAnswer, deployment: Deployment, time: datetime) -> dict[str, object]:
    kind = _MEDIA_TYPES.get(answer.format, f"image/{answer.format.lower()}")
    name = answer.file.rpartition("/")[2]
    place = {"mediaID": answer.file, "deploymentID": deployment.name, "timestamp": time.isoformat()}
    return {**place, "filePath": answer.file, "filePublic": False, "fileName": name, "fileMediatype": kind}


def _describe_observation(
    answer: PhotoAnswer, classifier: Classifier, scientific_names: Mapping[str, str], summary: PackageSummary
) -> dict[str, object]:
    """What was seen; a tag must not hold the bar that stands between tags."""
    label, probability = classifier.classes[answer.ranked[0][0]], answer.ranked[0][1]
    tag = label.replace("|", "/")
    if answer.status == "unlike anything seen":
        return {
            "observationType": "unknown",
            "observationTags": f"status:unlike anything seen | guess:{tag}",
            "observationComments": "Unlike anything the classifier has seen; perhaps none of its classes.",
        }
    if answer.status == "unsure":
        candidates = ", ".join(answer.candidates)
        return {
            "observationType": "unknown",
            "classificationProbability": probability,
            "observationTags": f"status:unsure | guess:{tag}",
            "observationComments": f"Such answers are wrong too often to be used. Possible: {candidates}",
        }
    kind = classify_name(label)
    found: dict[str, object] = {"observationType": kind, "classificationProbability": probability}
    found["observationTags"] = f"class:{tag}"
    if kind == "animal":
        summary.used.add(label)
        found["scientificName"] = scientific_names.get(label)
    return found


def _describe_package(study: Study, names: set[str], created: str) -> dict[str, Any]:
    """datapackage.json: what the user says, and around it what is known now."""
    told = [taxon for taxon in study.package.get("taxonomic") or [] if taxon["scientificName"] in names]
    known = {taxon["scientificName"] for taxon in told}
    deployments = study.deployments.values()
    return {
        **study.package,
        "profile": f"{_SCHEMAS}/camtrap-dp-profile.json",
        "created": created,
        "project": {**study.package["project"], "observationLevel": ["media"]},
        "spatial": _draw_outline(study),
        "temporal": {
            "start": min(deployment.start for deployment in deployments).date().isoformat(),
            "end": max(deployment.end for deployment in deployments).date().isoformat(),
        },
        "taxonomic": [*told, *({"scientificName": name} for name in sorted(names - known))],
        "resources": [
            {
                "name": name,
                "path": f"{name}.csv",
                "profile": "tabular-data-resource",
                "format": "csv",
                "mediatype": "text/csv",
                "encoding": "utf-8",
                "schema": f"{_SCHEMAS}/{name}-table-schema.json",
            }
            for name in ("deployments", "media", "observations")
        ],
    }


def _draw_outline(study: Study) -> dict[str, Any]:
    """The rectangle around all deployments, as GeoJSON; a point if they are at one place."""
    longitudes = [deployment.longitude for deployment in study.deployments.values()]
    latitudes = [deployment.latitude for deployment in study.deployments.values()]
    west, east, south, north = min(longitudes), max(longitudes), min(latitudes), max(latitudes)
    if (west, south) == (east, north):
        return {"type": "Point", "coordinates": [west, south]}
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _write_row(file: TextIO, columns: Sequence[str], row: Mapping[str, object]) -> None:
    """Numbers as they are, since coordinates have more than six digits, and no number can be a formula."""
    cells = [row.get(name) for name in columns]
    formatted = [str(cell) if isinstance(cell, float) else format_cell(cell) for cell in cells]
    file.write(encode_text(format_line(formatted)).decode())
