"""Lay one picture over another and tell how well fine detail agrees: what proves a copy, and what lookalikes fail.

The pictures are aligned by inverse compositional Gauss-Newton steps over affine maps (Baker and Matthews 2004,
"Lucas-Kanade 20 years on", section 3.2), with gain and offset of the grey levels free. Two photos of different
black beetles on white agree in every coarse feature; what they never share is detail, so the score is the
correlation of what is left after subtracting a blurred picture.

All functions work on many pairs at once.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.float32]
"""Shape (num_pairs, side, side)."""

MIN_OVERLAP = 0.6
"""Share of the first picture that has to lie inside the second."""
_NUM_STEPS = {32: (8, 3), 64: (0, 6)}
"""By side of the pictures: steps of shift and scale alone, which converge from farther off, then of all six numbers."""
_SHIFT_AND_SCALE = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]], np.float32)
"""The six numbers of a map (offset, x, y of the column; of the row) from two shifts and one scale."""
_PIXEL_STEPS = {32: 2, 64: 4}
"""By side: the steps look at every so many pixels, on a slant; six numbers need no more, and the time is theirs."""
_DETAIL_SHARE = 1 / 16
"""Radius of the blur that is subtracted, as a share of the picture."""
_SMOOTHING = 1.0
_MAX_STEP = 0.15
_MAX_STRETCH = 1.3
_SCALES = (0.5, 1.15)


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """How first pictures lie in second ones."""

    maps: NDArray[np.float32]
    """Shape (num_pairs, 3, 3): from the first picture's coordinates to the second's, both from -1 to 1, (x, y, 1)."""
    agreement: NDArray[np.float32]
    """Correlation of detail, shape (num_pairs,); 0 where the map is no likely one or the overlap too small."""

    @property
    def scales(self) -> NDArray[np.float32]:
        """Side of the first picture as a share of the second's, shape (num_pairs,)."""
        sizes: NDArray[np.float32] = np.sqrt(np.abs(np.linalg.det(self.maps[:, :2, :2])))
        return sizes


def make_maps(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn windows into maps.

    Args:
        windows: scale, top and left of where the first picture lies in the second, as shares of it; shape
            (num_pairs, 3).

    Returns:
        Shape (num_pairs, 3, 3).
    """
    scale, top, left = windows.T
    maps = np.zeros((len(windows), 3, 3), np.float32)
    maps[:, 0, 0] = maps[:, 1, 1] = scale
    maps[:, 0, 2] = 2 * left + scale - 1
    maps[:, 1, 2] = 2 * top + scale - 1
    maps[:, 2, 2] = 1
    return maps


def register_pictures(first: NDArray[np.uint8], second: NDArray[np.uint8], maps: NDArray[np.float32]) -> Registration:
    """Align pictures and measure how well their detail agrees.

    Args:
        first: shape (num_pairs, side, side), grey levels, side 32 or 64.
        second: the same shape.
        maps: where to start, shape (num_pairs, 3, 3).

    Returns:
        The maps found and the agreement.
    """
    side = first.shape[1]
    template, image = _blur(first, _SMOOTHING), _blur(second, _SMOOTHING)
    maps = _align(template, image, maps, _NUM_STEPS[side])
    seen, inside = _sample(image, maps, _make_grid(side))
    agreement = _correlate_detail(template.reshape(seen.shape), seen, inside, side)
    stretch = np.linalg.svd(maps[:, :2, :2], compute_uv=False)
    is_likely = (
        (inside.mean(axis=1) >= MIN_OVERLAP)
        & (stretch[:, 0] <= _MAX_STRETCH * np.maximum(stretch[:, 1], 1e-6))
        & (stretch[:, 1] >= _SCALES[0])
        & (stretch[:, 0] <= _SCALES[1])
    )
    return Registration(maps=maps, agreement=np.where(is_likely, agreement, np.float32(0)))


def _align(
    template: Pictures, image: Pictures, maps: NDArray[np.float32], num_steps: tuple[int, int]
) -> NDArray[np.float32]:
    """Minimise |image(map) - gain template - offset|^2; the template's derivatives serve for all steps."""
    num_pairs, side, _ = template.shape
    pixels = _choose_pixels(side)
    points = _make_grid(side)[:, pixels]
    x, y, _ = points
    flat = template.reshape(num_pairs, -1)[:, pixels]
    slope_y, slope_x = (
        part.reshape(num_pairs, -1)[:, pixels] * np.float32(side / 2) for part in np.gradient(template, axis=(1, 2))
    )
    slopes = np.stack([slope_x, slope_x * x, slope_x * y, slope_y, slope_y * x, slope_y * y], axis=1)
    squares = slopes @ slopes.transpose(0, 2, 1)
    # a little on the diagonal: a picture of stripes says nothing about shifts along them
    diagonal = np.einsum("nii->ni", squares)
    diagonal += 1e-3 * diagonal.mean(axis=1, keepdims=True) + 1e-3
    some = _SHIFT_AND_SCALE
    solvers = [some @ np.linalg.inv(some.T @ squares @ some) @ some.T, np.linalg.inv(squares)]
    step = np.zeros_like(maps)
    for solver in [solvers[0]] * num_steps[0] + [solvers[1]] * num_steps[1]:
        seen, inside = _sample(image, maps, points)
        error = _match_levels(seen, flat, inside) - flat
        error *= inside
        moves = np.clip((solver @ (slopes @ error[:, :, None]))[:, :, 0], -_MAX_STEP, _MAX_STEP)
        step[:, 0] = moves[:, [1, 2, 0]]
        step[:, 1] = moves[:, [4, 5, 3]]
        step[:, 2] = 0
        step += np.eye(3, dtype=np.float32)
        maps = (maps @ np.linalg.inv(step)).astype(np.float32)
    return maps


def _make_grid(side: int) -> NDArray[np.float32]:
    """Coordinates of all pixels, row by row: x and y from -1 to 1, and 1; shape (3, side * side)."""
    places = ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32)
    y, x = np.meshgrid(places, places, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), np.ones(side * side, np.float32)])


