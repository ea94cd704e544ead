"""Pictures and photo folders, drawn the same on every machine."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def draw_pattern(width: int, height: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Curved stripes and blocks of colour, from whole numbers only, so that no machine rounds differently."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    x, y = x * 240 // width, y * 240 // height
    red = (x * x // 40 + y * (3 + seed % 5)) % 256
    green = (x * y // 30 + (seed % 11) * x) % 256
    blue = ((x // 16 + y // 16 + seed) % 5) * 60
    return np.stack([red, green, blue], axis=2).astype(np.uint8)


def draw_photo(width: int, height: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """A few soft blobs of random colour and place: different seeds give pictures that are not alike."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def encode(pixels: NDArray[np.uint8] | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A file of that kind, as bytes."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_photo(path: Path, pixels: NDArray[np.uint8] | Image.Image, **options: Any) -> Path:
    """A file of the kind that its ending says; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = Image.registered_extensions()[path.suffix.lower()]
    path.write_bytes(encode(pixels, kind, **options))
    return path


def write_folder(root: Path, files: Mapping[str, Sequence[str]], *, size: int = 24) -> Path:
    """One folder a class, each file a different picture."""
    for label, names in files.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for name in names:
            seed = sum(f"{label}/{name}".encode())
            write_photo(root / label / name, draw_photo(size, size, seed=seed))
    return root
