"""Fit the rule that says "unlike anything seen", so that it rejects a promised share of known photos."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.answers.novelty import NoveltyRule, SurpriseTable, compute_scores
from clownfish.evaluation.embedding import fit_embedding
from clownfish.evaluation.grouping import Groups, count_groups, find_conformal_limit, weigh_by_group
from clownfish.regression.scaling import fit_scaling

REJECTED_SHARE = 0.05
"""Share of photos of known things that may be called unlike anything seen."""
MIN_GROUPS = 39
"""Twice what a limit at 5 % needs to exist; below, it is set by the one or two strangest photos."""
MIN_UNKNOWN_GROUPS = 20
"""Other things, below which the weight of `near` is not adjusted to them."""
DEFAULT_NEAR_WEIGHT = 1 / 3
NEAR_WEIGHTS = (DEFAULT_NEAR_WEIGHT, 0.0, 0.2, 0.5, 0.75, 1.0)
_NUM_KNOTS = 50
_TAIL_SHARE = 0.2
_DIGITS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """The three scores of photos whose detector and layer were fitted without them."""

    near: NDArray[np.float64]
    distance: NDArray[np.float64]
    norm: NDArray[np.float64]

    def pick(self, rows: NDArray[Any]) -> "Scores":
        """Take some photos."""
        return Scores(near=self.near[rows], distance=self.distance[rows], norm=self.norm[rows])


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldEmbedding:
    """Photos in a space that was fitted without them."""

    rows: NDArray[np.int64]
    """Their numbers."""
    embeddings: NDArray[np.float32]
    """Shape (len(rows), num_axes + 1)."""
    class_means: NDArray[np.float64]
    """Of the photos that it was fitted on, shape (num_classes, num_axes)."""


def score_out_of_fold(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    *,
    parts: Sequence[int] | None = None,
) -> Scores:
    """Score every photo by an embedding that was fitted without its fold.

    Args:
        features: shape (num_photos, num_features).
        labels: shape (num_photos,).
        folds: shape (num_photos,); a group lies in one fold.
        probabilities: calibrated, out-of-fold, shape (num_photos, num_classes).
        parts: number of features in each part of the vector.

    Returns:
        The scores.
    """
    embedded = []
    for fold in np.unique(folds):
        held_out = np.flatnonzero(folds == fold)
        training = np.flatnonzero(folds != fold)
        embedded.append(embed_fold(features, labels, training, held_out, parts=parts))
    return score_folds(embedded, probabilities)


def embed_fold(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    training: NDArray[np.int64],
    held_out: NDArray[np.int64],
    *,
    parts: Sequence[int] | None = None,
) -> FoldEmbedding:
    """Fit an embedding on some photos and apply it to others.

    Args:
        features: shape (num_photos, num_features).
        labels: shape (num_photos,).
        training: numbers of the photos to fit on.
        held_out: numbers of the photos to embed.
        parts: number of features in each part of the vector.

    Returns:
        The others in it.
    """
    present, own_labels = np.unique(labels[training], return_inverse=True)
    scaling = fit_scaling(features, training, parts=parts)
    fitted = fit_embedding(features, training, own_labels, len(present), scaling=scaling)
    embeddings = fitted.embedding.apply(features[held_out])
    return FoldEmbedding(rows=held_out, embeddings=embeddings, class_means=fitted.class_means)


def score_folds(embedded: Sequence[FoldEmbedding], probabilities: NDArray[np.float64]) -> Scores:
    """Score every photo in the embedding that was fitted without it.

    Args:
        embedded: the folds; together they hold every photo once.
        probabilities: calibrated, out-of-fold, shape (num_photos, num_classes).

    Returns:
        The scores.
    """
    result = np.empty((3, len(probabilities)))
    for fold in embedded:
        result[:, fold.rows] = compute_scores(probabilities[fold.rows], fold.embeddings, fold.class_means)
    return Scores(near=result[0], distance=result[1], norm=result[2])


def fit_novelty_rule(
    scores: Scores, groups: Groups, class_means: NDArray[np.float64], *, near_weight: float = DEFAULT_NEAR_WEIGHT
) -> NoveltyRule:
    """Find the tables and the threshold.

    Args:
        scores: of known photos, out-of-fold.
        groups: of each photo; its photos share one vote.
        class_means: of the detector that will be used.
        near_weight: share of `near` in the statistic.

    Returns:
        The rule; with fewer than 39 groups one that never rejects.
    """
    weights = weigh_by_group(groups)
    rule = NoveltyRule(
        class_means=class_means,
        near=make_table(scores.near, weights),
        distance=make_table(scores.distance, weights),
        norm=make_table(scores.norm, weights),
        near_weight=near_weight,
        threshold=float("inf"),
    )
    if count_groups(groups) < MIN_GROUPS:
        return rule
    return set_threshold(rule, combine(rule, scores), groups)


def set_threshold(rule: NoveltyRule, statistic: NDArray[np.float64], groups: Groups) -> NoveltyRule:
    """Set the threshold so that 5 % of new photos of known things, each of a new group, lie above it.

    Args:
        rule: with any threshold.
        statistic: of known photos, out-of-fold, shape (num_photos,).
        groups: of each photo.

    Returns:
        The changed rule.
    """
    limit = find_conformal_limit(statistic, groups, REJECTED_SHARE)
    return replace(rule, threshold=float(np.round(limit + 0.5 * 10.0**-_DIGITS, _DIGITS)))


def make_table(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> SurpriseTable:
    """Tabulate -log of the share of known photos with at least a score.

    Beyond the largest score the share is taken to fall exponentially, at the rate of the strangest fifth: 1 / the mean
    excess over its lowest score.

    Args:
        scores: of known photos, shape (num_photos,).
        weights: of each photo; their sum is the number of groups.

    Returns:
        The table, of at most 50 knots that are dense towards the large scores.
    """
    order = np.argsort(scores, kind="stable")
    own, weight = scores[order], weights[order]
    at_least = np.cumsum(weight[::-1])[::-1]
    shares = at_least / (weight.sum() + 1)
    first = np.unique(own, return_index=True)[1]
    own, shares = own[first], shares[first]
    wanted = np.linspace(0, -np.log(shares[-1]), _NUM_KNOTS)  # even steps of surprise
    knots = np.unique(np.append(np.searchsorted(-np.log(shares), wanted).clip(0, len(own) - 1), (0, len(own) - 1)))
    tail = scores >= np.interp(_TAIL_SHARE, shares[::-1], own[::-1])
    excess = float(np.average(scores[tail] - scores[tail].min(), weights=weights[tail]))
    span = float(own[-1] - own[0])
    slope = 1 / max(excess, 1e-3 * span, 1e-9)
    rounded = own[knots].round(_DIGITS)
    distinct = np.append(True, rounded[1:] > rounded[:-1])
    return SurpriseTable(
        scores=rounded[distinct],
        surprises=-np.log(shares[knots]).round(_DIGITS)[distinct],
        slope=float(np.round(slope, _DIGITS)),
    )


def combine(rule: NoveltyRule, scores: Scores) -> NDArray[np.float64]:
    """Compute the statistic from scores, as `NoveltyRule.measure` does from embeddings; shape (num_photos,)."""
    near, far = rule.near.apply(scores.near), rule.distance.apply(scores.distance) + rule.norm.apply(scores.norm)
    return rule.near_weight * near + (1 - rule.near_weight) * far / 2


def choose_near_weight(known: Scores, groups: Groups, unknown: Scores) -> float:
    """Choose the weight of `near` that catches most of some unknown things.

    Args:
        known: out-of-fold scores of known photos.
        groups: of the known photos.
        unknown: scores of the other things.

    Returns:
        One of NEAR_WEIGHTS; the default among equals.
    """
    nothing = np.zeros((1, 1))

    def count_caught(weight: float) -> int:
        rule = fit_novelty_rule(known, groups, nothing, near_weight=weight)
        return int((combine(rule, unknown) > rule.threshold).sum())

    return max(NEAR_WEIGHTS, key=count_caught)


def catch_unknowns(
    known: Scores, groups: Groups, unknown: Scores, unknown_groups: Groups, *, seed: int
) -> tuple[float, NDArray[np.bool_]]:
    """Adjust the weight of `near` to the user's own unknown things, and tell fairly how many are caught.

    With fewer than 20 groups of them the default is kept. Otherwise each half is caught by the weight that was chosen
    on the other half; the weight that is shipped is chosen on all.

    Args:
        known: out-of-fold scores of known photos.
        groups: of the known photos.
        unknown: scores of the other things.
        unknown_groups: of each of them.
        seed: of the halves.

    Returns:
        The weight, and which of the unknown things are caught, shape (num_unknown,).
    """

    def catch(weight: float, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        rule = fit_novelty_rule(known, groups, np.zeros((1, 1)), near_weight=weight)
        return combine(rule, unknown.pick(rows)) > rule.threshold

    names, numbers = np.unique(unknown_groups, return_inverse=True)
    if len(names) < MIN_UNKNOWN_GROUPS or count_groups(groups) < MIN_GROUPS:
        return DEFAULT_NEAR_WEIGHT, catch(DEFAULT_NEAR_WEIGHT, np.ones(len(numbers), np.bool_))
    half = (np.random.default_rng(seed).permutation(len(names)) % 2)[numbers] == 0
    caught = np.empty(len(numbers), np.bool_)
    for own in (half, ~half):
        caught[own] = catch(choose_near_weight(known, groups, unknown.pick(~own)), own)
    return choose_near_weight(known, groups, unknown), caught
