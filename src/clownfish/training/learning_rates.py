"""A learning rate from a range test: a few steps with ever larger rates, and where the loss was lowest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MEMORY = 0.9
"""Share of the smoothed loss that is kept at each step."""
_NUM_FIRST = 20
"""Steps whose rates are too small to change anything."""
_CLEAR = 2.5
"""A fall of so many standard errors is hardly chance."""
_BACK_OFF = 10.0


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
    """Suggest a tenth of the learning rate with the lowest smoothed loss.

    A tenth, since the loss goes on falling for some steps where the rate is already too large for a whole training, and
    the mean is late. Where the loss falls most steeply would be the other rule, but with batches of a few dozen mixed
    photos that is where chance has it.

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
    if end < 2 * _NUM_FIRST:
        return None
    lowest = int(smoothed[:end].argmin())
    if lowest < _NUM_FIRST:
        return None
    # differences of neighbours, so that the fall itself is no scatter
    scatter = np.diff(losses[: lowest + 1]).std() / np.sqrt(2)
    # of the mean of the first losses, and of an exponential mean with memory m: (1 - m) / (1 + m) of their variance
    error = scatter * np.sqrt(1 / _NUM_FIRST + (1 - _MEMORY) / (1 + _MEMORY))
    if losses[:_NUM_FIRST].mean() - smoothed[lowest] <= _CLEAR * error:
        return None
    return float(f"{rates[lowest] / _BACK_OFF:.2g}")
