"""Put together what is known of every photo: found, inspected, grouped; used or not, and why."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import ConfigError, PhotosError
from clownfish.photos.file_names import strip_marks
from clownfish.photos.groups import Conflict, Grouping, group_photos, read_user_groups
from clownfish.photos.labels import MIN_PHOTOS, find_lone_class, find_small_classes
from clownfish.records import UNKNOWN_LABEL, Catalog, Inspection, LinkKind, Photo, PhotoFile

_LARGE_GROUP = 0.2
"""Share of all photos above which a group is told of."""
_REASONS: dict[LinkKind, str] = {
    "scene": "show the same scene",
    "name": "have a name that marks a copy",
    "moment": "were taken within a minute by one camera",
}
"""Reasons that the user did not give and that make no copies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotosOptions:
    """Which photos, and what is known about which of them belong together."""

    place: str = ""
    """A folder with one folder a class, or a CSV with the columns file,label."""
    folder: str = ""
    """What the CSV's file names are relative to; "" for the CSV's own folder."""
    group_by: str = ""
    """A column of the CSV whose equal values belong together, or "folder" for the second-level folder."""
    group_regex: str = ""
    """A regular expression on the file name; photos with the same match belong together."""
    min_photos: int = 0
    """Leave out classes with fewer usable photos; 0 to stop instead when a class is too small."""
    corrections: str = ""
    """A CSV with the columns file,old,new,reason: labels that a person has corrected; "" for none."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a value makes no sense.
        """
        if self.min_photos < 0 or 0 < self.min_photos < MIN_PHOTOS:
            raise ConfigError(f"min_photos is {self.min_photos}; it must be at least {MIN_PHOTOS} (or 0 for no limit).")


