"""Can something that is not the animal tell the classes apart? Small classifiers on what a photo is beside its subject.

A clue is a table of numbers a photo: size and shape, format, camera, border, colours in small. A layer is fitted on it
in the same grouped folds as the real one, and two things are asked: how far of the way from chance to the real
classifier the clue gets alone, and whether it picks out one class (area under the ROC curve of that class against
the others, with the standard error of Hanley & McNeil 1982, Radiology 143, for as many photos as there are groups).

How much is too much differs. No animal decides a photo's format, so a clue of the file is reported once it is clear;
a border shows the habitat, which tells species truly, so only a border that is nearly perfect is reported; a photo
squeezed to 8 x 8 shows the animal's own colours, so it has to do almost what the classifier does.

With few photos, some of many clues tell them apart by accident. So a clue has to be above chance by an exact binomial
test, and how much it tells is judged by the lower limit of Clopper & Pearson (1934, Biometrika 26), both counting
groups: drawing groups again, from 16 that are all right, shows no uncertainty at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.light_statistics import rank_values
from clownfish.regression.logistic import predict_out_of_fold
from clownfish.regression.rotation import rotate_features

Kind = Literal["file", "detail", "border", "picture"]
"""What a clue shows: the file alone, how much detail is in it, its edges, or all of it in small."""

MIN_GROUPS = 8
"""A class with fewer groups is not judged alone."""
_PENALTY = 30.0
_NUM_DRAWS = 400
_NUM_BINS = 8
_MAX_WORDS = 20
_Z95 = 1.959963984540054
_MIN_AREA: dict[Kind, tuple[float, float]] = {
    "file": (0.92, 0.88),
    "detail": (0.95, 0.92),
    "border": (0.95, 0.91),
    "picture": (0.995, 0.98),
}
"""The area that one class needs to be reported, and its lower limit; see docs/decisions/0012-shortcuts.md."""
_MIN_SHARE: dict[Kind, float] = {"file": 0.15, "detail": 0.75, "border": 0.85, "picture": 0.95}
"""Lower limit of the share of the way to the real classifier."""
_MAX_P_VALUE = 0.005
"""Of doing so well by chance; six clues are tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clue:
    """Something about the photos that is not their subject."""

    name: str
    kind: Kind
    values: NDArray[np.float32]
    """Shape (num_photos, num_numbers)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """How well a clue alone tells the classes apart."""

    name: str
    kind: Kind
    balanced_accuracy: float
    """Out of fold."""
    low: float
    high: float
    """Of a 95 % interval, by drawing groups."""
    chance: float
    share: float
    """Of the way from chance to the real classifier; 0 for nothing, about 1 for all."""
    areas: NDArray[np.float64]
    """Under the ROC curve, each class against the others, shape (num_classes,); NaN for a class not judged."""
    picked_out: bool
    """At least one class is told from all others nearly without error."""
    told: tuple[int, ...]
    """Those classes; or else the two that the clue tells best, where it tells many a little."""
    flagged: bool
    """It tells more than such a clue does in ordinary photos."""
    examples: tuple[tuple[int, ...], ...]
    """For each class of `told`, rows that the clue places best."""


def encode_numbers(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Spread numbers so that a linear layer can use more than their order: ranks, and which eighth they are in.

    Args:
        values: shape (num_photos, num_numbers).

    Returns:
        Shape (num_photos, num_columns).
    """
    columns = []
    for column in values.T:
        edges = np.unique(np.quantile(column, np.linspace(0, 1, _NUM_BINS + 1)[1:-1]))
        columns.append(3 * rank_values(column)[:, None] / len(column))
        columns.append(np.eye(len(edges) + 1)[np.searchsorted(edges, column)])
    return np.concatenate(columns, axis=1).astype(np.float32)


def encode_words(words: Sequence[str]) -> NDArray[np.float32]:
    """One column for each of the commonest words that occur more than once.

    Args:
        words: one a photo.

    Returns:
        Shape (num_photos, num_columns), zeros and ones; a single column of zeros if all are the same.
    """
    array = np.array(words, str)
    found, counts = np.unique(array, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MAX_WORDS]
    kept = found[order][counts[order] > 1]
    if len(kept) < 1 or len(found) < 2:
        return np.zeros((len(words), 1), np.float32)
    columns: NDArray[np.float32] = (array[:, None] == kept[None, :]).astype(np.float32)
    return columns


