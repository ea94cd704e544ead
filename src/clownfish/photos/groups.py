"""Photos that must stay together: copies of one photo, and what the user knows to belong together."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import TIMEOUT_SECONDS, Message, WorkerFailure, run_in_workers
from clownfish.errors import ConfigError, PhotosError
from clownfish.photos.bursts import find_bursts
from clownfish.photos.file_names import find_marked_copies
from clownfish.photos.links import explain_groups, find_components, link_equals, link_lookalikes, link_matches
from clownfish.photos.near_duplicates import find_near_duplicates
from clownfish.photos.parts import PictureLoader, find_matches
from clownfish.records import COPY_KINDS, Inspection, Link, LinkKind, PhotoFile

FOLDER = "folder"
"""The word that groups by second-level folder rather than by a column of the CSV."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """Two copies of one picture that carry different labels."""

    first: int
    """Position of the photo."""
    second: int
    is_identical: bool
    """The pixels are the same; otherwise the pictures are only alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grouping:
    """Which photos stay together, and what was noticed on the way."""

    groups: tuple[str, ...]
    """One name a photo; the user's value where there is one, otherwise taken from the smallest content hash."""
    reasons: tuple[str, ...]
    """Why each photo is in its group; "" for a photo alone."""
    links: tuple[Link, ...]
    """Between positions of photos."""
    reason_counts: Mapping[LinkKind, int]
    """How many photos each reason joins."""
    original_of: Mapping[int, int]
    """Position of a copy to the position of the first photo it is a copy of."""
    conflicts: tuple[Conflict, ...]


def read_user_groups(photos: Sequence[PhotoFile], *, group_by: str = "", group_regex: str = "") -> list[str]:
    """Find what the user knows about which photos belong together.

    Args:
        photos: the photos.
        group_by: a column of the CSV, or "folder" for the second-level folder; "" for none.
        group_regex: a regular expression searched in the relative path; its groups, or else the whole match,
            name the group. "" for none.

    Returns:
        One name a photo; "" where nothing is known.

    Raises:
        ConfigError: the regular expression is not one.
        PhotosError: there is no such column, no second-level folder, or no match at all.
    """
    names = [""] * len(photos)
    problems = []
    if group_by == FOLDER and not any(FOLDER in photo.columns for photo in photos[:1]):
        names = [_name_second_folder(photo) for photo in photos]
        if not any(names):
            problems.append(
                "--group-by folder needs folders inside the class folders (CLASS/GROUP/photo.jpg), but there are none."
            )
    elif group_by:
        columns = sorted(photos[0].columns) if photos else []
        if group_by not in columns:
            found = f"its columns are {', '.join(columns)}" if columns else "there is no CSV with further columns"
            problems.append(f"--group-by {group_by}: there is no such column; {found}. Give one of them, or 'folder'.")
        else:
            names = [f"{group_by}={photo.columns[group_by]}" if photo.columns[group_by] else "" for photo in photos]
    if group_regex:
        matches = _match_names(group_regex, photos)
        if not any(matches):
            example = photos[0].file if photos else ""
            problems.append(f"--group-regex {group_regex!r} matches none of the file names (such as {example!r}).")
        names = [" ".join(filter(None, both)) for both in zip(names, matches, strict=True)]
    if problems:
        raise PhotosError(problems)
    return names


def group_photos(
    photos: Sequence[PhotoFile],
    inspections: Sequence[Inspection],
    user_groups: Sequence[str],
    *,
    features: NDArray[np.float32] | None = None,
    load_pictures: PictureLoader | None = None,
) -> Grouping:
    """Join copies, parts, bursts and the user's groups into groups.

    Args:
        photos: the usable photos.
        inspections: one a photo, with thumbnail and hashes.
        user_groups: one name a photo, "" where nothing is known.
        features: shape (num_photos, num_features); None not to look for parts of photos.
        load_pictures: gives larger pictures of a few photos; None not to look for parts of photos.

    Returns:
        The groups.
    """
    thumbnails = np.stack([inspection.thumbnail for inspection in inspections if inspection.thumbnail is not None])
    links = link_equals([inspection.content_hash for inspection in inspections], "bytes")
    links += link_equals([inspection.pixel_hash for inspection in inspections], "pixels")
    links += link_lookalikes(find_near_duplicates(thumbnails), thumbnails)
    pictures = find_components(len(photos), links)
    if features is not None and load_pictures is not None:
        labels = np.unique([photo.label for photo in photos], return_inverse=True)[1]
        links += link_matches(find_matches(thumbnails, features, labels, pictures, load_pictures))
    copies = find_components(len(photos), [link for link in links if link.kind in COPY_KINDS])
    links += [Link(first=first, second=second, kind="name") for first, second in find_marked_copies(photos)]
    links += [
        Link(first=first, second=second, kind="moment", relation=f"{seconds:.0f} s")
        for first, second, seconds in find_bursts(inspections)
    ]
    links += link_equals(user_groups, "user", relations=user_groups)
    everything = find_components(len(photos), links)
    reasons, counts = explain_groups(photos, links)
    return Grouping(
        groups=tuple(_name_groups(everything, inspections, user_groups)),
        reasons=tuple(reasons),
        links=tuple(links),
        reason_counts=counts,
        original_of=_find_originals(copies),
        conflicts=tuple(_find_conflicts(photos, inspections, pictures)),
    )


