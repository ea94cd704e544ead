"""What can be wrong with class names and class sizes, said in sentences."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

MIN_PHOTOS = 3
"""A class needs one photo each for training, validation and testing."""


def find_label_problems(labels: Iterable[str]) -> list[str]:
    """Find names that are probably meant to be the same class, or are no text.

    Args:
        labels: the distinct class names.

    Returns:
        One sentence for each set of names that differ only by case, spaces or Unicode form, and for each name that
        cannot be written as UTF-8 (Linux allows any bytes in the name of a folder).
    """
    labels = sorted(labels)
    by_meaning: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        by_meaning[unicodedata.normalize("NFC", _fold(label))].append(label)
    problems = [
        f"The labels {' and '.join(map(repr, names))} differ only by {_name_difference(names)}. Give them one name."
        for names in by_meaning.values()
        if len(names) > 1
    ]
    return problems + [
        f"The label {label!r} is not valid text (UTF-8). Give it another name."
        for label in labels
        if not is_valid_text(label)
    ]


def _fold(label: str) -> str:
    return " ".join(label.split()).casefold()


def _name_difference(labels: Iterable[str]) -> str:
    if len({_fold(label) for label in labels}) == 1:
        return "upper case or spaces"
    return "how accented letters are stored (Unicode forms NFC and NFD)"


def is_valid_text(text: str) -> bool:
    """Tell whether a name can be written as UTF-8; not so for names of files that hold other bytes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def find_lone_class(labels: Sequence[str], place: str) -> list[str]:
    """Say what is missing if all photos are of one class.

    Args:
        labels: class of each photo.
        place: the folder or CSV, for the message.

    Returns:
        One sentence, or none.
    """
    if len(set(labels)) != 1:
        return []
    return [
        f"All {len(labels)} photos in {place} are of one class, {labels[0]!r}. A classifier needs at least two: put the"
        " photos of each class into a folder of its own, inside the folder you give."
    ]


def find_small_classes(labels: Sequence[str]) -> list[str]:
    """Find classes that are too small to learn from.

    Args:
        labels: class of each photo that can be used.

    Returns:
        One sentence for each.
    """
    return [
        f"The class {label!r} has {count} usable photo{'s' * (count != 1)}; at least {MIN_PHOTOS} are needed, one each"
        f" for training, validation and testing. Add photos, or leave small classes out with --min-photos {MIN_PHOTOS}."
        for label, count in sorted(Counter(labels).items())
        if count < MIN_PHOTOS
    ]
