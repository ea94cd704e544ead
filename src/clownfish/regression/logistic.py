"""Multinomial logistic regression to convergence, many fits at once.

Minimised is, for each fit, sum_i w_i CE_i + penalty / 2 |W|^2, with CE_i the cross-entropy of photo i under
p = softmax(z W + b); the bias b is not penalised. scikit-learn's C is 1 / penalty. The fits differ in the weights
of the photos (0 leaves a photo out), in labels or in penalty, and share the photos' scores z, so that one matrix
product serves them all.

The scores are principal axes: their Gram matrix is diagonal, S = diag(s^2). The Hessian of the cross-entropy is at
most half of [z, 1]' diag(w) [z, 1] (Boehning 1992, Ann. Inst. Stat. Math. 44), which for a share f of the photos is
about half of f S. Preconditioned by D = f S / 2 + penalty, its largest eigenvalue is found by power iteration, and
gradient steps of its inverse always descend; Nesterov's momentum with restarts (O'Donoghue & Candes 2015, Found.
Comput. Math. 15) makes some tens of them enough.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_ITERATIONS = 500
TOLERANCE = 1e-3
"""Cross-entropies then agree with those of a hundredth of it to 0.001, at half the time."""
_POWER_ITERATIONS = 12
_SAFETY = 1.1
_MAX_BATCH_NUMBERS = 12_000_000
"""Logits that are held at once, photos x fits x classes; what does not fit waits for the next batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layers:
    """Linear layers on rotated features, one a fit."""

    weights: NDArray[np.float32]
    """Shape (num_axes, num_fits, num_classes)."""
    bias: NDArray[np.float32]
    """Shape (num_fits, num_classes)."""

    def predict_log_probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply every layer to every photo.

        Args:
            scores: shape (num_rows, num_axes).

        Returns:
            Shape (num_fits, num_rows, num_classes), natural logarithms.
        """
        num_axes, num_fits, num_classes = self.weights.shape
        product = scores @ self.weights.reshape(num_axes, num_fits * num_classes)
        logits = product.reshape(len(scores), num_fits, num_classes) + self.bias
        logits -= logits.max(axis=2, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=2, keepdims=True))
        return logits.transpose(1, 0, 2)


def fit_layers(
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    penalties: NDArray[np.float32],
    num_classes: int,
    *,
    tolerance: float = TOLERANCE,
) -> Layers:
    """Fit one layer for each row of `weights`.

    Args:
        scores: principal axes of the photos, shape (num_photos, num_axes); see `rotation`.
        labels: shape (num_photos,), or (num_fits, num_photos) where each fit has labels of its own.
        weights: shape (num_fits, num_photos), how much each photo counts; 0 leaves it out.
        penalties: shape (num_fits,), L2, above 0; relative to the sum of the losses.
        num_classes: labels are in [0, num_classes).
        tolerance: stop when the gradient, in the preconditioner's norm, has fallen to this share of its first value.

    Returns:
        The layers.

    Source:
        See the module.
    """
    num_fits = len(weights)
    labels = np.broadcast_to(labels, (num_fits, len(scores)))
    size = max(1, _MAX_BATCH_NUMBERS // (len(scores) * num_classes))
    batches = [
        _Batch(
            scores,
            labels[start : start + size],
            weights[start : start + size],
            penalties[start : start + size],
            num_classes,
        ).run(tolerance)
        for start in range(0, num_fits, size)
    ]
    return Layers(
        weights=np.concatenate([batch.weights for batch in batches], axis=1),
        bias=np.concatenate([batch.bias for batch in batches]),
    )


def predict_out_of_fold(
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    penalties: NDArray[np.float32],
    num_classes: int,
    *,
    weights: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Predict every photo by a layer that was fitted without its fold.

    Args:
        scores: shape (num_photos, num_axes).
        labels: shape (num_photos,).
        folds: shape (num_photos,), fold of each photo; a group lies in one fold.
        penalties: shape (num_penalties,), each relative to the sum of the losses.
        num_classes: labels are in [0, num_classes).
        weights: shape (num_photos,), how much each photo counts in a fit; None for all the same.

    Returns:
        Log-probabilities, shape (num_penalties, num_photos, num_classes).
    """
    numbers = np.unique(folds)
    outside = (folds[None, :] != numbers[:, None]).astype(np.float32)
    if weights is not None:
        outside *= weights
    result = np.empty((len(penalties), len(scores), num_classes), np.float32)
    layers = fit_layers(
        scores, labels, np.tile(outside, (len(penalties), 1)), np.repeat(penalties, len(numbers)), num_classes
    )
    for position, number in enumerate(numbers):
        inside = folds == number
        own = slice(position, None, len(numbers))
        fold = Layers(weights=np.ascontiguousarray(layers.weights[:, own]), bias=layers.bias[own])
        result[:, inside] = fold.predict_log_probabilities(scores[inside])
    return result


