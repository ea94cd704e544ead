"""Labels that a person has corrected, kept beside the photos: the files themselves are never moved or changed."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clownfish.errors import PhotosError
from clownfish.photos.labels import MIN_PHOTOS, find_label_problems
from clownfish.photos.scan import read_lines
from clownfish.records import UNKNOWN_LABEL, Catalog, Photo, PhotoFile

_COLUMNS = ("file", "old", "new", "reason")
_LEAVE_OUT = ("", "-", "\u2013", "\u2014")
"""Spreadsheets turn a hyphen into a dash."""
_NEEDED = "Give a CSV with the columns file,old,new,reason."
_MAX_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Correction:
    """What a person says about one photo."""

    file: str
    old: str
    new: str
    """The right class; "" to leave the photo out."""
    reason: str

    def describe(self) -> str:
        """Say what was done, for the photo's note."""
        why = f" ({self.reason})" if self.reason else ""
        if self.new == self.old:
            return f"label confirmed by the corrections{why}"
        return f"label corrected, was {self.old}{why}" if self.new else f"left out by the corrections{why}"


def read_corrections(path: Path) -> tuple[Correction, ...]:
    """Read a CSV with the columns file,old,new,reason.

    Args:
        path: the CSV; "new" may be empty or "-" to leave a photo out, "reason" may be absent.

    Returns:
        One correction a row.

    Raises:
        PhotosError: the file cannot be read, lacks a column or has it twice, or corrects a file twice; lists every
            problem.
    """
    try:
        is_absent = not path.exists()
    except OSError:  # such as a name that is too long; reading it says so
        is_absent = False
    if is_absent:
        raise PhotosError([f"There is no file {path} with corrections (--corrections)."])
    lines, problem = read_lines(path, needed=_NEEDED)
    if problem:
        raise PhotosError([problem])
    rows = [[cell.strip() for cell in row] for row in lines if any(cell.strip() for cell in row)]
    header = [name.lower() for name in rows[0]] if rows else []
    missing = [name for name in _COLUMNS[:3] if name not in header]
    if missing:
        raise PhotosError(
            [
                f"The corrections in {path} have no column {' and no column '.join(map(repr, missing))}. Needed is a"
                " first line: file,old,new,reason"
            ]
        )
    repeated = [name for name in _COLUMNS if header.count(name) > 1]
    if repeated:
        raise PhotosError(
            [f"The corrections in {path} have several columns {' and '.join(map(repr, repeated))}. Keep one of each."]
        )
    found: dict[str, Correction] = {}
    twice = []
    for row in rows[1:]:
        cells = dict(zip(header, row, strict=False))
        values = {name: _unquote(cells.get(name, "")) for name in _COLUMNS}
        new = "" if cells.get("new", "") in _LEAVE_OUT else values["new"]
        correction = Correction(**{**values, "new": new})
        if correction.file in found:
            twice.append(correction.file)
        found[correction.file] = correction
    if twice:
        raise PhotosError([f"The corrections in {path} name a file twice: {_list_some(twice)}. Keep one row of each."])
    return tuple(found.values())


