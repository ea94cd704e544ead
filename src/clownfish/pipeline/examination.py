"""What is found out about photos and model beyond the accuracy: the audits of a run, one after the other.

Each audit is a function of the evaluation stage on arrays; here they get the run's arrays, and their results
become keys of metrics.json and sentences for the user.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.hidden_classes import HiddenClassProblem, hide_classes
from clownfish.evaluation.learning_curve import make_curve, try_sizes
from clownfish.evaluation.penalty_path import follow_path
from clownfish.evaluation.permutation import permute_labels
from clownfish.evaluation.photo_needs import describe_needs
from clownfish.evaluation.unknowns import DEFAULT_NEAR_WEIGHT
from clownfish.evaluation.verdicts import Verdict, judge_amount, judge_fit, judge_gap, judge_learning, judge_selection
from clownfish.records import Catalog
from clownfish.regression.rotation import Rotation

MAX_AXES = 512
"""Principal axes that the audits work with: their refits are three times faster than with all, for little loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the audits look at; rows are the used photos of the catalog, in its order."""

    catalog: Catalog
    features: NDArray[np.float32]
    """Shape (num_photos, num_features), raw."""
    rotation: Rotation
    """The features of all photos in their principal axes."""
    groups: NDArray[np.int64]
    """Number of each photo's group, shape (num_photos,)."""
    folds: NDArray[np.int64]
    """Of cross-validation, shape (num_photos,); a group lies in one fold."""
    parts: NDArray[np.str_]
    """Train, validation or test, shape (num_photos,)."""
    probabilities: NDArray[np.float64]
    """Of the trained model, shape (num_photos, num_classes)."""
    out_of_fold: NDArray[np.float64]
    """Of cross-validation, shape (num_photos, num_classes)."""
    uncalibrated: NDArray[np.float64]
    """The same before the temperature was chosen, to compare with other fits."""
    penalty: float
    """The L2 penalty that the model was trained with, relative to the sum of the losses (scikit-learn's 1 / C)."""
    temperature: float = 1.0
    """What the logits of the trained model were divided by."""
    near_weight: float = DEFAULT_NEAR_WEIGHT
    """Of the largest probability in the statistic that tells unknown things."""
    seed: int
    fast: bool
    """Skip what is slow."""
    is_tuned: bool = False
    """The model that is shipped was fine-tuned, so what only refits of the layer on top can tell is left out: it would
    be said of another model. `probabilities` and `out_of_fold` are the tuned model's."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class number of each photo."""
        return self.catalog.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.catalog.classes


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What the audits found."""

    metrics: dict[str, Any] = field(default_factory=dict)
    """Further keys of metrics.json."""
    messages: Sequence[str] = ()
    """What the user should know, one sentence each, most important first."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Further files of the run folder, by name."""

    def join(self, other: "Examination") -> "Examination":
        """Put what other audits found behind this."""
        return Examination(
            metrics={**self.metrics, **other.metrics},
            messages=[*self.messages, *other.messages],
            files={**self.files, **other.files},
        )


def examine(evidence: Evidence, *, on_audit: Callable[[], None] = lambda: None) -> Examination:
    """Run every audit.

    Args:
        evidence: of the run.
        on_audit: called after each of the audits.

    Returns:
        Their results.
    """
    joined = Examination()
    for audit in AUDITS:
        joined = joined.join(audit(evidence))
        on_audit()
    return joined


def _judge_training(evidence: Evidence) -> Examination:
    """Overfitting in words, and what more photos would bring."""
    labels, groups, seed = evidence.labels, evidence.groups, evidence.seed
    scores, num_classes = evidence.rotation.scores, len(evidence.classes)
    learned = judge_learning(permute_labels(scores, labels, groups, num_classes, seed=seed), groups, seed=seed)
    gap = judge_gap(labels, groups, evidence.parts, evidence.probabilities, evidence.out_of_fold, seed=seed)
    if evidence.is_tuned:
        amount = judge_amount(None, reason="a fine-tuned network would have to be tuned anew for each size")
        return Examination(
            metrics={"verdicts": [verdict.as_json() for verdict in (learned, gap, amount)], "learning_curve": None},
            messages=[] if learned.holds else [learned.sentence],
        )
    path = follow_path(scores, labels, groups, evidence.folds, evidence.penalty, num_classes, seed=seed)
    overfitting, underfitting = judge_fit(path, labels, groups, evidence.uncalibrated, gap=gap, seed=seed)
    selection = judge_selection(path, groups, seed=seed)
    amount, needs, told_needs = _judge_amount(evidence, learned)
    verdicts = [learned, gap, overfitting, underfitting, selection, amount]
    # what is as it should be need not be read at every training; it stands in the report
    told = [verdict for verdict in (underfitting, selection) if verdict.holds]
    told = [overfitting, *told] if learned.holds else [learned]
    return Examination(
        metrics={"verdicts": [verdict.as_json() for verdict in verdicts], "learning_curve": needs},
        messages=[*(verdict.sentence for verdict in told), *told_needs],
    )


def _judge_amount(evidence: Evidence, learned: Verdict) -> tuple[Verdict, dict[str, Any] | None, list[str]]:
    """The verdict on the number of photos, the learning curve, and its sentences."""
    if evidence.fast:
        return judge_amount(None, reason="--fast leaves the learning curve out"), None, []
    if not learned.holds:  # the slope of chance is no forecast
        return judge_amount(None, reason="there is no evidence that anything was learned"), None, []
    seed = evidence.seed
    trials = try_sizes(evidence.rotation.scores, evidence.labels, evidence.groups, len(evidence.classes), seed=seed)
    curve = None if trials is None else make_curve(trials, seed=seed)
    amount = judge_amount(curve, reason="there are too few groups for a learning curve")
    if trials is None or curve is None:
        return amount, None, []
    return amount, *describe_needs(trials, curve, amount, evidence.classes, seed=seed)


def _hide_classes(evidence: Evidence) -> Examination:
    """Of each class, how many photos would be noticed as unknown if the model had never seen it."""
    if evidence.fast or evidence.is_tuned:
        return Examination()
    problem = HiddenClassProblem(
        scores=evidence.rotation.scores,
        labels=evidence.labels,
        groups=evidence.groups,
        folds=evidence.folds,
        penalty=evidence.penalty,
        temperature=evidence.temperature,
    )
    rows = hide_classes(problem, evidence.classes, evidence.near_weight)
    summary = {
        "per_class": rows,
        "caught": float(np.mean([row["caught"]["value"] for row in rows])) if rows else None,
        "auroc": float(np.mean([row["auroc"] for row in rows])) if rows else None,
    }
    return Examination(metrics={"hidden_classes": summary})


AUDITS: tuple[Callable[[Evidence], Examination], ...] = (_judge_training, _hide_classes)
"""In the order of their sentences."""
