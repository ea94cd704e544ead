"""What a decoded photo tells beside its pixels: the camera, the time, the file, and how it looks in a few numbers.

Everything here is cheap, a few per cent of decoding, since it is done for every photo. The looks are
measured on a reduced copy, so that they compare between photos of different sizes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

THUMBNAIL_SIZE = 32
PICTURE_SIZE = 64
COLOURS_SIZE = 16
SHARPNESS_SIDE = 128
"""Longest side at which sharpness is measured, pixels."""
HEIF_EXIF = "clownfish_heif_exif"
"""Key in `Image.info` of an HEIF photo's EXIF, which must not turn the photo a second time."""
_MAX_TEXT = 100
_REDUCED_SIDE = 160


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFacts:
    """What the header of a photo says."""

    format: str
    """Pillow's name, such as JPEG; with HEIF for iPhones' photos."""
    mode: str
    """Pillow's name of the colours as stored, such as RGB, L, CMYK or I;16."""
    camera: str
    """Make, model and serial number; "" where the photo does not tell."""
    taken: str
    """Local time as ISO 8601, such as 2024-05-01T10:20:30 or 2024-05-01T10:20:30.250; "" if unknown."""
    orientation: int
    """EXIF's number for how to turn the photo, 1 to 8; 1 for upright."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """A photo in small, and what was measured on it."""

    thumbnail: NDArray[np.uint8]
    """Shape (32, 32), grey; the whole photo squeezed to a square."""
    picture: NDArray[np.uint8]
    """Shape (64, 64), grey; likewise."""
    colours: NDArray[np.uint8]
    """Shape (16, 16, 3), RGB; likewise."""
    sharpness: float
    """Variance of the Laplacian of the grey levels at a longest side of 128 pixels."""
    brightness: float
    """Mean grey level, 0 to 255."""
    contrast: float
    """Standard deviation of the grey levels."""


def read_file_facts(image: Image.Image, mode: str) -> FileFacts:
    """Read what the header of a photo says; damaged EXIF counts as none.

    Args:
        image: decoded; some formats hold EXIF behind the pixels.
        mode: of the colours as stored.

    Returns:
        The facts.
    """
    kind = "JPEG" if image.format == "MPO" else image.format or ""
    camera, taken, orientation = "", "", 1
    try:
        exif = image.getexif()
        if HEIF_EXIF in image.info:
            kind, exif = "HEIF", Image.Exif()
            exif.load(image.info[HEIF_EXIF])
        found = exif.get(ExifTags.Base.Orientation)
        orientation = found if isinstance(found, int) and 1 <= found <= 8 else 1
        details = exif.get_ifd(ExifTags.IFD.Exif)
        camera, taken = _join_camera(exif, details), _read_time(details, exif)
    except Exception:  # noqa: BLE001, S110 (damaged EXIF raises nearly anything; the pixels are fine without it)
        pass
    return FileFacts(format=kind, mode=mode, camera=camera, taken=taken, orientation=orientation)


def measure_looks(rgb: Image.Image) -> Looks:
    """Make the small copies of a photo and measure them.

    Args:
        rgb: mode RGB, upright.

    Returns:
        The copies and numbers.
    """
    # whole-number reduction is several times faster than resizing, and leaves enough for what follows
    factor = min(max(rgb.size) // _REDUCED_SIDE, min(rgb.size) // PICTURE_SIZE)
    small = rgb.reduce(factor) if factor > 1 else rgb
    grey = small.convert("L")
    picture = grey.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BOX)
    levels = np.asarray(picture)
    return Looks(
        thumbnail=np.asarray(picture.reduce(PICTURE_SIZE // THUMBNAIL_SIZE)),
        picture=levels,
        colours=np.asarray(small.resize((COLOURS_SIZE, COLOURS_SIZE), Image.Resampling.BOX)),
        sharpness=_measure_sharpness(grey),
        brightness=float(levels.mean()),
        contrast=float(levels.std()),
    )


def _measure_sharpness(grey: Image.Image) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000); 0 for a photo of fewer than 3 x 3 pixels."""
    scale = SHARPNESS_SIDE / max(grey.size)
    if scale < 1:  # enlarging would only make a small photo look blurred
        grey = grey.resize(
            (max(1, round(grey.width * scale)), max(1, round(grey.height * scale))), Image.Resampling.BOX
        )
    levels = np.asarray(grey, np.float32)
    if min(levels.shape) < 3:
        return 0.0
    edges = -4 * levels[1:-1, 1:-1]
    for neighbours in (levels[:-2, 1:-1], levels[2:, 1:-1], levels[1:-1, :-2], levels[1:-1, 2:]):
        edges += neighbours
    return float(edges.var())


def _join_camera(exif: Mapping[int, Any], details: Mapping[int, Any]) -> str:
    parts = [
        _clean(exif.get(ExifTags.Base.Make)),
        _clean(exif.get(ExifTags.Base.Model)),
        _clean(details.get(ExifTags.Base.BodySerialNumber)),
    ]
    return " ".join(filter(None, parts))


def _read_time(details: Mapping[int, Any], exif: Mapping[int, Any]) -> str:
    """The time of exposure with its fraction of a second; else the time of the file, as EXIF has it."""
    fraction = _clean(details.get(ExifTags.Base.SubsecTimeOriginal))
    taken = _format_time(_clean(details.get(ExifTags.Base.DateTimeOriginal)), fraction)
    return taken or _format_time(_clean(exif.get(ExifTags.Base.DateTime)), "")


def _format_time(text: str, fraction: str) -> str:
    try:
        time = datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return ""
    if fraction.isascii() and fraction.isdigit():
        return f"{time.isoformat()}.{(fraction + '000')[:3]}"
    return time.isoformat()


def _clean(value: object) -> str:
    """EXIF text as one short line, whatever the camera wrote."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
    return " ".join("".join(letter for letter in text if letter.isprintable()).split())[:_MAX_TEXT]
