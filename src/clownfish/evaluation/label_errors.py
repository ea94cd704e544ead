"""Which labels are probably wrong: a ranked list for a person to look at, and how much of it to expect.

Two witnesses rank the photos: a layer that was fitted without the photo's fold, and the photo's nearest neighbours
of other groups (the vote of SimiFeat, Zhu, Dong & Liu 2022, ICML). How long the list is, is not left to a threshold on
either. Labels are taken as the outcome of two steps, a true class and, for an unknown share of the photos, a slip
to another class:

    P(label) = (1 - share) p(label) + share (1 - p(label)) / (num_classes - 1),   p = softmax(sharpness x logits).

Share and sharpness are those of largest likelihood (a noise model as in Natarajan et al. 2013, NeurIPS, with the
calibration of Guo et al. 2017, ICML, fitted at once, since wrong labels would make a calibration alone too timid).
Bayes' rule then gives each photo's probability of a wrong label. Classes that are hard to tell apart explain
themselves by a low sharpness; only confident contradictions need slips.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.light_statistics import rank_values
from clownfish.regression.logistic import predict_out_of_fold

MIN_OTHERS = 3
"""Photos of its class that must lie outside a photo's fold; a class never seen in training says nothing."""
_TINY = 1e-300
_SHARPNESSES = (0.05, 20.0)
_NUM_SHARPNESSES = 9
_NUM_ROUNDS = 4
_NUM_STEPS = 60
_MIN_GAIN = 1.0
"""Gain in log-likelihood that slips must bring to be believed; about p = 0.08 (chi-square at the edge of its range)."""
_LISTED_FROM = 0.35
"""Probability of a wrong label. Missing one costs more than looking at one in vain; see docs/decisions/0013."""
_NUM_NEIGHBOURS = 10
_NEIGHBOUR_AXES = 256
_MAX_PAIRS = 4_000_000
"""Whose likeness is held at once: some tens of megabytes."""
_TEST_SHARE = 0.03


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelErrors:
    """Photos whose labels deserve a look."""

    rows: NDArray[np.int64]
    """Suspicious photos, most suspicious first, shape (num_suspicious,)."""
    suggested: NDArray[np.int64]
    """The class each looks like, shape (num_suspicious,)."""
    probabilities: NDArray[np.float64]
    """That the label is wrong, shape (num_suspicious,)."""
    neighbours: NDArray[np.float64]
    """Share of the nearest photos of other groups with the suggested class, shape (num_suspicious,)."""
    num_expected: float
    """How many of the listed are expected to be wrong: the sum of their probabilities."""
    share_wrong: float
    """Estimated share of wrong labels in the whole set."""
    num_judged: int
    """Photos with enough others of their class outside their fold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """What came back when labels were made wrong on purpose."""

    num_flipped: int
    recall: float
    """Share of the flipped labels that were listed."""
    precision: float
    """Share of the newly listed that were flipped; at least, since some may have been wrong before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlipModel:
    """How labels came about, by largest likelihood."""

    share_wrong: float
    sharpness: float
    """What the logits are multiplied by."""
    probabilities: NDArray[np.float64]
    """That each photo's label is wrong, shape (num_photos,)."""


def find_label_errors(
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    folds: NDArray[np.int64],
    num_classes: int,
    *,
    penalty: float,
    log_probabilities: NDArray[np.float32] | None = None,
) -> LabelErrors:
    """List the photos whose labels are probably wrong.

    Args:
        scores: principal axes of the photos, shape (num_photos, num_axes).
        labels: shape (num_photos,).
        groups: shape (num_photos,); a photo's relatives say nothing about its label.
        folds: shape (num_photos,); a group lies in one fold.
        num_classes: labels are in [0, num_classes).
        penalty: L2 of the layers, relative to the sum of the losses.
        log_probabilities: what such layers say out-of-fold, if that is known, shape (num_photos, num_classes).

    Returns:
        The list; empty where the labels need no slips to be explained.

    Source:
        See the module.
    """
    judged = _find_judged(labels, folds, num_classes)
    if judged.sum() < num_classes or len(np.unique(folds)) < 2:
        return _list_nothing(int(judged.sum()))
    if log_probabilities is None:
        penalties = np.array([penalty], np.float32)
        log_probabilities = predict_out_of_fold(scores, labels, folds, penalties, num_classes)[0]
    logs = log_probabilities.astype(np.float64)
    model = fit_slip_model(logs[judged], labels[judged])
    listed = np.flatnonzero(judged)[model.probabilities >= _LISTED_FROM]
    if len(listed) == 0:
        return _list_nothing(int(judged.sum()))
    votes = _vote(scores, labels, groups, num_classes)
    own = np.arange(len(labels)), labels
    margins, disagreement = _find_margins(logs, labels), _find_margins(votes, labels)
    order = np.argsort(-(rank_values(margins) + rank_values(disagreement))[listed], kind="stable")
    rows = listed[order]
    others = logs.copy()
    others[own] = -np.inf
    suggested = others.argmax(axis=1)[rows]
    probabilities = np.zeros(len(labels))
    probabilities[judged] = model.probabilities
    return LabelErrors(
        rows=rows,
        suggested=suggested,
        probabilities=probabilities[rows],
        neighbours=votes[rows, suggested],
        num_expected=float(probabilities[rows].sum()),
        share_wrong=model.share_wrong,
        num_judged=int(judged.sum()),
    )


