import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from clownfish.images import DecodedPhoto, Preprocessing, decode_photo
from pictures import draw_pattern, draw_photo, encode

PHOTO = draw_photo(60, 40)
MAKE, MODEL, DATE, DETAILS = 0x010F, 0x0110, 0x0132, 0x8769
ORIGINAL, FRACTION, SERIAL = 0x9003, 0x9291, 0xA431


def decode(data: bytes) -> DecodedPhoto:
    return decode_photo(data, Preprocessing(size=32))


def decode_with_exif(values: dict[int, Any], details: dict[int, Any] | None = None, kind: str = "JPEG") -> DecodedPhoto:
    exif = Image.Exif()
    exif.update(values)
    if details:
        exif.get_ifd(DETAILS).update(details)
    return decode(encode(PHOTO, kind, exif=exif.tobytes()))


# --- what the file says --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_camera_and_time_are_read(kind: str) -> None:
    photo = decode_with_exif(
        {MAKE: "Canon", MODEL: "EOS  R5\0", DATE: "2024:07:01 00:00:00"},
        {ORIGINAL: "2024:05:01 10:20:30", FRACTION: "25", SERIAL: "0123"},
        kind,
    )
    assert photo.facts.camera == "Canon EOS R5 0123"
    assert photo.facts.taken == "2024-05-01T10:20:30.250"
    assert (photo.facts.format, photo.facts.mode, photo.facts.orientation) == (kind, "RGB", 1)


@pytest.mark.parametrize(
    ("date", "original", "expected"),
    [
        ("2024:07:01 11:12:13", None, "2024-07-01T11:12:13"),
        ("2024:07:01 11:12:13", "0000:00:00 00:00:00", "2024-07-01T11:12:13"),
        ("yesterday", "2024:02:30 10:00:00", ""),
        ("    :  :     :  :  ", None, ""),
    ],
)
def test_time_of_the_file_stands_in_and_nonsense_is_no_time(date: str, original: str | None, expected: str) -> None:
    photo = decode_with_exif({DATE: date}, {ORIGINAL: original} if original else None)
    assert photo.facts.taken == expected


def test_photo_without_exif_tells_neither() -> None:
    data = encode(PHOTO)
    photo = decode(data)
    assert (photo.facts.camera, photo.facts.taken, photo.facts.orientation) == ("", "", 1)
    assert photo.num_bytes == len(data)


def test_orientation_is_what_the_file_says_although_the_pixels_are_turned() -> None:
    photo = decode_with_exif({0x0112: 6})
    assert photo.facts.orientation == 6 and (photo.width, photo.height) == (40, 60)
    assert decode_with_exif({0x0112: 99}).facts.orientation == 1


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("L", "JPEG"), ("P", "PNG"), ("1", "TIFF")])
def test_colours_are_named_as_they_are_stored(mode: str, kind: str) -> None:
    photo = decode(encode(Image.fromarray(PHOTO).convert(mode), kind))
    assert (photo.facts.mode, photo.facts.format) == (mode, kind)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # helper processes ignore warnings
def test_damaged_exif_is_none() -> None:
    photo = decode(encode(PHOTO, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40))
    assert (photo.facts.camera, photo.facts.taken, photo.facts.orientation) == ("", "", 1)


# --- how it looks --------------------------------------------------------------------------------


def test_small_copies_show_the_whole_photo() -> None:
    pixels = np.zeros((400, 800, 3), np.uint8)
    pixels[:, 400:] = (200, 100, 50)
    looks = decode(encode(pixels)).looks
    assert looks.thumbnail.shape == (32, 32) and looks.picture.shape == (64, 64) and looks.colours.shape == (16, 16, 3)
    assert looks.colours[:, :8].max() == 0 and (looks.colours[:, 8:] == (200, 100, 50)).all()
    assert looks.picture[:, :32].max() == 0 and looks.thumbnail[:, 16:].min() == looks.picture.max() > 100


def test_brightness_and_contrast_are_those_of_the_grey_levels() -> None:
    pixels = np.full((64, 64, 3), 40, np.uint8)
    pixels[:32] = 240
    looks = decode(encode(pixels)).looks
    assert looks.brightness == pytest.approx(140) and looks.contrast == pytest.approx(100)


def test_blurred_photo_is_less_sharp_at_any_size() -> None:
    sharp = Image.fromarray(draw_pattern(640, 480))
    blurred = sharp.filter(ImageFilter.GaussianBlur(8))
    large = decode(encode(sharp)).looks.sharpness
    assert decode(encode(blurred)).looks.sharpness < large / 4
    half = sharp.resize((320, 240), Image.Resampling.BOX)
    assert decode(encode(half)).looks.sharpness == pytest.approx(large, rel=0.3)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (3000, 1)])
def test_photo_of_any_shape_can_be_measured(size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", size, (9, 9, 9)).save(buffer, "PNG")
    looks = decode(buffer.getvalue()).looks
    assert looks.sharpness == 0 and looks.brightness == pytest.approx(9) and looks.picture.shape == (64, 64)
