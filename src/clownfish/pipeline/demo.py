"""`clownfish demo`: the main job on pictures that the install already holds.

scikit-learn carries 1,797 handwritten digits of 8 x 8 pixels (Alpaydin & Kaynak 1998, UCI), real data
collected from 13 people. They are written out as ordinary pictures, one folder a digit.
"""

from pathlib import Path

import numpy as np

from clownfish.errors import OutputError

NUM_PER_CLASS = 60
_SIDE = 128


def write_demo_photos(folder: Path, *, num_per_class: int = NUM_PER_CLASS) -> int:
    """Write handwritten digits as PNG files, one folder a digit.

    Args:
        folder: where; made if absent. Files of an earlier demo are written again.
        num_per_class: pictures of each digit, at most 174.

    Returns:
        The number of pictures.

    Raises:
        OutputError: the folder cannot be written.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    pictures, labels = load_digits(return_X_y=True)
    num_written = 0
    for digit in range(10):
        own = folder / f"digit_{digit}"
        try:
            own.mkdir(parents=True, exist_ok=True)
            for number, row in enumerate(np.flatnonzero(labels == digit)[:num_per_class]):
                grey = (255 - pictures[row].reshape(8, 8) * (255 / 16)).round().astype(np.uint8)
                picture = Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
                picture.save(own / f"{number:03}.png")
                num_written += 1
        except OSError as error:
            raise OutputError(f"Cannot write {own}: {error.strerror or error}. Choose another place.") from error
    return num_written
