"""Similar features of a network name candidates where there are too many photos to compare all pixels."""

import numpy as np
from numpy.typing import NDArray

_NUM_DIRECTIONS = 256
_NUM_SAMPLED = 2000
_BLOCK_ROWS = 128
_QUANTILE = 0.95


def find_similar(
    features: NDArray[np.float32], labels: NDArray[np.int64], *, num_best: int = 10, seed: int = 0
) -> NDArray[np.int64]:
    """Find for each photo those with the most similar features.

    A pair has to be more similar than 95 % of the pairs that are known to be different, since their labels differ.
    That only saves work: what decides is how the pixels agree.

    Args:
        features: shape (num_photos, num_features).
        labels: class numbers, shape (num_photos,).
        num_best: how many partners to keep for each photo.
        seed: for the photos from which directions and threshold are learned.

    Returns:
        Pairs of positions, the smaller first, shape (num_pairs, 2).
    """
    sample = np.random.default_rng(seed).permutation(len(features))[:_NUM_SAMPLED]
    projected = _project(features, np.sort(sample))
    threshold = _learn_threshold(projected[sample], labels[sample])
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(features), _BLOCK_ROWS):
        rows = np.arange(start, min(start + _BLOCK_ROWS, len(features)))
        similarity = projected[rows] @ projected.T
        similarity[np.arange(len(rows)), rows] = -2
        best = np.argpartition(-similarity, min(num_best, len(features) - 1), axis=1)[:, :num_best]
        keep = np.take_along_axis(similarity, best, 1) > threshold
        first = np.repeat(rows, best.shape[1]).reshape(best.shape)
        found.append(np.stack([first[keep], best[keep]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _project(features: NDArray[np.float32], sample: NDArray[np.int64]) -> NDArray[np.float32]:
    """Standardised features in the directions of their largest variance, each row of norm 1."""
    mean, deviation = features[sample].mean(axis=0), features[sample].std(axis=0) + 1e-6
    standard = (features[sample] - mean) / deviation
    # eigenvectors of the smaller of the two product matrices; the largest come last
    if len(sample) < standard.shape[1]:
        left = np.linalg.eigh(standard @ standard.T)[1][:, -_NUM_DIRECTIONS:]
        directions = standard.T @ left
        directions /= np.linalg.norm(directions, axis=0) + 1e-12
    else:
        directions = np.linalg.eigh(standard.T @ standard)[1][:, -_NUM_DIRECTIONS:]
    # scaling and projection in one, so that the large matrix is never copied
    matrix = (directions / deviation[:, None]).astype(np.float32)
    projected: NDArray[np.float32] = features @ matrix - (mean @ matrix)
    projected /= np.linalg.norm(projected, axis=1, keepdims=True) + 1e-12
    return projected


def _learn_threshold(projected: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    similarity = projected @ projected.T
    different = similarity[labels[:, None] != labels]
    return float(np.quantile(different, _QUANTILE)) if len(different) else -1.0