def _choose_pixels(side: int) -> NDArray[np.int64]:
    """A slanted lattice, so that edges along rows or columns are met everywhere."""
    row, column = np.divmod(np.arange(side * side), side)
    return np.flatnonzero((column + (_PIXEL_STEPS[side] - 1) * row) % _PIXEL_STEPS[side] == 0)


def _sample(
    image: Pictures, maps: NDArray[np.float32], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the maps see of the images at some points (bilinear), and 1 where that is inside, else 0.

    Both of shape (num_pairs, num_points); points as from `_make_grid`.
    """
    num_pairs, side, _ = image.shape
    places = maps[:, :2] @ points
    inside = np.abs(places) < 1
    places *= np.float32(side / 2)
    places += np.float32((side - 1) / 2)
    np.clip(places, 0, np.float32(side - 1.001), out=places)
    corners = np.floor(places)
    places -= corners
    column, row = places[:, 0], places[:, 1]
    pixel = (corners[:, 1] * side + corners[:, 0]).astype(np.int64)
    pixel += np.arange(num_pairs)[:, None] * (side * side)
    flat = image.ravel()
    upper = flat.take(pixel)  # twice as fast as an index in brackets
    upper += (flat.take(pixel + 1) - upper) * column
    pixel += side
    lower = flat.take(pixel)
    lower += (flat.take(pixel + 1) - lower) * column
    lower -= upper
    lower *= row
    upper += lower
    return upper, (inside[:, 0] & inside[:, 1]).astype(np.float32)


def _match_levels(
    seen: NDArray[np.float32], wanted: NDArray[np.float32], inside: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Give what is seen the mean and the contrast of what is wanted."""
    weight = inside.sum(axis=1, keepdims=True) + 1e-6
    seen = seen - (seen * inside).sum(axis=1, keepdims=True) / weight
    mean = (wanted * inside).sum(axis=1, keepdims=True) / weight
    contrast = np.sqrt(((wanted - mean) ** 2 * inside).sum(axis=1, keepdims=True))
    own = np.sqrt((seen**2 * inside).sum(axis=1, keepdims=True))
    matched: NDArray[np.float32] = seen * (contrast / (own + 1e-6)) + mean
    return matched


def _correlate_detail(
    first: NDArray[np.float32], second: NDArray[np.float32], inside: NDArray[np.float32], side: int
) -> NDArray[np.float32]:
    shape = (-1, side, side)
    weight = inside.reshape(shape)
    blurred_weight = _blur(weight, side * _DETAIL_SHARE) + 1e-3
    details = []
    for levels in (first.reshape(shape), second.reshape(shape)):
        detail = levels - _blur(levels * weight, side * _DETAIL_SHARE) / blurred_weight
        detail -= (detail * weight).sum(axis=(1, 2), keepdims=True) / (weight.sum(axis=(1, 2), keepdims=True) + 1e-6)
        details.append((detail * weight).reshape(first.shape))
    norms = [np.linalg.norm(detail, axis=1) for detail in details]
    # where a picture has hardly any detail, its noise must not decide
    floor = np.float32(side)
    correlation: NDArray[np.float32] = np.einsum("ij,ij->i", *details) / np.maximum(norms[0] * norms[1], floor**2)
    return correlation


def _blur(pictures: NDArray[np.uint8] | Pictures, radius: float) -> Pictures:
    """Blur by a Gaussian; as two products of matrices, ten times as fast as a filter on pictures as small as these."""
    across = _make_blur(pictures.shape[-1], radius)
    blurred: Pictures = across.T @ pictures.astype(np.float32) @ across
    return blurred


@cache
def _make_blur(side: int, radius: float) -> NDArray[np.float32]:
    """How much of each pixel of a row (first index) goes into each pixel of the blurred row; shape (side, side)."""
    from scipy.ndimage import gaussian_filter1d  # slow to import, and not needed to predict or to ask for help

    shares: NDArray[np.float32] = gaussian_filter1d(np.eye(side), radius, mode="nearest", truncate=2.5).astype(
        np.float32
    )
    return shares
