"""Confusion matrices, prepared for drawing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_CLASSES_WITH_SHARES = 12
"""Up to so many classes a cell has room for the count and the share."""
MAX_CLASSES_AS_TABLE = 40
"""Up to so many classes the matrix is a table; beyond, it is a small picture."""
SHADE_POWER = 0.6
"""Of the share that a cell is coloured by: below 1, so that a single mistake among many photos can still be seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """How many photos of one class were predicted as one class."""

    count: int
    share: float
    """Of the photos of the true class; 0 if there are none."""
    is_right: bool
    """True class and predicted class are the same."""
    shade: float
    """How strongly the cell is coloured, 0 to 1."""

    @property
    def is_strong(self) -> bool:
        """White text is easier to read on it than black; at this shade both have a contrast of 4.5 or more."""
        return self.shade > 0.825


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Photos of one class that were taken for another."""

    label: str
    predicted: str
    count: int
    num_photos: int
    """All photos of the true class."""

    @property
    def share(self) -> float:
        """Of the photos of the true class."""
        return self.count / self.num_photos


@dataclass(frozen=True, kw_only=True, slots=True)
class MutualPair:
    """Two classes that are taken for each other."""

    first: str
    """The class of which more photos were mistaken."""
    second: str
    first_as_second: int
    """Photos of the first class that were taken for the second."""
    second_as_first: int
    num_photos: int
    """All photos of both classes."""

    @property
    def count(self) -> int:
        """Photos of either class that were taken for the other."""
        return self.first_as_second + self.second_as_first

    @property
    def share(self) -> float:
        """Of the photos of both classes."""
        return self.count / self.num_photos


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """A confusion matrix."""

    classes: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    """A row a true class, a column a predicted class."""
    pairs: tuple[Pair, ...]
    """Every kind of mistake that was made, the most frequent first."""

    @property
    def num_photos(self) -> int:
        """All photos in the matrix."""
        return sum(cell.count for row in self.rows for cell in row)


def prepare_confusion(classes: Sequence[str], matrix: Sequence[Sequence[int]] | None) -> Confusion | None:
    """Work out shares, colours and mistakes.

    Args:
        classes: class names.
        matrix: counts, a row a true class, a column a predicted class; None or empty if nothing was counted.

    Returns:
        The matrix; None if it holds no photo.
    """
    if not matrix or not any(map(sum, matrix)):
        return None
    rows = tuple(
        tuple(_make_cell(count, sum(counts), is_right=row == column) for column, count in enumerate(counts))
        for row, counts in enumerate(matrix)
    )
    pairs = sorted(_find_pairs(classes, matrix), key=lambda pair: (-pair.count, -pair.share))
    return Confusion(classes=tuple(classes), rows=rows, pairs=tuple(pairs))


def find_mutual_pairs(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> list[MutualPair]:
    """Find the classes that are taken for each other.

    Args:
        classes: class names.
        matrix: counts, a row a true class, a column a predicted class; may be empty.

    Returns:
        Every pair with a mistake, the most frequent first.
    """
    pairs = []
    for row in range(len(matrix)):
        for column in range(row):
            one, two = (row, column) if matrix[row][column] >= matrix[column][row] else (column, row)
            if matrix[one][two]:
                pairs.append(
                    MutualPair(
                        first=classes[one],
                        second=classes[two],
                        first_as_second=matrix[one][two],
                        second_as_first=matrix[two][one],
                        num_photos=sum(matrix[one]) + sum(matrix[two]),
                    )
                )
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share))


def _make_cell(count: int, num_photos: int, *, is_right: bool) -> Cell:
    share = count / num_photos if num_photos else 0.0
    return Cell(count=count, share=share, is_right=is_right, shade=round(share**SHADE_POWER, 3))


def _find_pairs(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> Iterator[Pair]:
    for row, counts in enumerate(matrix):
        for column, count in enumerate(counts):
            if count and row != column:
                yield Pair(label=classes[row], predicted=classes[column], count=count, num_photos=sum(counts))
