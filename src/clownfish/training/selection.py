"""Train the layer on top: how far to go and how strongly to regularise, decided on validation photos.

Both choices follow the one-standard-error rule (Breiman et al. 1984): of all that are no worse on the
validation photos than the best by more than that best's standard error, take the most regularised
weight decay, and the latest epoch. Taking the plain minimum was measured to be harmful, since a few
dozen validation photos make it mostly noise; see docs/decisions/0004-early-stopping.md.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import limit_matrix_threads
from clownfish.errors import ConfigError
from clownfish.records import EpochRow, Head
from clownfish.training.descent import Schedule, TrainingSet, compute_losses, count_iterations, descend

PENALTIES = (100.0, 30.0, 10.0)
"""Tried when weight decay is chosen: divided by the number of training photos, strongest first. The same
as C = 0.01, 0.03, 0.1 in scikit-learn's logistic regression on standardised features."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions:
    """The hyperparameters of the layer on top."""

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.01
    momentum: float = 0.9
    dropout_rate: float = 0.2
    weight_decay: float | None = None
    """L2 penalty relative to the mean cross-entropy; None to choose it on validation photos."""
    patience: int = 5
    """Stop after so many epochs whose validation loss is clearly above the best."""
    balance: bool = False
    seed: int = 1
    """Decides every draw: the split, the folds, the order of the photos, the dropout."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a value is out of its range.
        """
        limits: tuple[tuple[str, float, float, str], ...] = (
            ("epochs", 1, 10_000, "from 1 to 10,000"),
            ("batch_size", 1, 1_000_000, "from 1 to 1,000,000"),
            ("learning_rate", 1e-9, 1e3, "from 0.000000001 to 1,000"),
            ("momentum", 0.0, 0.999, "from 0 to 0.999"),
            ("dropout_rate", 0.0, 0.95, "from 0 to 0.95"),
            ("patience", 1, 10_000, "from 1 to 10,000"),
            ("seed", 0, 2**63 - 1, "a whole number from 0 to 9,223,372,036,854,775,807"),
        )
        for name, lowest, highest, words in limits:
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ConfigError(f"{name} is {value}; it must be {words}.")
        if self.weight_decay is not None and not 0 <= self.weight_decay <= 1e6:
            raise ConfigError(f"weight_decay is {self.weight_decay}; it must be from 0 to 1,000,000, or left out.")

    def make_schedule(self) -> Schedule:
        """Take what gradient descent needs."""
        return Schedule(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            dropout_rate=self.dropout_rate,
            seed=self.seed,
        )

    def list_weight_decays(self, num_photos: int) -> NDArray[np.float32]:
        """The candidates for a training set of this size, strongest first; shape (num_candidates,)."""
        if self.weight_decay is not None:
            return np.array([self.weight_decay], np.float32)
        return np.array(PENALTIES, np.float32) / np.float32(num_photos)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A trained layer and how it came about."""

    head: Head
    history: tuple[EpochRow, ...]
    """Of the weight decay that was chosen."""
    best_epoch: int
    lowest_loss_epoch: int | None
    """Where the validation loss was lowest; None without validation photos."""
    weight_decay: float
    learning_rate: float
    """The largest step taken: as asked for, or the largest that surely converges."""
    iterations_per_epoch: int
    num_trained_parameters: int


def train_head(
    training: TrainingSet,
    validation_rows: NDArray[np.int64],
    options: TrainingOptions,
    *,
    measures_training: bool = True,
    on_epoch: Callable[[EpochRow], None] = lambda _: None,
) -> Trained:
    """Train the layer on top and keep the epoch and weight decay that validation photos speak for.

    Args:
        training: the photos to fit on.
        validation_rows: the photos that decide; may be empty, then the last epoch of the strongest
            weight decay is kept.
        options: hyperparameters.
        measures_training: tell in the history how well the training photos are fitted; NaN otherwise, which spares a
            third of the time.
        on_epoch: called after each epoch, with the numbers of the weakest weight decay.

    Returns:
        The layer, its history, and what was chosen.

    Raises:
        ConfigError: the hyperparameters make training diverge.
    """
    with limit_matrix_threads():
        return _train_head(training, validation_rows, options, on_epoch, measures_training=measures_training)


def _train_head(
    training: TrainingSet,
    validation_rows: NDArray[np.int64],
    options: TrainingOptions,
    on_epoch: Callable[[EpochRow], None],
    *,
    measures_training: bool,
) -> Trained:
    weight_decay = options.list_weight_decays(len(training.rows))
    tracks = [_Track() for _ in weight_decay]
    started = time.perf_counter()
    for number, fits in enumerate(descend(training, weight_decay, options.make_schedule()), start=1):
        measured_rows = training.rows if measures_training else training.rows[:0]
        train_loss, train_right = compute_losses(fits, training.features, training.labels, measured_rows)
        val_loss, val_right = compute_losses(fits, training.features, training.labels, validation_rows)
        seconds = time.perf_counter() - started
        started += seconds
        for index, track in enumerate(tracks):
            has_validation = len(validation_rows) > 0
            row = EpochRow(
                epoch=number,
                train_loss=float(train_loss[:, index].mean()) if measures_training else math.nan,
                validation_loss=float(val_loss[:, index].mean()) if has_validation else None,
                train_accuracy=float(train_right[:, index].mean()) if measures_training else math.nan,
                validation_accuracy=float(val_right[:, index].mean()) if has_validation else None,
                seconds=seconds,
            )
            track.add(row, val_loss[:, index], partial(fits.make_head, index))
        on_epoch(row)
        if all(track.num_epochs_since_best >= options.patience for track in tracks):
            break
    if not all(track.best_epoch for track in tracks):
        raise ConfigError(
            f"Training diverged with learning_rate {options.learning_rate:g} and dropout_rate {options.dropout_rate:g}."
            " Try the defaults, 0.01 and 0.2."
        )
    chosen = _choose_strongest(tracks)
    num_features, num_classes = tracks[chosen].head.weights.shape
    return Trained(
        head=tracks[chosen].head,
        history=tuple(tracks[chosen].history),
        best_epoch=tracks[chosen].best_epoch,
        lowest_loss_epoch=tracks[chosen].lowest_epoch,
        weight_decay=float(weight_decay[chosen]),
        learning_rate=fits.learning_rate,
        iterations_per_epoch=count_iterations(len(training.rows), options.batch_size),
        num_trained_parameters=(num_features + 1) * num_classes,
    )


def compute_band(losses: NDArray[np.float64]) -> float:
    """Mean loss plus its standard error: what counts as "no worse" under the one-standard-error rule.

    Args:
        losses: shape (num_photos,), cross-entropies of the best choice.

    Returns:
        The limit; infinite for fewer than two photos, since nothing is known then.
    """
    if len(losses) < 2:
        return math.inf
    return float(losses.mean() + losses.std(ddof=1) / math.sqrt(len(losses)))


class _Track:
    """Follows one weight decay through the epochs, holding the latest epoch that is no worse than the best."""

    def __init__(self) -> None:
        self.history: list[EpochRow] = []
        self.best_epoch = 0
        self.best_losses: NDArray[np.float64] = np.empty(0)
        self.lowest_epoch: int | None = None
        self._lowest_loss = math.inf
        self._limit = math.inf

    def add(self, row: EpochRow, losses: NDArray[np.float64], make_head: Callable[[], Head]) -> None:
        self.history.append(row)
        if row.validation_loss is not None and row.validation_loss < self._lowest_loss:
            self._lowest_loss, self._limit, self.lowest_epoch = row.validation_loss, compute_band(losses), row.epoch
        if row.validation_loss is None or row.validation_loss <= self._limit:
            self.best_epoch, self.best_losses, self.head = row.epoch, losses, make_head()

    @property
    def num_epochs_since_best(self) -> int:
        return len(self.history) - self.best_epoch


def _choose_strongest(tracks: Sequence[_Track]) -> int:
    """Position of the first (strongest) weight decay that is no worse than the best one."""
    means = [float(track.best_losses.mean()) if len(track.best_losses) else 0.0 for track in tracks]
    limit = compute_band(tracks[int(np.argmin(means))].best_losses)
    return next(index for index, mean in enumerate(means) if mean <= limit)
