"""Multinomial logistic regression by mini-batch gradient descent, for several weight decays at once.

Minimised is the mean cross-entropy over the training photos plus weight_decay / 2 * |W|^2, on
standardised features z. With p = softmax(z W + b), the gradient over a batch is z' (p - y) / batch_size.
The Hessian is at most S / 2, S the covariance of z (Boehning 1992, Ann. Inst. Stat. Math. 44), so with
momentum m every step below 2 (1 + m) / (S_max / 2) converges; a larger learning rate is limited to half
of that. The step falls to zero along a cosine. The problem is convex, so what it converges to does not
depend on where it starts or in which order the photos come.

Several weight decays share one sweep over the photos, because reading and scaling the features costs
more than the arithmetic.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clownfish.records import Head
from clownfish.regression.scaling import Scaling, estimate_largest_variance, fit_scaling

_CHUNK_ROWS = 2048

_Float = TypeVar("_Float", bound=np.floating[Any])


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """How gradient descent proceeds."""

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    dropout_rate: float
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSet:
    """The photos to fit on."""

    features: NDArray[np.float32]
    """Shape (num_photos, num_features), raw; only `rows` are used."""
    labels: NDArray[np.int64]
    """Shape (num_photos,), values in [0, num_classes)."""
    rows: NDArray[np.int64]
    """Positions of the photos to fit on."""
    num_classes: int
    views: NDArray[np.float32] | None = None
    """Shape (num_photos, num_views, num_features). If given, each photo is shown each epoch as itself or
    as one of its views, drawn at random."""
    balance: bool = False
    """Let every class count the same, however many photos it has."""
    parts: tuple[int, ...] | None = None
    """Number of features in each part of the vector; see `regression.scaling`."""


class Fits:
    """One linear layer a weight decay, as they stand."""

    def __init__(
        self,
        scaling: Scaling,
        weight_decay: NDArray[np.float32],
        bias: NDArray[np.float32],
        learning_rate: float,
    ) -> None:
        """Start at zero weights.

        Args:
            scaling: of the training photos.
            weight_decay: shape (num_fits,).
            bias: shape (num_classes,), where every fit's bias starts.
            learning_rate: the largest step that is taken.
        """
        self.scaling = scaling
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        shape = (len(scaling.mean), len(weight_decay), len(bias))
        self._weights = np.zeros(shape, np.float32)  # (num_features, num_fits, num_classes)
        self._velocity = np.zeros(shape, np.float32)
        self._bias = np.tile(bias, (len(weight_decay), 1))
        self._bias_velocity = np.zeros_like(self._bias)

    def compute_probabilities(self, standardised: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict standardised rows; the result has shape (num_rows, num_fits, num_classes)."""
        num_features, num_fits, num_classes = self._weights.shape
        product = standardised @ self._weights.reshape(num_features, num_fits * num_classes)
        logits = product.reshape(len(standardised), num_fits, num_classes) + self._bias
        logits -= logits.max(axis=-1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=-1, keepdims=True)
        return logits

    def step(self, standardised: NDArray[np.float32], error: NDArray[np.float32], step: float, momentum: float) -> None:
        """Take one step of gradient descent.

        Args:
            standardised: the batch, shape (batch_size, num_features).
            error: derivative of the loss by the logits, shape (batch_size, num_fits, num_classes).
            step: learning rate.
            momentum: share of the last step that is kept.
        """
        scaled = error * np.float32(step)  # here rather than on the far larger gradient
        gradient = standardised.T @ scaled.reshape(len(error), -1)
        self._velocity *= np.float32(momentum)
        self._velocity += gradient.reshape(self._velocity.shape)
        self._weights -= self._velocity
        # the gradient's part of a step builds up to 1 / (1 - momentum), so the decay has to keep pace; as an
        # implicit (proximal) step it is stable for any weight decay
        self._weights *= 1 / (1 + step / (1 - momentum) * self.weight_decay[:, None])
        self._bias_velocity *= momentum
        self._bias_velocity += scaled.sum(axis=0)
        self._bias -= self._bias_velocity

    def make_head(self, fit: int) -> Head:
        """Fold the scaling into one layer, so that it applies to raw features."""
        weights = self._weights[:, fit].astype(np.float64) * self.scaling.inverse_deviation[:, None]
        bias = self._bias[fit] - self.scaling.mean @ weights
        return Head(weights=weights.astype(np.float32), bias=bias.astype(np.float32))


