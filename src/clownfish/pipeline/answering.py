"""From out-of-fold answers to the rules of the model: calibrated, able to say "unsure" and "unlike anything seen".

Answers to test photos have no say in any of it, and the shipped layer has not seen them, so that what they show is
fair; the layers of the folds, though, were trained on some of them. Every rule is fitted on answers by layers, and
embeddings, that have not seen the photo; the model that is shipped has seen about as many photos as each of those, so
its answers to new photos are like theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.answers.novelty import NoveltyRule, compute_scores
from clownfish.answers.rules import AnswerRules, Status
from clownfish.evaluation.abstention import NOTHING, describe_answers, describe_share, list_curve, make_risk_curve
from clownfish.evaluation.calibration import Calibration, apply_temperature, calibrate, describe_calibration
from clownfish.evaluation.embedding import FittedEmbedding, fit_embedding
from clownfish.evaluation.grouping import count_groups
from clownfish.evaluation.metrics import count_confusions
from clownfish.evaluation.prediction_sets import ALPHA, SetThresholds, describe_sets, fit_set_thresholds
from clownfish.evaluation.unknowns import (
    MIN_GROUPS,
    REJECTED_SHARE,
    FoldEmbedding,
    Scores,
    catch_unknowns,
    combine,
    fit_novelty_rule,
    score_folds,
    score_out_of_fold,
)
from clownfish.records import Embedding, Head
from clownfish.regression.scaling import fit_scaling

_METHOD = "lowest certainty with (max(wrong, expected) + 1) / (answered + 1) <= max_error; groups, out-of-fold"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswersProblem:
    """What the rules are fitted on; rows are the used photos."""

    classes: tuple[str, ...]
    features: NDArray[np.float32]
    """Shape (num_photos, num_features), raw."""
    feature_parts: tuple[int, ...] | None
    """Number of features in each part of the vector; None for one part."""
    labels: NDArray[np.int64]
    """Shape (num_photos,)."""
    groups: NDArray[np.str_]
    """Shape (num_photos,)."""
    folds: NDArray[np.int64]
    """Shape (num_photos,); a group lies in one fold."""
    parts: NDArray[np.str_]
    """Train, validation or test, shape (num_photos,)."""
    out_of_fold: NDArray[np.float64]
    """Of cross-validation, uncalibrated, shape (num_photos, num_classes)."""
    head: Head
    """As trained."""
    unknown_features: NDArray[np.float32]
    """Of the user's photos of other things, shape (num_unknown, num_features)."""
    unknown_groups: NDArray[np.str_]
    """Shape (num_unknown,)."""
    max_error: float
    """Share of wrong answers that is accepted."""
    seed: int
    fold_embeddings: Sequence[FoldEmbedding] | None = None
    """Every photo by a network that was fine-tuned without its fold; None for a network that no photo has changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """The rules, and what they do."""

    head: Head
    """With the temperature folded in."""
    embedding: Embedding
    rules: AnswerRules
    temperature: float
    probabilities: NDArray[np.float64]
    """Of the calibrated model, shape (num_photos, num_classes)."""
    out_of_fold: NDArray[np.float64]
    """Calibrated by a temperature from the other folds, shape (num_photos, num_classes)."""
    statuses: Sequence[Status]
    """Of every photo, by the model."""
    properties: dict[str, Any]
    """What the model file says about it."""
    metrics: dict[str, Any]
    """Keys of metrics.json."""
    messages: Sequence[str]
    """What the user should know."""


def fit_answers(problem: AnswersProblem) -> Answers:
    """Fit every rule and measure it.

    Args:
        problem: the photos and what was answered.

    Returns:
        The rules and what they do.
    """
    chosen = problem.parts != "test"
    calibration = calibrate(problem.out_of_fold, problem.labels, problem.folds, problem.groups, chosen)
    temperature = calibration.temperature
    softened = apply_temperature(problem.out_of_fold, temperature)
    curve = make_risk_curve(softened[chosen], problem.labels[chosen], problem.groups[chosen])
    sets = fit_set_thresholds(softened[chosen], problem.labels[chosen], problem.groups[chosen])
    head = _fold_in(problem.head, temperature)
    probabilities = head.predict_rows(problem.features, np.arange(len(problem.labels)))
    training = np.flatnonzero(problem.parts == "train")
    scaling = fit_scaling(problem.features, training, parts=problem.feature_parts)
    labels = problem.labels[training]
    fitted = fit_embedding(problem.features, training, labels, len(problem.classes), scaling=scaling)
    scores = _score(problem, softened)
    novelty, of_folder = _fit_novelty(problem, scores.pick(chosen), fitted, head)
    rules = AnswerRules(max_error=problem.max_error, curve=curve, set_thresholds=sets.thresholds, novelty=novelty)
    embeddings = fitted.embedding.apply(problem.features)
    statuses = rules.decide(probabilities, embeddings)
    rejected = np.array([status == "unlike anything seen" for status in statuses])
    can_tell = bool(np.isfinite(novelty.threshold))
    metrics = {
        "calibration": _describe_calibration(problem, calibration),
        "answering": _describe_answering(problem, rules, calibration.probabilities, probabilities),
        "prediction_sets": _describe_sets(problem, rules, sets, calibration.probabilities, probabilities),
        "unknowns": {
            "promised_rejected": REJECTED_SHARE,
            "can_tell": can_tell,
            "num_groups": count_groups(problem.groups[chosen]),
            "near_weight": novelty.near_weight,
            "test_rejected": describe_share(rejected[~chosen], problem.groups[~chosen]) if can_tell else NOTHING,
            "folder": of_folder,
        },
    }
    return Answers(
        head=head,
        embedding=fitted.embedding,
        rules=rules,
        temperature=temperature,
        probabilities=probabilities,
        out_of_fold=calibration.probabilities,
        statuses=statuses,
        properties={
            **_list_properties(rules, sets, temperature),
            "confusions": _list_confusions(problem, combine(novelty, scores) > novelty.threshold),
        },
        metrics=metrics,
        messages=_list_messages(rules, metrics),
    )


def _fold_in(head: Head, temperature: float) -> Head:
    """Divide the logits by the temperature, once and for all."""
    factor = np.float32(1 / temperature)
    return Head(weights=head.weights * factor, bias=head.bias * factor)


def _score(problem: AnswersProblem, softened: NDArray[np.float64]) -> Scores:
    """How strange each photo is to an embedding, and a network, that had not seen it."""
    if problem.fold_embeddings is not None:
        return score_folds(problem.fold_embeddings, softened)
    return score_out_of_fold(problem.features, problem.labels, problem.folds, softened, parts=problem.feature_parts)


def _fit_novelty(
    problem: AnswersProblem, scores: Scores, fitted: FittedEmbedding, head: Head
) -> tuple[NoveltyRule, dict[str, Any] | None]:
    """Fit on the scores of the photos that are no test photos; and tell what it catches of the user's other things."""
    groups = problem.groups[problem.parts != "test"]
    if len(problem.unknown_groups) == 0:
        return fit_novelty_rule(scores, groups, fitted.class_means), None
    embeddings = fitted.embedding.apply(problem.unknown_features)
    probabilities = head.predict_probabilities(problem.unknown_features)
    near, distance, norm = compute_scores(probabilities, embeddings, fitted.class_means)
    unknown = Scores(near=near, distance=distance, norm=norm)
    near_weight, caught = catch_unknowns(scores, groups, unknown, problem.unknown_groups, seed=problem.seed)
    rule = fit_novelty_rule(scores, groups, fitted.class_means, near_weight=near_weight)
    found = {
        "num_photos": len(caught),
        "num_groups": count_groups(problem.unknown_groups),
        # a rule that never rejects catches none, which says nothing about the photos
        "caught": describe_share(caught, problem.unknown_groups) if np.isfinite(rule.threshold) else NOTHING,
    }
    return rule, found


