"""Which classes are possible for a photo: sets that hold the true one with a wanted probability."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.grouping import Groups, count_groups, find_conformal_limit, weigh_by_group

ALPHA = 0.1
"""Share of photos whose true class may be missing from its set."""
MIN_GROUPS_PER_CLASS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class SetThresholds:
    """From which probability on a class is possible."""

    thresholds: NDArray[np.float64]
    """Shape (num_classes,)."""
    by_class: bool
    """Each class has a threshold of its own (Mondrian); else one for all."""


def fit_set_thresholds(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], groups: Groups, *, alpha: float = ALPHA
) -> SetThresholds:
    """Find the thresholds by cross-conformal prediction with the score 1 - probability of the class (LAC).

    The scores are out-of-fold, as in CV+. CV+ would compare a new photo's scores by all fold models with them; the
    model that is shipped answers alone here, trained on about as many photos as each fold model. So the promise of CV+
    (at least 1 - 2 alpha, about 1 - alpha) holds as far as those models agree; `describe_sets` measures it.

    Args:
        probabilities: calibrated, out-of-fold, shape (num_photos, num_classes).
        labels: shape (num_photos,).
        groups: of each photo; its photos share one vote.
        alpha: share of true classes that may be missing.

    Returns:
        The thresholds: one a class where every class has at least 20 groups, else one for all.

    Source:
        Sadinle, Lei & Wasserman 2019, JASA 114 (LAC); Barber et al. 2021, Ann. Statist. 49 (CV+).
    """
    num_classes = probabilities.shape[1]
    scores = 1 - probabilities[np.arange(len(labels)), labels]
    members = [labels == number for number in range(num_classes)]
    by_class = all(count_groups(groups[own]) >= MIN_GROUPS_PER_CLASS for own in members)
    if by_class:
        limits = np.array([find_conformal_limit(scores[own], groups[own], alpha) for own in members])
    else:
        limits = np.full(num_classes, find_conformal_limit(scores, groups, alpha))
    thresholds = np.floor(np.maximum(1 - limits, 0.0) * 1e6) / 1e6
    return SetThresholds(thresholds=thresholds, by_class=by_class)


def describe_sets(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    groups: Groups,
    folds: NDArray[np.int64],
    *,
    alpha: float = ALPHA,
) -> dict[str, Any]:
    """Measure sets on photos that had no say in the thresholds: each fold by thresholds from the others.

    Args:
        probabilities: calibrated, out-of-fold, shape (num_photos, num_classes).
        labels: shape (num_photos,).
        groups: of each photo; its photos share one vote.
        folds: shape (num_photos,).
        alpha: share of true classes that may be missing.

    Returns:
        "coverage" (share of photos whose set holds the true class, the best guess always being in its set),
        "coverage_without_guess" (the sets as the theory has them, which may be empty) and "mean_size".
    """
    plain = np.zeros(probabilities.shape, np.bool_)
    for fold in np.unique(folds):
        inside = folds == fold
        fitted = fit_set_thresholds(probabilities[~inside], labels[~inside], groups[~inside], alpha=alpha)
        plain[inside] = probabilities[inside] >= fitted.thresholds
    rows = np.arange(len(labels))
    shown = plain.copy()
    shown[rows, probabilities.argmax(axis=1)] = True
    weights = weigh_by_group(groups)
    return {
        "coverage": float(np.average(shown[rows, labels], weights=weights)),
        "coverage_without_guess": float(np.average(plain[rows, labels], weights=weights)),
        "mean_size": float(np.average(shown.sum(axis=1), weights=weights)),
    }
