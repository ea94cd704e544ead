"""Intervals for shares of right answers."""

import math

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


def compute_wilson_interval(share: float, num_trials: float) -> tuple[float, float]:
    """Compute the 95 % score interval of a share (Wilson 1927, JASA 22).

    Args:
        share: observed share, 0 to 1.
        num_trials: independent trials it was observed on; an effective number need not be whole.

    Returns:
        Lower and upper limit; 0 and 1 without any trial.
    """
    if num_trials <= 0:
        return 0.0, 1.0
    z2 = _Z95**2 / num_trials
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z95 / (1 + z2) * math.sqrt(share * (1 - share) / num_trials + z2 / (4 * num_trials))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def compute_balanced_interval(recalls: NDArray[np.float64], num_trials: NDArray[np.float64]) -> tuple[float, float]:
    """Compute a 95 % interval of the mean recall over classes.

    Its variance is that of independent classes, sum of r (1 - r) / n over K^2; the number of trials with
    the same variance goes into Wilson's formula, so that the interval behaves at 0 and 1.

    Args:
        recalls: share of right answers of each class, shape (num_classes,).
        num_trials: independent photos of each class, shape (num_classes,), all above 0.

    Returns:
        Lower and upper limit.
    """
    # one right and one wrong answer added to each class keep its variance above 0 (Agresti & Coull 1998)
    smooth = (recalls * num_trials + 1) / (num_trials + 2)
    variance = float((smooth * (1 - smooth) / num_trials).sum()) / len(recalls) ** 2
    mean = float(smooth.mean())
    return compute_wilson_interval(float(recalls.mean()), mean * (1 - mean) / variance)
