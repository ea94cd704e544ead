"""A photo with colours on it that say where the answer comes from."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Orange for, blue against: told apart by colour-blind readers too, on a photo without colours.
_FOR, _AGAINST = np.array([232.0, 101.0, 15.0]), np.array([20.0, 110.0, 200.0])
_STRONGEST = 0.85
_SIDE = 160


def draw_heat(pixels: NDArray[np.uint8], values: NDArray[np.float64], size: tuple[int, int] | None = None) -> bytes:
    """Draw a map over a photo.

    Args:
        pixels: the photo, shape (side, side, 3).
        values: what each place adds to the score, shape (num_rows, num_columns).
        size: width and height of the photo, whose shape the picture gets; None for a square.

    Returns:
        JPEG data, longest side 160 pixels.
    """
    width, height = size or (1, 1)
    scale = _SIDE / max(width, height)
    shape = (max(1, round(scale * width)), max(1, round(scale * height)))
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize(shape, Image.Resampling.BILINEAR), np.float64)
    places = Image.fromarray(values.astype(np.float32)).resize(shape, Image.Resampling.BILINEAR)
    strength = np.asarray(places, np.float64)
    strength = strength / max(float(np.abs(values).max()), 1e-12)
    share = _STRONGEST * np.abs(strength)[..., None]
    colour = np.where(strength[..., None] > 0, _FOR, _AGAINST)
    mixed = (1 - share) * (64 + 0.75 * grey)[..., None] + share * colour
    buffer = io.BytesIO()
    Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
