"""Groups drawn with replacement: the bootstrap for photos that come in groups."""

import numpy as np
from numpy.typing import NDArray


def draw_group_counts(strata: NDArray[np.int64], num_draws: int, *, seed: int) -> NDArray[np.float32]:
    """Draw as many groups as there are, with replacement, within each stratum.

    Args:
        strata: such as the class of each group, shape (num_groups,); all the same for a plain draw.
        num_draws: how many times.
        seed: decides the draws.

    Returns:
        How often each group was drawn, shape (num_draws, num_groups).

    Source:
        Davison & Hinkley 1997, "Bootstrap Methods and their Application", sections 3.2 and 3.8.
    """
    random = np.random.default_rng(seed)
    counts = np.zeros((num_draws, len(strata)), np.float32)
    for stratum in np.unique(strata):
        own = np.flatnonzero(strata == stratum)
        counts[:, own] = random.multinomial(len(own), np.full(len(own), 1 / len(own)), size=num_draws)
    return counts
