"""How many photos of an unknown species would be noticed: hide each class in turn, and look."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.answers.novelty import compute_scores
from clownfish.evaluation.calibration import apply_temperature
from clownfish.evaluation.embedding import FittedEmbedding, fit_embedding
from clownfish.evaluation.grouping import Groups, count_groups
from clownfish.evaluation.intervals import estimate_share
from clownfish.evaluation.unknowns import MIN_GROUPS, Scores, combine, fit_novelty_rule
from clownfish.regression.logistic import Layers, fit_layers
from clownfish.regression.scaling import Scaling

MIN_CLASSES = 3
"""With one of two hidden, nothing is left to tell apart."""
MAX_CLASSES = 20
"""More would take long; those with most groups are taken."""
_FEWEST_CLASSES = 5
_MAX_WORK = 1e9
"""Photos x axes x classes x fits; some seconds on two cores. Of larger sets fewer classes are hidden, in fewer axes."""
_MANY_CLASSES_AXES = 128
_NUM_FOLDS = 2
_FEW_PHOTOS = 500
"""With fewer, every fold is used, since two would hold too few groups to set a threshold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenClassProblem:
    """The photos to try it on."""

    scores: NDArray[np.float32]
    """Principal axes of the photos' scaled features, shape (num_photos, num_axes): detector and layer see nothing
    else, which is many times faster and takes nothing from them but the weakest axes."""
    labels: NDArray[np.int64]
    """Shape (num_photos,)."""
    groups: Groups
    """Of each photo."""
    folds: NDArray[np.int64]
    """Shape (num_photos,); a group lies in one fold."""
    penalty: float
    """L2 penalty of the layer, relative to the sum of the losses."""
    temperature: float
    """Of the calibrated model."""


def hide_classes(problem: HiddenClassProblem, classes: tuple[str, ...], near_weight: float) -> list[dict[str, Any]]:
    """Hide each class, fit layer and detector on the others, and count how many of its photos are caught.

    As in use, the threshold comes from photos of the other classes which that layer and detector have not seen.

    Args:
        problem: the photos.
        classes: names.
        near_weight: of the statistic, as shipped.

    Returns:
        For each class that was hidden "label", "num_groups", "caught" ("value", "low", "high") and "auroc"; empty if
        there are fewer than three classes or, without one, fewer than 39 groups.
    """
    if len(classes) < MIN_CLASSES:
        return []
    num_groups = [count_groups(problem.groups[problem.labels == number]) for number in range(len(classes))]
    folds = np.unique(problem.folds)
    folds = folds if len(problem.labels) < _FEW_PHOTOS else folds[:_NUM_FOLDS]
    if problem.scores.size * len(classes) * len(folds) * MAX_CLASSES > _MAX_WORK:
        problem = replace(problem, scores=np.ascontiguousarray(problem.scores[:, :_MANY_CLASSES_AXES]))
    affordable = int(_MAX_WORK / (problem.scores.size * len(classes) * len(folds)))
    num_hidden = min(max(affordable, _FEWEST_CLASSES), MAX_CLASSES)
    hidden = sorted(sorted(range(len(classes)), key=lambda number: -num_groups[number])[:num_hidden])
    layers = _fit_layers(problem, hidden, folds, len(classes))
    rows = []
    for position, number in enumerate(hidden):
        own = slice(position * len(folds), (position + 1) * len(folds))
        part = Layers(weights=np.ascontiguousarray(layers.weights[:, own]), bias=layers.bias[own])
        row = _audit(problem, number, folds, part, near_weight)
        if row:
            rows.append({"label": classes[number], "num_groups": num_groups[number], **row})
    return rows


def _drop_label(labels: NDArray[np.int64], hidden: int) -> NDArray[np.int64]:
    """Numbers without a gap; those of the hidden class have no meaning."""
    return labels - (labels >= max(hidden, 1))


def _fit_layers(problem: HiddenClassProblem, hidden: list[int], folds: NDArray[np.int64], num_classes: int) -> Layers:
    tasks = [(number, fold) for number in hidden for fold in folds]
    weights = np.stack([(problem.labels != number) & (problem.folds != fold) for number, fold in tasks])
    labels = np.stack([_drop_label(problem.labels, number) for number, _ in tasks])
    penalties = np.full(len(tasks), problem.penalty, np.float32)
    return fit_layers(problem.scores, labels, weights.astype(np.float32), penalties, num_classes - 1)


def _audit(
    problem: HiddenClassProblem, hidden: int, folds: NDArray[np.int64], layers: Layers, near_weight: float
) -> dict[str, Any] | None:
    unknown = np.flatnonzero(problem.labels == hidden)
    known = np.flatnonzero((problem.labels != hidden) & np.isin(problem.folds, folds))
    if count_groups(problem.groups[known]) < MIN_GROUPS:
        return None
    known_scores = np.empty((3, len(known)))
    unknown_scores = np.empty((len(folds), 3, len(unknown)))
    for position, fold in enumerate(folds):
        inside = problem.folds[known] == fold
        training = (problem.labels != hidden) & (problem.folds != fold)
        present, labels = np.unique(problem.labels[training], return_inverse=True)
        own = np.flatnonzero(training)
        centred = Scaling(problem.scores[own].mean(axis=0), np.ones(problem.scores.shape[1], np.float32))
        fitted = fit_embedding(problem.scores, own, labels, len(present), scaling=centred)
        layer = Layers(weights=np.ascontiguousarray(layers.weights[:, [position]]), bias=layers.bias[[position]])
        known_scores[:, inside] = _score(problem, known[inside], layer, fitted)
        unknown_scores[position] = _score(problem, unknown, layer, fitted)
    of_known = Scores(near=known_scores[0], distance=known_scores[1], norm=known_scores[2])
    rule = fit_novelty_rule(of_known, problem.groups[known], np.zeros((1, 1)), near_weight=near_weight)
    statistics = np.stack([combine(rule, Scores(near=own[0], distance=own[1], norm=own[2])) for own in unknown_scores])
    # each unknown photo was seen by every fold's model
    caught = estimate_share((statistics > rule.threshold).ravel(), np.tile(problem.groups[unknown], len(statistics)))
    return {
        "caught": asdict(caught),
        "auroc": compute_auroc(combine(rule, of_known), statistics.ravel()),
    }


def _score(
    problem: HiddenClassProblem, rows: NDArray[np.int64], layer: Layers, fitted: FittedEmbedding
) -> NDArray[np.float64]:
    logarithms = layer.predict_log_probabilities(problem.scores[rows])[0].astype(np.float64)
    probabilities = apply_temperature(np.exp(logarithms), problem.temperature)
    return np.stack(compute_scores(probabilities, fitted.embedding.apply(problem.scores[rows]), fitted.class_means))


def compute_auroc(known: NDArray[np.float64], unknown: NDArray[np.float64]) -> float:
    """Compute how often an unknown photo scores above a known one, ties counting half.

    Args:
        known: statistic of known photos.
        unknown: statistic of unknown ones.

    Returns:
        0.5 for chance, 1 for perfect.
    """
    ordered = np.sort(known)
    below = np.searchsorted(ordered, unknown, side="left")
    not_above = np.searchsorted(ordered, unknown, side="right")
    return float((below + not_above).mean() / 2 / len(known))
