"""Numbers in the cells of a confusion matrix can be read on every shade."""

import re
from importlib.resources import files

import numpy as np
import pytest

from clownfish.report.confusion import Cell


def measure_light(colour: np.ndarray) -> float:
    """Relative luminance, as the Web Content Accessibility Guidelines define it."""
    shares = colour / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("name", ["sea-cell", "red-cell"])
def test_numbers_have_enough_contrast_on_every_shade(name: str) -> None:
    style = (files("clownfish.report") / "style.css").read_text(encoding="utf-8")
    found = re.search(rf"--{name}: (\d+) (\d+) (\d+);", style)
    assert found is not None
    full = np.array(found.groups(), float)
    for shade in np.linspace(0, 1, 1001).round(3).tolist():
        cell = Cell(count=1, share=0.5, is_right=True, shade=shade)
        light = measure_light(np.round(full * shade + 255 * (1 - shade)))
        contrast = 1.05 / (light + 0.05) if cell.is_strong else (light + 0.05) / 0.05
        assert contrast >= 4.5, shade
