"""How accuracy grows with the number of photos, and what more photos would bring.

The layer on top is trained on parts of the photos, of eight sizes, and tested on the rest. Parts are made of whole
groups, class by class, and a smaller part lies inside the larger one. Three families of curves carry the accuracy on
to more photos than there are. The band comes from groups drawn with replacement, because photos of one group stand
and fall together, and from the disagreement of the families.

Each layer knows the labels of its own part only: the penalty is fixed, and the rotation of the features never
sees a label.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import run_in_threads
from clownfish.errors import ForecastError
from clownfish.evaluation.curve_families import fit_families, weigh_families
from clownfish.evaluation.group_draws import draw_group_counts
from clownfish.regression.logistic import fit_layers

NUM_SIZES = 8
NUM_REPEATS = 30
MAX_FACTOR = 4
"""Beyond so many times the photos that were measured, no forecast is given."""
PENALTY = 30.0
"""L2, relative to the sum of the losses: the middle one of those that training tries."""

_NUM_PARTS = 5
"""The largest size leaves out one of five parts of the groups; each in turn is left out equally often."""
_MIN_REPEATS = _NUM_PARTS
_NUM_DRAWS = 200
_SMALLEST_SHARE = 0.05
_MIN_GROUPS = 10
"""Of the median class; fewer do not make a curve."""
_MAX_TOGETHER = 3_000_000
"""Photos x axes x classes up to which all repeats are fitted at once."""
_TOLERANCE = 1e-2
"""Of the fits: accuracy does not change below it, and it is three times faster than the usual one."""
_MAX_AXES = 512
_MANY_CLASSES_AXES = 128
_MAX_WORK = 8e8
"""Photos x axes x classes, summed over all fits; some ten seconds on two cores."""
_BAND = (0.1, 0.9)
_STRETCH = (1 + _NUM_PARTS / (_NUM_PARTS - 1)) ** 0.5
"""Of the slope's interval: draws of the groups that were tested leave out what the trained ones contribute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trials:
    """What layers that were trained on parts of the photos got right; sizes in rising order."""

    num_photos: int
    """All photos, those that were left out to save time included."""
    num_groups: int
    num_measured: int
    """Photos that took part."""
    num_repeats: int
    sizes: NDArray[np.float64]
    """Mean number of training photos, shape (num_sizes,)."""
    class_sizes: NDArray[np.float64]
    """The same class by class, shape (num_sizes, num_classes)."""
    right: NDArray[np.float64]
    """Answers that were right, summed over repeats, shape (num_sizes, num_groups)."""
    tested: NDArray[np.float64]
    """Answers, shape (num_sizes, num_groups)."""
    group_classes: NDArray[np.int64]
    """Commonest class of each group that took part, shape (num_groups,)."""
    confusions: NDArray[np.float64]
    """Answers by true and predicted class, shape (num_sizes, num_classes, num_classes)."""
    class_counts: NDArray[np.int64]
    """All photos of each class, shape (num_classes,)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """The accuracy to expect from some number of training photos."""

    num_photos: int
    value: float
    low: float
    """In eight of ten cases the accuracy is above `low` and below `high`, one of ten on each side."""
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurve:
    """Accuracy against number of training photos, with what is needed to carry it on."""

    num_photos: int
    """Photos there are, of the class or of all."""
    sizes: NDArray[np.float64]
    """Shape (num_sizes,)."""
    values: NDArray[np.float64]
    """Measured, shape (num_sizes,)."""
    draws: NDArray[np.float64]
    """The same with groups drawn with replacement, shape (num_draws, num_sizes)."""
    weights: NDArray[np.float64]
    """Of the points: inverse binomial variances, shape (num_sizes,)."""
    family_weights: NDArray[np.float64]
    """Shape (num_families,)."""

    @property
    def max_photos(self) -> int:
        """The largest number of photos that a forecast is given for."""
        return int(MAX_FACTOR * min(self.num_photos, self.sizes[-1] * _NUM_PARTS / (_NUM_PARTS - 1)) + 0.5)

    def forecast(self, num_photos: int) -> Forecast:
        """Foretell the accuracy with so many photos.

        Args:
            num_photos: in total, at least 1.

        Returns:
            The forecast with its 80 % band.

        Raises:
            ForecastError: more than four times the photos that the curve was measured with.
        """
        if not 1 <= num_photos <= self.max_photos:
            raise ForecastError(
                f"A forecast for {num_photos:,} photos is asked for; from {self.num_photos:,} photos it can be given"
                f" for 1 to {self.max_photos:,}. Ask for fewer, or add photos and train again."
            )
        value, draws, shares = self._carry_on([float(num_photos)])
        low, high = _find_quantiles(draws[:, :, 0].ravel(), shares, _BAND)
        return Forecast(num_photos=num_photos, value=value[0], low=min(low, value[0]), high=max(high, value[0]))

    def forecast_gain(self, num_photos: int) -> tuple[float, float, float]:
        """Foretell how much accuracy `num_photos` brings over what there is now: value, low and high (80 %)."""
        value, draws, shares = self._carry_on([float(self.num_photos), float(num_photos)])
        low, high = _find_quantiles((draws[:, :, 1] - draws[:, :, 0]).ravel(), shares, _BAND)
        gain = value[1] - value[0]
        return gain, min(low, gain), max(high, gain)

    def measure_slope(self) -> tuple[float, float, float]:
        """Accuracy gained with each doubling of the photos, by the upper half of the sizes alone; with a 95 % interval.

        No family of curves is assumed: a straight line in the logarithm of the number of photos.

        Source:
            Nadeau & Bengio 2003, Machine Learning 52, for the variance that comes from the photos trained on. With one
            of five parts left out, all together is 2.25 times the variance that comes from the photos tested.
        """
        half = NUM_SIZES // 2
        doublings = np.log2(self.sizes[half:])
        weights = self.weights[half:] / self.weights[half:].sum()
        lever = weights * (doublings - doublings @ weights)
        lever /= lever @ doublings
        low, high = np.quantile(self.draws[:, half:] @ lever, [0.025, 0.975])
        slope = float(self.values[half:] @ lever)
        return slope, slope - _STRETCH * (slope - float(low)), slope + _STRETCH * (float(high) - slope)

    def _carry_on(self, targets: list[float]) -> tuple[list[float], NDArray[np.float64], NDArray[np.float64]]:
        curves = np.vstack([self.values, self.draws])
        fitted = fit_families(self.sizes, curves, self.weights, np.array(targets))
        value = np.tensordot(self.family_weights, fitted[:, 0], 1)
        shares = np.repeat(self.family_weights / len(self.draws), len(self.draws))
        return value.tolist(), fitted[:, 1:], shares


def try_sizes(
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    num_classes: int,
    *,
    seed: int,
    on_repeat: Callable[[], None] = lambda: None,
) -> Trials | None:
    """Train on parts of the photos and test on the rest.

    Args:
        scores: principal axes, shape (num_photos, num_axes), strongest first.
        labels: shape (num_photos,).
        groups: number of each photo's group, shape (num_photos,).
        num_classes: labels are in [0, num_classes).
        seed: decides every draw.
        on_repeat: called after each of the repeats.

    Returns:
        What was right; None where there are too few groups for a curve.

    Source:
        Mahmood et al. 2022, arXiv 2207.01725, who fit such curves; parts of whole groups are our own.
    """
    random = np.random.default_rng(seed)
    rows, num_repeats, num_axes = _plan(labels, groups, num_classes, scores.shape[1], random)
    own_groups = np.unique(groups[rows], return_inverse=True)[1].ravel()
    num_groups = int(own_groups.max()) + 1
    group_classes = find_group_classes(labels[rows], own_groups, num_classes)
    per_class = np.bincount(group_classes, minlength=num_classes)
    median = float(np.median(per_class[per_class > 0]))
    if median < _MIN_GROUPS or (per_class > 1).sum() < 2:
        return None
    largest = 1 - 1 / _NUM_PARTS
    shares = np.geomspace(min(max(_SMALLEST_SHARE, 2 / median), largest / 2), largest, NUM_SIZES)
    used_scores, used_labels = np.ascontiguousarray(scores[rows, :num_axes]), labels[rows]
    orders = [_draw_order(group_classes, shares, part, random) for part in _list_parts(num_repeats)]
    right, tested = np.zeros((NUM_SIZES, num_groups)), np.zeros((NUM_SIZES, num_groups))
    confusions = np.zeros((NUM_SIZES, num_classes, num_classes))
    class_sizes = np.zeros((NUM_SIZES, num_classes))

    for answers in _run_repeats(used_scores, used_labels, [enters[own_groups] for enters in orders], num_classes):
        for number, (trained, predicted) in enumerate(answers):
            truth = used_labels[~trained]
            np.add.at(confusions[number], (truth, predicted), 1)
            tested[number] += np.bincount(own_groups[~trained], minlength=num_groups)
            right[number] += np.bincount(own_groups[~trained], truth == predicted, minlength=num_groups)
            class_sizes[number] += np.bincount(used_labels[trained], minlength=num_classes)
        on_repeat()
    return Trials(
        num_photos=len(labels),
        num_groups=len(np.unique(groups)),
        num_measured=len(rows),
        num_repeats=num_repeats,
        sizes=class_sizes.sum(axis=1) / num_repeats,
        class_sizes=class_sizes / num_repeats,
        right=right,
        tested=tested,
        group_classes=group_classes,
        confusions=confusions,
        class_counts=np.bincount(labels, minlength=num_classes),
    )


def make_curve(trials: Trials, *, seed: int, label: int | None = None) -> LearningCurve | None:
    """Make the curve of the accuracy, or of the share of one class's photos that are right.

    Args:
        trials: of `try_sizes`.
        seed: of the draws.
        label: a class, or None for all photos.

    Returns:
        The curve; None for a class that was too rarely tested.
    """
    own = np.ones(len(trials.group_classes), bool) if label is None else trials.group_classes == label
    sizes = trials.sizes if label is None else trials.class_sizes[:, label]
    right, tested = trials.right[:, own], trials.tested[:, own]
    if own.sum() < _MIN_GROUPS or (np.diff(sizes) <= 0).any() or sizes[0] <= 0 or (tested.sum(axis=1) == 0).any():
        return None
    counts = draw_group_counts(trials.group_classes[own], _NUM_DRAWS, seed=seed)
    values = right.sum(axis=1) / tested.sum(axis=1)
    draws = (counts @ right.T) / np.maximum(counts @ tested.T, 1)
    # one right and one wrong answer more keep the variance above 0
    smooth = (right.sum(axis=1) + 1) / (tested.sum(axis=1) + 2)
    weights = tested.sum(axis=1) / (smooth * (1 - smooth))
    noise = float((draws[:, -1] - draws[:, -2]).std())
    return LearningCurve(
        num_photos=trials.num_photos if label is None else int(trials.class_counts[label]),
        sizes=sizes,
        values=values,
        draws=draws,
        weights=weights,
        family_weights=weigh_families(sizes, values, weights, noise),
    )


def find_group_classes(labels: NDArray[np.int64], groups: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Find the commonest class of each group; groups are numbered from 0 without gaps; shape (num_groups,)."""
    from scipy.sparse import coo_array

    table = coo_array((np.ones(len(labels)), (groups, labels)), shape=(int(groups.max()) + 1, num_classes)).tocsr()
    return np.asarray(table.argmax(axis=1)).ravel().astype(np.int64)


