"""The photos of a finished run, where they still are: which it was trained on, which were held out."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

from clownfish.config import read_config
from clownfish.errors import ClownfishError, UnusablePhotoError
from clownfish.files import encode_text, format_cell
from clownfish.images import read_photo_file
from clownfish.pipeline.material import find_photos
from clownfish.records import Part, PhotoFile


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPhoto:
    """A photo, and what part of the run it was in."""

    photo: PhotoFile
    """With the label that the run used."""
    part: Part
    group: str
    content_hash: str
    """SHA-256 of the file when the run used it, hexadecimal."""

    def is_unchanged(self) -> bool:
        """Read the file: False if it holds something else by now, or cannot be read."""
        try:
            return hashlib.sha256(read_photo_file(Path(self.photo.path))).hexdigest() == self.content_hash
        except UnusablePhotoError:
            return False


def find_run_photos(folder: Path) -> list[RunPhoto]:
    """Find the photos of a run.

    Args:
        folder: the run folder, with photos.csv, cross_validated.csv and config.toml.

    Returns:
        The photos that the run used and that still are where they were, by their names; see `RunPhoto.is_unchanged`.
        None if the folder is no run.
    """
    try:
        rows = {row["file"]: row for row in _read_table(folder / "photos.csv") if row["split"]}
        hashes = {row["file"]: row["sha256"] for row in _read_table(folder / "cross_validated.csv")}
        photos = find_photos(read_config(folder / "config.toml").photos).scan.photos
    except (OSError, KeyError, ValueError, csv.Error, ClownfishError):
        return []
    found = []
    for photo in photos:
        name = encode_text(format_cell(photo.file)).decode()
        if name in rows and name in hashes:
            part: Part = rows[name]["split"]  # type: ignore[assignment]  # as run_files.py wrote it
            group = rows[name]["group"]
            found.append(RunPhoto(photo=photo, part=part, group=group, content_hash=hashes[name]))
    return found


def _read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
