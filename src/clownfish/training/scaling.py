"""Standardise features with statistics of the training photos only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK_ROWS = 1024
_RELATIVE_TINY = 1e-6
_SAMPLE_ROWS = 1024
_POWER_ITERATIONS = 20


@dataclass(frozen=True, slots=True)
class Scaling:
    """z = (x - mean) * inverse_deviation, feature by feature."""

    mean: NDArray[np.float32]
    """Shape (num_features,)."""
    inverse_deviation: NDArray[np.float32]
    """Shape (num_features,); 0 where a feature does not vary, which drops it."""

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise rows; returns a new array of shape (num_rows, num_features)."""
        scaled = features - self.mean
        scaled *= self.inverse_deviation
        return scaled


def fit_scaling(features: NDArray[np.float32], rows: NDArray[np.int64]) -> Scaling:
    """Compute mean and deviation of every feature over some rows.

    Args:
        features: shape (num_photos, num_features).
        rows: positions of the training photos.

    Returns:
        The scaling.
    """
    total = np.zeros(features.shape[1])
    total_square = np.zeros(features.shape[1])
    # in chunks and double precision: no second matrix, and no cancellation in E[x^2] - E[x]^2
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = features[rows[start : start + _CHUNK_ROWS]].astype(np.float64)
        total += chunk.sum(axis=0)
        total_square += np.square(chunk, out=chunk).sum(axis=0)
    mean = total / len(rows)
    deviation = np.sqrt(np.maximum(total_square / len(rows) - mean**2, 0.0))
    varies = deviation > _RELATIVE_TINY * (1.0 + np.abs(mean))
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
    return Scaling(mean.astype(np.float32), inverse.astype(np.float32))


def estimate_largest_variance(features: NDArray[np.float32], rows: NDArray[np.int64], scaling: Scaling) -> float:
    """Estimate the variance along the first principal component of the standardised features.

    Power iteration on a sample of evenly spaced rows; it bounds the step that gradient descent can take.

    Args:
        features: shape (num_photos, num_features).
        rows: positions of the training photos.
        scaling: fitted on them.

    Returns:
        The largest eigenvalue of the covariance matrix, at least 1.
    """
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE_ROWS)).astype(np.int64)]
    values = scaling.apply(features[sample])
    direction = values.std(axis=0) + values[0] / 100  # hardly orthogonal to the leading component
    largest = 1.0
    for _ in range(_POWER_ITERATIONS):
        norm = float(np.linalg.norm(direction))
        if norm == 0.0:
            break
        product = values.T @ (values @ (direction / norm)) / len(sample)
        largest, direction = float(np.linalg.norm(product)), product
    return max(largest, 1.0)
