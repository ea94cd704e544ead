"""Bytes of a photo to the pixels a network sees: the one decode path of clownfish.

Training, prediction and export all come through `decode_photo`, so a photo looks the same
everywhere. Decoding is bounded: an allow-list of formats, a limit on pixels, a limit on the passes
a progressive JPEG may ask for; time and memory are bounded by the process it runs in (`compute`).
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from clownfish.errors import UnusablePhotoError
from clownfish.photo_facts import HEIF_EXIF, FileFacts, Looks, measure_looks, read_file_facts

Resize = Literal["stretch", "crop", "pad"]
RESIZES: tuple[Resize, ...] = get_args(Resize)
View = Literal["whole", "mirrored", "crop", "mirrored_crop", "upside_down"]
"""What is shown of a photo: all of it, its mirror image, or a part (for augmentation), or all of it upside down (to see
whether a classifier goes by that)."""
AUGMENTED_VIEWS: tuple[View, ...] = ("mirrored", "crop", "mirrored_crop")

PHOTO_EXTENSIONS = frozenset(".jpg .jpeg .jpe .jfif .png .tif .tiff .webp .bmp .dib .gif .heic .heif .hif".split())
"""File name endings, lower case, that mark a file as a photo."""

MAX_FILE_BYTES = 1_000_000_000
"""A larger file is no photo."""
PREVIEW_SIZE = 160
"""Longest side of the pictures in a report, pixels."""
MAX_JPEG_PIXELS = 178_000_000
"""Just under where Pillow itself refuses; a JPEG is decoded at reduced size, so this costs little memory."""
MAX_PIXELS = 100_000_000
"""For formats that have to be decoded at full size: 400 MB as RGBA."""
MAX_JPEG_SCANS = 200
"""Ordinary progressive JPEGs have about ten; each further one repeats the work over all pixels."""

_FORMATS = ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "DIB", "GIF"]
_FIRST_BYTES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}
"""Long enough not to be met by chance. What is cut off behind them, Pillow calls unknown rather than damaged."""
_FORMAT_OF_EXTENSION = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIF"),
    ".png": "PNG",
    ".webp": "WEBP",
    ".gif": "GIF",
}
"""For noting a mismatch; Windows writes both of its two kinds of bitmap as .bmp."""
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_QUARTER_TURNS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
_CROP_SHARE = 0.8
_HASH_CHUNK_PIXELS = 4_000_000
_TOO_MUCH_MEMORY = "decoding needs more memory than is allowed"
_DECODER_VERSION = 2
"""Raise it whenever the pixels or the inspection of any photo change: it is part of every cache key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """How a photo becomes the square that the network sees; travels inside the model file."""

    size: int
    """Side of the square, pixels."""
    resize: Resize = "stretch"
    """stretch the whole photo, crop its centre, or pad it with grey to a square."""

    def make_key(self, view: View = "whole") -> str:
        """Name everything that changes the pixels, for cache keys."""
        return f"v{_DECODER_VERSION}-{self.size}-{self.resize}-{view}"


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedPhoto:
    """The outcome of decoding one photo."""

    pixels: NDArray[np.uint8]
    """Shape (size, size, 3), RGB."""
    looks: Looks
    """Of the whole photo, whatever the preprocessing."""
    facts: FileFacts
    num_bytes: int
    """Size of the file."""
    pixel_hash: str
    width: int
    """Pixels, after EXIF rotation."""
    height: int
    note: str
    """What had to be converted; "" for an ordinary photo."""


