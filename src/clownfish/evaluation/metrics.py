"""True labels and predicted probabilities to the numbers of metrics.json."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.intervals import estimate_balanced, estimate_share
from clownfish.evaluation.penalty_path import draw_means

Json = dict[str, Any]

_SMALLEST_PROBABILITY = 1e-12
"""Where the logarithm is cut off, so that one certain and wrong answer costs 27.6 and not infinity."""


def evaluate_part(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], groups: Sequence[str], *, spread: float = 1.0
) -> Json:
    """Compute accuracy, balanced accuracy and cross-entropy of some photos.

    The intervals count groups, not photos: copies of one photo are one piece of evidence.

    Args:
        labels: true class of each photo, shape (num_photos,).
        probabilities: shape (num_photos, num_classes).
        groups: group of each photo.
        spread: factor on the variance; see `intervals.MODEL_SPREAD`.

    Returns:
        "num_photos", "num_groups", "accuracy" and "balanced_accuracy" (each "value", "low", "high") and
        "cross_entropy"; None for all shares where there are no photos.
    """
    if len(labels) == 0:
        nothing = {"value": None, "low": None, "high": None}
        return {
            "num_photos": 0,
            "num_groups": 0,
            "accuracy": nothing,
            "balanced_accuracy": dict(nothing),
            "cross_entropy": None,
        }
    right = probabilities.argmax(axis=1) == labels
    numbers = np.unique(np.array(groups), return_inverse=True)[1]
    return {
        "num_photos": len(labels),
        "num_groups": int(numbers.max()) + 1,
        "accuracy": asdict(estimate_share(right, numbers, spread=spread)),
        "balanced_accuracy": asdict(estimate_balanced(right, labels, numbers, spread=spread)),
        "cross_entropy": compute_cross_entropy(labels, probabilities),
    }


def compute_cross_entropy(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Compute the mean of -log(probability of the true class), in nats.

    Args:
        labels: shape (num_photos,).
        probabilities: shape (num_photos, num_classes).

    Returns:
        0 for certain and right answers; log(num_classes) for undecided ones.
    """
    of_truth = probabilities[np.arange(len(labels)), labels]
    # a probability may be rounded to a little above 1, and the mean of certain answers to -0
    return abs(float(np.log(np.clip(of_truth, _SMALLEST_PROBABILITY, 1.0)).mean()))


def count_confusions(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], num_classes: int
) -> NDArray[np.int64]:
    """Count photos by true class (rows) and predicted class (columns); shape (num_classes, num_classes)."""
    predicted = probabilities.argmax(axis=1) if len(labels) else np.empty(0, np.int64)
    counts = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def describe_classes(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    groups: Sequence[str],
    classes: Sequence[str],
    *,
    spread: float = 1.0,
) -> list[Json]:
    """Compute the one-against-all numbers of each class.

    Args:
        labels: true class of each photo, shape (num_photos,).
        probabilities: shape (num_photos, num_classes).
        groups: group of each photo.
        classes: their names.
        spread: factor on the variance; see `intervals.MODEL_SPREAD`.

    Returns:
        One row a class: label, num_photos, num_groups, tp, fp, fn, tn, precision, recall, recall_low, recall_high, f1;
        None where a share has no denominator (no photo of the class, or never predicted).
    """
    confusions = count_confusions(labels, probabilities, len(classes))
    right = probabilities.argmax(axis=1) == labels
    numbers = np.unique(np.array(groups, np.str_), return_inverse=True)[1]
    rows = []
    for number, label in enumerate(classes):
        own = labels == number
        tp = int(confusions[number, number])
        fn = int(confusions[number].sum()) - tp
        fp = int(confusions[:, number].sum()) - tp
        recall = estimate_share(right[own], numbers[own], spread=spread) if own.any() else None
        rows.append(
            {
                "label": label,
                "num_photos": tp + fn,
                "num_groups": len(np.unique(numbers[own])),
                "tp": tp,
                "fp": fp,
                "fn": fn,
                "tn": len(labels) - tp - fp - fn,
                "precision": tp / (tp + fp) if tp + fp else None,
                "recall": recall.value if recall else None,
                "recall_low": recall.low if recall else None,
                "recall_high": recall.high if recall else None,
                "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
            }
        )
    return rows


def describe_leak(
    labels: NDArray[np.int64],
    grouped: NDArray[np.float64],
    random_split: NDArray[np.float64],
    groups: Sequence[str],
    *,
    seed: int,
) -> Json:
    """Compare cross-validation that keeps groups together with one that does not: the difference is the leak.

    Args:
        labels: true class of each photo, shape (num_photos,).
        grouped: out-of-fold probabilities with groups kept whole, shape (num_photos, num_classes).
        random_split: the same with photos dealt out one by one.
        groups: group of each photo.
        seed: of the bootstrap.

    Returns:
        "value", "low", "high": accuracy of the random split less that of the grouped one, with a 95 % interval from a
        bootstrap of whole groups (Davison & Hinkley 1997, 3.8), paired by photo.
    """
    gain = (random_split.argmax(axis=1) == labels).astype(float) - (grouped.argmax(axis=1) == labels)
    numbers = np.unique(np.array(groups), return_inverse=True)[1]
    sums = np.bincount(numbers, gain).astype(np.float64)
    leaks = draw_means(sums[:, None], np.bincount(numbers).astype(np.float64), seed=seed)
    low, high = np.quantile(leaks, [0.025, 0.975])
    return {"value": float(gain.mean()), "low": float(low), "high": float(high)}


def describe_chance(labels: NDArray[np.int64], num_classes: int) -> Json:
    """Compute what answers that never look at a photo would score.

    Args:
        labels: class of each photo, at least one.
        num_classes: number of classes.

    Returns:
        "accuracy" of always answering the most frequent class, and "cross_entropy" of always answering with the
        shares of the classes (their entropy, in nats).
    """
    shares = np.bincount(labels, minlength=num_classes) / len(labels)
    return {
        "accuracy": float(shares.max()),
        "cross_entropy": compute_cross_entropy(labels, np.tile(shares, (len(labels), 1))),
    }
