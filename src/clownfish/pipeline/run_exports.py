"""The certificates of a run folder: what was exported of its model, for the report."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clownfish.errors import RunFolderError
from clownfish.report.content import ExportState, ReportChange, ReportExport, ReportPhoto
from clownfish.report.exports import describe_export

CERTIFICATE_ENDING = ".certificate.json"


def read_exports(folder: Path) -> list[ReportExport]:
    """Read the certificates of files that were made of the run's present model.

    Args:
        folder: of the run.

    Returns:
        One entry a certificate, by name.

    Raises:
        RunFolderError: a certificate cannot be read.
    """
    paths = sorted(folder.glob(f"*{CERTIFICATE_ENDING}"))
    model = _hash(folder / "model.onnx") if paths else ""
    found = []
    for path in paths:
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if facts["original"]["sha256"] == model:
                found.append(_read_export(facts, folder))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunFolderError(
                f"{path} does not hold a certificate ({type(error).__name__}: {error}). Remove it, or export again."
            ) from error
    return found


def _read_export(facts: Mapping[str, Any], folder: Path) -> ReportExport:
    name, sha256 = Path(facts["exported"]["file"]).name, facts["exported"]["sha256"]
    actual = _hash(folder / name)
    state: ExportState = "elsewhere" if not actual else "unchanged" if actual == sha256 else "changed"
    changed = facts.get("disagreeing_photos", [])
    return ReportExport(
        file=name,
        state=state,
        failures=[str(failure) for failure in facts["failures"]],
        rows=describe_export(facts),
        changes=[_read_change(photo) for photo in changed if photo.get("picture") is not None],
        num_changes=facts.get("agreement", {}).get("num_disagreeing", 0),
    )


def _read_change(photo: Mapping[str, Any]) -> ReportChange:
    return ReportChange(
        photo=ReportPhoto(
            file=photo["file"],
            label=photo["label"],
            predicted=photo["after"],
            probability=float(photo["after_probability"]),
            correct=photo["after"] == photo["label"],
            preview=base64.b64decode(photo["picture"], validate=True),
        ),
        before=photo["before"],
        before_probability=float(photo["before_probability"]),
    )


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