def run_self_test(
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    folds: NDArray[np.int64],
    num_classes: int,
    *,
    penalty: float,
    seed: int,
    known: NDArray[np.int64],
) -> SelfTest | None:
    """Make 3 % of the labels wrong on purpose and see how many are found.

    Args:
        scores: shape (num_photos, num_axes).
        labels: shape (num_photos,).
        groups: shape (num_photos,).
        folds: shape (num_photos,).
        num_classes: at least 2.
        penalty: L2 of the layers.
        seed: decides which labels.
        known: rows that are listed already; they are neither flipped nor counted.

    Returns:
        Recall and precision; None with too few photos to flip any.
    """
    random = np.random.default_rng(seed)
    free = np.setdiff1d(np.flatnonzero(_find_judged(labels, folds, num_classes)), known)
    num_flipped = round(_TEST_SHARE * len(free))
    if num_flipped < 3:
        return None
    flipped = random.permutation(free)[:num_flipped]
    changed = labels.copy()
    changed[flipped] = (changed[flipped] + random.integers(1, num_classes, num_flipped)) % num_classes
    found = find_label_errors(scores, changed, groups, folds, num_classes, penalty=penalty).rows
    new = np.setdiff1d(found, known)
    num_found = len(np.intersect1d(new, flipped))
    return SelfTest(
        num_flipped=num_flipped, recall=num_found / num_flipped, precision=num_found / len(new) if len(new) else 0.0
    )


def fit_slip_model(logs: NDArray[np.float64], labels: NDArray[np.int64]) -> SlipModel:
    """Find the share of slips and the sharpness of largest likelihood.

    The share is found by expectation maximisation for each of a grid of sharpnesses, which is then drawn closer.

    Args:
        logs: out-of-fold log-probabilities, shape (num_photos, num_classes).
        labels: shape (num_photos,).

    Returns:
        The model; with a share of 0 where slips do not explain the labels clearly better.

    Source:
        Dempster, Laird & Rubin 1977, J. R. Statist. Soc. B 39, for a mixture of two known parts.
    """
    grid = np.geomspace(*_SHARPNESSES, _NUM_SHARPNESSES)
    best_without = -np.inf
    for _ in range(_NUM_ROUNDS):
        own = np.stack([_predict_labels(logs, labels, sharpness) for sharpness in grid])
        shares, likelihoods = _fit_shares(own, logs.shape[1])
        best = int(likelihoods.argmax())
        best_without = max(best_without, float(np.log(own + _TINY).sum(axis=1).max()))
        share, sharpness, right = float(shares[best]), float(grid[best]), own[best]
        nearest = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        grid = np.geomspace(*nearest, _NUM_SHARPNESSES)
    if float(likelihoods[best]) - best_without < _MIN_GAIN:
        return SlipModel(share_wrong=0.0, sharpness=sharpness, probabilities=np.zeros(len(labels)))
    wrong = share * (1 - right) / (logs.shape[1] - 1)
    return SlipModel(
        share_wrong=share, sharpness=sharpness, probabilities=wrong / ((1 - share) * right + wrong + _TINY)
    )


def _predict_labels(logs: NDArray[np.float64], labels: NDArray[np.int64], sharpness: float) -> NDArray[np.float64]:
    """Probability of each photo's label, of probabilities made sharper; shape (num_photos,)."""
    logits = sharpness * logs
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    own: NDArray[np.float64] = logits[np.arange(len(labels)), labels] / logits.sum(axis=1)
    return own


def _fit_shares(own: NDArray[np.float64], num_classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of slips and log-likelihood for each row of label probabilities, shape (num_sharpnesses, num_photos)."""
    slip = (1 - own) / (num_classes - 1)
    shares = np.full(len(own), 0.05)
    for _ in range(_NUM_STEPS):
        wrong = shares[:, None] * slip
        # more wrong labels than right ones cannot be told
        shares = np.minimum((wrong / ((1 - shares[:, None]) * own + wrong + _TINY)).mean(axis=1), 0.5)
    joint = (1 - shares[:, None]) * own + shares[:, None] * slip
    return shares, np.log(joint + _TINY).sum(axis=1)


def _find_judged(labels: NDArray[np.int64], folds: NDArray[np.int64], num_classes: int) -> NDArray[np.bool_]:
    counts = np.zeros((num_classes, int(folds.max()) + 1), np.int64)
    np.add.at(counts, (labels, folds), 1)
    judged: NDArray[np.bool_] = counts.sum(axis=1)[labels] - counts[labels, folds] >= MIN_OTHERS
    return judged


def _find_margins(values: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """By how much the best other class beats the label's, shape (num_photos,)."""
    rows = np.arange(len(labels))
    others = values.copy()
    others[rows, labels] = -np.inf
    margins: NDArray[np.float64] = others.max(axis=1) - values[rows, labels]
    return margins


def _vote(
    scores: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """Shares of the classes among the nearest photos of other groups by angle, shape (num_photos, num_classes)."""
    units = scores[:, :_NEIGHBOUR_AXES]
    units = units / np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    smallest = int(np.bincount(labels, minlength=num_classes).min())
    wanted = min(int(np.clip(smallest // 2, 3, _NUM_NEIGHBOURS)), len(labels) - 1)
    votes = np.zeros((len(labels), num_classes))
    num_rows = max(1, _MAX_PAIRS // len(labels))
    for start in range(0, len(labels), num_rows):
        chunk = slice(start, start + num_rows)
        likeness = units[chunk] @ units.T
        likeness[groups[chunk, None] == groups[None, :]] = -np.inf
        nearest = np.argpartition(-likeness, wanted - 1, axis=1)[:, :wanted]
        rows = np.arange(start, start + len(nearest))
        np.add.at(votes, (rows[:, None], labels[nearest]), 1 / wanted)
    return votes


def _list_nothing(num_judged: int) -> LabelErrors:
    return LabelErrors(
        rows=np.empty(0, np.int64),
        suggested=np.empty(0, np.int64),
        probabilities=np.empty(0),
        neighbours=np.empty(0),
        num_expected=0.0,
        share_wrong=0.0,
        num_judged=num_judged,
    )
