"""What file names tell: which photos are marked as copies or altered versions of others.

A mark alone is no evidence, since names are chosen freely. It counts where the unmarked name exists in the same
folder and class, or where several marked names share what is left. Bare numbers (img_1, img_2) are no marks.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from clownfish.records import PhotoFile

_FLIPS = r"(?:(?:horizontal|vertical|h|v|lr|ud)[-_ ]?)?(?:flip(?:ped)?|mirror(?:ed)?)"
_TURNS = r"rot(?:ate|ated|ation)?[-_ ]?\d+|rotated"
_COPIES = r"aug(?:mented|mentation)?|copy|kopie|copie|copia|duplicate"
_LOOKS = (
    r"blur(?:red)?|noisy?|noise|bright(?:er|ness|ened)?|dark(?:er|ened)?|crop(?:ped)?|resized?|zoom(?:ed)?|shear(?:ed)?"
)
_PREFIX = re.compile(rf"^(?:copy of|{_FLIPS}|{_TURNS}|{_COPIES})[-_ .]+(?=.)")
_SUFFIX = re.compile(
    rf"(?<=.)(?:[-_ .]+(?:{_FLIPS}|{_TURNS}|(?:{_COPIES}|{_LOOKS})[-_ ]?\d{{0,3}})| - copy(?: \(\d+\))?)$"
)
_ROBOFLOW = re.compile(r"[-_.](?:jpe?g|png)\.rf\.[0-9a-z]{16,}$")
"""What a widely used web service appends to each altered version of a photo."""
_NUMBERED = re.compile(r" ?\(\d+\)$")
"""Browsers append it to a second download of the same name, but Windows also numbers renamed photos like this."""
_MAX_NUMBERED = 3
_MAX_WITH_ORIGINAL = 100
_MAX_WITHOUT_ORIGINAL = 20
_HAS_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, kw_only=True, slots=True)
class StrippedName:
    """A file name without the marks of copying."""

    stem: str
    marks: str
    """What was taken off, such as "vertical-flip"; "" for nothing."""


def strip_marks(file: str) -> StrippedName:
    """Take the marks of copying and altering off a file name.

    Args:
        file: path with forward slashes.

    Returns:
        The rest of the name, lower case and without ending, and what was taken off.
    """
    stem, marks = PurePosixPath(file).stem.lower(), []
    while True:
        for pattern in (_ROBOFLOW, _PREFIX, _SUFFIX, _NUMBERED):
            match = pattern.search(stem)
            if match and match.group() != stem:
                marks.append(match.group())
                stem = stem[: match.start()] + stem[match.end() :]
                break
        else:
            return StrippedName(stem=stem, marks=" ".join(mark.strip("-_ .") for mark in marks))


def find_marked_copies(photos: Sequence[PhotoFile]) -> list[tuple[int, int]]:
    """Pair photos whose names mark them as versions of one photo.

    Args:
        photos: the photos.

    Returns:
        Pairs of positions: the original or else the first version, and another version.
    """
    families: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    names = [strip_marks(photo.file) for photo in photos]
    for position, (photo, name) in enumerate(zip(photos, names, strict=True)):
        families[(photo.label, str(PurePosixPath(photo.file).parent), name.stem)].append(position)
    pairs = []
    for (_, _, stem), family in families.items():
        marked = [position for position in family if names[position].marks]
        plain = [position for position in family if not names[position].marks]
        if (
            not marked
            or len(family) < 2
            or not _is_evidence(stem, [names[position].marks for position in marked], plain)
        ):
            continue
        first = (plain or marked)[0]
        pairs += [(first, position) for position in marked if position != first]
    return pairs


def _is_evidence(stem: str, marks: Sequence[str], plain: Sequence[int]) -> bool:
    numbered_only = [mark for mark in marks if _NUMBERED.fullmatch(mark)]
    if numbered_only and (not plain or len(numbered_only) > _MAX_NUMBERED):
        return False
    if plain:
        return len(marks) <= _MAX_WITH_ORIGINAL
    # without the original, what is left has to look like the name of one photo, not like that of a series
    return bool(_HAS_DIGIT.search(stem)) and len(marks) <= _MAX_WITHOUT_ORIGINAL
