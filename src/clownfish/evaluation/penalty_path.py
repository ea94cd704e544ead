"""What another penalty would have done: out-of-fold losses along a path of penalties, and what to make of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.group_draws import draw_group_counts
from clownfish.evaluation.grouping import draw_evenly
from clownfish.regression.logistic import predict_out_of_fold

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_SAME = 1.2
"""Penalties within this factor count as the same."""
_SMALLEST = 1e-2
_FAR = 10.0
_MAX_AXES = 512
_MANY_CLASSES_AXES = 128
_MAX_WORK = 4e8
"""Photos x axes x classes x fits; some ten seconds on two cores."""
_NUM_DRAWS = 1000
_LEVEL = 0.95
_MAX_NUMBERS = 4_000_000
"""Counts of groups that are held at once, groups x draws."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PenaltyPath:
    """Out-of-fold answers with several penalties, fitted to convergence."""

    penalties: NDArray[np.float32]
    """Relative to the sum of the losses, shape (num_penalties,), rising."""
    own: int
    """Position of the penalty that the model was trained with."""
    rows: NDArray[np.int64]
    """The photos that took part and whose class was trained on without their fold, shape (num_rows,)."""
    losses: NDArray[np.float64]
    """Cross-entropy of each photo, shape (num_penalties, num_rows)."""
    right: NDArray[np.bool_]
    """Shape (num_penalties, num_rows)."""
    complete: bool
    """All photos took part in the fits, with about all that is known of them; else the losses compare among themselves
    only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Improvement:
    """How much lower the mean loss of the best of several candidates is."""

    candidate: int
    """Position of the best one."""
    value: float
    low: float
    """Lower limit at 95 % that holds for all candidates together."""
    high: float


def follow_path(
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    folds: NDArray[np.int64],
    penalty: float,
    num_classes: int,
    *,
    seed: int,
) -> PenaltyPath:
    """Cross-validate with weaker and stronger penalties.

    Args:
        scores: principal axes, shape (num_photos, num_axes), strongest first.
        labels: shape (num_photos,).
        groups: number of each photo's group, shape (num_photos,).
        folds: shape (num_photos,), a group lies in one fold.
        penalty: of the model, relative to the sum of the losses.
        num_classes: labels are in [0, num_classes).
        seed: decides which groups take part where they are too many.

    Returns:
        The path.
    """
    own_penalty = max(penalty, _SMALLEST)
    others = [other for other in PENALTIES if not own_penalty / _SAME < other < own_penalty * _SAME]
    penalties = np.array(sorted([own_penalty, *others]), np.float32)
    num_folds = len(np.unique(folds))
    num_axes = min(scores.shape[1], _MAX_AXES)
    if len(labels) * num_axes * num_classes * num_folds * len(penalties) > _MAX_WORK:
        # a coarser path, then a share of the groups
        num_axes = min(num_axes, _MANY_CLASSES_AXES)
        penalties = np.array([own_penalty / _FAR, own_penalty, own_penalty * _FAR], np.float32)
    share = _MAX_WORK / (len(labels) * num_axes * num_classes * num_folds * len(penalties))
    rows = np.arange(len(labels))
    if share < 1:
        # some photos of every group rather than all photos of a few: a verdict needs groups
        names, own = np.unique(groups, return_inverse=True)
        most = max(int(share * len(labels)), 2)
        rows = np.flatnonzero((np.random.default_rng(seed).permutation(len(names)) < most)[own.ravel()])
        rows = rows[draw_evenly(own.ravel()[rows], most, seed=seed)]
    used_scores = np.ascontiguousarray(scores[rows, :num_axes])
    logs = predict_out_of_fold(used_scores, labels[rows], folds[rows], penalties, num_classes)
    complete = len(rows) == len(labels) and num_axes >= min(scores.shape[1], _MAX_AXES)
    told = _find_told(labels[rows], groups[rows], folds[rows])
    rows, logs = rows[told], logs[:, told]
    return PenaltyPath(
        penalties=penalties,
        own=int(np.abs(penalties - own_penalty).argmin()),
        rows=rows,
        losses=-logs[:, np.arange(len(rows)), labels[rows]].astype(np.float64),
        right=logs.argmax(axis=2) == labels[rows],
        complete=complete,
    )


def _find_told(labels: NDArray[np.int64], groups: NDArray[np.int64], folds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whose losses tell something of penalties: not those of a class that all lies in one fold.

    No layer that is asked about such a class was trained on it, and how wrong it is says nothing. Where all classes are
    so, one group is told, on which no verdict rests.
    """
    lowest, highest = np.full(labels.max() + 1, folds.max()), np.zeros(labels.max() + 1, folds.dtype)
    np.minimum.at(lowest, labels, folds)
    np.maximum.at(highest, labels, folds)
    told: NDArray[np.bool_] = (lowest < highest)[labels]
    return told if told.any() else groups == groups[0]