def _plan(
    labels: NDArray[np.int64], groups: NDArray[np.int64], num_classes: int, num_axes: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], int, int]:
    """Choose photos, repeats and axes, so that the work stays bounded.

    First there are fewer repeats, then fewer axes, and at last only a share of each class's groups.
    """
    # parts grow geometrically, so on the average a fit sees about a quarter of the photos
    unit = NUM_SIZES * 0.27 * num_classes
    axes = min(num_axes, _MAX_AXES)
    if len(labels) * axes * unit * _MIN_REPEATS > _MAX_WORK:
        axes = min(axes, _MANY_CLASSES_AXES)
    fitting = _MAX_WORK / (axes * unit)
    if fitting >= len(labels) * _MIN_REPEATS:
        repeats = int(min(NUM_REPEATS, fitting // len(labels)))
        return np.arange(len(labels)), repeats - repeats % _NUM_PARTS, axes
    share = fitting / (len(labels) * _MIN_REPEATS)
    names, own = np.unique(groups, return_inverse=True)
    enters = random.permutation(len(names)) < share * len(names)
    rows = np.flatnonzero(enters[own.ravel()])
    return rows if len(rows) else np.arange(len(labels)), _MIN_REPEATS, axes


def _list_parts(num_repeats: int) -> list[tuple[int, int]]:
    """Round and left-out part of each repeat."""
    return [divmod(repeat, _NUM_PARTS) for repeat in range(num_repeats)]


def _draw_order(
    group_classes: NDArray[np.int64], shares: NDArray[np.float64], part: tuple[int, int], random: np.random.Generator
) -> NDArray[np.int64]:
    """Number of the smallest size that each group takes part in; len(shares) for the groups that are never trained on.

    The draw that decides the parts depends on the round only, so that the parts of one round do not overlap.
    """
    enters = np.full(len(group_classes), len(shares), np.int64)
    of_round = np.random.default_rng([part[0], len(group_classes)])
    for label in np.unique(group_classes):
        own = of_round.permutation(np.flatnonzero(group_classes == label))
        left_out = (np.arange(len(own)) + of_round.integers(_NUM_PARTS)) % _NUM_PARTS == part[1]
        rest = random.permutation(own[~left_out])
        # up or down by lot, so that the mean is right
        counts = np.floor(shares * len(own) + random.random()).astype(np.int64)
        counts = np.clip(counts, 1, len(rest))
        counts[-1] = len(rest)
        enters[rest] = np.searchsorted(counts, np.arange(len(rest)), side="right")
    return enters


def _run_repeats(
    scores: NDArray[np.float32], labels: NDArray[np.int64], orders: Sequence[NDArray[np.int64]], num_classes: int
) -> Iterator[list[tuple[NDArray[np.bool_], NDArray[np.int64]]]]:
    """For each repeat and each size, which photos were trained on, and the answers to the others.

    Of few photos all repeats are fitted at once: that wastes arithmetic on photos that are left out, but spares
    thousands of calls, which would take longer.
    """

    def run_repeat(order: NDArray[np.int64]) -> list[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
        return [_try_once(scores, labels, order <= number, num_classes) for number in range(NUM_SIZES)]

    if scores.size * num_classes > _MAX_TOGETHER:
        yield from run_in_threads(run_repeat, orders)
        return
    trained = np.stack(orders) <= np.arange(NUM_SIZES)[:, None, None]
    answers = list(run_in_threads(lambda own: _try_together(scores, labels, own, num_classes), list(trained)))
    for repeat in range(len(orders)):
        own = trained[:, repeat]
        yield [(own[number], answers[number][repeat, ~own[number]]) for number in range(NUM_SIZES)]


def _try_once(
    scores: NDArray[np.float32], labels: NDArray[np.int64], trained: NDArray[np.bool_], num_classes: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    weights = np.ones((1, int(trained.sum())), np.float32)
    penalties = np.array([PENALTY], np.float32)
    layers = fit_layers(scores[trained], labels[trained], weights, penalties, num_classes, tolerance=_TOLERANCE)
    return trained, layers.predict_log_probabilities(scores[~trained])[0].argmax(axis=1)


def _try_together(
    scores: NDArray[np.float32], labels: NDArray[np.int64], trained: NDArray[np.bool_], num_classes: int
) -> NDArray[np.int64]:
    """Answers to all photos by layers fitted on some of them; `trained` and the answers: (num_fits, num_photos)."""
    penalties = np.full(len(trained), PENALTY, np.float32)
    layers = fit_layers(scores, labels, trained.astype(np.float32), penalties, num_classes, tolerance=_TOLERANCE)
    answers: NDArray[np.int64] = layers.predict_log_probabilities(scores).argmax(axis=2)
    return answers


def _find_quantiles(
    values: NDArray[np.float64], shares: NDArray[np.float64], wanted: tuple[float, float]
) -> tuple[float, float]:
    order = values.argsort()
    position = np.cumsum(shares[order]) - shares[order] / 2
    low, high = np.interp(wanted, position, values[order])
    return float(low), float(high)