class _Batch:
    """Fits that proceed together; those that have converged leave the batch."""

    def __init__(
        self,
        scores: NDArray[np.float32],
        labels: NDArray[np.int64],
        weights: NDArray[np.float32],
        penalties: NDArray[np.float32],
        num_classes: int,
    ) -> None:
        self._scores = scores
        self._labels = np.ascontiguousarray(labels.T)  # (num_photos, num_fits)
        self._photo_weights = np.ascontiguousarray(weights.T, np.float32)
        self._penalties = penalties.astype(np.float32)
        self._num_classes = num_classes
        num_photos = len(scores)
        share = (weights.sum(axis=1) / num_photos).astype(np.float32)
        squares = np.square(scores).sum(axis=0)
        # preconditioner of the weights, (num_axes, num_fits, 1), and of the biases, (num_fits, 1)
        self._metric = (0.5 * squares[:, None] * share + self._penalties)[:, :, None]
        self._bias_metric = np.maximum(0.5 * num_photos * share, np.float32(1e-6))[:, None]
        self._steps = 1 / (_SAFETY * self._find_largest_curvature())

    def run(self, tolerance: float) -> Layers:
        num_axes, num_fits = self._metric.shape[:2]
        weights = np.zeros((num_axes, num_fits, self._num_classes), np.float32)
        bias = np.zeros((num_fits, self._num_classes), np.float32)
        active = np.arange(num_fits)
        point, point_bias = weights.copy(), bias.copy()
        age = np.ones(num_fits, np.float32)
        first = np.zeros(num_fits)
        for iteration in range(MAX_ITERATIONS):
            gradient, bias_gradient = self._compute_gradient(point, point_bias, active)
            step = self._steps[active][None, :, None]
            metric, bias_metric = self._metric[:, active], self._bias_metric[active]
            direction = gradient / metric
            norm = np.einsum("abk,abk->b", gradient, direction) + (np.square(bias_gradient) / bias_metric).sum(axis=1)
            new = point - step * direction
            new_bias = point_bias - step[0] * bias_gradient / bias_metric
            moved, moved_bias = new - weights[:, active], new_bias - bias[active]
            # momentum that points uphill has outlived its use
            uphill = np.einsum("abk,abk->b", gradient, moved) + (bias_gradient * moved_bias).sum(axis=1) > 0
            age[active] = np.where(uphill, 1, age[active] + 1)
            momentum = ((age[active] - 1) / (age[active] + 2)).astype(np.float32)[None, :, None]
            weights[:, active], bias[active] = new, new_bias
            if iteration == 0:
                first = norm
            going = norm > tolerance**2 * first[active]
            if not going.any():
                break
            point = (new + momentum * moved)[:, going]
            point_bias = (new_bias + momentum[0] * moved_bias)[going]
            active = active[going]
        return Layers(weights=weights, bias=bias)

    def _compute_gradient(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32], active: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of penalised loss by weights, (num_axes, num_active, num_classes), and by biases."""
        num_axes = len(weights)
        error = (self._scores @ weights.reshape(num_axes, -1)).reshape(-1, len(active), self._num_classes)
        error += bias
        error -= error.max(axis=2, keepdims=True)
        np.exp(error, out=error)
        error /= error.sum(axis=2, keepdims=True)
        labels = self._labels[:, active]
        np.put_along_axis(error, labels[:, :, None], np.take_along_axis(error, labels[:, :, None], axis=2) - 1, axis=2)
        error *= self._photo_weights[:, active, None]
        gradient = (self._scores.T @ error.reshape(len(error), -1)).reshape(weights.shape)
        gradient += self._penalties[active][None, :, None] * weights
        return gradient, error.sum(axis=0)

    def _find_largest_curvature(self) -> NDArray[np.float32]:
        """Largest eigenvalue of the preconditioned bound of the Hessian, shape (num_fits,), by power iteration."""
        num_axes, num_fits = self._metric.shape[:2]
        root, bias_root = np.sqrt(self._metric[:, :, 0]), np.sqrt(self._bias_metric[:, 0])
        vectors = np.random.default_rng(0).standard_normal((num_axes, num_fits)).astype(np.float32)
        bias = np.ones(num_fits, np.float32)
        for _ in range(_POWER_ITERATIONS):
            length = np.sqrt(np.square(vectors).sum(axis=0) + np.square(bias))
            vectors, bias = vectors / length, bias / length
            scaled = vectors / root
            product = self._photo_weights * (self._scores @ scaled + bias / bias_root)
            vectors = (0.5 * (self._scores.T @ product) + self._penalties * scaled) / root
            bias = 0.5 * product.sum(axis=0) / bias_root
        largest: NDArray[np.float32] = np.sqrt(np.square(vectors).sum(axis=0) + np.square(bias))
        return largest
