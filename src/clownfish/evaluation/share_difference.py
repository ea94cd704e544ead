"""By how much two models differ in accuracy, judged on the same photos."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.intervals import Estimate, estimate_share


def estimate_difference(before: NDArray[np.bool_], after: NDArray[np.bool_], groups: NDArray[Any]) -> Estimate:
    """Estimate the difference of two shares of right answers to the same photos.

    The interval joins those of the two shares (which know of groups), less what the models have in common. Unlike a
    bootstrap it does not shrink to nothing where no photo of a few happens to change.

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
    correlation = _correlate(before, after)
    value = second.value - first.value

    def join(one: float, other: float) -> float:
        return math.sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0.0))

    return Estimate(
        value=value,
        low=value - join(second.value - second.low, first.high - first.value),
        high=value + join(second.high - second.value, first.value - first.low),
    )


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
    return excess / math.sqrt(product)
