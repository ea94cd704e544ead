"""Cross-validation of a run, in the ways whose differences tell something."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.config import TrainConfig
from clownfish.photos.links import find_components
from clownfish.progress import Progress
from clownfish.records import Catalog
from clownfish.splits import Split, make_folds, match_training
from clownfish.training.cross_validation import cross_validate
from clownfish.training.descent import TrainingSet


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossValidation:
    """Answers to every used photo by models that were trained without its fold."""

    folds: NDArray[np.int64]
    """Fold of each photo, groups kept whole, shape (num_used,)."""
    out_of_fold: NDArray[np.float64]
    """With groups kept whole, shape (num_used, num_classes)."""
    of_random_folds: NDArray[np.float64] | None
    """The same with photos dealt out one by one, whatever their groups: what others report. None if every photo
    is a group of its own."""
    of_seen_groups: NDArray[np.float64] | None
    """The same with copies and bursts kept together, but not what the user named as groups: new photos of the
    sites that were trained on. None if the user named none."""

    @property
    def num_folds(self) -> int:
        """How many folds there are."""
        return int(self.folds.max()) + 1


def validate_model(
    photos: TrainingSet, catalog: Catalog, split: Split, config: TrainConfig, progress: Progress
) -> CrossValidation:
    """Cross-validate with groups kept whole; and where that makes a difference, in the ways that would claim more.

    Args:
        photos: all used photos.
        catalog: their labels and groups.
        split: of the model that is shipped; a fold's model learns from about as many photos.
        config: hyperparameters.
        progress: shows how far the work has come.

    Returns:
        The answers.
    """
    labels, seed, groups = catalog.label_names, config.training.seed, catalog.groups
    alone = [str(number) for number in range(len(labels))]
    ways = {"grouped": groups}
    if len(set(groups)) < len(labels):
        ways["random"] = alone
    if any(link.kind == "user" for link in catalog.links):
        pictures = find_components(len(catalog.photos), [link for link in catalog.links if link.kind != "user"])
        ways["seen"] = [str(number) for number in pictures[catalog.used]]
    folds = {way: make_folds(labels, names, seed=seed) for way, names in ways.items()}
    found = {}
    with progress.show_stage("Cross-validating", sum(int(own.max()) + 1 for own in folds.values())) as advance:
        for way, names in ways.items():
            # a random split is what others report, with all that it trains on
            fitted = None if way == "random" else match_training(labels, names, folds[way], split.parts, seed=seed)
            found[way] = cross_validate(photos, folds[way], config.training, training=fitted, on_fold=advance)
    return CrossValidation(
        folds=folds["grouped"],
        out_of_fold=found["grouped"],
        of_random_folds=found.get("random"),
        of_seen_groups=found.get("seen"),
    )
