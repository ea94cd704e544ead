"""The photos of a finished run, where they still are: which it was trained on, which were held out."""

import csv
from dataclasses import dataclass
from pathlib import Path

from clownfish.config import read_config
from clownfish.errors import ClownfishError
from clownfish.files import encode_text, format_cell
from clownfish.pipeline.material import find_photos
from clownfish.records import Part, PhotoFile


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPhoto:
    """A photo, and what part of the run it was in."""

    photo: PhotoFile
    """With the label that the run used."""
    part: Part
    group: str


def find_run_photos(folder: Path) -> list[RunPhoto]:
    """Find the photos of a run.

    Args:
        folder: the run folder, with photos.csv and config.toml.

    Returns:
        The photos that the run used and that still are where they were; none if the folder is no run.
    """
    try:
        with (folder / "photos.csv").open(encoding="utf-8", newline="") as file:
            rows = {row["file"]: row for row in csv.DictReader(file) if row["split"]}
        photos = find_photos(read_config(folder / "config.toml").photos).scan.photos
    except (OSError, KeyError, ValueError, csv.Error, ClownfishError):
        return []
    found = []
    for photo in photos:
        row = rows.get(encode_text(format_cell(photo.file)).decode())
        if row is not None:
            part: Part = row["split"]  # type: ignore[assignment]  # as run_files.py wrote it
            found.append(RunPhoto(photo=photo, part=part, group=row["group"]))
    return found
