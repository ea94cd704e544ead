"""Real numbers as 8-bit integers (Jacob et al. 2018, arXiv 1712.05877), the same for every format."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Ranges = Mapping[str, tuple[float, float]]
"""Smallest and largest value of a tensor."""

_MAX_BIAS = 2.0**30
_SMALLEST_SCALE = 1e-5
"""Of a channel, as a share of the largest of its layer."""


def round_weights(
    weights: NDArray[np.float32], axis: int, smallest_scales: NDArray[np.float32] | float = 0.0
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round the weights of a convolution, symmetrically, with one scale an output channel.

    A channel whose weights are all but zero (pre-trained networks have some) still gets a scale of a usual size.

    Args:
        weights: of four dimensions.
        axis: of the output channels.
        smallest_scales: of each channel, shape (num_channels,).

    Returns:
        Integers of the same shape, -127 to 127, and the scales, shape (num_channels,).
    """
    others = tuple(number for number in range(weights.ndim) if number != axis)
    largest = np.abs(weights).max(axis=others)
    floor = np.maximum(_SMALLEST_SCALE * largest.max() / 127, smallest_scales)
    scales: NDArray[np.float32] = np.maximum(largest / 127, np.maximum(floor, 1e-12)).astype(np.float32)
    rounded = np.clip(np.rint(weights / np.expand_dims(scales, others)), -127, 127).astype(np.int8)
    return rounded, scales


def find_smallest_scales(bias: NDArray[np.float32], input_scale: float) -> NDArray[np.float32]:
    """Find the scales of weights from which on the bias, in steps of scale times input scale, fits into 32 bits."""
    return (np.abs(bias) / (input_scale * _MAX_BIAS)).astype(np.float32)


def choose_steps(low: float, high: float, *, lowest: int) -> tuple[float, int]:
    """Choose scale and zero point of a tensor, so that zero is exact (padding is zero).

    Args:
        low: smallest value.
        high: largest value.
        lowest: smallest integer: -128 for signed ones, 0 for unsigned ones.

    Returns:
        The scale and the integer that stands for zero.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(high - low, 1e-6) / 255
    return scale, int(np.clip(np.rint(lowest - low / scale), lowest, lowest + 255))
