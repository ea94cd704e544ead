import io

import numpy as np
from PIL import Image

from clownfish.report.heat import draw_heat


def open_picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


def test_what_speaks_for_is_orange_and_what_speaks_against_is_blue() -> None:
    values = np.array([[1.0, 0.0], [0.0, -1.0]])
    picture = open_picture(draw_heat(np.full((32, 32, 3), 128, np.uint8), values, (200, 100)))
    assert picture.shape == (80, 160, 3)
    upper_left, lower_right = picture[5, 5], picture[-5, -5]
    assert upper_left[0] > upper_left[2] + 60
    assert lower_right[2] > lower_right[0] + 60


def test_map_of_nothing_is_the_grey_photo() -> None:
    picture = open_picture(draw_heat(np.full((32, 32, 3), 128, np.uint8), np.zeros((2, 2))))
    assert picture.shape == (160, 160, 3)
    assert np.abs(picture - 160).max() <= 2
