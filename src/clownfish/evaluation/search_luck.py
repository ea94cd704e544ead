"""How much of the best trial's score is luck of the search.

The best of many trials is partly the one that suits the photos that it was chosen on by chance, so its score there is
too good. To see by how much, groups of photos are drawn with replacement: each time the best trial is chosen on those
that were drawn, and measured on those that were not. All trials have answered all photos already, so nothing is trained
for it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.group_draws import draw_group_counts

_NUM_DRAWS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchLuck:
    """What a search has really found."""

    best: int
    """Position of the trial with the lowest mean cross-entropy."""
    is_better: bool
    """Whether choosing like this gives a lower cross-entropy than the first trial on photos that did not choose."""
    accuracy: float
    """Of the best trial, on the photos that it was chosen on."""
    start_accuracy: float
    """Of the first trial."""
    luck: float
    """How much lower the accuracy of the best is expected to be on other photos; not below 0."""


def estimate_luck(
    losses: NDArray[np.float64], right: NDArray[np.bool_], groups: NDArray[np.int64], *, seed: int
) -> SearchLuck:
    """Estimate what is left of a search on photos that it was not made with.

    The estimate is a little too large, since a draw holds only two thirds of the groups to choose with. It knows
    nothing of options that follow from the scores of other trials, which were made with all photos.

    Args:
        losses: cross-entropy of each photo in each trial, out of fold, shape (num_trials, num_photos); the first trial
            has the options at the start.
        right: whether each is named right, same shape.
        groups: number of each photo's group, shape (num_photos,).
        seed: decides the draws.

    Returns:
        The best trial, and what to think of it.

    Source:
        Tsamardinos, Greasidou & Borboudakis 2018, Machine Learning 107, 1895-1922: bootstrap bias corrected
        cross-validation, here with groups as the units.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    num_groups = int(numbers.max()) + 1
    of_groups = np.zeros((num_groups, len(numbers)))
    of_groups[numbers, np.arange(len(numbers))] = 1
    loss_sums, right_sums, sizes = of_groups @ losses.T, of_groups @ right.T, of_groups.sum(axis=1)
    counts = draw_group_counts(np.zeros(num_groups, np.int64), _NUM_DRAWS, seed=seed).astype(np.float64)
    is_out = (counts == 0).astype(np.float64)
    useful = is_out.any(axis=1)
    counts, is_out = counts[useful], is_out[useful]
    best = int(losses.mean(axis=1).argmin())
    accuracy = right.mean(axis=1)
    if not len(counts):  # a single group: nothing can be told
        return SearchLuck(
            best=best, is_better=False, accuracy=float(accuracy[best]), start_accuracy=float(accuracy[0]), luck=0.0
        )
    chosen = (counts @ loss_sums).argmin(axis=1)  # of one draw, all trials have the same photos
    draws = np.arange(len(chosen))
    num_out = (is_out @ sizes).sum()
    out_losses, out_right = is_out @ loss_sums, is_out @ right_sums
    expected = float(out_right[draws, chosen].sum() / num_out)
    gain = float((out_losses[:, 0] - out_losses[draws, chosen]).sum() / num_out)
    return SearchLuck(
        best=best,
        is_better=best > 0 and gain > 0,
        accuracy=float(accuracy[best]),
        start_accuracy=float(accuracy[0]),
        luck=max(0.0, float(accuracy[best]) - expected),
    )