def _describe_calibration(problem: AnswersProblem, calibration: Calibration) -> dict[str, Any]:
    chosen = problem.parts != "test"
    measured = describe_calibration(
        problem.out_of_fold[chosen],
        calibration.probabilities[chosen],
        problem.labels[chosen],
        problem.groups[chosen],
        seed=problem.seed,
    )
    return {"temperature": calibration.temperature, "best_temperature": calibration.found, **measured}


def _describe_answering(
    problem: AnswersProblem, rules: AnswerRules, crossed: NDArray[np.float64], probabilities: NDArray[np.float64]
) -> dict[str, Any]:
    """Out-of-fold, each fold by a threshold from the others; and on the test photos."""
    chosen, wrong = problem.parts != "test", crossed.argmax(axis=1) != problem.labels
    answered = np.zeros(len(wrong), np.bool_)
    for fold in np.unique(problem.folds):
        inside = problem.folds == fold
        others = chosen & ~inside
        if others.any():
            curve = make_risk_curve(crossed[others], problem.labels[others], problem.groups[others])
            threshold = curve.find_threshold(problem.max_error)
            answered[inside] = threshold is not None and crossed[inside].max(axis=1) >= threshold
    test_wrong = probabilities[~chosen].argmax(axis=1) != problem.labels[~chosen]
    test_answered = probabilities[~chosen].max(axis=1) >= rules.threshold
    return {
        "max_error": problem.max_error,
        "threshold": rules.threshold if np.isfinite(rules.threshold) else None,
        "smallest_max_error": rules.curve.find_smallest_budget(),
        "out_of_fold": describe_answers(answered[chosen], wrong[chosen], problem.groups[chosen]),
        "test": describe_answers(test_answered, test_wrong, problem.groups[~chosen]),
        "curve": list_curve(rules.curve),
    }


