"""Three small functions of scipy.stats, which takes longer to import than the training of a small set takes."""

import numpy as np
from numpy.typing import NDArray


def rank_values(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank values from 1, equal ones with the mean of their ranks, as scipy.stats.rankdata does.

    Args:
        values: shape (num_values,).

    Returns:
        Shape (num_values,).
    """
    _, positions, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return ranks[positions]


def find_student_quantile(share: float, degrees: float) -> float:
    """Find the quantile of Student's t, as scipy.stats.t.ppf does.

    Args:
        share: of the distribution below it, 0 to 1.
        degrees: of freedom, above 0.

    Returns:
        The quantile.
    """
    from scipy.special import stdtrit

    return float(stdtrit(degrees, share))


def measure_excess(table: list[list[int]]) -> float:
    """Test whether the first column is too common in the first row, by Fisher's exact test, one-sided.

    Args:
        table: counts, two rows of two.

    Returns:
        The probability of at least so many there by chance, given the margins.

    Source:
        Fisher (1935), The logic of inductive inference: a tail of the hypergeometric distribution.
    """
    from scipy.special import gammaln

    (found, rest), (others, others_rest) = table
    row, column, total = found + rest, found + others, found + rest + others + others_rest
    counts = np.arange(found, min(row, column) + 1)

    def log_choose(whole: int, part: NDArray[np.int64] | int) -> NDArray[np.float64]:
        logarithm: NDArray[np.float64] = (
            gammaln(whole + 1) - gammaln(np.add(part, 1)) - gammaln(np.subtract(whole, part) + 1)
        )
        return logarithm

    logs = log_choose(column, counts) + log_choose(total - column, row - counts) - log_choose(total, row)
    return float(min(1.0, np.exp(logs).sum()))
