"""What is found out about photos and model beyond the accuracy: the audits of a run, one after the other.

Each audit is a function of the evaluation stage on arrays; here they get the run's arrays, and their results
become keys of metrics.json and sentences for the user.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Further files of the run folder, by name."""


def examine(evidence: Evidence) -> Examination:
    """Run every audit.

    Args:
        evidence: of the run.

    Returns:
        Their results.
    """
    del evidence
    return Examination()
