"""Pictures that are no photos of animals at all: blank, noise, text, digits, a temple, a flower."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits, load_sample_image

_COLOURS = ((0, 0, 0), (255, 255, 255), (128, 128, 128), (30, 60, 160), (200, 30, 30), (240, 240, 225), (20, 120, 40))


def draw_far_pictures(seed: int = 0) -> list[NDArray[np.uint8]]:
    """The same pictures each time, uint8 RGB of shape (height, width, 3)."""
    random = np.random.default_rng(seed)
    pictures = [np.full((300, 400, 3), colour, np.uint8) for colour in _COLOURS]
    for size in (1, 2, 4, 8, 16, 32, 64):
        noise = random.integers(0, 256, (256 // size + 1, 256 // size + 1, 3), dtype=np.uint8)
        pictures.append(np.kron(noise, np.ones((size, size, 1), np.uint8))[:256, :256])
    pictures += [_draw_text(random) for _ in range(10)]
    for name in ("china.jpg", "flower.jpg"):
        picture = load_sample_image(name)
        height, width = (side // 2 for side in picture.shape[:2])
        for _ in range(5):
            top, left = random.integers(0, height), random.integers(0, width)
            pictures.append(np.ascontiguousarray(picture[top : top + height, left : left + width]))
    digits = (load_digits().images[:30] * 15.9).astype(np.uint8)
    pictures += [np.asarray(Image.fromarray(digit).resize((224, 224)).convert("RGB")) for digit in digits]
    return pictures


def _draw_text(random: np.random.Generator) -> NDArray[np.uint8]:
    page = Image.new("RGB", (400, 300), (250, 250, 245))
    draw = ImageDraw.Draw(page)
    for top in range(8, 300, 14):
        letters = random.integers(97, 123, (9, 6))
        draw.text((8, top), " ".join("".join(map(chr, word)) for word in letters), fill=(0, 0, 0))
    return np.asarray(page)
