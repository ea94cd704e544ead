"""Intervals for shares of right answers, when photos come in groups.

Photos of one group (copies, a burst, one individual) tend to be right or wrong together, so they count for less
than as many independent photos. The variance of the accuracy p over n photos in G groups is estimated from the
groups' sums of deviations r_g = sum over the group of (right - p),

    V = G / (G - 1) sum_g r_g^2 / n^2                                (linearised ratio estimator, Cochran 1977, 6.3)

and the number of independent photos with the same variance, p (1 - p) / V, goes into Wilson's formula, which
behaves near 0 and 1, with the quantile of Student's t at the effective number of groups. Where few answers
are wrong, V says little; then a design effect that one would expect beforehand is mixed in.

A cross-validated accuracy has a further error: it speaks of the procedure, and the one model that is shipped is a
little better or worse than what the procedure gives on average. `MODEL_SPREAD` was found by drawing a thousand
small training sets from large ones; see docs/decisions/0016-intervals.md.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.light_statistics import find_student_quantile

MODEL_SPREAD = 1.5
"""Factor on the variance of a cross-validated accuracy as an estimate of the shipped model's."""
MIN_GROUPS = 20
"""With fewer groups in all, a range is all that can be said."""
MIN_GROUPS_OF_CLASS = 5
"""With fewer groups of a class, nothing is said about it but the range."""