def _name_second_folder(photo: PhotoFile) -> str:
    parts = PurePosixPath(photo.file).parts
    return f"{FOLDER}={parts[1]}" if len(parts) > 2 else ""


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--group-regex {pattern!r} is not a regular expression: {error}.") from error


def _match_names(group_regex: str, photos: Sequence[PhotoFile]) -> list[str]:
    """Match in a helper process, since some expressions take for ever and Python cannot be told to stop."""
    _compile(group_regex)
    request = {"pattern": group_regex, "files": [photo.file for photo in photos]}
    function = f"{__name__}:match_request"
    outcomes = run_in_workers(
        [request], function=function, finish=lambda _, answer: answer, timeout_seconds=TIMEOUT_SECONDS
    )
    answer = next(outcomes).result
    outcomes.close()
    if isinstance(answer, WorkerFailure):
        example = photos[0].file if photos else ""
        raise ConfigError(
            f"--group-regex {group_regex!r} takes longer than {TIMEOUT_SECONDS:g} seconds on the file names (such as"
            f" {example!r}). Repeats inside repeats, like (a+)+, are the usual reason: write it without them."
        )
    names: list[str] = answer["names"]
    return names


def match_request(request: Message) -> Message:
    """Name the group of each file; runs in a helper process.

    Args:
        request: "pattern" and "files".

    Returns:
        "names", one a file, "" where nothing matches.
    """
    pattern = _compile(request["pattern"])
    return {"names": [_match_name(pattern, file) for file in request["files"]]}


def _match_name(pattern: re.Pattern[str], file: str) -> str:
    match = pattern.search(file)
    if match is None:
        return ""
    name = " ".join([part for part in match.groups() if part] or [match.group()])
    return f"regex={name}" if name else ""


def _name_groups(
    components: NDArray[np.int64], inspections: Sequence[Inspection], user_groups: Sequence[str]
) -> list[str]:
    names: dict[int, str] = {}
    for component, user_group in zip(components.tolist(), user_groups, strict=True):
        if user_group:
            names[component] = min(names.get(component, user_group), user_group)
    hashes: dict[int, str] = {}
    for component, inspection in zip(components.tolist(), inspections, strict=True):
        hashes[component] = min(hashes.get(component, inspection.content_hash), inspection.content_hash)
    return [names.get(component) or hashes[component][:16] for component in components.tolist()]


def _find_originals(copies: NDArray[np.int64]) -> dict[int, int]:
    first: dict[int, int] = {}
    originals = {}
    for position, component in enumerate(copies.tolist()):
        if first.setdefault(component, position) != position:
            originals[position] = first[component]
    return originals


def _find_conflicts(
    photos: Sequence[PhotoFile], inspections: Sequence[Inspection], copies: NDArray[np.int64]
) -> Iterable[Conflict]:
    """For each photo, the first copy of it that carries another label."""
    members: dict[int, list[int]] = defaultdict(list)
    for position, component in enumerate(copies.tolist()):
        members[component].append(position)
    for component in members.values():
        if len({photos[position].label for position in component}) < 2:
            continue
        for second in component:
            rivals = [first for first in component if photos[first].label != photos[second].label]
            twins = [first for first in rivals if _are_identical(inspections[first], inspections[second])]
            yield Conflict(first=(twins or rivals)[0], second=second, is_identical=bool(twins))


def _are_identical(first: Inspection, second: Inspection) -> bool:
    return first.content_hash == second.content_hash or first.pixel_hash == second.pixel_hash
