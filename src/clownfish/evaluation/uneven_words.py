"""Words that stand beside the photos of one class and hardly any other: a format, a camera, a mark of augmentation.

Each word and class is a table of two by two, photos with and without the word inside and outside the class, counted in
groups so that one burst is one piece of evidence; Fisher's exact test, with Bonferroni's correction for all tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.light_statistics import measure_excess

_SIGNIFICANCE = 0.01
MIN_DIFFERENCE = 0.3
"""Of the shares of photos with the word, inside and outside the class."""
_MAX_WORDS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class UnevenWord:
    """A word that goes with one class."""

    word: str
    label: int
    """Number of the class."""
    share_inside: float
    """Of the class's photos that have the word."""
    share_outside: float
    """Of the other photos."""
    p_value: float
    """After the correction for many tests."""
    examples: tuple[int, ...]
    """Rows of the class with the word."""


def find_uneven_words(
    words: Sequence[str],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    num_classes: int,
    *,
    min_difference: float = MIN_DIFFERENCE,
) -> list[UnevenWord]:
    """Find words that one class has far more often than the others.

    Args:
        words: one a photo; "" for none.
        labels: shape (num_photos,).
        groups: shape (num_photos,).
        num_classes: labels are in [0, num_classes).
        min_difference: of the shares inside and outside.

    Returns:
        What was found, largest difference first.
    """
    array = np.array(words, str)
    names, counts = np.unique(array[array != ""], return_counts=True)
    names = names[np.argsort(-counts, kind="stable")][:_MAX_WORDS]
    found = []
    for word in names:
        has = array == word
        for number in range(num_classes):
            own = labels == number
            if not own.any() or own.all():
                continue
            inside, outside = float(has[own].mean()), float(has[~own].mean())
            if inside - outside < min_difference:
                continue
            table = [
                [_count(groups[own & has]), _count(groups[own & ~has])],
                [_count(groups[~own & has]), _count(groups[~own & ~has])],
            ]
            p_value = min(1.0, measure_excess(table) * len(names) * num_classes)
            if p_value < _SIGNIFICANCE:
                rows = np.flatnonzero(own & has)[:3]
                found.append(
                    UnevenWord(
                        word=str(word),
                        label=number,
                        share_inside=inside,
                        share_outside=outside,
                        p_value=p_value,
                        examples=tuple(int(row) for row in rows),
                    )
                )
    return sorted(found, key=lambda item: item.share_outside - item.share_inside)


def _count(groups: NDArray[np.int64]) -> int:
    return len(np.unique(groups))