def apply_corrections(
    photos: Sequence[PhotoFile], corrections: Sequence[Correction], source: str
) -> tuple[PhotoFile, ...]:
    """Give photos their corrected labels; those to leave out are not opened.

    Args:
        photos: what was found.
        corrections: what a person says.
        source: the file of the corrections, for messages.

    Returns:
        The photos in the same order.

    Raises:
        PhotosError: a file that was not found, or that has another label than the corrections say; lists every one.
    """
    if not corrections:
        return tuple(photos)
    by_file = {photo.file: photo for photo in photos}
    # the name of a folder may begin or end with a space, the cell of a table does not
    spelled = {photo.label.strip(): photo.label for photo in photos}
    problems = []
    change: dict[str, Correction] = {}
    for correction in corrections:
        file = correction.file if correction.file in by_file else correction.file.replace("\\", "/")
        photo = by_file.get(file)
        if photo is None:
            near = difflib.get_close_matches(file, by_file, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            problems.append(f"{source} corrects {correction.file!r}, but there is no such photo.{hint}")
        elif photo.label.strip() != correction.old:
            problems.append(
                f"{source} says that {file} is labelled {correction.old!r}, but it is labelled {photo.label!r}. Was it"
                " corrected already? Remove or mend the row."
            )
        elif file in change:  # a/0.jpg and a\\0.jpg
            problems.append(f"{source} names the file {file} twice, in two spellings. Keep one row.")
        else:
            change[file] = replace(correction, new=spelled.get(correction.new, correction.new))
    labels = {photo.label for photo in photos if photo.label}
    problems += find_label_problems(labels | {correction.new for correction in change.values() if correction.new})
    if problems:
        more = len(problems) - 4 * _MAX_SHOWN
        problems = problems[: 4 * _MAX_SHOWN] + ([f"{more} more problems of the same kind."] if more > 0 else [])
        raise PhotosError(problems)
    return tuple(_correct(photo, change.get(photo.file)) for photo in photos)


def explain_new_labels(photos: Sequence[PhotoFile], corrections: Sequence[Correction], source: str) -> list[str]:
    """Say which classes are too small because a correction has made them, perhaps by a slip of the pen.

    Args:
        photos: with their corrected labels.
        corrections: what was applied.
        source: the file of the corrections, for the message.

    Returns:
        One sentence for each label that only corrections give, and only to a few photos.
    """
    new = _list_new_labels(photos, corrections)
    others = sorted({photo.label for photo in photos if photo.label} - set(new))
    sentences = []
    for label, files in new.items():
        if len(files) < MIN_PHOTOS:
            near = difflib.get_close_matches(label, others, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            sentences.append(
                f"{source} gives {' and '.join(files)} the label {label!r}, which no other photo has. {hint}Mend the"
                ' column "new".'
            )
    return sentences


def _list_new_labels(photos: Sequence[PhotoFile | Photo], corrections: Sequence[Correction]) -> dict[str, list[str]]:
    """Labels that no photo had before the corrections, each with its files."""
    by_file = {item.file.replace("\\", "/"): item for item in corrections if item.new}
    corrected = [photo for photo in photos if photo.file.replace("\\", "/") in by_file]
    before = {photo.label for photo in photos if photo.file.replace("\\", "/") not in by_file}
    before |= {item.old for item in corrections}
    found: dict[str, list[str]] = {}
    for photo in corrected:
        if photo.label.strip() not in before | {UNKNOWN_LABEL} and photo.label not in before:
            found.setdefault(photo.label, []).append(photo.file)
    return found


def note_corrections(catalog: Catalog, corrections: Sequence[Correction]) -> Catalog:
    """Write into each corrected photo's note what it was, and count the corrections.

    Args:
        catalog: of the corrected photos.
        corrections: what was applied.

    Returns:
        The catalog with notes.
    """
    if not corrections:
        return catalog
    by_file: Mapping[str, Correction] = {item.file.replace("\\", "/"): item for item in corrections}
    photos = list(catalog.photos)
    for position, photo in enumerate(photos):
        correction = by_file.get(photo.file.replace("\\", "/"))
        if correction is None:
            continue
        if not correction.new:
            photos[position] = replace(photo, status="left out", note=correction.describe())
        else:
            photos[position] = replace(photo, note="; ".join(filter(None, [correction.describe(), photo.note])))
    num_left_out = sum(not correction.new for correction in corrections)
    num_changed = sum(bool(correction.new) and correction.new != correction.old for correction in corrections)
    note = f"Corrections applied: {num_changed} label{'s' * (num_changed != 1)} changed, {num_left_out} left out."
    if new := _list_new_labels(photos, corrections):
        note += f" Labels that no photo had before: {_list_some([f'{label} ({len(new[label])})' for label in new])}."
    return replace(catalog, photos=tuple(photos), notes=(note, *catalog.notes))


def _correct(photo: PhotoFile, correction: Correction | None) -> PhotoFile:
    if correction is None:
        return photo
    if correction.new:
        return replace(photo, label=correction.new)
    return replace(photo, refusal=correction.describe())


def _unquote(cell: str) -> str:
    """Undo the apostrophe that tables get in front of what a spreadsheet could run as a formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@") else cell


def _list_some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_SHOWN]) + (f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else "")