_LEVEL = 0.95
_PRIOR_CORRELATION = 0.5
"""Between photos of one group being right, before anything is known."""
_PRIOR_WEIGHT = 5.0
"""How many groups with a rare answer (mostly: a wrong one) the prior design effect counts for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float


def estimate_share(right: NDArray[np.bool_], groups: NDArray[Any], *, spread: float = 1.0) -> Estimate:
    """Estimate a share of right answers.

    Args:
        right: shape (num_photos,), at least one.
        groups: name or number of each photo's group, shape (num_photos,).
        spread: factor on the variance, such as `MODEL_SPREAD`.

    Returns:
        The share and its interval.

    Source:
        Wilson (1927), JASA 22; see the module.
    """
    share = float(right.mean())
    num_independent = count_independent(right, groups) / spread
    low, high = compute_wilson_interval(share, num_independent, quantile=find_quantile(groups))
    return Estimate(value=share, low=low, high=high)


def estimate_balanced(
    right: NDArray[np.bool_], labels: NDArray[np.int64], groups: NDArray[Any], *, spread: float = 1.0
) -> Estimate:
    """Estimate the mean over the classes of the share of right answers (balanced accuracy).

    Its variance is the sum of those of the classes' shares, over the square of their number, as long as no group holds
    several classes. Where groups do (sites, days), a group's photos of all classes tend to be right together, and the
    variance is larger by `_compare_across_classes`.

    Args:
        right: shape (num_photos,), at least one.
        labels: class of each photo, shape (num_photos,).
        groups: name or number of each photo's group, shape (num_photos,).
        spread: factor on the variance.

    Returns:
        The mean share and its interval.
    """
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    recalls = np.array([right[own].mean() for own in members])
    trials = np.array([count_independent(right[own], groups[own]) for own in members])
    # one right and one wrong answer added to each class keep its variance above 0 (Agresti & Coull 1998)
    smooth = (recalls * trials + 1) / (trials + 2)
    variance = float((smooth * (1 - smooth) / trials).sum()) / len(recalls) ** 2
    variance *= _compare_across_classes(right, labels, groups)
    mean = float(smooth.mean())
    num_independent = mean * (1 - mean) / variance / spread
    low, high = compute_wilson_interval(float(recalls.mean()), num_independent, quantile=find_quantile(groups))
    return Estimate(value=float(recalls.mean()), low=low, high=high)


def count_independent(right: NDArray[np.bool_], groups: NDArray[Any]) -> float:
    """Count the independent photos that would tell as much as these.

    Args:
        right: shape (num_photos,), at least one.
        groups: name or number of each photo's group, shape (num_photos,).

    Returns:
        From 1 to the number of photos.
    """
    num_photos = len(right)
    numbers = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(numbers)
    mean_size = float(np.square(sizes).sum()) / num_photos  # of the group that a photo finds itself in
    expected = 1 + _PRIOR_CORRELATION * (mean_size - 1)
    share = float(right.mean())
    sums = np.bincount(numbers, right - share)
    found = 1.0
    if len(sizes) > 1 and 0 < share < 1:
        variance = len(sizes) / (len(sizes) - 1) * float(np.square(sums).sum()) / num_photos**2
        found = variance / (share * (1 - share) / num_photos)
    evidence = _count_evidence(right, numbers)
    design_effect = (evidence * found + _PRIOR_WEIGHT * expected) / (evidence + _PRIOR_WEIGHT)
    return num_photos / min(max(design_effect, 1.0), float(num_photos))


def _compare_across_classes(right: NDArray[np.bool_], labels: NDArray[np.int64], groups: NDArray[Any]) -> float:
    """The variance of balanced accuracy when groups vary as a whole, as a multiple of that with each class on its own.

    With w = 1 / photos of the photo's class and d = w (right - share of the class), it is the sum over the groups of
    (sum of d)^2 over the same sum with each group cut by class; drawn towards what is expected beforehand as in
    `count_independent`, and 1 where no group holds several classes.
    """
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    _, whole = np.unique(groups, return_inverse=True)
    _, cut = np.unique(whole * len(sizes) + classes, return_inverse=True)
    if cut.max() == whole.max():
        return 1.0
    weights = 1 / sizes[classes]
    deviations = weights * (right - (np.bincount(classes, right) / sizes)[classes])

    def add_squares(parts: NDArray[np.int64], values: NDArray[np.float64]) -> float:
        return float(np.square(np.bincount(parts, values)).sum())

    own = (1 - _PRIOR_CORRELATION) * float(np.square(weights).sum())
    expected = (own + _PRIOR_CORRELATION * add_squares(whole, weights)) / (
        own + _PRIOR_CORRELATION * add_squares(cut, weights)
    )
    separate = add_squares(cut, deviations)
    found = add_squares(whole, deviations) / separate if separate > 0 else 1.0
    evidence = _count_evidence(right, whole)
    return max(1.0, (evidence * found + _PRIOR_WEIGHT * expected) / (evidence + _PRIOR_WEIGHT))


def _count_evidence(right: NDArray[np.bool_], numbers: NDArray[np.int64]) -> float:
    """Groups with a wrong or with a right answer, whichever are fewer: what a variance was learned from."""
    num_right = np.bincount(numbers, right)
    return float(min((num_right > 0).sum(), (num_right < np.bincount(numbers)).sum()))


def find_quantile(groups: NDArray[Any]) -> float:
    """Find the 97.5 % quantile of Student's t for the effective number of groups less one."""
    sizes = np.unique(groups, return_counts=True)[1]
    num_effective = float(sizes.sum()) ** 2 / float(np.square(sizes).sum())
    return find_student_quantile((1 + _LEVEL) / 2, max(num_effective - 1, 1.0))


def compute_wilson_interval(share: float, num_trials: float, *, quantile: float) -> tuple[float, float]:
    """Compute the score interval of a share (Wilson 1927, JASA 22).

    Args:
        share: observed share, 0 to 1.
        num_trials: independent trials it was observed on; an effective number need not be whole.
        quantile: of the error's distribution, 1.96 for 95 % and many trials.

    Returns:
        Lower and upper limit; 0 and 1 without any trial.
    """
    if num_trials <= 0:
        return 0.0, 1.0
    z2 = quantile**2 / num_trials
    centre = (share + z2 / 2) / (1 + z2)
    half = quantile / (1 + z2) * math.sqrt(share * (1 - share) / num_trials + z2 / (4 * num_trials))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))