def descend(training: TrainingSet, weight_decay: NDArray[np.float32], schedule: Schedule) -> Iterator[Fits]:
    """Fit one layer a weight decay, an epoch at a time.

    Args:
        training: the photos.
        weight_decay: shape (num_fits,), the L2 penalties.
        schedule: how to proceed.

    Yields:
        The fits after each epoch; the same object, changed in place.
    """
    rows, labels = training.rows, training.labels
    weights = weigh_classes(labels[rows], training.num_classes) if training.balance else np.ones(training.num_classes)
    one_hot = np.eye(training.num_classes, dtype=np.float32)
    scaling = fit_scaling(training.features, rows, parts=training.parts)
    largest_variance = estimate_largest_variance(training.features, rows, scaling)
    largest_step = min(schedule.learning_rate, (1 + schedule.momentum) / (largest_variance / 2))
    fits = Fits(scaling, weight_decay, _compute_log_priors(labels[rows], weights), largest_step)
    random = np.random.default_rng(schedule.seed)
    num_iterations = count_iterations(len(rows), schedule.batch_size)
    for epoch in range(schedule.epochs):
        order = random.permutation(rows)
        for iteration in range(num_iterations):
            chosen = order[iteration * schedule.batch_size : (iteration + 1) * schedule.batch_size]
            batch = _drop_out(scaling.apply(_pick(training, chosen, random)), schedule.dropout_rate, random)
            share = (weights[labels[chosen]] / len(chosen)).astype(np.float32)
            error = (fits.compute_probabilities(batch) - one_hot[labels[chosen], None]) * share[:, None, None]
            progress = (epoch * num_iterations + iteration) / (schedule.epochs * num_iterations)
            fits.step(batch, error, largest_step * 0.5 * (1 + math.cos(math.pi * progress)), schedule.momentum)
        yield fits


def compute_losses(
    fits: Fits, features: NDArray[np.float32], labels: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Measure all fits on some photos, without dropout.

    Args:
        fits: the layers.
        features: shape (num_photos, num_features), raw.
        labels: shape (num_photos,).
        rows: which photos.

    Returns:
        Cross-entropy and whether the prediction is right, each of shape (len(rows), num_fits).
    """
    losses = np.empty((len(rows), len(fits.weight_decay)))
    right = np.empty(losses.shape, np.bool_)
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS]
        probabilities = fits.compute_probabilities(fits.scaling.apply(features[chunk]))
        end = start + len(chunk)
        losses[start:end], right[start:end] = measure_answers(probabilities, labels[chunk])
    return losses, right


def measure_answers(
    probabilities: NDArray[_Float], labels: NDArray[np.int64]
) -> tuple[NDArray[_Float], NDArray[np.bool_]]:
    """Measure answers, photo by photo.

    Args:
        probabilities: shape (num_photos, num_classes), or (num_photos, num_fits, num_classes).
        labels: shape (num_photos,).

    Returns:
        Cross-entropy and whether the likeliest class is right, each of shape (num_photos,) or (num_photos, num_fits).
    """
    of_truth = probabilities[np.arange(len(labels)), ..., labels]
    losses: NDArray[_Float] = -np.log(np.maximum(of_truth, np.finfo(np.float32).tiny))
    predicted = probabilities.argmax(axis=-1)
    return losses, predicted == labels.reshape(-1, *[1] * (predicted.ndim - 1))


def count_iterations(num_photos: int, batch_size: int) -> int:
    """Count the batches that make up one epoch; the last may be smaller."""
    return -(-num_photos // batch_size)


def weigh_classes(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Weights that let every class count the same, with mean 1 over the photos; shape (num_classes,)."""
    counts = np.bincount(labels, minlength=num_classes)
    present = counts > 0
    return np.where(present, len(labels) / (np.maximum(counts, 1) * present.sum()), 0.0)


def _compute_log_priors(labels: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Log share of each class: what a model without features would predict, and where the bias starts."""
    counts = np.bincount(labels, minlength=len(weights)) * weights + 1e-6
    log_shares: NDArray[np.float32] = np.log(counts / counts.sum()).astype(np.float32)
    return log_shares


def _pick(training: TrainingSet, chosen: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float32]:
    picked = training.features[chosen]
    if training.views is not None:
        which = random.integers(0, training.views.shape[1] + 1, len(chosen))
        augmented = which > 0
        picked[augmented] = training.views[chosen[augmented], which[augmented] - 1]
    return picked


def _drop_out(batch: NDArray[np.float32], rate: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Set a random share of the numbers to 0 and scale up the rest, so that their expectation stays."""
    threshold = round(rate * 256)  # random bytes are several times cheaper than random floats
    if threshold:
        kept = np.frombuffer(random.bytes(batch.size), np.uint8).reshape(batch.shape) >= threshold
        batch *= kept
        batch *= np.float32(256 / (256 - threshold))
    return batch