def build_catalog(
    files: Sequence[PhotoFile],
    inspections: Sequence[Inspection],
    options: PhotosOptions,
    *,
    features: NDArray[np.float32] | None = None,
    load_pictures: Callable[[Sequence[tuple[str, str]]], NDArray[np.uint8]] | None = None,
) -> Catalog:
    """Group the usable photos and decide which are used.

    Args:
        files: what was found.
        inspections: one a file.
        options: which groups the user knows of, and how small a class may be.
        features: of the usable photos, shape (num_usable, num_features); None not to look for parts of photos.
        load_pictures: content hashes and paths to grey pictures, shape (num_pictures, 64, 64); likewise.

    Returns:
        The catalog.

    Raises:
        PhotosError: what is left is too little to learn from; lists every reason.
        ConfigError: the regular expression for groups is not one.
    """
    usable = [position for position, inspection in enumerate(inspections) if inspection.usable]
    if not usable:
        raise PhotosError([_describe_ruin(files, inspections, options.place)])
    usable_files = [files[position] for position in usable]
    user_groups = read_user_groups(usable_files, group_by=options.group_by, group_regex=options.group_regex)
    usable_inspections = [inspections[position] for position in usable]

    def load(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        places = [(usable_inspections[index].content_hash, usable_files[index].path) for index in positions.tolist()]
        return load_pictures(places) if load_pictures else np.empty((0, 0, 0), np.uint8)

    grouping = group_photos(
        usable_files, usable_inspections, user_groups, features=features, load_pictures=load if load_pictures else None
    )
    notes = _write_notes(usable_files, grouping)
    left_out = {conflict.second for conflict in grouping.conflicts if conflict.is_identical}
    unknown = [index for index, file in enumerate(usable_files) if file.label == UNKNOWN_LABEL]
    for index in unknown:
        notes[index].append("something else: checks what is unlike the classes, and is never trained on")
    unknown = [index for index in unknown if index not in left_out]
    left_out.update(unknown)
    kept = [file.label for index, file in enumerate(usable_files) if index not in left_out]
    small = _find_small_classes(files, kept, options.min_photos)
    for index, file in enumerate(usable_files):
        if file.label in small:
            left_out.add(index)
            notes[index].append(f"its class has fewer than {options.min_photos} usable photos")
    used = [index for index in range(len(usable)) if index not in left_out]
    problems = _find_lost_classes(files, inspections, {usable_files[index].label for index in used}, small)
    problems = problems or find_lone_class([usable_files[index].label for index in used], options.place)
    problems += find_small_classes([usable_files[index].label for index in used])
    if not used and not problems:
        problems.append(
            f"No class in {options.place} has {options.min_photos} usable photos; the largest has"
            f" {max(Counter(kept).values(), default=0)}. Ask for fewer with --min-photos."
        )
    if problems:
        raise PhotosError(problems)
    photos = [_make_photo(file, inspection) for file, inspection in zip(files, inspections, strict=True)]
    for index, position in enumerate(usable):
        photos[position] = _make_photo(
            usable_files[index],
            inspections[position],
            status="left out" if index in left_out else "used",
            group=grouping.groups[index],
            group_reason=grouping.reasons[index],
            notes=notes[index],
        )
    classes = sorted({usable_files[index].label for index in used})
    number_of = {label: number for number, label in enumerate(classes)}
    return Catalog(
        photos=tuple(photos),
        classes=tuple(classes),
        used=np.array([usable[index] for index in used], np.int64),
        feature_rows=np.array(used, np.int64),
        labels=np.array([number_of[usable_files[index].label] for index in used], np.int64),
        unknown=np.array([usable[index] for index in unknown], np.int64),
        unknown_rows=np.array(unknown, np.int64),
        num_label_conflicts=len(_pair_conflicts(grouping)),
        notes=tuple(_summarise(usable_files, grouping, small, options)),
        inspections=tuple(inspections),
        links=tuple(replace(link, first=usable[link.first], second=usable[link.second]) for link in grouping.links),
        reason_counts=grouping.reason_counts,
    )


def leave_out(catalog: Catalog, rows: NDArray[np.bool_], note: str) -> Catalog:
    """Stop using some photos.

    Args:
        catalog: all photos.
        rows: which of the used ones, shape (num_used,).
        note: the reason, for their rows in photos.csv.

    Returns:
        A catalog that uses the others.
    """
    photos = list(catalog.photos)
    for position in catalog.used[rows]:
        photo = photos[position]
        photos[position] = replace(photo, status="left out", note="; ".join(filter(None, [photo.note, note])))
    return replace(
        catalog,
        photos=tuple(photos),
        used=catalog.used[~rows],
        feature_rows=catalog.feature_rows[~rows],
        labels=catalog.labels[~rows],
    )


def _describe_ruin(files: Sequence[PhotoFile], inspections: Sequence[Inspection], place: str) -> str:
    reasons = Counter(inspection.note for inspection in inspections).most_common(3)
    listed = "; ".join(f"{note} ({count})" for note, count in reasons)
    return f"None of the {len(files)} photos in {place} can be used: {listed}."


def _find_small_classes(files: Sequence[PhotoFile], kept: Sequence[str], min_photos: int) -> set[str]:
    counts = Counter({file.label: 0 for file in files if file.label not in ("", UNKNOWN_LABEL)})
    counts.update(kept)
    return {label for label, count in counts.items() if count < min_photos}


def _find_lost_classes(
    files: Sequence[PhotoFile], inspections: Sequence[Inspection], left: set[str], small: set[str]
) -> list[str]:
    """Classes of which no photo is left at all, which no count of used photos shows."""
    lost: dict[str, list[str]] = defaultdict(list)
    for file, inspection in zip(files, inspections, strict=True):
        if file.label not in left | small | {"", UNKNOWN_LABEL}:
            reason = "the same picture lies in another class" if inspection.usable else inspection.note
            lost[file.label].append(f"{file.file}: {reason}")
    return [
        f"None of the {len(reasons)} photos of the class {label!r} can be used ({'; '.join(reasons[:3])})."
        f" Mend or replace them, or leave small classes out with --min-photos {MIN_PHOTOS}."
        for label, reasons in sorted(lost.items())
    ]


def _write_notes(files: Sequence[PhotoFile], grouping: Grouping) -> dict[int, list[str]]:
    notes: dict[int, list[str]] = defaultdict(list)
    for copy, original in grouping.original_of.items():
        notes[copy].append(f"copy of {files[original].file}")
    for conflict in grouping.conflicts:
        other = files[conflict.first]
        how = "the same picture as" if conflict.is_identical else "looks like a copy of"
        notes[conflict.second].append(f"label conflict: {how} {other.file} ({other.label})")
    return notes


def _make_photo(
    file: PhotoFile,
    inspection: Inspection,
    *,
    status: Literal["used", "unusable", "left out"] = "unusable",
    group: str = "",
    group_reason: str = "",
    notes: Sequence[str] = (),
) -> Photo:
    return Photo(
        file=file.file,
        path=file.path,
        label=file.label,
        columns=file.columns,
        content_hash=inspection.content_hash,
        group=group,
        group_reason=group_reason,
        name_mark=strip_marks(file.file).marks,
        width=inspection.width,
        height=inspection.height,
        status=status,
        note="; ".join(filter(None, [inspection.note, *notes])),
    )


def _pair_conflicts(grouping: Grouping) -> list[Conflict]:
    """Each pair once, however the two point at each other."""
    pairs = {frozenset((conflict.first, conflict.second)): conflict for conflict in grouping.conflicts}
    return list(pairs.values())


def _summarise(files: Sequence[PhotoFile], grouping: Grouping, small: set[str], options: PhotosOptions) -> list[str]:
    notes = []
    conflicts = _pair_conflicts(grouping)
    for conflict in conflicts[:5]:
        first, second = files[conflict.first], files[conflict.second]
        verdict = (
            "are the same picture; neither is used" if conflict.is_identical else "look like copies; both are used"
        )
        notes.append(f"Label conflict: {first.file} ({first.label}) and {second.file} ({second.label}) {verdict}.")
    if len(conflicts) > 5:
        notes.append(f"{len(conflicts) - 5} more label conflicts are in photos.csv.")
    notes += _summarise_groups(grouping)
    if small:
        names = ", ".join(sorted(small)[:5]) + (" and more" if len(small) > 5 else "")
        notes.append(f"Left out, with fewer than {options.min_photos} usable photos: {names}.")
    return notes


def _summarise_groups(grouping: Grouping) -> list[str]:
    notes = []
    if grouping.original_of:
        count = len(grouping.original_of)
        notes.append(f"{count} photo{'s are copies' if count > 1 else ' is a copy'} of others; copies stay together.")
    further = [
        f"{count} {_REASONS[kind]}" for kind, count in grouping.reason_counts.items() if count and kind in _REASONS
    ]
    if further:
        notes.append(f"Photos that stay together with another: {'; '.join(further)}.")
    (name, size), num_photos = Counter(grouping.groups).most_common(1)[0], len(grouping.groups)
    if size > max(_LARGE_GROUP * num_photos, 2):
        index = grouping.groups.index(name)
        notes.append(
            f"One group holds {size} of the {num_photos} photos ({100 * size / num_photos:.0f} %), which leaves little"
            f" to test on; one of its links is: {grouping.reasons[index]}. If that is no reason to keep photos"
            " together, mend the names, times or columns."
        )
    return notes
