"""How sure the model has to be before it answers, for a budget of errors, and what that costs in answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.answers.budget import RiskCurve
from clownfish.evaluation.grouping import Groups, weigh_by_group
from clownfish.evaluation.intervals import estimate_share

NOTHING: Mapping[str, None] = {"value": None, "low": None, "high": None}
"""A share of which nothing can be told."""
_MAX_POINTS = 200


def make_risk_curve(probabilities: NDArray[np.float64], labels: NDArray[np.int64], groups: Groups) -> RiskCurve:
    """Count answers and errors for every threshold, or for 200 of them where there are more.

    Args:
        probabilities: calibrated, of photos the model was not trained on, shape (num_photos, num_classes).
        labels: shape (num_photos,).
        groups: of each photo; its photos share one vote.

    Returns:
        The curve, from the highest threshold to the lowest.
    """
    certainty = probabilities.max(axis=1)
    wrong = probabilities.argmax(axis=1) != labels
    weights = weigh_by_group(groups)
    order = np.argsort(-certainty, kind="stable")
    thresholds = certainty[order]
    answered, wrongly, expected = (
        np.cumsum((weights * share)[order]) for share in (np.ones(len(wrong)), wrong, 1 - certainty)
    )
    ends = np.flatnonzero(np.append(thresholds[1:] < thresholds[:-1], True))  # equal certainties stand or fall together
    if len(ends) > _MAX_POINTS:
        ends = ends[np.linspace(0, len(ends) - 1, _MAX_POINTS).round().astype(np.int64)]
    return RiskCurve(
        # rounded down, so that the photo which set a threshold is answered after rounding too
        thresholds=np.floor(thresholds[ends] * 1e6) / 1e6,
        answered=answered[ends].round(4),
        wrong=wrongly[ends].round(4),
        expected=expected[ends].round(4),
    )


def describe_answers(answered: NDArray[np.bool_], wrong: NDArray[np.bool_], groups: Groups) -> dict[str, Any]:
    """Compute how many photos were answered and how many of those wrongly.

    Args:
        answered: shape (num_photos,).
        wrong: whether the best guess is wrong, shape (num_photos,).
        groups: of each photo; the intervals count them.

    Returns:
        "num_photos", "num_answered", "num_wrong" (among those answered), "answered" and "error", each with "value",
        "low" and "high"; None where there is nothing to divide by.
    """
    return {
        "num_photos": len(answered),
        "num_answered": int(answered.sum()),
        "num_wrong": int((answered & wrong).sum()),
        "answered": describe_share(answered, groups),
        "error": describe_share(wrong[answered], groups[answered]),
    }


def describe_share(found: NDArray[np.bool_], groups: Groups) -> dict[str, float | None]:
    """Compute a share of photos, with an interval that counts groups.

    Args:
        found: shape (num_photos,).
        groups: of each photo.

    Returns:
        "value", "low" and "high"; None without photos.
    """
    if len(found) == 0:
        return dict(NOTHING)
    estimate = estimate_share(found, groups)
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def list_curve(curve: RiskCurve, num_points: int = 20) -> list[dict[str, float]]:
    """List the points of a risk-coverage plot.

    Args:
        curve: of out-of-fold answers.
        num_points: at most so many.

    Returns:
        For each point "threshold", "answered" (share of groups) and "error" (share of those answered).
    """
    positions = np.unique(np.linspace(0, len(curve.thresholds) - 1, num_points).round().astype(np.int64))
    return [
        {
            "threshold": float(curve.thresholds[position]),
            "answered": float(curve.answered[position] / curve.answered[-1]),
            "error": float(curve.wrong[position] / curve.answered[position]),
        }
        for position in positions
    ]
