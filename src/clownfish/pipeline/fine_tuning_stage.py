"""What a run has come to when fine-tuning begins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import Helpers
from clownfish.config import TrainConfig
from clownfish.pipeline.cross_validation import CrossValidation
from clownfish.pipeline.log import RunLog
from clownfish.pipeline.material import Material
from clownfish.progress import Progress
from clownfish.records import Photo
from clownfish.splits import Split
from clownfish.training.descent import TrainingSet
from clownfish.training.selection import Trained


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """The frozen network's model, and all that it was made from."""

    config: TrainConfig
    material: Material
    split: Split
    photos: TrainingSet
    """All used photos."""
    trained: Trained
    validation: CrossValidation
    log: RunLog
    progress: Progress
    helpers: Helpers

    @property
    def parts(self) -> NDArray[np.str_]:
        """Train, validation or test, shape (num_used,)."""
        return np.array(self.split.parts)

    @property
    def used(self) -> list[Photo]:
        """The photos."""
        return [self.material.catalog.photos[position] for position in self.material.catalog.used]
