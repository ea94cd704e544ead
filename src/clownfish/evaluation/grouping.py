"""Groups as the unit of evidence: weights and conformal limits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Groups = NDArray[Any]
"""Name or number of each photo's group, shape (num_photos,)."""


def weigh_by_group(groups: Groups) -> NDArray[np.float64]:
    """Let the photos of a group share one vote.

    Args:
        groups: of each photo.

    Returns:
        1 / size of its group for each photo, shape (num_photos,); they sum to the number of groups.
    """
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = 1.0 / sizes[numbers]
    return weights


def count_groups(groups: Groups) -> int:
    """Count the distinct groups."""
    return len(np.unique(groups))


def find_conformal_limit(scores: NDArray[np.float64], groups: Groups, share_above: float) -> float:
    """Find a limit that the score of a new photo, of a new group, exceeds with at most some probability.

    It is the smallest score t with sum of the weights of scores <= t at least (1 - share_above) (num_groups + 1), the
    photos of a group sharing one vote: each group's photo drawn at random, averaged over the draws.

    Args:
        scores: shape (num_photos,).
        groups: of each photo.
        share_above: the probability, 0 to 1.

    Returns:
        The limit; infinite if there are too few groups.

    Source:
        Lee, Barber & Willett 2023, Distribution-free inference with hierarchical data, equation 6.
    """
    weights = weigh_by_group(groups)
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weights[order]) >= (1 - share_above) * (weights.sum() + 1) - 1e-9
    return float(scores[order][reached.argmax()]) if reached.any() else float("inf")


def draw_evenly(labels: NDArray[np.int64], most: int, *, seed: int) -> NDArray[np.int64]:
    """Draw photos so that large classes give up theirs before small ones do.

    Args:
        labels: shape (num_photos,), each at least 0.
        most: how many photos, about.
        seed: of the draw.

    Returns:
        Ascending rows; all of them if they are no more than `most`.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    counts = np.sort(np.bincount(labels))
    counts = counts[counts > 0]
    # the largest number a class may keep: what small classes leave is shared by the others
    left = most - np.concatenate([[0], np.cumsum(counts)[:-1]])
    shares = left // np.arange(len(counts), 0, -1)
    quota = max(int(shares[int((counts < shares).sum()) :].max(initial=1)), 1)
    order = np.random.default_rng(seed).permutation(len(labels))
    by_label = order[np.argsort(labels[order], kind="stable")]
    sizes = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(by_label[rank < quota])
