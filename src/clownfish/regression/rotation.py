"""Standardised features in their principal axes: the same photos, described by fewer numbers.

An L2 penalty does not see a rotation, and the best weights of a penalised linear model lie in the span of the
photos it is fitted on. So a layer fitted on the rotated features, of which there are at most as many as photos,
gives the same probabilities as one fitted on all features, for a fraction of the arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.regression.scaling import Scaling, fit_scaling

_RELATIVE_TINY = 1e-6
_CHUNK_ROWS = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotation:
    """Photos in the principal axes of their standardised features."""

    scores: NDArray[np.float32]
    """Shape (num_photos, num_axes), columns orthogonal and of mean 0, strongest first; num_axes is at most
    the smaller of the numbers of photos and of features."""
    scaling: Scaling
    axes: NDArray[np.float32]
    """Shape (num_features, num_axes), orthonormal columns."""

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring further photos into the same axes.

        Args:
            features: shape (num_rows, num_features), raw.

        Returns:
            Shape (num_rows, num_axes).
        """
        return self.scaling.apply(features) @ self.axes


def rotate_features(
    features: NDArray[np.float32], *, parts: Sequence[int] | None = None, max_axes: int | None = None
) -> Rotation:
    """Standardise features and turn them into their principal axes.

    Args:
        features: shape (num_photos, num_features), raw.
        parts: number of features in each part of the vector, see `scaling.fit_scaling`.
        max_axes: keep only the strongest axes; None to lose nothing.

    Returns:
        The rotation with the photos' scores.
    """
    scaling = fit_scaling(features, np.arange(len(features)), parts=parts)
    axes = _find_axes(features, scaling, max_axes)
    scores = np.empty((len(features), axes.shape[1]), np.float32)
    for start in range(0, len(features), _CHUNK_ROWS):  # large sets must not be in memory twice
        chunk = slice(start, start + _CHUNK_ROWS)
        scores[chunk] = scaling.apply(features[chunk]) @ axes
    return Rotation(scores=scores, scaling=scaling, axes=axes)


def _find_axes(features: NDArray[np.float32], scaling: Scaling, max_axes: int | None) -> NDArray[np.float32]:
    """Eigenvectors of the covariance, by way of the smaller of the two Gram matrices."""
    num_photos, num_features = features.shape
    if num_photos < num_features:
        return find_axes_of_few(scaling.apply(features), max_axes or num_photos)
    gram = np.zeros((num_features, num_features), np.float32)
    for start in range(0, num_photos, _CHUNK_ROWS):
        chunk = scaling.apply(features[start : start + _CHUNK_ROWS])
        gram += chunk.T @ chunk
    return np.ascontiguousarray(_decompose(gram, max_axes or num_features)[1], np.float32)


def find_axes_of_few(standardised: NDArray[np.float32], max_axes: int) -> NDArray[np.float32]:
    """Find the principal axes of fewer photos than features.

    Args:
        standardised: shape (num_photos, num_features).
        max_axes: how many are wanted.

    Returns:
        Orthonormal columns, strongest first, shape (num_features, num_axes); fewer than wanted where the photos do not
        span as many.
    """
    values, vectors = _decompose(standardised @ standardised.T, max_axes)
    axes: NDArray[np.float32] = standardised.T @ (vectors / np.sqrt(values)).astype(np.float32)
    return axes


def _decompose(gram: NDArray[np.float32], max_axes: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Eigenvalues that are not 0, largest first, and their eigenvectors as columns."""
    from scipy.linalg import eigh

    size = len(gram)
    wanted = min(max_axes, size)
    values, vectors = eigh(gram, subset_by_index=(size - wanted, size - 1), driver="evr", check_finite=False)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > _RELATIVE_TINY * max(float(values[0]), 1.0)
    return values[kept], vectors[:, kept]
