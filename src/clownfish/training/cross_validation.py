"""How good the whole procedure is on photos it has not seen: grouped cross-validation.

Each fold is predicted by a layer trained on photos of the others. What the procedure decides on validation
photos (epoch, weight decay) is decided inside: the next fold serves as validation photos, then the layer
is fitted anew on everything but the fold to predict. No photo has a say in its own prediction.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import run_in_threads
from clownfish.records import Head
from clownfish.training.descent import TrainingSet, descend
from clownfish.training.selection import TrainingOptions, train_head


def cross_validate(
    photos: TrainingSet,
    folds: NDArray[np.int64],
    options: TrainingOptions,
    *,
    training: NDArray[np.bool_] | None = None,
    on_fold: Callable[[], None] = lambda: None,
) -> NDArray[np.float64]:
    """Predict every photo by a layer that was trained without its fold.

    Args:
        photos: all usable photos; `rows` says which take part.
        folds: shape (num_photos,), fold of each photo; a group lies in one fold.
        options: hyperparameters, as for the model itself.
        training: shape (num_folds, num_photos), the photos that each fold's layer is trained on, see
            `splits.match_training`; None for all outside the fold.
        on_fold: called when a fold is done.

    Returns:
        Out-of-fold probabilities of `photos.rows`, shape (len(rows), num_classes).
    """
    own_folds = folds[photos.rows]
    numbers = np.unique(own_folds)

    def predict_fold(position: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        held_out = own_folds == numbers[position]
        fitted = ~held_out if training is None else training[position, photos.rows]
        inner = fitted & (own_folds == numbers[(position + 1) % len(numbers)])
        head = _fit_fold(photos, photos.rows[fitted], photos.rows[inner], options)
        return held_out, head.predict_rows(photos.features, photos.rows[held_out])

    probabilities = np.empty((len(photos.rows), photos.num_classes))
    for held_out, predicted in run_in_threads(predict_fold, range(len(numbers))):
        probabilities[held_out] = predicted
        on_fold()
    return probabilities


def _fit_fold(photos: TrainingSet, rows: NDArray[np.int64], inner: NDArray[np.int64], options: TrainingOptions) -> Head:
    """Choose epoch and weight decay with `inner` as validation photos, then fit on all of `rows`."""
    without_inner = np.setdiff1d(rows, inner)
    if len(without_inner) == 0:  # two folds: nothing is left to choose with
        without_inner, inner = rows, inner[:0]
    chosen = train_head(replace(photos, rows=without_inner), inner, options, measures_training=False)
    # the penalty is relative to the mean loss, so it shrinks as photos are added
    weight_decay = np.array([chosen.weight_decay * len(without_inner) / len(rows)], np.float32)
    if options.weight_decay is not None:
        weight_decay[0] = options.weight_decay
    epochs = descend(replace(photos, rows=rows), weight_decay, options.make_schedule())
    fits = next(islice(epochs, chosen.best_epoch - 1, None))
    return fits.make_head(0)