def _describe_sets(
    problem: AnswersProblem,
    rules: AnswerRules,
    sets: SetThresholds,
    crossed: NDArray[np.float64],
    probabilities: NDArray[np.float64],
) -> dict[str, Any]:
    chosen, test = problem.parts != "test", np.flatnonzero(problem.parts == "test")
    holds = rules.find_candidates(probabilities[test])[np.arange(len(test)), problem.labels[test]]
    return {
        "alpha": ALPHA,
        "by_class": sets.by_class,
        "thresholds": sets.thresholds.tolist(),
        **describe_sets(crossed[chosen], problem.labels[chosen], problem.groups[chosen], problem.folds[chosen]),
        "test_coverage": describe_share(holds, problem.groups[test]),
    }


def _list_confusions(problem: AnswersProblem, rejected: NDArray[np.bool_]) -> dict[str, Any]:
    """What `count` needs: it counts rejected photos apart, so they are not among the confusions either."""
    num_classes = len(problem.classes)
    confusions = count_confusions(problem.labels[~rejected], problem.out_of_fold[~rejected], num_classes)
    return {
        "matrix": confusions.tolist(),
        "rejected": np.bincount(problem.labels[rejected], minlength=num_classes).tolist(),
        "num_groups": [count_groups(problem.groups[problem.labels == number]) for number in range(num_classes)],
    }


def _list_properties(rules: AnswerRules, sets: SetThresholds, temperature: float) -> dict[str, Any]:
    assert rules.novelty is not None
    threshold = rules.threshold if np.isfinite(rules.threshold) else None
    return {
        "calibration": {"temperature": temperature},  # for the record: the weights hold it already
        "answering": {
            "max_error": rules.max_error,
            "threshold": threshold,
            "method": _METHOD,
            "curve": rules.curve.to_json(),
        },
        "prediction_sets": {"alpha": ALPHA, "by_class": sets.by_class, "thresholds": sets.thresholds.tolist()},
        "unknowns": {"rejected_share": REJECTED_SHARE, **rules.novelty.to_json()},
    }


def _list_messages(rules: AnswerRules, metrics: dict[str, Any]) -> list[str]:
    messages = []
    if not np.isfinite(rules.threshold):
        smallest = int(np.ceil(100 * rules.curve.find_smallest_budget()))
        advice = f"--max-error {smallest}%, or more photos" if smallest < 50 else "more photos are needed"
        messages.append(
            f"No certainty is known to keep the errors among answers at {100 * rules.max_error:g} %, so predict calls"
            f" every answer unsure. What can be kept: {advice}."
        )
    unknowns = metrics["unknowns"]
    if not unknowns["can_tell"]:
        messages.append(
            f"Whether a photo is unlike anything seen cannot be told with {unknowns['num_groups']} groups of photos;"
            f" {MIN_GROUPS} are needed."
        )
    return messages
