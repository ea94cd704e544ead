"""Is one class upside down? A photo and its upside-down copy are told apart, as the other classes have it.

For each class a layer learns from all the others which of two views of a photo is the one in the folder: the photo,
or the photo turned upside down. Shown a pair of the class left out, it says which one it would expect there. Sky is
up and legs are down in every class; where the layer is wrong far more often than a coin, the class is stored the
other way round than the rest, and "upside down" is all a classifier has to learn. The class that is most wrong is
taken out first, since it has misled the layers of the others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.regression.logistic import fit_layers
from clownfish.regression.rotation import rotate_features

MIN_PHOTOS = 8
"""Of a class, each of another group, to judge it."""
MAX_PHOTOS = 100
"""Sampled in all, unless so many classes need more."""
_PENALTY = 300.0
_MAX_SHARE = 0.35
_SIGNIFICANCE = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Turned:
    """Photos that were shown to the network upside down."""

    rows: NDArray[np.int64]
    """Which ones, shape (num_turned,)."""
    features: NDArray[np.float32]
    """As they are, shape (num_turned, num_features)."""
    flipped: NDArray[np.float32]
    """Upside down, of the same shape."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Orientation:
    """Which classes are stored upside down, compared with the others."""

    upright_shares: NDArray[np.float64]
    """Share of each class's sampled photos that look upright, shape (num_classes,); NaN for a class not judged."""
    upside_down: tuple[int, ...]
    """Classes stored the other way round than the rest, clearest first."""
    examples: tuple[tuple[int, ...], ...]
    """For each of them, sampled rows that look upside down, clearest first."""
    num_photos: int
    """Sampled."""
    is_mutual: bool
    """There are only two classes, so none can say which of them is upright."""


def sample_photos(
    labels: NDArray[np.int64], groups: NDArray[np.int64], num_classes: int, seed: int
) -> NDArray[np.int64]:
    """Draw photos evenly over the classes, at most one of a group and class.

    Args:
        labels: shape (num_photos,).
        groups: shape (num_photos,).
        num_classes: labels are in [0, num_classes).
        seed: of the draw.

    Returns:
        Ascending rows, about 100; with many classes 200, of the largest classes.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    wanted = max(MAX_PHOTOS // num_classes, MIN_PHOTOS)
    counts = np.bincount(labels, minlength=num_classes)
    rows: list[int] = []
    for number in np.argsort(-counts, kind="stable")[: 2 * MAX_PHOTOS // MIN_PHOTOS]:
        own = order[labels[order] == number]
        _, first = np.unique(groups[own], return_index=True)
        rows.extend(own[np.sort(first)][:wanted].tolist())
    return np.sort(np.array(rows, np.int64))


def choose_turned(
    labels: NDArray[np.int64], groups: NDArray[np.int64], num_classes: int, seed: int
) -> NDArray[np.int64]:
    """Choose photos to be looked at upside down.

    Args:
        labels: shape (num_photos,).
        groups: shape (num_photos,).
        num_classes: labels are in [0, num_classes).
        seed: of the draw.

    Returns:
        Their rows, ascending; none where fewer than two classes have enough.
    """
    rows = sample_photos(labels, groups, num_classes, seed)
    enough = np.bincount(labels[rows], minlength=num_classes) >= MIN_PHOTOS
    return rows if enough.sum() >= 2 else rows[:0]


def find_upside_down(
    features: NDArray[np.float32],
    flipped: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    num_classes: int,
) -> Orientation:
    """Find classes whose photos are upside down compared with the others.

    Args:
        features: of the sampled photos as they are, shape (num_sampled, num_features).
        flipped: of the same photos turned upside down.
        labels: shape (num_sampled,).
        groups: shape (num_sampled,).
        num_classes: labels are in [0, num_classes).

    Returns:
        The verdict.
    """
    from scipy.special import bdtr

    counts = np.bincount(labels, minlength=num_classes)
    judged = [int(number) for number in np.flatnonzero(counts >= MIN_PHOTOS)]
    shares = np.full(num_classes, np.nan)
    wrong_way: list[int] = []
    examples: list[tuple[int, ...]] = []
    left = judged
    scores = rotate_features(np.concatenate([features, flipped])).scores
    while len(left) > 2 or (len(left) == 2 and not wrong_way):
        margins = _compare_views(scores, labels, groups, num_classes, wrong_way)
        for number in left:
            own = margins[labels == number]
            shares[number] = np.nan if np.isnan(own).any() else (own > 0).mean()
        left = [number for number in left if not np.isnan(shares[number])]
        if len(left) < 2:
            break
        worst = min(left, key=lambda number: float(shares[number]))
        chance = float(bdtr(round(shares[worst] * counts[worst]), int(counts[worst]), 0.5))
        if shares[worst] > _MAX_SHARE or chance >= _SIGNIFICANCE / len(judged) or 2 * len(wrong_way) + 1 > len(judged):
            break
        wrong_way.append(worst)
        rows = np.flatnonzero((labels == worst) & (margins < 0))
        examples.append(tuple(int(row) for row in rows[np.argsort(margins[rows], kind="stable")]))
        left = [number for number in left if number != worst]
    return Orientation(
        upright_shares=shares,
        upside_down=tuple(wrong_way),
        examples=tuple(examples),
        num_photos=len(labels),
        is_mutual=bool(wrong_way) and len(judged) == 2,
    )


def _compare_views(
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    num_classes: int,
    left_out: list[int],
) -> NDArray[np.float64]:
    """How much more each photo looks upright than its upside-down copy, by layers that did not see its class.

    NaN where the class shares its groups with all others, which leaves nothing to learn from.
    """
    num = len(labels)
    both = np.tile(labels, 2)
    is_flipped = np.repeat(np.array([0, 1], np.int64), num)
    weights = np.array([(both != number) & ~np.isin(both, left_out) for number in range(num_classes)], np.float32)
    for number in range(num_classes):
        weights[number, np.tile(np.isin(groups, groups[labels == number]), 2)] = 0
    used = weights.any(axis=1)
    if not used.any():
        return np.full(num, np.nan)
    layers = fit_layers(scores, is_flipped, weights[used], np.full(int(used.sum()), _PENALTY, np.float32), 2)
    logs = np.full((num_classes, 2 * num, 2), np.nan)
    logs[used] = layers.predict_log_probabilities(scores)
    upright = logs[both, np.arange(2 * num), 0] - logs[both, np.arange(2 * num), 1]
    difference: NDArray[np.float64] = upright[:num] - upright[num:]
    return difference
