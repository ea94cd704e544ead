"""Find the photos and their labels, in a folder or by a CSV, without opening any."""

import csv
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from clownfish.errors import PhotosError
from clownfish.images import PHOTO_EXTENSIONS
from clownfish.photos.labels import find_label_problems, find_lone_class
from clownfish.records import UNKNOWN_LABEL, PhotoFile

_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db"})
_SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_CSV_ENDINGS = frozenset({".csv", ".tsv", ".txt"})
_MAX_CSV_BYTES = 1_000_000_000
_LOOSE = "it lies in no class folder; put it into one to use it"
_HINTS = {
    ".xlsx": "Save the table as CSV, with the columns file,label.",
    ".xls": "Save the table as CSV, with the columns file,label.",
    ".ods": "Save the table as CSV, with the columns file,label.",
    ".zip": "Unpack it first.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What was found."""

    photos: tuple[PhotoFile, ...]
    """In the order of their names, or of the CSV's rows."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Number of other files, by file name ending."""
    loose_files: tuple[str, ...] = ()
    """Photos that lie in the folder itself, in no class."""
    empty_classes: tuple[str, ...] = ()
    """Folders without any photo."""
    columns: tuple[str, ...] = ()
    """Names of the CSV's further columns."""
    num_repeated: int = 0
    """Rows of the CSV that name a file again; the first row counts."""
    linked_classes: tuple[PhotoFile, ...] = ()
    """Links in the folder itself to folders elsewhere, which are not followed."""


def scan_labelled_photos(place: Path, *, photos_folder: Path | None = None, min_classes: int = 2) -> Scan:
    """Find photos with labels: one folder a class, or a CSV with the columns "file" and "label".

    The label "_unknown" is no class; it marks photos of other things.

    Args:
        place: a folder or a CSV file.
        photos_folder: what a CSV's file names are relative to; None for the CSV's own folder.
        min_classes: 2 to train on them, 1 to evaluate on them.

    Returns:
        What was found.

    Raises:
        PhotosError: lists everything that keeps these photos from being used.
    """
    if not os.path.exists(place):  # pathlib's raises for names that are too long
        raise PhotosError([_describe_absence(place)])
    if place.is_dir():
        scan = _scan_folder(place)
        problems = _find_folder_problems(scan, place)
        problems += find_label_problems({photo.label for photo in scan.photos if photo.label})
    else:
        scan, problems = _scan_csv(place, photos_folder or place.parent, needs_labels=True)
    if scan.photos and not problems and min_classes > 1:
        # how many photos of each class are usable is known after decoding; whether there are two classes, now
        labels = [photo.label for photo in scan.photos if photo.label not in ("", UNKNOWN_LABEL)]
        problems += find_lone_class(labels, str(place)) or _find_no_class(labels, place)
    if problems:
        raise PhotosError(problems)
    return scan


def scan_photos(place: Path, *, photos_folder: Path | None = None) -> Iterator[PhotoFile]:
    """Find photos to classify, one after another: a photo, a folder of any depth, or a CSV with a column "file".

    Args:
        place: a photo, a folder or a CSV file.
        photos_folder: what a CSV's file names are relative to; None for the CSV's own folder.

    Yields:
        The photos; labels are "" where none is known.

    Raises:
        PhotosError: the place does not exist, or the CSV cannot be used.
    """
    if not os.path.exists(place):
        raise PhotosError([_describe_absence(place)])
    if place.is_dir():
        for kind, photo in _walk(place):
            if kind == "photo":
                yield photo
    elif not is_single_photo(place):
        scan, problems = _scan_csv(place, photos_folder or place.parent, needs_labels=False)
        if problems:
            raise PhotosError(problems)
        yield from scan.photos
    else:
        yield PhotoFile(file=place.name, path=str(place), label="")


def is_single_photo(place: Path) -> bool:
    """Tell whether a place is one file that is no table."""
    is_file = os.path.exists(place) and not os.path.isdir(place)  # also a pipe or device, to be refused as a photo
    return is_file and place.suffix.lower() not in _CSV_ENDINGS


def _find_no_class(labels: list[str], place: Path) -> list[str]:
    if labels:
        return []
    return [
        f"All photos in {place} are in {UNKNOWN_LABEL!r}, which is for other things and no class. Put the photos of"
        " each class into a folder of its own, beside it."
    ]


def _describe_absence(place: Path) -> str:
    parent = place.parent
    while not os.path.exists(parent) and parent != parent.parent:
        parent = parent.parent
    return f"There is no folder or file {place}. What exists is {parent.resolve()}. Check the spelling."


def _scan_folder(root: Path) -> Scan:
    photos: list[PhotoFile] = []
    loose: list[PhotoFile] = []
    linked: list[PhotoFile] = []
    skipped: Counter[str] = Counter()
    folders: set[str] = set()
    for kind, photo in _walk(root):
        parts = PurePosixPath(photo.file).parts
        if kind == "folder":
            folders.add(parts[0])
        elif kind == "other":
            skipped[PurePosixPath(photo.file).suffix.lower() or "no ending"] += 1
        elif len(parts) > 1 or parts[0] in folders:  # in a class, or a class that cannot be opened
            photos.append(replace(photo, label=parts[0]))
        elif photo.refusal and os.path.isdir(photo.path):
            linked.append(photo)
        else:
            loose.append(photo)
    return Scan(
        photos=(*photos, *(replace(photo, refusal=photo.refusal or _LOOSE) for photo in loose)),
        skipped=dict(skipped),
        loose_files=tuple(photo.file for photo in loose),
        empty_classes=tuple(sorted(folders - {photo.label for photo in photos})),
        linked_classes=tuple(linked),
    )


def _walk(root: Path) -> Iterator[tuple[str, PhotoFile]]:
    """All of a folder in the order of names, as ("photo" | "other" | "folder", file relative to the root)."""
    real_root = os.path.realpath(root)
    pending = [""]
    while pending:
        relative = pending.pop()
        try:
            with os.scandir(os.path.join(root, relative)) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if not relative:
                raise PhotosError([f"The folder {root} cannot be opened: {error.strerror or error}."]) from error
            refusal = f"the folder cannot be opened: {error.strerror or error}"
            yield "photo", PhotoFile(file=relative, path=str(root / relative), label="", refusal=refusal)
            continue
        subfolders = []
        for entry in entries:
            file = f"{relative}/{entry.name}" if relative else entry.name
            if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_NAMES:
                continue
            refusal = _refuse_link(entry, real_root) if entry.is_symlink() else ""
            if not refusal and entry.is_dir():  # of a link in a circle, is_dir raises
                subfolders.append(file)
                if not relative:
                    yield "folder", PhotoFile(file=file, path=entry.path, label="")
                continue
            is_photo = os.path.splitext(entry.name)[1].lower() in PHOTO_EXTENSIONS or bool(refusal)
            yield "photo" if is_photo else "other", PhotoFile(file=file, path=entry.path, label="", refusal=refusal)
        pending.extend(reversed(subfolders))


def _refuse_link(entry: os.DirEntry[str], real_root: str) -> str:
    """Why a symbolic link must not be followed; "" if it may be."""
    target = os.path.realpath(entry.path)
    if not os.path.exists(target):
        return "a link that leads nowhere"
    if not Path(target).is_relative_to(real_root):
        what = "folder" if os.path.isdir(target) else "photo"
        return f"a link out of the photo folder; copy the {what} here to use it"
    if os.path.isdir(target):
        return f"a link to the folder {os.path.relpath(target, real_root)}, whose photos are found there already"
    return ""


def _find_folder_problems(scan: Scan, root: Path) -> list[str]:
    links = [f"The class folder {link.file!r} is {link.refusal}." for link in scan.linked_classes]
    if not any(photo.label for photo in scan.photos):
        if links:
            return links
        if scan.loose_files:
            return [
                f"The {len(scan.loose_files)} photos of {root} lie in no class (such as {scan.loose_files[0]!r})."
                " Put them into one folder a class, inside it, or give a CSV with the columns file,label."
            ]
        others = ", ".join(f"{count} {ending}" for ending, count in sorted(scan.skipped.items()))
        found = f"only {others}" if others else "nothing"
        return [f"There is no photo in {root} (found {found}). Photos end in {_list_extensions()}."]
    problems = links
    labels = {photo.label for photo in scan.photos if photo.label} - {UNKNOWN_LABEL}
    if len(labels) > 1 and {label.lower() for label in labels} <= _SPLIT_NAMES:
        problems.append(
            f"The folders of {root} are {', '.join(sorted(labels))}: parts of a split, not classes. Put all photos of a"
            " class into one folder (clownfish splits them itself), or give a CSV with the columns file,label,split"
            " and --split-column split."
        )
    if len(labels) == 1 and (inner := _find_inner_classes(scan)):
        problems.append(
            f"{root} holds only the folder {inner!r}, which holds the classes. Give that folder instead: {root / inner}"
        )
    return problems


def _find_inner_classes(scan: Scan) -> str:
    deep = {PurePosixPath(photo.file).parts[1] for photo in scan.photos if len(PurePosixPath(photo.file).parts) > 2}
    return next(photo.label for photo in scan.photos if photo.label) if len(deep) > 1 else ""


def _list_extensions() -> str:
    return ", ".join(sorted(PHOTO_EXTENSIONS))


def _scan_csv(path: Path, folder: Path, *, needs_labels: bool) -> tuple[Scan, list[str]]:
    """Read file names, labels and metadata; problems are returned, so that they can be reported together."""
    nothing = Scan(photos=())
    lines, problem = read_lines(path)
    if problem:
        return nothing, [problem]
    rows = (row for row in lines if any(cell.strip() for cell in row))
    header = [name.strip() for name in next(rows, [])]
    if not header or not any(header):
        return nothing, [f"The CSV {path} is empty. Needed is a first line: file,label"]
    needed = ["file", "label"] if needs_labels else ["file"]
    names = [name.lower() for name in header]
    missing = [name for name in needed if name not in names]
    if missing:
        return nothing, [
            f"The CSV {path} has no column {' and no column '.join(map(repr, missing))}; its columns are"
            f" {', '.join(map(repr, header[:20]))}. Rename the columns in its first line."
        ]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        return nothing, [f"The CSV {path} has several columns called {', '.join(map(repr, repeated))}. Rename them."]
    if not os.path.isdir(folder):
        return nothing, [f"There is no folder {folder}, which the file names in {path} should be relative to."]
    records = [dict(zip(header, row + [""] * (len(header) - len(row)), strict=False)) for row in rows if any(row)]
    if not records:
        return nothing, [f"The CSV {path} has a first line but no rows. Add one row a photo."]
    return _make_csv_photos(records, header, names, folder, path)


def _make_csv_photos(
    records: list[dict[str, str]], header: list[str], names: list[str], folder: Path, path: Path
) -> tuple[Scan, list[str]]:
    file_column = header[names.index("file")]
    label_column = header[names.index("label")] if "label" in names else ""
    further = tuple(name for name in header if name not in (file_column, label_column))
    photos: dict[str, PhotoFile] = {}
    contradictions = []
    swallowed = []
    num_repeated = 0
    for record in records:
        file = record[file_column].strip()
        label = record[label_column].strip() if label_column else ""
        columns = {name: record[name].strip() for name in further}
        if "\n" in file + label or "\r" in file + label:
            # a quotation mark left open swallows the lines that follow, up to the next one
            swallowed.append(repr((file + label)[:40]))
            continue
        photo = _locate(file, label, columns, folder, needs_label=bool(label_column))
        earlier = photos.get(photo.file)
        num_repeated += earlier is not None
        if earlier is None:
            photos[photo.file] = photo
        elif earlier.label != label and file:
            contradictions.append(f"{file} ({earlier.label}, {label})")
    problems = find_label_problems({record[label_column] for record in records} - {""}) if label_column else []
    if swallowed:
        problems.append(
            f"The CSV {path} has line ends inside a file name or label, as in {swallowed[0]}."
            " Is a quotation mark left open?"
        )
    if contradictions:
        problems.append(
            f"The CSV {path} gives two labels to the same file, {len(contradictions)} times: "
            f"{', '.join(contradictions[:5])}. Keep one."
        )
    return Scan(photos=tuple(photos.values()), columns=further, num_repeated=num_repeated), problems


def _locate(file: str, label: str, columns: dict[str, str], folder: Path, *, needs_label: bool) -> PhotoFile:
    spellings = [file, file.replace("\\", "/")]  # the second: a CSV written on Windows
    # accents are stored in two ways, and some systems change one into the other
    spellings += [unicodedata.normalize(form, spelling) for form in ("NFC", "NFD") for spelling in spellings]
    file = next((spelling for spelling in spellings if os.path.exists(folder / spelling)), file)
    path = folder / file
    refusal = ""
    if not file:
        refusal = "the row of the CSV names no file"
    elif not os.path.exists(path):
        refusal = "there is no such file in the photo folder (--photos says where that is)"
    elif needs_label and not label:
        refusal = "the row of the CSV has no label"
    return PhotoFile(file=file, path=str(path), label=label, columns=columns, refusal=refusal)


def _decode_text(data: bytes) -> str:
    """UTF-8 with or without a byte order mark, UTF-16 as Excel's "Unicode text", else Windows' Latin-1."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def read_lines(path: Path, *, needed: str = "") -> tuple[list[list[str]], str]:
    """Read a CSV as people and spreadsheets write it.

    Args:
        path: the file.
        needed: what to give, where only a CSV will do; "" where a folder of photos will do too.

    Returns:
        The cells of each row, and "" or the reason why there are none.
    """
    hint = needed or _HINTS.get(path.suffix.lower(), "Give the folder that holds one folder a class.")
    no_csv = f"{path} is {'no' if needed else 'neither a folder nor a'} CSV. {hint}"
    try:
        if not path.is_file() or path.stat().st_size > _MAX_CSV_BYTES or path.suffix.lower() in PHOTO_EXTENSIONS:
            return [], no_csv
        with path.open("rb") as file:
            start = file.read(1024)
            text = _decode_text(start + file.read()) if _looks_like_text(start) else "\0"
    except OSError as error:
        return [], f"The file {path} cannot be read: {error.strerror or error}."
    if "\0" in text:
        return [], no_csv
    text = text.lstrip("\r\n")
    if text[:4].lower() == "sep=":  # a line for Excel
        text = text.partition("\n")[2]
    # Excel writes semicolons where the comma is the decimal sign
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        rows.extend(reader)
    except csv.Error as error:
        return [], (
            f'The CSV {path} cannot be read near line {reader.line_num}: {error}. Is a quotation mark (") left open'
            f" after line {len(rows) + 1}?"
        )
    return rows, ""


def _looks_like_text(start: bytes) -> bool:
    return b"\0" not in start or start[:2] in (b"\xff\xfe", b"\xfe\xff")
