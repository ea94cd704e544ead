"""Photos for measurements of speed: real ones cropped, tinted and overlaid with noise, as JPEGs of a wanted size.

Decoding time follows the size of the file, so the noise has strong coarse and weak fine parts, as
photos have; each photo also gets light and shade of its own, so that no two are near-duplicates.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

PHOTO_ENDINGS = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"}
QUALITY = 90
MAX_SOURCES = 400
"""Enough variety; more would only fill the memory."""

_SOURCE_SIDE = 640
_NOISE_SIDE = 1024
_NOISE_OCTAVES = ((1, 4.0), (2, 5.0), (4, 6.0), (16, 8.0))
"""(Size of the grain in pixels, standard deviation in grey levels)."""
_SHADE_LEVELS = 30.0
_NUM_TINTS = 5


@dataclass(frozen=True, slots=True)
class Source:
    """A photo that others are made from."""

    label: str
    image: Image.Image


def load_sources(folder: Path | None) -> list[Source]:
    """Load what photos are made from.

    Args:
        folder: holds one folder a class; None for scikit-learn's two sample pictures, in five tints each.

    Returns:
        The photos with their classes, the classes taking turns.
    """
    if folder is None:
        return _load_samples()
    by_class: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PHOTO_ENDINGS:
            by_class.setdefault(path.relative_to(folder).parts[0], []).append(path)
    if not by_class:
        raise FileNotFoundError(f"There is no photo in {folder}.")
    longest = max(map(len, by_class.values()))
    in_turn = [(label, paths[turn % len(paths)]) for turn in range(longest) for label, paths in by_class.items()]
    return [_load_source(label, path) for label, path in in_turn[:MAX_SOURCES]]


def make_photos(
    folder: Path, sources: Sequence[Source], number: int, size: tuple[int, int], *, seed: int = 0
) -> list[Path]:
    """Write photos as FOLDER/CLASS/NUMBER.jpg; one that is there already is left as it is.

    Args:
        folder: where to.
        sources: what they are made from, in turn.
        number: how many.
        size: width and height, pixels.
        seed: of everything random.

    Returns:
        The files, in the order in which they were made; any first part of them is balanced by class.
    """
    noise = _make_noise(np.random.default_rng(seed))
    paths = [folder / sources[index % len(sources)].label / f"{index:06}.jpg" for index in range(number)]
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True, exist_ok=True)

    def make(index: int) -> None:
        if not paths[index].exists():
            random = np.random.default_rng([seed, index])
            photo = _make_photo(sources[index % len(sources)].image, noise, size, random)
            unfinished = paths[index].with_suffix(".part")
            photo.save(unfinished, format="JPEG", quality=QUALITY)
            unfinished.rename(paths[index])

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(make, range(number)):
            pass
    return paths


def _make_photo(
    source: Image.Image, noise: NDArray[np.int8], size: tuple[int, int], random: np.random.Generator
) -> Image.Image:
    width, height = size
    share = random.uniform(0.5, 1.0)
    crop_width, crop_height = round(source.width * share), round(source.height * share)
    left = int(random.integers(0, source.width - crop_width + 1))
    top = int(random.integers(0, source.height - crop_height + 1))
    image = source.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + crop_width, top + crop_height))
    if random.random() < 0.5:
        image = ImageOps.mirror(image)
    coarse = Image.fromarray(random.normal(0, _SHADE_LEVELS, (5, 5)).astype(np.float32))
    shade = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
    rows = (np.arange(height) + random.integers(0, len(noise))) % len(noise)
    columns = (np.arange(width) + random.integers(0, len(noise))) % len(noise)
    shade += noise[rows[:, None], columns]
    pixels = np.asarray(image).astype(np.int16)
    pixels += shade[:, :, None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _make_noise(random: np.random.Generator) -> NDArray[np.int8]:
    """A square of noise with several sizes of grain, to be laid side by side."""
    noise = np.zeros((_NOISE_SIDE, _NOISE_SIDE), np.float32)
    for grain, deviation in _NOISE_OCTAVES:
        side = _NOISE_SIDE // grain
        values = Image.fromarray(random.normal(0, deviation, (side, side)).astype(np.float32))
        noise += np.asarray(values.resize((_NOISE_SIDE, _NOISE_SIDE), Image.Resampling.BICUBIC))
    return noise.clip(-127, 127).astype(np.int8)


def _load_source(label: str, path: Path) -> Source:
    with Image.open(path) as image:
        small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((_SOURCE_SIDE, _SOURCE_SIDE))
    return Source(label, small)


def _load_samples() -> list[Source]:
    from sklearn.datasets import load_sample_images

    sample = load_sample_images()
    sources = []
    for tint in range(_NUM_TINTS):
        weights = 1 - 0.4 * np.array([tint == 1, tint == 2, tint == 3]) - 0.2 * (tint == 4)
        for path, pixels in zip(sample.filenames, sample.images, strict=True):
            image = Image.fromarray((pixels * weights).astype(np.uint8))
            sources.append(Source(f"{Path(path).stem}-{tint}", image))
    return sources