def _hash_pixels(rgb: Image.Image, width: int, height: int) -> str:
    digest = hashlib.sha256(f"{width}x{height}".encode())
    rows = max(1, _HASH_CHUNK_PIXELS // rgb.width)
    for top in range(0, rgb.height, rows):  # in bands: a large photo need not be in memory twice
        digest.update(rgb.crop((0, top, rgb.width, min(top + rows, rgb.height))).tobytes())
    return digest.hexdigest()


def read_photo_file(path: Path) -> bytes:
    """Read a photo's bytes, within bounds.

    Args:
        path: the file.

    Returns:
        The bytes.

    Raises:
        UnusablePhotoError: the file is absent, not a regular file, too large or not readable.
    """
    try:
        if not path.is_file():
            raise UnusablePhotoError("the file does not exist" if not path.exists() else "not a regular file")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise UnusablePhotoError(
                f"the file has {size / 1e9:.1f} GB, more than the {MAX_FILE_BYTES / 1e9:.0f} allowed"
            )
        return path.read_bytes()
    except OSError as error:
        raise UnusablePhotoError(f"the file cannot be read: {error.strerror or error}") from error


def decode_photo(
    data: bytes, preprocessing: Preprocessing, *, view: View = "whole", expected_format: str = ""
) -> DecodedPhoto:
    """Decode a photo completely and bring it to the network's size.

    Args:
        data: the whole file.
        preprocessing: the size and shape wanted.
        view: what to show of the photo.
        expected_format: the file name's ending (".jpg"); a different content is noted, not refused.

    Returns:
        Pixels, small copies, hash, size, what the file tells, and notes.

    Raises:
        UnusablePhotoError: the bytes are no photo, are damaged, or ask for too much work.
    """
    try:
        return _decode_upright(data, preprocessing, view, expected_format)
    except MemoryError as error:
        raise UnusablePhotoError(_TOO_MUCH_MEMORY) from error


def _decode_upright(data: bytes, preprocessing: Preprocessing, view: View, expected_format: str) -> DecodedPhoto:
    notes: list[str] = []
    image = _decode(data, preprocessing, notes)
    if expected_format:
        _note_format(image, expected_format, notes)
    # measured before EXIF rotation and reduction by draft()
    width, height = image.info["clownfish_size"]
    facts: FileFacts = image.info["clownfish_facts"]
    upright, is_turned = _rotate_upright(image)
    if is_turned:
        width, height = height, width
    rgb = convert_to_rgb(upright, notes)
    pixel_hash = _hash_pixels(rgb, width, height)
    return DecodedPhoto(
        pixels=prepare_pixels(rgb, preprocessing, view=view, seed=pixel_hash),
        looks=measure_looks(rgb),
        facts=facts,
        num_bytes=len(data),
        pixel_hash=pixel_hash,
        width=width,
        height=height,
        note="; ".join(notes),
    )


def decode_file(
    path: Path, preprocessing: Preprocessing, *, view: View = "whole", is_known: Callable[[str], bool] = lambda _: False
) -> dict[str, Any]:
    """Read, hash and decode one photo, for use in a helper process.

    Args:
        path: the photo.
        preprocessing: the size and shape wanted.
        view: what to show of the photo.
        is_known: called with the SHA-256 of the file; if it says yes, nothing is decoded.

    Returns:
        "hash" (SHA-256, hexadecimal; "" if the file could not be read), and then one of: "known"; "note" alone
        if the photo is unusable; "pixels", "picture" (shape (64, 64), grey), and the fields of `Inspection`.
    """
    content_hash = ""
    try:
        data = read_photo_file(path)
        content_hash = hashlib.sha256(data).hexdigest()
        if is_known(content_hash):
            return {"hash": content_hash, "known": True}
        photo = decode_photo(data, preprocessing, view=view, expected_format=path.suffix)
    except UnusablePhotoError as error:
        return {"hash": content_hash, "note": str(error)}
    return {
        "hash": content_hash,
        "pixel_hash": photo.pixel_hash,
        "width": photo.width,
        "height": photo.height,
        "num_bytes": photo.num_bytes,
        "note": photo.note,
        "pixels": photo.pixels,
        **asdict(photo.facts),
        **asdict(photo.looks),
    }


def prepare_pixels(
    image: Image.Image, preprocessing: Preprocessing, *, view: View = "whole", seed: str = "0"
) -> NDArray[np.uint8]:
    """Bring an upright RGB image to the network's square.

    Args:
        image: mode RGB, any size.
        preprocessing: the size and shape wanted.
        view: what to show of the photo.
        seed: hexadecimal; decides where a cropped view lies, so that a photo always gives the same view.

    Returns:
        Shape (size, size, 3), uint8.
    """
    if view in ("crop", "mirrored_crop"):
        image = image.crop(_choose_crop(image.size, int(seed[:8], 16) + (view == "mirrored_crop")))
    if view in ("mirrored", "mirrored_crop"):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if view == "upside_down":
        return np.ascontiguousarray(prepare_pixels(image, preprocessing)[::-1])
    size = preprocessing.size
    if preprocessing.resize == "stretch":
        return np.asarray(_resize(image, (size, size)))
    width, height = image.size
    if preprocessing.resize == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return np.asarray(_resize(image.crop((left, top, left + side, top + side)), (size, size)))
    scale = size / max(width, height)
    inner = _resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    square = Image.new("RGB", (size, size), (127, 127, 127))
    square.paste(inner, ((size - inner.width) // 2, (size - inner.height) // 2))
    return np.asarray(square)


def prepare_image(image: Image.Image | NDArray[Any], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Bring a photo that is in memory already to the network's square.

    Args:
        image: a Pillow image of any mode, or an array as `wrap_array` takes it.
        preprocessing: the size and shape wanted.

    Returns:
        Shape (size, size, 3), uint8, RGB.

    Raises:
        UnusablePhotoError: the array or the colour mode is no photo, or there are no pixels.
    """
    if not isinstance(image, Image.Image):
        image = wrap_array(image)
    if 0 in image.size:
        raise UnusablePhotoError(f"a picture without pixels, of {image.width} x {image.height}")
    return prepare_pixels(convert_to_rgb(_rotate_upright(image)[0], []), preprocessing)


def make_preview(path: Path) -> bytes:
    """Make a small JPEG of a photo, for people to look at.

    Args:
        path: a photo that was decoded before.

    Returns:
        JPEG data, longest side `PREVIEW_SIZE` pixels; b"" if the photo cannot be read any more.
    """
    try:
        image = _decode(read_photo_file(path), Preprocessing(size=PREVIEW_SIZE, resize="pad"), [])
        rgb = convert_to_rgb(_rotate_upright(image)[0], [])
    except UnusablePhotoError:
        return b""
    scale = PREVIEW_SIZE / max(rgb.size)
    small = _resize(rgb, (max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale))))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def stretch_like_phones(data: bytes, size: int) -> NDArray[np.uint8]:
    """Bring a photo to a square as MediaPipe Tasks does: decoded in full, stretched, and looked up between four pixels.

    That does not smooth what is made smaller, so fine detail turns to noise; `prepare_pixels` does smooth it.

    Args:
        data: the whole file.
        size: side of the square, pixels.

    Returns:
        Shape (size, size, 3), uint8, RGB.

    Raises:
        UnusablePhotoError: the bytes are no photo, are damaged, or ask for too much work.
    """
    image = _decode(data, Preprocessing(size=MAX_JPEG_PIXELS), [])  # larger than any: libjpeg must not reduce it
    rgb = convert_to_rgb(_rotate_upright(image)[0], [])
    # pixel x is looked up at x * width / size, so the centre of the first becomes the centre of the first
    left, top = 0.5 - 0.5 * rgb.width / size, 0.5 - 0.5 * rgb.height / size
    whole = (left, top, left + rgb.width, top + rgb.height)
    # a small photo is looked up beyond its last pixels, which go on there
    padded = Image.fromarray(np.pad(np.asarray(rgb), ((0, 1), (0, 1), (0, 0)), mode="edge"))
    return np.asarray(padded.transform((size, size), Image.Transform.EXTENT, whole, Image.Resampling.BILINEAR))


def convert_to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """Convert any colour mode that Pillow knows to 8-bit RGB; transparency becomes white.

    Args:
        image: any mode.
        notes: what had to be done is appended.

    Returns:
        Mode RGB, same size.

    Raises:
        UnusablePhotoError: the mode cannot be converted, or not in the memory allowed.
    """
    try:
        return _convert(image, notes)
    except MemoryError as error:
        raise UnusablePhotoError(_TOO_MUCH_MEMORY) from error
    except ValueError as error:
        raise UnusablePhotoError(f"the colours cannot be converted: {error}") from error


def _convert(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return _convert_deep_grey(image, notes)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        if layer.getchannel("A").getextrema()[0] == 255:  # opaque after all
            return layer.convert("RGB")
        notes.append("transparency put on white")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    if image.mode in ("CMYK", "LAB", "HSV"):
        notes.append(f"{image.mode} colours converted to RGB")
    return image.convert("RGB")


def _convert_deep_grey(image: Image.Image, notes: list[str]) -> Image.Image:
    """16-bit grey keeps its full scale; 32-bit and float grey has none, so it is stretched."""
    if image.mode.startswith("I;16"):
        notes.append("16-bit grey reduced to 8 bits")
        table = np.rint(np.arange(65536) / 257).astype(np.uint8)  # looking up takes a tenth of arithmetic's memory
        return Image.fromarray(table[np.asarray(image)]).convert("RGB")
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        notes.append("values that are no numbers set to 0")
    low, high = float(values.min()), float(values.max())
    if image.mode == "I" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    notes.append(f"deep grey from {low:g} to {high:g} reduced to 8 bits")
    grey = (values - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(np.rint(grey).clip(0, 255).astype(np.uint8)).convert("RGB")


def _decode(data: bytes, preprocessing: Preprocessing, notes: list[str]) -> Image.Image:
    """Open and load, turning everything that a damaged file can cause into one error."""
    if not data:
        raise UnusablePhotoError("the file is empty (0 bytes)")
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        return _decode_with(_open_heic, data, preprocessing, notes)
    return _decode_with(_open, data, preprocessing, notes)


def _decode_with(
    open_image: Callable[[bytes], Image.Image], data: bytes, preprocessing: Preprocessing, notes: list[str]
) -> Image.Image:
    try:
        image = open_image(data)
        size = image.size
        mode = image.mode  # draft() may change it
        _check_work(image, data)
        _draft(image, preprocessing)
        image.load()
    except UnusablePhotoError:
        raise
    except Image.DecompressionBombError as error:
        raise UnusablePhotoError(f"more than {MAX_JPEG_PIXELS // 1_000_000} million pixels; make it smaller") from error
    except MemoryError as error:
        raise UnusablePhotoError(_TOO_MUCH_MEMORY) from error
    # Damaged files raise nearly anything, not only OSError: of 6,073 tried, 212 raised ValueError and one SyntaxError.
    except Exception as error:
        raise UnusablePhotoError(_explain_damage(data, error)) from error
    image.info["clownfish_size"] = size
    image.info["clownfish_facts"] = read_file_facts(image, mode)
    return image


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=_FORMATS)


def _open_heic(data: bytes) -> Image.Image:
    try:
        import pi_heif  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise UnusablePhotoError(
            "an HEIC photo, which needs the extra 'heic': pip install 'clownfish[heic]'"
        ) from error
    image: Image.Image = pi_heif.open_heif(data, convert_hdr_to_8bit=True).to_pillow()
    # libheif has turned the pixels upright already, so nothing else may find this
    image.info[HEIF_EXIF] = image.info.pop("exif", b"")
    return image


def _check_work(image: Image.Image, data: bytes) -> None:
    """Refuse photos whose decoding would take unreasonable work, before it starts."""
    width, height = image.size
    is_jpeg = image.format in ("JPEG", "MPO")
    limit = MAX_JPEG_PIXELS if is_jpeg else MAX_PIXELS
    if width * height > limit:
        raise UnusablePhotoError(
            f"{width} x {height} = {width * height / 1e6:.0f} million pixels, more than the {limit // 1_000_000}"
            f" million allowed for {image.format}; make it smaller"
        )
    # 0xFF is always stuffed inside coded data, so this marker is one start of scan (or lies in a thumbnail).
    if is_jpeg and (num_scans := data.count(b"\xff\xda")) > MAX_JPEG_SCANS:
        raise UnusablePhotoError(f"a JPEG in {num_scans} passes, more than the {MAX_JPEG_SCANS} allowed; save it anew")


def _draft(image: Image.Image, preprocessing: Preprocessing) -> None:
    """Let libjpeg decode a large JPEG at 1/2, 1/4 or 1/8 size, never below the size needed."""
    if image.format not in ("JPEG", "MPO"):
        return
    wanted = preprocessing.size
    if preprocessing.resize == "pad":
        scale = wanted / max(image.size)
        image.draft("RGB", (max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    else:
        image.draft("RGB", (wanted, wanted))


def _rotate_upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """Turn as EXIF says; True if by a quarter, which swaps width and height."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        return ImageOps.exif_transpose(image), orientation in _QUARTER_TURNS
    except MemoryError as error:
        raise UnusablePhotoError(_TOO_MUCH_MEMORY) from error
    except Exception:  # noqa: BLE001 (damaged EXIF raises nearly anything; the pixels are fine without it)
        return image, False


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    # Pillow's filters widen with the reduction, which is what antialiases; the gap of 2 only saves time
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _choose_crop(size: tuple[int, int], seed: int) -> tuple[int, int, int, int]:
    width, height = size
    crop_width, crop_height = max(1, round(width * _CROP_SHARE)), max(1, round(height * _CROP_SHARE))
    random = np.random.default_rng(seed)
    left = int(random.integers(0, width - crop_width + 1))
    top = int(random.integers(0, height - crop_height + 1))
    return left, top, left + crop_width, top + crop_height


def _note_format(image: Image.Image, expected_format: str, notes: list[str]) -> None:
    found = "JPEG" if image.format == "MPO" else image.format
    expected = _FORMAT_OF_EXTENSION.get(expected_format.lower())
    if found and expected and found != expected:
        notes.append(f"{found} data in a {expected_format} file")


def _explain_damage(data: bytes, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        start = data[:16].lstrip()
        if start[:1] == b"<":
            return "not a photo: the file holds a web page or other text"
        for mark, name in _FIRST_BYTES.items():
            if data.startswith(mark):
                return f"damaged: begins as {name}, but what follows is broken or missing"
        return "not a photo, or a format that is not supported (JPEG, PNG, TIFF, WebP, BMP, GIF)"
    text = str(error).strip().rstrip(".") or type(error).__name__
    return f"damaged: {text}"


def wrap_array(array: NDArray[Any]) -> Image.Image:
    """Wrap an array that a user passed as a photo.

    Args:
        array: uint8, shape (height, width), (height, width, 3) or (height, width, 4).

    Returns:
        A Pillow image.

    Raises:
        UnusablePhotoError: other types or shapes.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise UnusablePhotoError(
            f"an array of {array.dtype} and shape {array.shape}; needed is uint8 of shape (height, width, 3), RGB"
        )
    return Image.fromarray(array)