def compare_losses(
    reference: NDArray[np.float64], candidates: NDArray[np.float64], groups: NDArray[np.int64], *, seed: int
) -> Improvement:
    """Compare candidates with a reference, photo by photo, and correct for their number.

    The largest of the candidates' deviations, in standard errors, over draws of groups tells how far from the truth the
    luckiest of them may be; that gives limits which hold for all candidates at once.

    Args:
        reference: loss of each photo, shape (num_photos,).
        candidates: the same, shape (num_candidates, num_photos), at least one.
        groups: number of each photo's group, shape (num_photos,).
        seed: of the draws.

    Returns:
        The best candidate's improvement over the reference.

    Source:
        Westfall & Young 1993, "Resampling-Based Multiple Testing", single-step max T.
    """
    sums, sizes = _sum_groups(reference - candidates, groups)
    mean = sums.sum(axis=0) / sizes.sum()
    drawn = draw_means(sums, sizes, seed=seed)
    deviation = np.maximum(drawn.std(axis=0), 1e-12)
    limit = float(np.quantile(((drawn - mean) / deviation).max(axis=1), _LEVEL))
    best = int(mean.argmax())
    half = max(limit, 0.0) * float(deviation[best])
    return Improvement(
        candidate=best, value=float(mean[best]), low=float(mean[best]) - half, high=float(mean[best]) + half
    )


def measure_optimism(
    right: NDArray[np.bool_], groups: NDArray[np.int64], *, seed: int
) -> tuple[float, tuple[float, float]]:
    """Estimate by how much the best of several cross-validated accuracies is too good, because it is the best.

    In each draw of groups the best candidate is found among the groups that were drawn, and scored on those that
    were not. Its score is compared with that of the overall best on the same groups, which takes out most of
    the noise and leaves the mean as it is.

    Args:
        right: which photos each candidate has right out of fold, shape (num_candidates, num_photos).
        groups: number of each photo's group, shape (num_photos,).
        seed: of the draws.

    Returns:
        The optimism as a share of photos, at least 0, and the range of the middle 95 % of the draws.

    Source:
        Tsamardinos, Greasidou & Borboudakis 2018, Machine Learning 107, "Bootstrapping the out-of-sample predictions".
    """
    sums, sizes = _sum_groups(right.astype(np.float64), groups)
    best = int(sums.sum(axis=0).argmax())
    differences = []
    for counts in _draw_counts(len(sizes), seed):
        left_out = (counts == 0).astype(np.float32)
        winners = (counts @ sums).argmax(axis=1)  # of one draw, all candidates are scored on the same photos
        scores = (left_out @ sums) / np.maximum(left_out @ sizes, 1)[:, None]
        differences.append(scores[:, best] - scores[np.arange(len(scores)), winners])
    difference = np.concatenate(differences)
    low, high = np.quantile(difference, [0.025, 0.975])
    value = max(float(difference.mean()), 0.0)
    return value, (min(float(low), value), max(float(high), value))


def draw_means(sums: NDArray[np.float64], sizes: NDArray[np.float64], *, seed: int) -> NDArray[np.float64]:
    """Means over photos with groups drawn with replacement.

    Args:
        sums: over the photos of each group, shape (num_groups, num_quantities).
        sizes: photos of each group, shape (num_groups,).
        seed: of the draws.

    Returns:
        Shape (num_draws, num_quantities).
    """
    means = [(counts @ sums) / np.maximum(counts @ sizes, 1)[:, None] for counts in _draw_counts(len(sizes), seed)]
    return np.concatenate(means)


def _draw_counts(num_groups: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Counts of groups in blocks that fit into memory."""
    size = min(_NUM_DRAWS, max(1, _MAX_NUMBERS // num_groups))
    one = np.zeros(num_groups, np.int64)
    for start in range(0, _NUM_DRAWS, size):
        yield draw_group_counts(one, min(size, _NUM_DRAWS - start), seed=seed + start)


def _sum_groups(
    values: NDArray[np.float64], groups: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums (num_groups, num_quantities) of values (num_quantities, num_photos), and group sizes."""
    own = np.unique(groups, return_inverse=True)[1].ravel()
    sums = np.stack([np.bincount(own, row) for row in values], axis=1).astype(np.float64)
    return sums, np.bincount(own).astype(np.float64)
