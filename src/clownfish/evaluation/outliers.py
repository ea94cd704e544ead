"""Photos whose looks stand out from the rest of the set: blurred, dark, bright, flat, or small."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAD_TO_DEVIATION = 1.4826
"""The median absolute deviation of a normal distribution times this is its standard deviation."""
MIN_SCORE = 3.5
"""Robust standard deviations, as Iglewicz & Hoaglin advise."""
_MIN_PHOTOS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Outliers:
    """Photos that stand out in one way."""

    name: str
    rows: NDArray[np.int64]
    """Most extreme first."""
    scores: NDArray[np.float64]
    """Robust standard deviations from the median, with its sign, shape (num_rows,)."""


def find_outliers(name: str, values: NDArray[np.float64], *, direction: int) -> Outliers:
    """Find values far from the median (Iglewicz & Hoaglin 1993).

    The distance is measured in deviations of the same side, since sharpness and the like are skewed.

    Args:
        name: of what stands out.
        values: one a photo, on a scale on which they are about symmetric (logarithms of sizes).
        direction: -1 for values that are too low, 1 for too high.

    Returns:
        The photos; none in a set of fewer than 20, or where most values are the same.
    """
    nothing = Outliers(name=name, rows=np.empty(0, np.int64), scores=np.empty(0))
    if len(values) < _MIN_PHOTOS:
        return nothing
    distance = direction * (values - np.median(values))
    side = distance[distance > 0]
    spread = max(float(np.median(np.abs(distance))), float(np.median(side)) if len(side) else 0.0) * _MAD_TO_DEVIATION
    if spread <= 0:
        return nothing
    scores = distance / spread
    rows = np.flatnonzero(scores > MIN_SCORE)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    return Outliers(name=name, rows=rows, scores=direction * scores[rows])
