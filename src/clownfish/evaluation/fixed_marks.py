"""Does one class carry a mark that is always at the same place: a date stamp, a logo, a frame?

Photos of different things have no fine structure in common, so the fine structure of their average is near zero. A mark
stays. The Laplacian of small grey pictures, divided by its local strength, is averaged over a class and compared
with the other classes by Student's t at each pixel; squares are averaged over windows of 5 x 5, and the largest in
the outer part of the picture counts, where subjects seldom are. What is usual is learned by giving the labels to other
groups (Westfall & Young 1993: the largest of each permutation, so that many places cost no false alarm). Subjects
that fill their photos and always lie alike reach the edge too, but they differ even more in the middle; then nothing
is said.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

MIN_GROUPS = 10
"""Of a class, to judge it."""
_DEPTH_SHARE = 10 / 64
"""How far from the edge is searched."""
_WINDOW = 5
_NUM_PERMUTATIONS = 99
_MIN_RATIO = 1.7
"""How many times the 95 % quantile of permuted labels; single permutations reach 1.6."""
_MIN_RATIO_TO_MIDDLE = 1.5
"""How many times what the class has in common in the middle of its photos."""
_MIN_EFFECT = 0.35
"""Difference in standard deviations, root mean square over the window."""
_SMALL_LEVEL = 4.0
_MAX_MARKS = 10
_NUM_SIZES = 6
_CHUNK = 256
_SIZE_QUANTILES = np.linspace(0, 1, _NUM_SIZES)


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedMark:
    """A mark that the photos of one class have in common."""

    label: int
    """Number of the class."""
    row: float
    column: float
    """Centre of the mark, as shares of height and width from the top left."""
    ratio: float
    """How many times stronger than the strongest of 95 in 100 permutations; at least 1.7."""
    effect: float
    """Difference from the other classes in standard deviations."""
    examples: tuple[int, ...]
    """Rows that show it most clearly."""


def find_fixed_marks(
    pictures: NDArray[np.uint8], labels: NDArray[np.int64], groups: NDArray[np.int64], num_classes: int, *, seed: int
) -> list[FixedMark]:
    """Find classes with a mark at a fixed place near the edge.

    Args:
        pictures: grey, shape (num_photos, side, side), each the whole photo squeezed to a square.
        labels: shape (num_photos,).
        groups: shape (num_photos,); one photo of each group and class is used.
        num_classes: labels are in [0, num_classes).
        seed: of the permutations.

    Returns:
        At most one mark a class, strongest first, at most ten.
    """
    _, rows = np.unique(groups * num_classes + labels, return_index=True)
    rows = np.sort(rows)
    structure = _find_structure(pictures[rows])
    random = np.random.default_rng(seed)
    marks: list[FixedMark] = []
    while (
        len(marks) < _MAX_MARKS
    ):  # a class with a mark makes the others look different too, so it is taken out before they are judged
        found = _find_strongest(structure, labels[rows], num_classes, random)
        if found is None:
            break
        marks.append(replace(found, examples=tuple(int(rows[example]) for example in found.examples)))
        kept = labels[rows] != found.label
        structure, rows = structure[kept], rows[kept]
    return marks


def _find_strongest(
    structure: NDArray[np.float32], labels: NDArray[np.int64], num_classes: int, random: np.random.Generator
) -> FixedMark | None:
    """The clearest mark of all classes, with examples among these photos; None if no class has one."""
    counts = np.bincount(labels, minlength=num_classes)
    side = structure.shape[1]
    outer = _find_outer(side)
    best: FixedMark | None = None
    judged = np.flatnonzero((counts >= MIN_GROUPS) & (len(labels) - counts >= MIN_GROUPS))
    if not len(judged):
        return None
    usual = _find_usual(structure, np.unique(counts[judged]), random)
    all_strengths, differences = _compare(structure, labels == judged[:, None])
    for number, strengths, difference in zip(judged, all_strengths, differences, strict=True):
        own, size = labels == number, int(counts[number])
        place = int(np.where(outer, strengths, 0).argmax())
        middle = float(strengths[~outer].max(initial=0.0))
        ratio = float(strengths[place]) / max(usual[size], _MIN_RATIO_TO_MIDDLE / _MIN_RATIO * middle, 1e-9)
        effect = float(np.sqrt(strengths[place] * (1 / size + 1 / (len(own) - size))))
        is_stronger = best is None or ratio > best.ratio
        if ratio >= _MIN_RATIO and effect >= _MIN_EFFECT and is_stronger and _has_it(structure, own, place):
            row, column = divmod(place, side)
            best = FixedMark(
                label=int(number),
                row=(row + 0.5) / side,
                column=(column + 0.5) / side,
                ratio=ratio,
                effect=effect,
                examples=tuple(_pick_examples(structure, difference, place, own).tolist()),
            )
    return best


def _find_usual(
    structure: NDArray[np.float32], sizes: NDArray[np.int64], random: np.random.Generator
) -> dict[int, float]:
    """How strong the strongest mark is in 95 of 100 draws, by the number of photos drawn.

    It changes little from a size to the next: where there are many, it is found for some and interpolated.
    """
    tried = sizes if len(sizes) <= _NUM_SIZES else np.unique(np.quantile(sizes, _SIZE_QUANTILES).astype(np.int64))
    outer = _find_outer(structure.shape[1])
    strongest = []
    for size in tried:
        own = np.arange(len(structure)) < size
        drawn = np.array([random.permutation(own) for _ in range(_NUM_PERMUTATIONS)])
        strongest.append(float(np.quantile(_compare(structure, drawn)[0][:, outer].max(axis=1), 0.95)))
    return dict(zip(sizes.tolist(), np.interp(sizes, tried, strongest).tolist(), strict=True))


def _has_it(structure: NDArray[np.float32], own: NDArray[np.bool_], place: int) -> bool:
    """Whether it is this class that has something in common there, and not the others."""
    window = _cut_window(structure.shape[1], place)
    inside, outside = structure[window][own].mean(axis=0), structure[window][~own].mean(axis=0)
    return float(np.square(inside).sum()) > float(np.square(outside).sum())


def _cut_window(side: int, place: int) -> tuple[slice, slice, slice]:
    row, column = divmod(place, side)
    reach = _WINDOW
    return (
        slice(None),
        slice(max(0, row - reach), row + reach + 1),
        slice(max(0, column - reach), column + reach + 1),
    )


def _find_structure(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Laplacian over its local root mean square, so that a busy background does not drown a mark."""
    from scipy.ndimage import uniform_filter

    structure = np.empty(pictures.shape, np.float32)
    for start in range(0, len(pictures), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        padded = np.pad(pictures[chunk].astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="edge")
        fine = 4 * padded[:, 1:-1, 1:-1] - padded[:, :-2, 1:-1] - padded[:, 2:, 1:-1]
        fine -= padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
        strength = np.sqrt(uniform_filter(np.square(fine), size=(1, 9, 9)))
        structure[chunk] = fine / (strength + _SMALL_LEVEL)
    return structure


def _compare(
    structure: NDArray[np.float32], members: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Mean square of t in the window around each pixel, and the differences of the means.

    Args:
        structure: shape (num_photos, side, side).
        members: shape (num_sets, num_photos), sets of photos to compare with the rest.

    Returns:
        Both of shape (num_sets, side * side).
    """
    from scipy.ndimage import uniform_filter

    num, side = structure.shape[:2]
    flat = structure.reshape(num, -1)
    sizes = members.sum(axis=1, keepdims=True).astype(np.float32)
    sums = members.astype(np.float32) @ flat
    difference = sums / sizes - (flat.sum(axis=0) - sums) / (num - sizes)
    # by some columns at a time, since the variance of all would need a second matrix
    blocks = [flat[:, start : start + _CHUNK].var(axis=0) for start in range(0, flat.shape[1], _CHUNK)]
    variance = np.maximum(np.concatenate(blocks), 1e-6)
    squares = (np.square(difference) / variance / (1 / sizes + 1 / (num - sizes))).reshape(-1, side, side)
    windows = uniform_filter(squares, size=(1, _WINDOW, _WINDOW), mode="nearest")
    return windows.reshape(len(members), -1).astype(np.float64), difference


def _find_outer(side: int) -> NDArray[np.bool_]:
    """Which pixels are searched, shape (side * side,)."""
    depth = max(1, round(_DEPTH_SHARE * side))
    outer = np.ones((side, side), bool)
    outer[depth:-depth, depth:-depth] = False
    return outer.reshape(-1)


def _pick_examples(
    structure: NDArray[np.float32], difference: NDArray[np.float32], place: int, own: NDArray[np.bool_], most: int = 3
) -> NDArray[np.int64]:
    """Members that agree best with the mark."""
    side = structure.shape[1]
    window = _cut_window(side, place)
    template = difference.reshape(1, side, side)[window]
    agreement = (structure[window] * template).sum(axis=(1, 2))
    members = np.flatnonzero(own)
    return members[np.argsort(-agreement[members], kind="stable")[:most]]
