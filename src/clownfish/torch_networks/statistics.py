"""Mean and standard deviation over space, with a slope everywhere."""

from typing import Any

_SMALLEST_VARIANCE = 1e-12
"""Below it the slope of the square root is taken for 0; the deviation itself changes by 1e-6 at most."""


def compute_statistics(value: Any) -> list[Any]:
    """Compute what features are made of.

    Args:
        value: activations, shape (batch, channels, height, width).

    Returns:
        Mean and standard deviation over space, each of shape (batch, channels), float32.
    """
    value = value.float()
    mean = value.mean(dim=(2, 3))
    variance = (value - mean[:, :, None, None]).square().mean(dim=(2, 3))
    return [mean, variance.clamp_min(_SMALLEST_VARIANCE).sqrt()]
