"""Ways to copy a photo that a folder of photos may hold, from saving it anew to a part of it upside down."""

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageEnhance

Alteration = Callable[[Image.Image, np.random.Generator], Image.Image]


def _crop(image: Image.Image, random: np.random.Generator, share: float) -> Image.Image:
    width, height = max(1, round(image.width * share)), max(1, round(image.height * share))
    left = int(random.integers(0, image.width - width + 1))
    top = int(random.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _recompress(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def _scale(image: Image.Image, factor: float) -> Image.Image:
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _mirror(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _flip(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


def _turn(image: Image.Image, random: np.random.Generator) -> Image.Image:
    turns = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    return image.transpose(turns[random.integers(3)])


def _brighten(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(float(random.choice([0.75, 1.25])))


def _take_again(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """The next of a burst: the camera moves by up to 4 %, turns by up to 2 degrees, comes up to 5 % closer."""
    width, height = image.size
    image = image.rotate(float(random.uniform(-2, 2)), Image.Resampling.BICUBIC, expand=False)
    frame = 0.9 * float(random.uniform(0.95, 1.0))
    left = width * (1 - frame) / 2 + width * float(random.uniform(-0.04, 0.04))
    top = height * (1 - frame) / 2 + height * float(random.uniform(-0.04, 0.04))
    part = image.crop((round(left), round(top), round(left + width * frame), round(top + height * frame)))
    part = ImageEnhance.Brightness(part).enhance(float(random.uniform(0.92, 1.08)))
    noise = random.normal(0, 3, (part.height, part.width, 3))
    return Image.fromarray((np.asarray(part) + noise).clip(0, 255).astype(np.uint8))


COPIES: Mapping[str, Alteration] = {
    "recompressed": lambda image, _: _recompress(image, 40),
    "smaller": lambda image, _: _scale(image, 0.6),
    "cropped to 70 % of the area": lambda image, random: _crop(image, random, 0.7**0.5),
    "cropped to 70 % of each side": lambda image, random: _crop(image, random, 0.7),
    "flipped": lambda image, _: _flip(image),
    "mirrored": lambda image, _: _mirror(image),
    "turned": _turn,
    "brightened or darkened": _brighten,
    "cropped to 70 % of each side, mirrored": lambda image, random: _mirror(_crop(image, random, 0.7)),
    "cropped to 80 % of each side, flipped, brightened": lambda image, random: _brighten(
        _flip(_crop(image, random, 0.8)), random
    ),
    "smaller, recompressed, darkened": lambda image, random: _recompress(_brighten(_scale(image, 0.7), random), 60),
}
"""Copies in the sense of the claim: all of them have to be found."""

BURSTS: Mapping[str, Alteration] = {"taken again a moment later": _take_again}
"""Photos of the same moment, which are no copies; beside the claim."""
