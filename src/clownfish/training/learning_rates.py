"""A learning rate from a range test: a few steps with ever larger rates, and where the loss fell fastest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MEMORY = 0.9
"""Share of the smoothed loss that is kept at each step."""
_MIN_POINTS = 10
_DIVERGED = 4.0
"""Times the lowest smoothed loss: what lies beyond says nothing any more."""
_CLEAR = 2.0
"""A fall of so many times the scatter of the smoothed loss is no chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RangeTest:
    """The loss at growing learning rates."""

    rates: NDArray[np.float64]
    """Of each step, growing, shape (num_steps,)."""
    losses: NDArray[np.float64]
    """Of its batch, before the step, shape (num_steps,); it may end where the loss was no number any more."""
    smoothed: NDArray[np.float64]
    """Exponential mean of the losses, shape (num_steps,)."""
    suggestion: float | None
    """None if the loss did not fall clearly."""


def judge_range_test(rates: Sequence[float], losses: Sequence[float]) -> RangeTest:
    """Suggest the learning rate at which the smoothed loss fell most steeply.

    At most a tenth of the rate with the lowest loss is taken, since the loss goes on falling for some steps where the
    rate is already too large.

    Args:
        rates: of each step, growing.
        losses: of its batch.

    Returns:
        The curve, and the suggestion.

    Source:
        Smith 2017, Cyclical learning rates for training neural networks, section 3.3.
    """
    num = min(len(rates), len(losses))
    own_rates, own = np.array(rates[:num], np.float64), np.array(losses[:num], np.float64)
    smoothed = np.empty(num)
    mean = 0.0
    for step in range(num):
        mean = _MEMORY * mean + (1 - _MEMORY) * own[step]
        smoothed[step] = mean / (1 - _MEMORY ** (step + 1))
    return RangeTest(rates=own_rates, losses=own, smoothed=smoothed, suggestion=_suggest(own_rates, own, smoothed))


def _suggest(rates: NDArray[np.float64], losses: NDArray[np.float64], smoothed: NDArray[np.float64]) -> float | None:
    finite = np.isfinite(smoothed)
    end = len(smoothed) if finite.all() else int(finite.argmin())
    if end < _MIN_POINTS:
        return None
    lowest = int(smoothed[:end].argmin())
    beyond = np.flatnonzero(smoothed[:end] > _DIVERGED * smoothed[lowest])
    if len(beyond) and beyond[0] > lowest:
        end = int(beyond[0])
    # an exponential mean of independent losses scatters by sqrt((1 - m) / (1 + m)) of what they do
    scatter = float(np.diff(losses[: lowest + 1]).std() / np.sqrt(2)) if lowest > 1 else np.inf
    scatter *= np.sqrt((1 - _MEMORY) / (1 + _MEMORY))
    first = smoothed[: max(_MIN_POINTS // 2, 1)].mean()
    if lowest < _MIN_POINTS // 2 or first - smoothed[lowest] <= _CLEAR * scatter:
        return None
    slopes = np.gradient(smoothed[: lowest + 1], np.log(rates[: lowest + 1]))
    # the first means hold few losses
    start = min(_MIN_POINTS // 2, lowest)
    steepest = start + int(slopes[start:].argmin())
    return float(f"{min(rates[steepest], rates[lowest] / 10):.2g}")
