"""A small space in which to see whether a photo is like those of the classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.records import Embedding
from clownfish.regression.rotation import find_axes_of_few
from clownfish.regression.scaling import Scaling

NUM_AXES = 64
_MAX_ROWS = 4096
"""More photos do not change the axes, only the time they take."""
_MAX_GRAM_ROWS = 1000
_NUM_ITERATIONS = 5
_NUM_SPARE = 8
_DIGITS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedEmbedding:
    """An embedding with the places of the classes in it."""

    embedding: Embedding
    class_means: NDArray[np.float64]
    """Shape (num_classes, num_axes)."""


def fit_embedding(
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    num_classes: int,
    *,
    scaling: Scaling,
) -> FittedEmbedding:
    """Find the space: strongest principal axes of standardised features, made unit length, whitened within classes.

    Args:
        features: shape (num_photos, num_features).
        rows: positions of the training photos.
        labels: of the training photos, shape (len(rows),); every class has a photo.
        num_classes: number of classes.
        scaling: of the features, fitted on the training photos.

    Returns:
        The embedding, of 64 axes or half as many as photos.
    """
    num_axes = max(1, min(NUM_AXES, len(rows) // 2, features.shape[1]))
    axes = find_axes(scaling.apply(features[rows[:: -(-len(rows) // _MAX_ROWS)]]), num_axes)
    points = np.empty((len(rows), num_axes), np.float32)
    for start in range(0, len(rows), _MAX_ROWS):  # large sets must not be in memory twice
        chunk = rows[start : start + _MAX_ROWS]
        points[start : start + len(chunk)] = scaling.apply(features[chunk]) @ axes
    points /= np.linalg.norm(points, axis=1, keepdims=True) + np.float32(1e-6)
    means = np.stack([points[labels == number].mean(axis=0, dtype=np.float64) for number in range(num_classes)])
    covariance = shrink_covariance(points - means[labels])
    # with C = L L', the rows of points inv(L)' have the identity as covariance
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    embedding = Embedding(
        mean=scaling.mean,
        inverse_deviation=scaling.inverse_deviation,
        axes=axes,
        whitening=whitening.astype(np.float32),
    )
    return FittedEmbedding(embedding=embedding, class_means=(means @ whitening).round(_DIGITS))


def find_axes(standardised: NDArray[np.float32], num_axes: int) -> NDArray[np.float32]:
    """Find the strongest principal axes; scikit-learn's way takes a second to import.

    Of few photos from their Gram matrix, of many by iterating a random subspace: whichever is cheaper.

    Args:
        standardised: shape (num_photos, num_features).
        num_axes: how many.

    Returns:
        Orthonormal columns, strongest first, shape (num_features, num_axes).

    Source:
        Halko, Martinsson & Tropp 2011, SIAM Review 53, algorithm 4.4.
    """
    num_photos, num_features = standardised.shape
    if num_photos <= min(_MAX_GRAM_ROWS, num_features - 1):
        exact = find_axes_of_few(standardised, num_axes)
        if exact.shape[1] == num_axes:  # else many photos are the same, and any further axes do
            return exact
    size = min(num_axes + _NUM_SPARE, num_photos, num_features)
    basis = np.random.default_rng(0).standard_normal((num_features, size)).astype(np.float32)
    for _ in range(_NUM_ITERATIONS):
        basis = np.linalg.qr(standardised.T @ (standardised @ basis))[0]
    strength = np.linalg.svd(standardised @ basis, full_matrices=False)[2]
    axes: NDArray[np.float32] = np.ascontiguousarray(basis @ strength[:num_axes].T, np.float32)
    return axes


def shrink_covariance(residuals: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Estimate a covariance, drawn towards a multiple of the identity by as much as pays.

    Args:
        residuals: centred, shape (num_photos, num_axes).

    Returns:
        Shape (num_axes, num_axes), positive definite.

    Source:
        Ledoit & Wolf 2004, J. Multivariate Analysis 88, lemma 3.2 and theorem 3.2.
    """
    own = residuals.astype(np.float64)
    num_photos, num_axes = own.shape
    sample = own.T @ own / num_photos
    scale = float(np.trace(sample)) / num_axes
    spread = float(((sample - scale * np.eye(num_axes)) ** 2).sum())
    noise = float(((own**2).sum(axis=1) ** 2).mean() - (sample**2).sum()) / num_photos
    share = 1.0 if spread <= 0 else min(max(noise, 0.0) / spread, 1.0)
    # a floor, for classes whose photos are all the same
    shrunk: NDArray[np.float64] = (1 - share) * sample + (share * scale + 1e-6 * scale + 1e-12) * np.eye(num_axes)
    return shrunk
