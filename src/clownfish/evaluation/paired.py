"""Whether one classifier is better than another on the same photos, or only looks so by chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.intervals import Estimate, estimate_share


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedTest:
    """Two classifiers on the same photos."""

    num_photos: int
    num_groups: int
    only_first: int
    """Photos that only the first names right."""
    only_second: int
    difference: float
    """Accuracy of the second minus that of the first."""
    low: float
    """Of the 95 % interval of the difference, for other groups of photos of the same kind."""
    high: float
    p_value: float
    """How often chance alone would make so large a difference, if none were better: two-sided."""


def compare_paired(first: NDArray[np.bool_], second: NDArray[np.bool_], groups: NDArray[np.int64]) -> PairedTest:
    """Compare which photos two classifiers name right.

    If neither is better, then in each group of photos the two could be exchanged. The test counts in how many of all
    such exchanges the difference would be as large as it is. With one photo a group this is McNemar's exact test, which
    looks at the photos that only one of them names right; with larger groups it does not take the photos of a group for
    independent evidence. The interval is that of
    `estimate_difference`.

    Args:
        first: whether the first classifier names each photo right, shape (num_photos,), at least one photo.
        second: the same of the second.
        groups: number of each photo's group, shape (num_photos,).

    Returns:
        The comparison.

    Source:
        McNemar (1947), Psychometrika 12, 153-157; Fisher (1935), The design of experiments, section 21, for the
        exchange of signs.
    """
    gains = second.astype(np.int64) - first.astype(np.int64)
    _, positions = np.unique(groups, return_inverse=True)
    of_groups = np.bincount(positions, weights=gains).round().astype(np.int64)
    estimate = estimate_difference(first, second, groups)
    return PairedTest(
        num_photos=len(first),
        num_groups=len(of_groups),
        only_first=int((gains < 0).sum()),
        only_second=int((gains > 0).sum()),
        difference=estimate.value,
        low=estimate.low,
        high=estimate.high,
        p_value=_exchange_signs(of_groups),
    )


def estimate_difference(before: NDArray[np.bool_], after: NDArray[np.bool_], groups: NDArray[Any]) -> Estimate:
    """Estimate the difference of two shares of right answers to the same photos.

    The interval joins those of the two shares (which know of groups), less what the models have in common. Unlike a
    bootstrap it does not shrink to nothing where no photo of a few happens to change. What they have in common is taken
    from photos or from whole groups, whichever is less: a model may be better in some groups and worse in others,
    though both are right about the same easy photos.

    Args:
        before: whether the first model is right, shape (num_photos,), at least one.
        after: likewise for the second.
        groups: name or number of each photo's group, shape (num_photos,).

    Returns:
        The second share less the first, with a 95 % interval.

    Source:
        Newcombe (1998), Statistics in Medicine 17, 2635-2650, method 10.
    """
    first, second = estimate_share(before, groups), estimate_share(after, groups)
    correlation = min(_correlate(before, after), _correlate_groups(before, after, groups))
    value = second.value - first.value

    def join(one: float, other: float) -> float:
        return sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0.0))

    return Estimate(
        value=value,
        low=value - join(second.value - second.low, first.high - first.value),
        high=value + join(second.high - second.value, first.value - first.low),
    )


def adjust_for_number(p_values: Sequence[float]) -> list[float]:
    """Raise p-values for their number, so that of all differences called real none is false in 95 of 100 cases.

    Args:
        p_values: one a comparison.

    Returns:
        The adjusted ones, in the same order.

    Source:
        Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = highest
    return adjusted


def _exchange_signs(gains: NDArray[np.int64]) -> float:
    """The share of all choices of signs for which the sum is at least as far from zero: exact.

    The sum of independent terms +-a has the characteristic function prod cos(w a); its inverse Fourier transform over
    the whole numbers gives the probability of every sum.
    """
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    largest = int((sizes * counts).sum())
    length = 2 * largest + 1
    angles = 2 * np.pi * np.arange(length) / length
    transform = np.ones(length)
    for size, count in zip(sizes, counts, strict=True):
        transform *= np.cos(angles * size) ** count
    probabilities = np.fft.fft(transform).real / length  # entry s is the probability of the sum s, modulo the length
    sums = np.minimum(np.arange(length), length - np.arange(length))
    share = float(probabilities[sums >= abs(int(gains.sum()))].sum())
    return min(1.0, max(0.0, share))


def _correlate_groups(before: NDArray[np.bool_], after: NDArray[np.bool_], groups: NDArray[Any]) -> float:
    """Correlation of the groups' sums of deviations; 1 where one of the models is always right or always wrong."""
    numbers = np.unique(groups, return_inverse=True)[1]
    first, second = (np.bincount(numbers, right - right.mean()) for right in (before, after))
    length = sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / length if length > 0 else 1.0


def _correlate(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float:
    """Correlation of being right, with the continuity correction of the source."""
    both, neither = int((before & after).sum()), int((~before & ~after).sum())
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    product = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    if product == 0:
        return 0.0
    excess = float(both * neither - lost * won)
    if excess > 0:
        excess = max(excess - len(before) / 2, 0.0)
    return excess / sqrt(product)
