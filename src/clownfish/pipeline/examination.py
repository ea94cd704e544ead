"""What is found out about photos and model beyond the accuracy: the audits of a run, one after the other.

Each audit is a function of the evaluation stage on arrays; here they get the run's arrays, and their results
become keys of metrics.json and sentences for the user.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.hidden_classes import HiddenClassProblem, hide_classes
from clownfish.evaluation.unknowns import DEFAULT_NEAR_WEIGHT
from clownfish.records import Catalog
from clownfish.regression.rotation import Rotation


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
    penalty: float
    """The L2 penalty that the model was trained with, relative to the sum of the losses (scikit-learn's 1 / C)."""
    temperature: float = 1.0
    """What the logits of the trained model were divided by."""
    near_weight: float = DEFAULT_NEAR_WEIGHT
    """Of the largest probability in the statistic that tells unknown things."""
    seed: int
    fast: bool
    """Skip what is slow."""

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


def examine(evidence: Evidence) -> Examination:
    """Run every audit.

    Args:
        evidence: of the run.

    Returns:
        Their results.
    """
    metrics: dict[str, Any] = {}
    if not evidence.fast:
        metrics["hidden_classes"] = _hide_classes(evidence)
    return Examination(metrics=metrics)


def _hide_classes(evidence: Evidence) -> dict[str, Any]:
    """Of each class, how many photos would be noticed as unknown if the model had never seen it."""
    problem = HiddenClassProblem(
        features=evidence.features,
        scores=evidence.rotation.scores,
        labels=evidence.labels,
        groups=evidence.groups,
        folds=evidence.folds,
        penalty=evidence.penalty,
        temperature=evidence.temperature,
    )
    rows = hide_classes(problem, evidence.classes, evidence.near_weight)
    return {
        "per_class": rows,
        "caught": float(np.mean([row["caught"]["value"] for row in rows])) if rows else None,
        "auroc": float(np.mean([row["auroc"] for row in rows])) if rows else None,
    }
