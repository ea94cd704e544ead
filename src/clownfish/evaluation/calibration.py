"""Probabilities that mean what they say: one temperature, and how far from the truth they are before and after."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.grouping import Groups, count_groups, weigh_by_group
from clownfish.evaluation.intervals import estimate_share
from clownfish.evaluation.metrics import compute_cross_entropy

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.25, 4.0
_SMALLEST_PROBABILITY = 1e-12
_NUM_BINS = 10
_NUM_SIMULATIONS = 200
_NUM_HALVINGS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """The temperature that was found, and what it does to photos that did not take part in finding it."""

    temperature: float
    """Logits are divided by it; 1 where a temperature did not help."""
    found: float
    """The best temperature, kept or not."""
    probabilities: NDArray[np.float64]
    """Of every photo, by a temperature from the other folds, shape (num_photos, num_classes)."""


def calibrate(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    groups: Groups,
    chosen: NDArray[np.bool_],
) -> Calibration:
    """Find one temperature on out-of-fold probabilities, and keep it only if it helps photos it was not found on.

    Args:
        probabilities: out-of-fold, shape (num_photos, num_classes).
        labels: shape (num_photos,).
        folds: shape (num_photos,).
        groups: of each photo; the photos of a group share one vote.
        chosen: which photos may be used to decide, shape (num_photos,); not the test photos.

    Returns:
        The calibration.

    Source:
        Guo et al. 2017, arXiv 1706.04599, section 4.2.
    """
    weights = weigh_by_group(groups) * chosen
    found = fit_temperature(probabilities, labels, weights)
    crossed = probabilities.copy()
    for fold in np.unique(folds):
        inside = folds == fold
        own = fit_temperature(probabilities, labels, weights * ~inside)
        crossed[inside] = apply_temperature(probabilities[inside], own)
    gain = _compute_losses(probabilities, labels) - _compute_losses(crossed, labels)
    helps = bool((weights * gain).sum() > 0)
    return Calibration(
        temperature=found if helps else 1.0, found=found, probabilities=crossed if helps else probabilities
    )


def fit_temperature(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> float:
    """Find the temperature of the lowest cross-entropy.

    In b = 1 / temperature the cross-entropy is convex; its derivative, the mean of E_p[l] - l_y with l the logits and
    p = softmax(b l), is brought to 0 by halving the interval.

    Args:
        probabilities: shape (num_photos, num_classes); their logarithms serve as logits.
        labels: shape (num_photos,).
        weights: of each photo, shape (num_photos,).

    Returns:
        The temperature, from 0.25 to 4; 1 where no photo has any weight.
    """
    used = weights > 0
    if not used.any():
        return 1.0
    logits = _take_logarithms(probabilities[used])
    of_truth = logits[np.arange(len(logits)), labels[used]]
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        slope = (_soften(logits, middle) * logits).sum(axis=1) - of_truth
        if float(weights[used] @ slope) > 0:
            high = middle
        else:
            low = middle
    return round(2 / (low + high), 6)


def apply_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Divide the logits by the temperature.

    Args:
        probabilities: shape (num_photos, num_classes).
        temperature: above 1 makes them less certain.

    Returns:
        Probabilities of the same shape.
    """
    return probabilities if temperature == 1 else _soften(_take_logarithms(probabilities), 1 / temperature)


def describe_calibration(
    before: NDArray[np.float64], after: NDArray[np.float64], labels: NDArray[np.int64], groups: Groups, *, seed: int
) -> dict[str, Any]:
    """Compute how far probabilities are from the truth.

    Args:
        before: uncalibrated, shape (num_photos, num_classes).
        after: calibrated, of the same shape.
        labels: shape (num_photos,).
        groups: of each photo.
        seed: of the simulation.

    Returns:
        "before" and "after": "cross_entropy", "brier", "calibration_error" with its "expected" range under perfect
        calibration; "bins": of a reliability plot, after calibration.
    """

    def describe(probabilities: NDArray[np.float64]) -> dict[str, Any]:
        return {
            "cross_entropy": compute_cross_entropy(labels, probabilities),
            "brier": compute_brier_score(labels, probabilities),
            "calibration_error": describe_calibration_error(probabilities, labels, groups, seed=seed),
        }

    return {"before": describe(before), "after": describe(after), "bins": list_bins(after, labels, groups)}


