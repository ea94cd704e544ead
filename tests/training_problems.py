"""Small problems to train on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.training.descent import TrainingSet
from clownfish.training.selection import TrainingOptions


def make_problem(
    *, num_photos: int = 200, num_features: int = 25, num_classes: int = 3, seed: int = 0, noise: float = 2.0
) -> tuple[TrainingSet, NDArray[np.int64]]:
    """Clouds of points, the more noise the less to be told apart; a quarter of the photos validate."""
    random = np.random.default_rng(seed)
    labels = np.arange(num_photos) % num_classes
    centres = random.normal(size=(num_classes, num_features))
    features = (centres[labels] + noise * random.normal(size=(num_photos, num_features))).astype(np.float32)
    order = random.permutation(num_photos)
    training = TrainingSet(
        features=features,
        labels=labels.astype(np.int64),
        rows=np.sort(order[num_photos // 4 :]),
        num_classes=num_classes,
    )
    return training, np.sort(order[: num_photos // 4])


def make_options(**changes: Any) -> TrainingOptions:
    return TrainingOptions(**({"epochs": 8} | changes))
