"""What can be wrong with class names and class sizes, said in sentences."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

MIN_PHOTOS = 3
"""A class needs one photo each for training, validation and testing."""


def find_label_problems(labels: Iterable[str]) -> list[str]:
    """Find names that are probably meant to be the same class.

    Args:
        labels: the distinct class names.

    Returns:
        One sentence for each set of names that differ only by case or surrounding space.
    """
    by_meaning: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        by_meaning[" ".join(label.split()).casefold()].append(label)
    return [
        f"The labels {' and '.join(map(repr, names))} differ only by upper case or spaces. Give them one name."
        for names in by_meaning.values()
        if len(names) > 1
    ]


def find_size_problems(labels: Sequence[str], place: str) -> list[str]:
    """Find classes that are too few or too small to learn from.

    Args:
        labels: class of each photo.
        place: the folder or CSV, for the messages.

    Returns:
        One sentence for each problem.
    """
    counts = Counter(labels)
    problems = []
    if len(counts) == 1:
        problems.append(
            f"All {len(labels)} photos in {place} are of one class, {next(iter(counts))!r}. A classifier needs at least"
            " two: put the photos of each class into a folder of its own, inside the folder you give."
        )
    for label, count in sorted(counts.items()):
        if count < MIN_PHOTOS:
            problems.append(
                f"The class {label!r} has {count} usable photo{'s' * (count != 1)}; at least {MIN_PHOTOS} are needed,"
                " one each for training, validation and testing. Add photos, or leave small classes out with"
                f" --min-photos {MIN_PHOTOS}."
            )
    return problems
