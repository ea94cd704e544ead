"""Has anything been learned? The labels are exchanged between groups, many times, and each time learned anew.

What is learned is a ridge regression on the principal axes, because its answers for photos outside of a fold are
a fixed matrix times the labels: two hundred exchanges of labels are one matrix product. Any fixed statistic gives a
valid permutation test, so the quick one says as much as the real training would, only with a little less power.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from clownfish.evaluation.grouping import draw_evenly

NUM_PERMUTATIONS = 200
_NUM_FOLDS = 5
_RELATIVE_PENALTY = 0.1
"""Of the ridge regression, relative to the mean squared length of a photo's scores."""
_MAX_PHOTOS = 3000
_MAX_WORK = 3e10
"""Photos x photos x classes x permutations; a few seconds on two cores."""
_MAX_NUMBERS = 4_000_000
"""Answers that are held at once, photos x classes x permutations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PermutationTest:
    """What quick fits reach with the labels as they are, and with labels exchanged between groups."""

    p: float
    """Share of exchanges that are learned as well as the true labels, the true ones counted among them."""
    smallest_p: float
    """No smaller p is possible with so few groups."""
    accuracy: float
    """Out-of-fold, true labels."""
    right: NDArray[np.bool_]
    """Which of the photos that took part were right, shape (num_rows,)."""
    rows: NDArray[np.int64]
    """The photos that took part, shape (num_rows,)."""
    exchanged: NDArray[np.float64]
    """Out-of-fold accuracy with exchanged labels, shape (num_permutations,)."""


def permute_labels(
    scores: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.int64], num_classes: int, *, seed: int
) -> PermutationTest:
    """Exchange the labels of whole groups, 200 times, and compare.

    A group takes over the labels of another one. Where that one has more or fewer photos, its labels are spread evenly
    over the group; where it has several labels, they come in random order. The folds are drawn without a look at
    the labels, as they have to serve all exchanges alike.

    Args:
        scores: principal axes, shape (num_photos, num_axes).
        labels: shape (num_photos,).
        groups: number of each photo's group, shape (num_photos,).
        num_classes: labels are in [0, num_classes).
        seed: decides the exchanges.

    Returns:
        The test. Of very large sets a random part takes part, with as many groups as possible.

    Source:
        Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9, for p that counts the true labels too.
    """
    random = np.random.default_rng(seed)
    rows = _choose_rows(groups, num_classes, random)
    own = np.unique(groups[rows], return_inverse=True)[1].ravel()
    labels = labels[rows]
    exchanged = np.vstack([labels, _exchange_labels(labels, own, random)])
    shares = np.zeros((len(exchanged), num_classes))
    np.add.at(shares, (np.arange(len(exchanged))[:, None], exchanged), 1 / len(rows))
    hat = _make_hat_matrix(scores[rows], _draw_folds(own, random))
    statistic, accuracy = np.empty(len(exchanged)), np.empty(len(exchanged))
    right = np.empty(0, bool)
    size = max(1, _MAX_NUMBERS // (len(rows) * num_classes))
    for start in range(0, len(exchanged), size):
        part = slice(start, start + size)
        truth = np.eye(num_classes, dtype=np.float32)[exchanged[part]] - shares[part, None].astype(np.float32)
        answers = np.tensordot(hat, truth, axes=(1, 1))  # (num_rows, num_exchanges, num_classes)
        # how well answers and labels go together, each class counting the same
        weight = 1 / np.maximum(shares[part], 1 / len(rows))
        statistic[part] = (np.einsum("npk,pnk->pk", answers, truth) * weight).sum(axis=1)
        correct = exchanged[part] == (answers + shares[part]).argmax(axis=2).T
        accuracy[part] = correct.mean(axis=1)
        if start == 0:
            right = correct[0]
    reached = statistic[1:] >= statistic[0] - 1e-5 * abs(statistic[0])
    return PermutationTest(
        p=float((1 + reached.sum()) / len(exchanged)),
        smallest_p=max(1 / len(exchanged), _find_smallest_p(labels, own)),
        accuracy=float(accuracy[0]),
        right=right,
        rows=rows,
        exchanged=accuracy[1:],
    )


def _choose_rows(groups: NDArray[np.int64], num_classes: int, random: np.random.Generator) -> NDArray[np.int64]:
    limit = min(_MAX_PHOTOS, int((_MAX_WORK / (NUM_PERMUTATIONS * num_classes)) ** 0.5))
    if len(groups) <= limit:
        return np.arange(len(groups))
    # the evidence lies in the number of groups: as many as can be, rather than all photos of a few
    names, own = np.unique(groups, return_inverse=True)
    rows = np.flatnonzero((random.permutation(len(names)) < limit)[own.ravel()])
    return rows[draw_evenly(own.ravel()[rows], limit, seed=int(random.integers(2**32)))]


def _exchange_labels(
    labels: NDArray[np.int64], groups: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Exchanged labels, shape (NUM_PERMUTATIONS, num_photos)."""
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - np.repeat(starts, sizes)
    result = np.empty((NUM_PERMUTATIONS, len(labels)), np.int64)
    for number in range(NUM_PERMUTATIONS):
        giver = random.permutation(len(sizes))[groups]
        shuffled = labels[np.lexsort((random.random(len(labels)), groups))]
        result[number] = shuffled[starts[giver] + rank * sizes[giver] // sizes[groups]]
    return result


def _draw_folds(groups: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Folds of about equal size, each group in one; the labels have no say."""
    sizes = np.bincount(groups)
    order = random.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    totals = np.zeros(min(_NUM_FOLDS, len(sizes)))
    folds = np.empty(len(sizes), np.int64)
    for group in order:
        folds[group] = totals.argmin()
        totals[folds[group]] += sizes[group]
    return folds[groups]


def _make_hat_matrix(scores: NDArray[np.float32], folds: NDArray[np.int64]) -> NDArray[np.float32]:
    """The matrix that turns labels into out-of-fold answers of a ridge regression, shape (num_photos, num_photos).

    The scores are centred by the photos outside the fold. Centred by all photos, those inside would lie on the far side
    of zero from those outside, which gives their labels away where axes are many and photos few. Answers are then
    deviations from the classes' shares: labels that are the same outside the fold give 0.
    """
    from scipy.linalg import cho_factor, cho_solve

    gram = (scores @ scores.T).astype(np.float64)
    penalty = max(_RELATIVE_PENALTY * float(np.trace(gram)) / len(gram), 1e-6)
    hat = np.zeros(gram.shape, np.float32)
    for fold in np.unique(folds):
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        means = gram[:, outside].mean(axis=1)
        among, across = gram[np.ix_(outside, outside)], gram[np.ix_(outside, inside)]
        among -= means[outside]  # in place: they are large
        across -= means[inside]
        offsets = means[outside, None] - means[outside].mean()
        among -= offsets
        across -= offsets
        among[np.diag_indices(len(outside))] += penalty
        hat[np.ix_(inside, outside)] = cho_solve(cho_factor(among, overwrite_a=True), across).T
    return hat


def _find_smallest_p(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> float:
    """One over the number of ways to exchange labels that differ by more than the classes' names."""
    order = np.lexsort((labels, groups))
    first = np.searchsorted(groups[order], np.arange(groups.max() + 1))
    last = np.append(first[1:], len(groups)) - 1
    lowest, highest = labels[order][first], labels[order][last]
    if (lowest != highest).any():  # several labels in a group: more ways than anybody counts
        return 0.0
    sizes = np.bincount(lowest)
    sizes = sizes[sizes > 0]
    alike = np.unique(sizes, return_counts=True)[1]
    ways = gammaln(len(lowest) + 1) - gammaln(sizes + 1).sum() - gammaln(alike + 1).sum()
    return float(np.exp(-ways))
