"""True labels and predicted probabilities to the numbers of metrics.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.intervals import compute_balanced_interval, compute_wilson_interval

Json = dict[str, Any]

_SMALLEST_PROBABILITY = 1e-12
"""Where the logarithm is cut off, so that one certain and wrong answer costs 27.6 and not infinity."""


def evaluate_part(labels: NDArray[np.int64], probabilities: NDArray[np.float64], groups: Sequence[str]) -> Json:
    """Compute accuracy, balanced accuracy and cross-entropy of some photos.

    The intervals count groups, not photos: copies of one photo are one piece of evidence.

    Args:
        labels: true class of each photo, shape (num_photos,).
        probabilities: shape (num_photos, num_classes).
        groups: group of each photo.

    Returns:
        "num_photos", "accuracy" and "balanced_accuracy" (each "value", "low", "high") and "cross_entropy";
        None for all numbers where there are no photos.
    """
    if len(labels) == 0:
        nothing = {"value": None, "low": None, "high": None}
        return {"num_photos": 0, "accuracy": nothing, "balanced_accuracy": dict(nothing), "cross_entropy": None}
    right = probabilities.argmax(axis=1) == labels
    present = np.unique(labels)
    group_array = np.array(groups)
    recalls = np.array([right[labels == label].mean() for label in present])
    num_trials = np.array([len(np.unique(group_array[labels == label])) for label in present], np.float64)
    accuracy = float(right.mean())
    low, high = compute_wilson_interval(accuracy, len(np.unique(group_array)))
    balanced_low, balanced_high = compute_balanced_interval(recalls, num_trials)
    return {
        "num_photos": len(labels),
        "accuracy": {"value": accuracy, "low": low, "high": high},
        "balanced_accuracy": {"value": float(recalls.mean()), "low": balanced_low, "high": balanced_high},
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
    return float(-np.log(np.maximum(of_truth, _SMALLEST_PROBABILITY)).mean())


def count_confusions(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], num_classes: int
) -> NDArray[np.int64]:
    """Count photos by true class (rows) and predicted class (columns); shape (num_classes, num_classes)."""
    predicted = probabilities.argmax(axis=1) if len(labels) else np.empty(0, np.int64)
    counts = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def describe_classes(confusions: NDArray[np.int64], classes: Sequence[str]) -> list[Json]:
    """Compute the one-against-all numbers of each class.

    Args:
        confusions: shape (num_classes, num_classes), rows true, columns predicted.
        classes: their names.

    Returns:
        One row a class: label, num_photos, tp, fp, fn, tn, precision, recall, f1; None where a share has no
        denominator (no photo of the class, or never predicted).
    """
    total = int(confusions.sum())
    rows = []
    for number, label in enumerate(classes):
        tp = int(confusions[number, number])
        fn = int(confusions[number].sum()) - tp
        fp = int(confusions[:, number].sum()) - tp
        rows.append(
            {
                "label": label,
                "num_photos": tp + fn,
                "tp": tp,
                "fp": fp,
                "fn": fn,
                "tn": total - tp - fp - fn,
                "precision": tp / (tp + fp) if tp + fp else None,
                "recall": tp / (tp + fn) if tp + fn else None,
                "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
            }
        )
    return rows


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