def probe_clue(
    clue: Clue,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    folds: NDArray[np.int64],
    num_classes: int,
    *,
    real_accuracy: float,
    seed: int,
) -> Probe:
    """Fit a layer on a clue alone and judge how much it tells.

    Args:
        clue: what to look at.
        labels: shape (num_photos,).
        groups: shape (num_photos,).
        folds: shape (num_photos,); a group lies in one fold.
        num_classes: labels are in [0, num_classes).
        real_accuracy: balanced accuracy of the real classifier, out of fold.
        seed: of the interval.

    Returns:
        The verdict.
    """
    scores = rotate_features(clue.values).scores
    if scores.shape[1] == 0 or float(np.abs(scores).max(initial=0.0)) == 0.0:
        logs = np.full((len(labels), num_classes), -np.log(num_classes))
    else:
        logs = predict_out_of_fold(scores, labels, folds, np.array([_PENALTY], np.float32), num_classes)[0]
        logs = logs.astype(np.float64)
    right = (logs.argmax(axis=1) == labels) & (np.ptp(logs, axis=1) > 0)
    value, low, high = _measure_accuracy(right, labels, groups, num_classes, seed)
    chance = 1 / num_classes
    exact_low, p_value = _test_exactly(value, labels, groups, num_classes)
    low = min(low, exact_low)
    if np.ptp(logs) == 0:
        value, low, high = chance, chance, chance
    span = max(real_accuracy - chance, 1e-9)
    odds = logs - np.log(-np.expm1(np.minimum(logs, -1e-9)))
    areas, limits = _measure_areas(odds, labels, groups, num_classes)
    min_area, min_limit = _MIN_AREA[clue.kind]
    told = tuple(int(number) for number in np.flatnonzero((areas >= min_area) & (limits >= min_limit)))
    picked_out = bool(told)
    tells_much = (low - chance) / span >= _MIN_SHARE[clue.kind] and real_accuracy > chance
    flagged = picked_out or (tells_much and p_value <= _MAX_P_VALUE)
    if flagged and not told:
        told = tuple(int(number) for number in np.argsort(-np.nan_to_num(areas), kind="stable")[:2])
    return Probe(
        name=clue.name,
        kind=clue.kind,
        balanced_accuracy=value,
        low=low,
        high=high,
        chance=chance,
        share=(value - chance) / span,
        areas=areas,
        picked_out=picked_out,
        told=told,
        flagged=flagged,
        examples=tuple(_pick_examples(odds[:, number], labels == number) for number in told),
    )


def _measure_accuracy(
    right: NDArray[np.bool_], labels: NDArray[np.int64], groups: NDArray[np.int64], num_classes: int, seed: int
) -> tuple[float, float, float]:
    """Balanced accuracy and a 95 % interval from drawing groups with replacement."""
    names, numbers = np.unique(groups, return_inverse=True)
    counts = np.zeros((2, len(names), num_classes))
    np.add.at(counts[0], (numbers, labels), right)
    np.add.at(counts[1], (numbers, labels), 1)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=_NUM_DRAWS)
    with np.errstate(invalid="ignore"):
        value = float(np.nanmean(counts[0].sum(axis=0) / counts[1].sum(axis=0)))
        drawn = (draws @ counts[0]) / (draws @ counts[1])
    low, high = np.nanquantile(np.nanmean(drawn, axis=1), [0.025, 0.975])
    return value, float(min(low, value)), float(max(high, value))


def _test_exactly(
    value: float, labels: NDArray[np.int64], groups: NDArray[np.int64], num_classes: int
) -> tuple[float, float]:
    """Lower 95 % limit of a balanced accuracy, and how likely so much is by chance, if groups are coins.

    The mean of shares of n_c groups each varies like a share of K^2 / sum(1 / n_c) groups.
    """
    from scipy.special import betainc, betaincinv

    num_groups = np.array([len(np.unique(groups[labels == number])) for number in range(num_classes)])
    size = num_classes**2 / (1 / np.maximum(num_groups, 1)).sum()
    right = value * size
    if right <= 0:
        return 0.0, 1.0
    # P(X >= right) for a binomial X is a regularised incomplete beta function of the rate
    beta = (right, size - right + 1)
    return float(betaincinv(*beta, 0.025)), float(betainc(*beta, 1 / num_classes))


def _measure_areas(
    odds: NDArray[np.float64], labels: NDArray[np.int64], groups: NDArray[np.int64], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Area under the ROC curve of each class, and its lower 95 % limit."""
    areas, limits = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    for number in range(num_classes):
        own = labels == number
        num_own, num_others = len(np.unique(groups[own])), len(np.unique(groups[~own]))
        if min(num_own, num_others) < MIN_GROUPS:
            continue
        ranks = rank_values(odds[:, number])[own]
        area = (ranks.sum() - own.sum() * (own.sum() + 1) / 2) / (own.sum() * (~own).sum())
        areas[number] = area
        smooth = float(np.clip(area, 0.25 / num_own, 1 - 0.25 / num_own))  # else nothing would be uncertain at 1
        same_own, same_other = smooth / (2 - smooth), 2 * smooth**2 / (1 + smooth)
        variance = (
            smooth * (1 - smooth) + (num_own - 1) * (same_own - smooth**2) + (num_others - 1) * (same_other - smooth**2)
        ) / (num_own * num_others)
        limits[number] = area - _Z95 * np.sqrt(max(variance, 0.0))
    return areas, limits


def _pick_examples(odds: NDArray[np.float64], own: NDArray[np.bool_], most: int = 3) -> tuple[int, ...]:
    rows = np.flatnonzero(own)
    return tuple(int(row) for row in rows[np.argsort(-odds[rows], kind="stable")[:most]])