def compute_brier_score(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Compute the mean squared difference to the truth, summed over classes: 0 for certain and right, at most 2."""
    of_truth = probabilities[np.arange(len(labels)), labels]
    return float(((probabilities**2).sum(axis=1) - 2 * of_truth + 1).mean())


def compute_calibration_error(certainty: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Compute the root mean square of (certainty - share right) over bins of equal size, freed of its bias.

    The square of a bin's difference is too large by the variance of its share, r (1 - r) / (n - 1), which is
    subtracted; what is left below 0 in total counts as 0.

    Args:
        certainty: largest probability of each photo, shape (num_photos,).
        right: shape (num_photos,).

    Returns:
        The error, a share.

    Source:
        Kumar, Liang & Ma 2019, arXiv 1909.10155, definition 5.1.
    """
    return float(_compute_calibration_errors(certainty, right[None])[0])


def _compute_calibration_errors(certainty: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The same for several outcomes of the same photos: right of shape (num_outcomes, num_photos)."""
    order = np.argsort(certainty, kind="stable")
    sizes = np.array([len(own) for own in np.array_split(order, max(1, min(_NUM_BINS, len(order) // 2)))])
    starts = np.cumsum(sizes) - sizes
    shares = np.add.reduceat(right[:, order], starts, axis=1, dtype=np.float64) / sizes
    means = np.add.reduceat(certainty[order], starts) / sizes
    noise = shares * (1 - shares) / np.maximum(sizes - 1, 1)
    totals = (((means - shares) ** 2 - noise) * sizes).sum(axis=1)
    errors: NDArray[np.float64] = np.sqrt(np.maximum(totals / len(order), 0.0))
    return errors


def describe_calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], groups: Groups, *, seed: int
) -> dict[str, Any]:
    """Compute the calibration error and the range it would have if the probabilities were exactly right.

    For the range, each photo is taken for right with its own probability; the photos of a group are right or wrong by
    the same draw, as copies are.

    Args:
        probabilities: shape (num_photos, num_classes).
        labels: shape (num_photos,).
        groups: of each photo.
        seed: of the simulation.

    Returns:
        "value", and "expected" with "low" and "high" (95 % of simulations).
    """
    certainty = probabilities.max(axis=1)
    numbers = np.unique(groups, return_inverse=True)[1]
    draws = np.random.default_rng(seed).random((_NUM_SIMULATIONS, int(numbers.max()) + 1))
    simulated = _compute_calibration_errors(certainty, draws[:, numbers] < certainty)
    low, high = np.quantile(simulated, (0.0, 0.95))
    value = compute_calibration_error(certainty, probabilities.argmax(axis=1) == labels)
    return {"value": value, "expected": {"low": float(low), "high": float(high)}}


def list_bins(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], groups: Groups
) -> list[dict[str, float | int]]:
    """List the points of a reliability plot: bins with the same number of photos each.

    Args:
        probabilities: shape (num_photos, num_classes).
        labels: shape (num_photos,).
        groups: of each photo; the intervals count them.

    Returns:
        For each bin "certainty" (mean), "right" (share), "low", "high", "num_photos" and "num_groups".
    """
    certainty = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    order = np.argsort(certainty, kind="stable")
    bins: list[dict[str, float | int]] = []
    for members in np.array_split(order, max(1, min(_NUM_BINS, len(order) // 2))):
        share = estimate_share(right[members], groups[members])
        bins.append(
            {
                "certainty": float(certainty[members].mean()),
                "right": share.value,
                "low": share.low,
                "high": share.high,
                "num_photos": len(members),
                "num_groups": count_groups(groups[members]),
            }
        )
    return bins


def _compute_losses(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    losses: NDArray[np.float64] = -_take_logarithms(probabilities)[np.arange(len(labels)), labels]
    return losses


def _take_logarithms(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithms: NDArray[np.float64] = np.log(np.maximum(probabilities, _SMALLEST_PROBABILITY))
    return logarithms


def _soften(logits: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    scaled = logits * factor
    scaled -= scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled
