import hashlib
import io
import random
import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from clownfish.compute import WorkerFailure, run_in_workers
from clownfish.errors import UnusablePhotoError
from clownfish.images import (
    AUGMENTED_VIEWS,
    MAX_JPEG_SCANS,
    PREVIEW_SIZE,
    RESIZES,
    DecodedPhoto,
    Preprocessing,
    convert_to_rgb,
    decode_file,
    decode_photo,
    make_preview,
    prepare_image,
    prepare_pixels,
    read_photo_file,
    stretch_like_phones,
    wrap_array,
)
from pictures import draw_pattern, draw_photo, encode, write_photo

SMALL = Preprocessing(size=32)
PHOTO = draw_photo(60, 40)
ALPHA = np.dstack([PHOTO, np.where(np.arange(60) < 30, 255, 0)[None].repeat(40, 0).astype(np.uint8)])


def decode(data: bytes, size: int = 32, **options: Any) -> DecodedPhoto:
    return decode_photo(data, Preprocessing(size=size), **options)


def exact_pixels(data: bytes) -> np.ndarray:
    """The decoded photo itself: a square picture at its own size goes through unchanged."""
    side = Image.open(io.BytesIO(data)).width
    return decode(data, side).pixels


def make_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def make_sample_files() -> dict[str, bytes]:
    """One small file of every kind that a decoder treats in its own way."""
    image, pal = Image.fromarray(PHOTO), Image.fromarray(PHOTO).quantize(16)
    alpha, grey16 = Image.fromarray(ALPHA), Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257)
    files = {
        "jpeg": encode(image, "JPEG", exif=make_exif(6)),
        "progressive jpeg": encode(image, "JPEG", progressive=True),
        "cmyk jpeg": encode(image.convert("CMYK"), "JPEG"),
        "mpo": encode(image, "MPO", save_all=True, append_images=[ImageOps.mirror(image)]),
        "png": encode(image),
        "palette png": encode(pal, transparency=b"\x00\x80\xff"),
        "16-bit png": encode(grey16),
        "rgba png": encode(alpha),
        "gif": encode(pal, "GIF", transparency=3),
        "webp": encode(image, "WEBP"),
        "lossless webp": encode(alpha, "WEBP", lossless=True),
        "animated webp": encode(image, "WEBP", save_all=True, append_images=[ImageOps.mirror(image)]),
        "bmp": encode(image, "BMP"),
        "palette bmp": encode(pal, "BMP"),
        "dib": encode(image, "DIB"),
        "float tiff": encode(image.convert("F"), "TIFF"),
        "16-bit tiff": encode(grey16, "TIFF"),
        "1-bit tiff": encode(image.convert("1"), "TIFF", compression="group4"),
        "cmyk tiff": encode(image.convert("CMYK"), "TIFF"),
    }
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"tiff {compression}"] = encode(image, "TIFF", compression=compression)
    return files


SAMPLE_FILES = make_sample_files()
ONE_FRAME = sorted(set(SAMPLE_FILES) - {"mpo", "animated webp"})


# --- damaged files -------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ONE_FRAME)
def test_file_cut_anywhere_is_unusable(kind: str) -> None:
    data = SAMPLE_FILES[kind]
    decode(data)
    for length in {1, 2, 3, 4, 8, 12, 16, *range(0, len(data) * 9 // 10, max(1, len(data) // 60))}:
        with pytest.raises(UnusablePhotoError):
            decode(data[:length])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SAMPLE_FILES)
def test_changed_bytes_raise_only_the_one_error(kind: str) -> None:
    chance = random.Random(kind)
    for _ in range(60):
        data = bytearray(SAMPLE_FILES[kind])
        for _ in range(chance.randint(1, 4)):
            # headers are where the interesting fields are
            end = len(data) if chance.random() < 0.4 else min(len(data), 200)
            data[chance.randrange(end)] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        try:
            photo = decode(bytes(data), view="crop")
        except UnusablePhotoError as error:
            assert str(error)
        else:
            assert photo.pixels.shape == (32, 32, 3) and photo.pixels.dtype == np.uint8


@given(st.binary(max_size=300))
def test_random_bytes_are_no_photo(data: bytes) -> None:
    with pytest.raises(UnusablePhotoError):
        decode(data)


@given(
    st.sampled_from([b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\x00", b"RIFF\0\0\0\0WEBPVP8 "]),
    st.binary(max_size=300),
)
def test_random_bytes_after_a_signature_are_unusable(signature: bytes, data: bytes) -> None:
    with pytest.raises(UnusablePhotoError):
        decode(signature + data)


def test_empty_file_is_called_empty() -> None:
    with pytest.raises(UnusablePhotoError, match=r"^the file is empty \(0 bytes\)$"):
        decode(b"")


@pytest.mark.parametrize("text", [b"<!DOCTYPE html><html>404</html>", b"  \n<?xml version='1.0'?><svg/>"])
def test_web_page_named_jpg_is_recognised(text: bytes) -> None:
    with pytest.raises(UnusablePhotoError, match=r"^not a photo: the file holds a web page or other text$"):
        decode(text, expected_format=".jpg")


@pytest.mark.parametrize(
    "data", [b"just some text\n", b"%PDF-1.7\n", b"%!PS-Adobe-3.0 EPSF", b"P6 1 1 255 abc", bytes(100)]
)
def test_other_formats_are_refused_with_the_list(data: bytes) -> None:
    expected = r"^not a photo, or a format that is not supported \(JPEG, PNG, TIFF, WebP, BMP, GIF\)$"
    with pytest.raises(UnusablePhotoError, match=expected):
        decode(data)


def test_damage_is_told_in_the_decoder_s_words() -> None:
    with pytest.raises(UnusablePhotoError, match=r"^damaged: image file is truncated"):
        decode(SAMPLE_FILES["jpeg"][:-200])


def test_damaged_checksum_inside_png_is_unusable() -> None:
    data = bytearray(SAMPLE_FILES["png"])
    data[data.index(b"IDAT") + 40] ^= 255
    with pytest.raises(UnusablePhotoError, match="^damaged: "):
        decode(bytes(data))


# --- too much work -------------------------------------------------------------------------------


def make_png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def patch_jpeg_size(data: bytes, width: int, height: int) -> bytes:
    start = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: start + 5] + struct.pack(">HH", height, width) + data[start + 9 :]


def test_decompression_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(UnusablePhotoError, match=r"^more than 178 million pixels; make it smaller$"):
        decode(make_png_header(60000, 60000))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_png_above_its_own_limit_is_refused() -> None:
    expected = r"^12000 x 9000 = 108 million pixels, more than the 100 million allowed for PNG; make it smaller$"
    with pytest.raises(UnusablePhotoError, match=expected):
        decode(make_png_header(12000, 9000))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_jpeg_above_its_own_limit_is_refused() -> None:
    expected = r"^16000 x 11150 = 178 million pixels, more than the 178 million allowed for JPEG; make it smaller$"
    with pytest.raises(UnusablePhotoError, match=expected):
        decode(patch_jpeg_size(encode(PHOTO, "JPEG"), 16000, 11150))


def repeat_last_scan(data: bytes, times: int) -> bytes:
    start = data.rindex(b"\xff\xda")
    return data[:-2] + data[start:-2] * times + data[-2:]


def test_jpeg_in_very_many_passes_is_refused() -> None:
    data = encode(PHOTO, "JPEG", progressive=True)
    decode(data)
    num_scans = data.count(b"\xff\xda")
    bomb = repeat_last_scan(data, MAX_JPEG_SCANS + 1 - num_scans)
    expected = r"^a JPEG in 201 passes, more than the 200 allowed; save it anew$"
    with pytest.raises(UnusablePhotoError, match=expected):
        decode(bomb)


def inspect_in_worker(path: Path, memory_bytes: int) -> Any:
    request = {"path": str(path), "size": 224, "resize": "stretch", "view": "whole", "cache": "", "key": ""}
    (outcome,) = run_in_workers(
        [request],
        function="clownfish.features.inspection:inspect_photo",
        finish=lambda _, answer: answer,
        num_workers=1,
        memory_bytes=memory_bytes,
    )
    return outcome.result


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits a helper's memory")
def test_large_jpeg_is_decoded_in_little_memory(tmp_path: Path) -> None:
    pixels = np.repeat(np.repeat(draw_photo(100, 75), 60, axis=0), 60, axis=1)  # 81 MB as RGB
    large_jpeg = write_photo(tmp_path / "large.jpg", pixels, quality=50)
    large_png = write_photo(tmp_path / "large.png", pixels, compress_level=1)
    answer = inspect_in_worker(large_jpeg, 60_000_000)
    assert (answer["width"], answer["height"]) == (6000, 4500)
    assert answer["pixels"].shape == (224, 224, 3)
    answer = inspect_in_worker(large_png, 60_000_000)
    assert not isinstance(answer, WorkerFailure)
    assert answer["note"] == "decoding needs more memory than is allowed"


def test_memory_running_out_anywhere_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(UnusablePhotoError, match="needs more memory than is allowed"):
        patch.setattr(Image.Image, "convert", run_out)
        convert_to_rgb(Image.new("L", (4, 4)), [])
    with monkeypatch.context() as patch, pytest.raises(UnusablePhotoError, match="needs more memory than is allowed"):
        patch.setattr(Image.Image, "load", run_out)
        decode(SAMPLE_FILES["bmp"])
    with monkeypatch.context() as patch, pytest.raises(UnusablePhotoError, match="needs more memory than is allowed"):
        patch.setattr(ImageOps, "exif_transpose", run_out)
        decode(SAMPLE_FILES["png"])


# --- colour modes --------------------------------------------------------------------------------


def test_ordinary_photo_has_no_note() -> None:
    photo = decode(SAMPLE_FILES["png"], expected_format=".png")
    assert photo.note == "" and (photo.width, photo.height) == (60, 40)
    assert photo.pixels.shape == (32, 32, 3) and photo.looks.thumbnail.shape == (32, 32)


@pytest.mark.parametrize(
    "kind", ["png", "bmp", "dib", "tiff None", "tiff tiff_lzw", "tiff tiff_adobe_deflate", "tiff packbits"]
)
def test_lossless_files_of_one_picture_agree(kind: str) -> None:
    assert decode(SAMPLE_FILES[kind]).pixel_hash == decode(encode(PHOTO)).pixel_hash


def test_transparent_parts_become_white() -> None:
    square = ALPHA[:40, 10:50]
    for data in (encode(square), encode(square, "WEBP", lossless=True, exact=True), encode(square, "TIFF")):
        photo = decode(data, 40)
        assert photo.note == "transparency put on white"
        assert np.array_equal(photo.pixels[:, :20], square[:, :20, :3])
        assert (photo.pixels[:, 20:] == 255).all()


def test_half_transparent_grey_is_blended_with_white() -> None:
    grey_alpha = np.full((8, 8, 2), (100, 51), np.uint8)  # 20 % of grey 100
    photo = decode(encode(Image.fromarray(grey_alpha)), 8)
    assert photo.note == "transparency put on white"
    assert np.abs(photo.pixels.astype(int) - 224).max() <= 1


def test_opaque_alpha_channel_needs_no_note() -> None:
    opaque = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
    assert decode(encode(opaque)).note == ""
    assert decode(encode(opaque)).pixel_hash == decode(encode(PHOTO)).pixel_hash


def test_palette_with_transparent_entry_is_put_on_white() -> None:
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 200, 30, 40])
    palette.paste(0, (0, 0, 4, 8))
    for data in (encode(palette, transparency=0), encode(palette, "GIF", transparency=0)):
        photo = decode(data, 8)
        assert photo.note == "transparency put on white"
        assert (photo.pixels[:, :4] == 255).all() and (photo.pixels[:, 4:] == (200, 30, 40)).all()


def test_colour_named_transparent_becomes_white() -> None:
    pixels = np.full((8, 8, 3), (10, 20, 30), np.uint8)
    pixels[:, 4:] = (200, 100, 50)
    photo = decode(encode(pixels, transparency=(10, 20, 30)), 8)
    assert (photo.pixels[:, :4] == 255).all() and (photo.pixels[:, 4:] == (200, 100, 50)).all()


def test_black_and_white_bits_become_grey_levels() -> None:
    bits = Image.fromarray(np.indices((16, 16)).sum(0) % 2 == 0)
    for kind in ("PNG", "TIFF", "BMP", "GIF"):
        pixels = decode(encode(bits, kind), 16).pixels
        assert np.array_equal(pixels[..., 0], np.where(np.asarray(bits), 255, 0))


def test_cmyk_jpeg_shows_its_colours() -> None:
    colours = np.zeros((16, 16, 3), np.uint8)
    colours[:, :8] = (200, 40, 60)
    colours[:, 8:] = (30, 90, 220)
    photo = decode(encode(Image.fromarray(colours).convert("CMYK"), "JPEG", quality=98), 16)
    assert photo.note == "CMYK colours converted to RGB"
    assert np.abs(photo.pixels.astype(int)[:, [2, 13]] - colours.astype(int)[:, [2, 13]]).max() < 12


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_grey_keeps_its_scale(kind: str) -> None:
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    photo = decode(encode(Image.fromarray(levels), kind), 16)
    assert np.array_equal(photo.pixels[..., 0], levels // 257)
    assert photo.note == "16-bit grey reduced to 8 bits"


def test_dark_deep_grey_stays_dark() -> None:
    photo = decode(encode(Image.fromarray(np.full((8, 8), 2570, np.uint16))), 8)
    assert (photo.pixels == 10).all()


def test_whole_numbers_of_16_bits_keep_their_scale() -> None:
    levels = np.array([[0, 257], [2570, 65535]], np.int32)
    photo = decode(encode(Image.fromarray(levels), "TIFF"), 2)
    assert photo.pixels[..., 0].tolist() == [[0, 1], [10, 255]]
    assert photo.note == "deep grey from 0 to 65535 reduced to 8 bits"


def test_float_grey_is_stretched_and_nans_noted() -> None:
    levels = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    photo = decode(encode(Image.fromarray(levels), "TIFF"), 8)
    assert photo.note == "deep grey from -1 to 1 reduced to 8 bits"
    assert photo.pixels[0, 0, 0] == 0 and photo.pixels[-1, -1, 0] == 255
    levels[3, 3:6] = np.nan, np.inf, -np.inf
    photo = decode(encode(Image.fromarray(levels), "TIFF"), 8)
    assert photo.note == "values that are no numbers set to 0; deep grey from -1 to 1 reduced to 8 bits"
    assert (photo.pixels[3, 3:6] == 128).all()


def test_constant_float_grey_is_no_division_by_zero() -> None:
    photo = decode(encode(Image.fromarray(np.full((4, 4), 7.5, np.float32)), "TIFF"), 4)
    assert (photo.pixels == 0).all()


MODES = "1 L P RGB RGBA CMYK YCbCr LAB HSV I F LA PA RGBX RGBa I;16 I;16L I;16B I;16N".split()


@pytest.mark.parametrize("mode", MODES)
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    converted = convert_to_rgb(Image.new(mode, (5, 4)), [])
    assert converted.mode == "RGB" and converted.size == (5, 4)


def test_mode_that_pillow_cannot_convert_is_unusable() -> None:
    with pytest.raises(UnusablePhotoError, match=r"^the colours cannot be converted: conversion from La"):
        convert_to_rgb(Image.new("La", (2, 2)), [])


# --- EXIF and other metadata ---------------------------------------------------------------------

STORED = {
    1: lambda image: image,
    2: ImageOps.mirror,
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: ImageOps.flip,
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}
"""EXIF orientation to how a camera that held it stores an upright picture."""


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    stored = STORED[orientation](Image.fromarray(PHOTO))
    options = {"lossless": True} if kind == "WEBP" else {}
    photo = decode(encode(stored, kind, exif=make_exif(orientation), **options))
    upright = decode(encode(PHOTO))
    assert (photo.width, photo.height) == (60, 40)
    assert photo.pixel_hash == upright.pixel_hash
    assert np.array_equal(photo.pixels, upright.pixels) and np.array_equal(
        photo.looks.thumbnail, upright.looks.thumbnail
    )
    assert photo.note == ""


@pytest.mark.parametrize("orientation", STORED)
def test_jpeg_reduced_while_decoding_keeps_its_true_size(orientation: int) -> None:
    upright = draw_photo(1001, 1003)  # at an eighth both sides are 126, so their order cannot be seen there
    stored = STORED[orientation](Image.fromarray(upright))
    photo = decode(encode(stored, "JPEG", exif=make_exif(orientation)))
    assert (photo.width, photo.height) == (1001, 1003)
    expected = decode(encode(upright, "JPEG")).pixels.astype(int)
    assert np.abs(photo.pixels - expected).mean() < 6  # a wrong orientation: above 30


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\x00\x00garbage",
        b"Exif\x00\x00",
        b"Exif\x00\x00II*\x00\xff\xff\xff\x7f",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x0c\x00\x00\x00\x01\xff\xff\xff\xff",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x02\x00\x02\x00\x00\x00?\x00\x00\x00\x00\x00\x00\x00",
        make_exif(9),
        make_exif(0),
    ],
)
def test_damaged_exif_does_not_harm_the_photo(exif: bytes) -> None:
    photo = decode(encode(PHOTO, "JPEG", exif=exif))
    assert (photo.width, photo.height) == (60, 40)
    assert photo.pixel_hash == decode(encode(PHOTO, "JPEG")).pixel_hash


def test_error_while_turning_leaves_the_photo_as_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(ImageOps, "exif_transpose", fail)
    assert decode(encode(PHOTO)).width == 60


def test_metadata_does_not_change_the_pixel_hash() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "taken on Tuesday")
    plain, commented = encode(PHOTO), encode(PHOTO, pnginfo=text, dpi=(72, 72))
    assert plain != commented
    assert decode(plain).pixel_hash == decode(commented).pixel_hash
    exif = Image.Exif()
    exif[0x0131] = "some editor"
    assert (
        decode(encode(PHOTO, "JPEG")).pixel_hash
        == decode(encode(PHOTO, "JPEG", exif=exif.tobytes(), comment=b"x")).pixel_hash
    )


def test_one_changed_pixel_changes_the_pixel_hash() -> None:
    changed = PHOTO.copy()
    changed[0, 0, 0] ^= 1
    assert decode(encode(changed)).pixel_hash != decode(encode(PHOTO)).pixel_hash


def test_pixel_hash_tells_apart_shapes_of_equal_bytes() -> None:
    flat = np.full((4, 6, 3), 9, np.uint8)
    assert decode(encode(flat)).pixel_hash != decode(encode(flat.reshape(6, 4, 3))).pixel_hash


# --- several frames, other names -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_first_frame_is_what_counts(kind: str) -> None:
    first, second = Image.new("RGB", (40, 40), (200, 30, 40)), Image.new("RGB", (40, 40), (20, 30, 220))
    data = encode(first, kind, save_all=True, append_images=[second])
    pixels = decode(data, expected_format=".jpg" if kind == "MPO" else "").pixels.astype(int)
    assert np.abs(pixels - (200, 30, 40)).max() < 8


@pytest.mark.parametrize(
    ("kind", "ending", "note"),
    [
        ("PNG", ".jpg", "PNG data in a .jpg file"),
        ("JPEG", ".PNG", "JPEG data in a .PNG file"),
        ("WEBP", ".jpeg", "WEBP data in a .jpeg file"),
        ("JPEG", ".JPG", ""),
        ("JPEG", ".jfif", ""),
        ("MPO", ".jpg", ""),
        ("TIFF", ".tif", ""),
        ("DIB", ".bmp", ""),
        ("BMP", ".dib", ""),
        ("PNG", ".strange", ""),
        ("PNG", "", ""),
    ],
)
def test_content_that_differs_from_the_name_is_noted(kind: str, ending: str, note: str) -> None:
    assert decode(encode(PHOTO, kind), expected_format=ending).note == note


# --- HEIC ----------------------------------------------------------------------------------------

HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100)


def test_heic_without_its_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    expected = r"^an HEIC photo, which needs the extra 'heic': pip install 'clownfish\[heic\]'$"
    for ending in (".heic", ".jpg"):  # phones and chat programs rename them
        with pytest.raises(UnusablePhotoError, match=expected):
            decode(HEIC, expected_format=ending)


def test_heic_is_not_turned_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class HeifFile:
        def to_pillow(self) -> Image.Image:
            image = Image.fromarray(PHOTO)
            image.info["exif"] = make_exif(6)
            return image

    library = ModuleType("pi_heif")
    library.open_heif = lambda data, **_: HeifFile()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pi_heif", library)
    photo = decode(HEIC, expected_format=".heic")
    assert (photo.width, photo.height, photo.note) == (60, 40, "")
    assert (photo.facts.format, photo.facts.orientation) == ("HEIF", 6)
    assert np.array_equal(photo.pixels, decode(encode(PHOTO)).pixels)


def test_damaged_heic_is_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes, **_: object) -> None:
        raise ValueError("Invalid input: No 'meta' box")

    library = ModuleType("pi_heif")
    library.open_heif = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pi_heif", library)
    with pytest.raises(UnusablePhotoError, match=r"^damaged: Invalid input: No 'meta' box$"):
        decode(HEIC)


# --- from picture to square ----------------------------------------------------------------------


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("view", ["whole", *AUGMENTED_VIEWS])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3), (7, 5000)])
def test_pictures_of_any_shape_become_squares(resize: Any, view: Any, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 90, np.uint8)
    for kind in ("PNG", "JPEG"):
        photo = decode_photo(encode(pixels, kind), Preprocessing(size=32, resize=resize), view=view)
        assert photo.pixels.shape == (32, 32, 3)
        assert (photo.width, photo.height) == (shape[1], shape[0])


def test_stretch_shows_the_whole_photo() -> None:
    left_red = np.zeros((20, 80, 3), np.uint8)
    left_red[:, :40, 0] = 255
    pixels = prepare_pixels(Image.fromarray(left_red), Preprocessing(size=40))
    assert (pixels[:, :18, 0] > 250).all() and (pixels[:, 22:, 0] < 5).all()


def test_crop_shows_the_centre_square() -> None:
    thirds = np.zeros((30, 90, 3), np.uint8)
    thirds[:, 30:60, 1] = 255
    pixels = prepare_pixels(Image.fromarray(thirds), Preprocessing(size=30, resize="crop"))
    assert np.array_equal(pixels, thirds[:, 30:60])


def test_pad_adds_grey_and_keeps_the_shape() -> None:
    white = np.full((20, 80, 3), 255, np.uint8)
    for picture, rows in ((white, slice(15, 25)), (white.transpose(1, 0, 2), None)):
        pixels = prepare_pixels(Image.fromarray(picture), Preprocessing(size=40, resize="pad"))
        inside = np.zeros((40, 40), bool)
        inside[(rows, slice(None)) if rows else (slice(None), slice(15, 25))] = True
        assert (pixels[inside] == 255).all() and (pixels[~inside] == 127).all()


def test_padded_jpeg_is_reduced_by_its_longer_side() -> None:
    photo = decode_photo(encode(draw_photo(2000, 400), "JPEG"), Preprocessing(size=100, resize="pad"))
    assert (photo.width, photo.height) == (2000, 400)
    assert (photo.pixels[:38] == 127).all() and (photo.pixels[62:] == 127).all()


def test_same_photo_gives_the_same_views() -> None:
    data = encode(PHOTO)
    for view in AUGMENTED_VIEWS:
        assert np.array_equal(decode(data, view=view).pixels, decode(data, view=view).pixels)
    crops = {decode(encode(draw_photo(60, 40, seed=seed)), view="crop").pixels.tobytes() for seed in range(4)}
    assert len(crops) == 4


def test_mirrored_view_is_the_mirror_image() -> None:
    square = draw_pattern(32, 32)
    assert np.array_equal(decode(encode(square), view="mirrored").pixels, square[:, ::-1])


def test_cropped_view_lies_inside_the_photo() -> None:
    ramp = np.zeros((100, 100, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(100), np.arange(100)[:, None]
    pixels = prepare_pixels(Image.fromarray(ramp), Preprocessing(size=80), view="crop", seed="ab12cd34")
    left, top = int(pixels[0, 0, 0]), int(pixels[0, 0, 1])
    assert 0 <= left <= 20 and 0 <= top <= 20
    assert np.array_equal(pixels, ramp[top : top + 80, left : left + 80])


def test_view_does_not_change_what_is_known_of_the_photo() -> None:
    whole, crop = decode(encode(PHOTO)), decode(encode(PHOTO), view="mirrored_crop")
    assert whole.pixel_hash == crop.pixel_hash and np.array_equal(whole.looks.thumbnail, crop.looks.thumbnail)


def test_preprocessing_key_tells_every_setting_apart() -> None:
    keys = {
        Preprocessing(size=size, resize=resize).make_key(view)
        for size in (224, 240)
        for resize in RESIZES
        for view in ("whole", *AUGMENTED_VIEWS)
    }
    assert len(keys) == 2 * 3 * 4


def test_large_jpeg_looks_like_the_same_png() -> None:
    picture = draw_photo(900, 700)
    jpeg, png = decode(encode(picture, "JPEG", quality=95), 100).pixels, decode(encode(picture), 100).pixels
    assert np.abs(jpeg.astype(int) - png).mean() < 1.5


# --- reading files, arrays -----------------------------------------------------------------------


def test_photo_file_is_read_whole(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.png", PHOTO)
    assert read_photo_file(path) == path.read_bytes()


def test_absent_file_and_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UnusablePhotoError, match="^the file does not exist$"):
        read_photo_file(tmp_path / "none.jpg")
    with pytest.raises(UnusablePhotoError, match="^not a regular file$"):
        read_photo_file(tmp_path)


def test_file_name_of_impossible_length_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UnusablePhotoError, match=r"^the file cannot be read: File name too long$"):
        read_photo_file(tmp_path / ("x" * 300 + ".jpg"))


def test_unreadable_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_photo(tmp_path / "a.png", PHOTO)

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UnusablePhotoError, match="^the file cannot be read: Permission denied$"):
        read_photo_file(path)


def test_gigantic_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "video.jpg"
    with path.open("wb") as file:
        file.truncate(1_500_000_000)  # sparse: takes no room
    with pytest.raises(UnusablePhotoError, match=r"^the file has 1\.5 GB, more than the 1 allowed$"):
        read_photo_file(path)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (4, 5, 4)])
def test_arrays_of_pixels_are_accepted(shape: tuple[int, ...]) -> None:
    assert wrap_array(np.zeros(shape, np.uint8)).size == (5, 4)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 5, 3)), np.zeros((4, 5, 2), np.uint8), np.zeros((1, 4, 5, 3), np.uint8), np.zeros(4, np.uint8)],
)
def test_other_arrays_are_refused_with_their_shape(array: np.ndarray) -> None:
    with pytest.raises(UnusablePhotoError) as caught:
        wrap_array(array)
    expected = f"an array of {array.dtype} and shape {array.shape}; needed is uint8 of shape (height, width, 3), RGB"
    assert str(caught.value) == expected


# --- photos in memory, previews, one file in a helper ----------------------------------------------


def test_image_in_memory_is_prepared_like_its_file() -> None:
    preprocessing = Preprocessing(size=32, resize="crop")
    expected = decode_photo(encode(PHOTO), preprocessing).pixels
    assert np.array_equal(prepare_image(PHOTO, preprocessing), expected)
    assert np.array_equal(prepare_image(Image.fromarray(PHOTO), preprocessing), expected)
    turned = Image.open(io.BytesIO(encode(STORED[6](Image.fromarray(PHOTO)), exif=make_exif(6))))
    assert np.array_equal(prepare_image(turned, preprocessing), expected)


def test_image_in_memory_of_no_use_is_refused() -> None:
    with pytest.raises(UnusablePhotoError, match="needed is uint8"):
        prepare_image(np.zeros((4, 4, 3)), SMALL)
    with pytest.raises(UnusablePhotoError, match="colours cannot be converted"):
        prepare_image(Image.new("La", (2, 2)), SMALL)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0, 3)])
def test_picture_without_pixels_is_refused(shape: tuple[int, ...]) -> None:
    expected = rf"^a picture without pixels, of {shape[1]} x {shape[0]}$"
    with pytest.raises(UnusablePhotoError, match=expected):
        prepare_image(np.zeros(shape, np.uint8), SMALL)


