"""How many errors a user accepts among the answers, and the threshold that keeps to it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import ConfigError

DEFAULT_MAX_ERROR = 0.05
_NAMES = ("thresholds", "answered", "wrong", "expected")


@dataclass(frozen=True, kw_only=True, slots=True)
class RiskCurve:
    """What happens if only photos at or above a certainty are answered, counted in groups.

    Each group counts once, its photos sharing that one vote; so the counts need not be whole.
    """

    thresholds: NDArray[np.float64]
    """Largest probability from which on photos are answered, descending, shape (num_points,)."""
    answered: NDArray[np.float64]
    """Groups answered at each threshold, shape (num_points,)."""
    wrong: NDArray[np.float64]
    """Groups answered wrongly, shape (num_points,)."""
    expected: NDArray[np.float64]
    """As many would be wrong by the calibrated probabilities, shape (num_points,)."""

    def find_threshold(self, max_error: float) -> float | None:
        """Find the lowest threshold that keeps the errors among answered photos within a budget.

        With e wrong of a answered groups, (e + 1) / (a + 1) must be at most the budget: the correction of conformal
        risk control for the loss (wrong - budget) of an answered photo, whose largest value is 1 - budget. That loss
        does not fall steadily with the threshold, so the lowest of many would often be one where few errors were
        counted by luck; therefore e is the errors counted or expected, whichever is more.

        Args:
            max_error: the budget, a share.

        Returns:
            The threshold; None if no threshold keeps the budget.

        Source:
            Angelopoulos et al. 2024, Conformal risk control, equation 4.
        """
        within = np.flatnonzero(self._bound_error() <= max_error)
        return float(self.thresholds[within[-1]]) if len(within) else None

    def find_smallest_budget(self) -> float:
        """Find the smallest budget that some threshold keeps."""
        return float(self._bound_error().min())

    def _bound_error(self) -> NDArray[np.float64]:
        bound: NDArray[np.float64] = (np.maximum(self.wrong, self.expected) + 1) / (self.answered + 1)
        return bound

    def to_json(self) -> dict[str, list[float]]:
        """Turn into lists, for the model file."""
        return {name: getattr(self, name).tolist() for name in _NAMES}


def read_risk_curve(content: dict[str, Any]) -> RiskCurve:
    """Turn `RiskCurve.to_json` back.

    Args:
        content: the lists.

    Returns:
        The curve.
    """
    thresholds, answered, wrong, expected = (np.array(content[name], np.float64) for name in _NAMES)
    return RiskCurve(thresholds=thresholds, answered=answered, wrong=wrong, expected=expected)


def parse_max_error(text: str | float) -> float:
    """Read a budget such as "5%" or "0.05".

    Args:
        text: per cent with the sign, or a share.

    Returns:
        The share.

    Raises:
        ConfigError: it is no number, or not between 0 and 100 %.
    """
    try:
        words = str(text).strip()
        share = float(words.removesuffix("%")) / 100 if words.endswith("%") else float(words)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise ConfigError(
            f"max_error is {text}; it must be the share of wrong answers that you accept, above 0 and below 1, such as"
            " 5% or 0.05."
        )
    return share