def test_preview_is_small_upright_and_a_jpeg(tmp_path: Path) -> None:
    stored = STORED[6](Image.fromarray(draw_photo(800, 400)))
    preview = Image.open(io.BytesIO(make_preview(write_photo(tmp_path / "a.jpg", stored, exif=make_exif(6)))))
    assert preview.format == "JPEG" and preview.size == (PREVIEW_SIZE, PREVIEW_SIZE // 2)


def test_preview_of_a_lost_photo_is_empty(tmp_path: Path) -> None:
    assert make_preview(tmp_path / "gone.jpg") == b""
    (tmp_path / "text.jpg").write_bytes(b"text")
    assert make_preview(tmp_path / "text.jpg") == b""


def test_file_is_hashed_decoded_and_noted(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.png", PHOTO).rename(tmp_path / "a.jpg")
    told: list[str] = []
    answer = decode_file(path, SMALL, is_known=lambda content_hash: bool(told.append(content_hash)))
    assert told == [answer["hash"]] == [hashlib.sha256(path.read_bytes()).hexdigest()]
    assert (answer["width"], answer["height"], answer["note"]) == (60, 40, "PNG data in a .jpg file")
    assert np.array_equal(answer["pixels"], decode(path.read_bytes()).pixels)


def test_known_file_is_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"never looked at")
    answer = decode_file(tmp_path / "a.jpg", SMALL, is_known=lambda _: True)
    assert answer == {"hash": hashlib.sha256(b"never looked at").hexdigest(), "known": True}


def test_unusable_file_is_a_hash_and_a_note(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"text")
    answer = decode_file(tmp_path / "a.jpg", SMALL)
    assert set(answer) == {"hash", "note"} and answer["hash"] == hashlib.sha256(b"text").hexdigest()
    assert decode_file(tmp_path / "none.jpg", SMALL) == {"hash": "", "note": "the file does not exist"}


def test_flipped_view_is_the_photo_upside_down_and_has_its_own_key() -> None:
    data = encode(draw_pattern(40, 40))
    preprocessing = Preprocessing(size=40)
    whole = decode_photo(data, preprocessing).pixels
    flipped = decode_photo(data, preprocessing, view="upside_down").pixels
    assert np.array_equal(flipped, whole[::-1])
    assert preprocessing.make_key("upside_down") != preprocessing.make_key()


# ---- as phones make them smaller


@pytest.mark.parametrize("factor", [1, 10])
def test_phones_look_up_between_four_pixels(factor: int) -> None:
    """Output x is the input at x * width / size, straight between the two neighbours, and likewise down."""
    width, height, size = 50, 30, 20 * factor
    pixels = draw_photo(width, height, seed=3)
    found = stretch_like_phones(encode(pixels), size)
    column, row = np.meshgrid(np.arange(size) * width / size, np.arange(size) * height / size)
    left, top = column.astype(int), row.astype(int)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (column - left)[..., None], (row - top)[..., None]
    upper = pixels[top, left] * (1 - across) + pixels[top, right] * across
    lower = pixels[below, left] * (1 - across) + pixels[below, right] * across
    assert np.abs(found - (upper * (1 - down) + lower * down)).max() < 1.01


def test_phones_turn_photos_upright() -> None:
    image = Image.fromarray(draw_photo(64, 32, seed=1))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    turned = stretch_like_phones(encode(image, "PNG", exif=exif), 16)
    upright = stretch_like_phones(encode(image.transpose(Image.Transpose.ROTATE_180)), 16)
    np.testing.assert_array_equal(turned, upright)


def test_phones_cannot_read_damaged_photos_either() -> None:
    with pytest.raises(UnusablePhotoError, match="not a photo"):
        stretch_like_phones(b"hello, world", 16)


@pytest.mark.parametrize(("form", "name"), [("png", "PNG"), ("gif", "GIF")])
def test_photo_of_which_only_the_beginning_is_left_is_called_damaged(form: str, name: str) -> None:
    with pytest.raises(UnusablePhotoError, match=f"^damaged: begins as {name}, but what follows is broken or missing$"):
        decode(SAMPLE_FILES[form][:9])
