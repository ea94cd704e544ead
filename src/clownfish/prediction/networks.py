"""What a classifier needs of a model file, whatever its format: facts, shapes, and numbers for pixels.

Each format has its own module, which is imported when such a file is opened.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import ModelFileError

PLAIN_PROPERTIES = ("clownfish.format", "clownfish.version", "created", "seal", "training_photos")
"""Properties of a model file that are text; all others are JSON."""
_TFLITE_MARK = b"TFL3"
"""At the fifth byte of every TensorFlow Lite file."""


class Network(Protocol):
    """An opened model file. Safe to use from several threads."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says about itself, by name; most of it as JSON."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one picture."""
        ...

    @property
    def output_widths(self) -> Mapping[str, int]:
        """Length of the vector for one picture, by the name of the output."""
        ...

    def run(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Compute every output.

        Args:
            pixels: shape (num_photos, size, size, 3).

        Returns:
            Shape (num_photos, width), by the name of the output.
        """
        ...

    def is_sealed(self) -> bool:
        """Tell whether the file is as clownfish wrote it."""
        ...


def open_network(path: Path, data: bytes) -> Network:
    """Open a model file by what it holds, not by its name.

    Args:
        path: where it came from, for messages.
        data: the file's content.

    Returns:
        The network.

    Raises:
        ModelFileError: the file is no model, or clownfish did not make it.
        MissingExtraError: the format needs an extra.
    """
    if data[4:8] == _TFLITE_MARK:
        from clownfish.prediction.tflite_network import TfliteNetwork

        return TfliteNetwork(path, data)
    from clownfish.prediction.onnx_network import OnnxNetwork

    return OnnxNetwork(path, data)


def refuse_foreign(path: Path) -> ModelFileError:
    """Say what is unknown about a model that clownfish did not make.

    Args:
        path: of the model.

    Returns:
        The error to raise.
    """
    return ModelFileError(
        f"{path} is not a model that this clownfish can use: it does not say what its classes are, how a photo"
        " becomes its input and how certain an answer has to be, as the files of clownfish do. Give the model.onnx of"
        " a run, or what clownfish export made of it."
    )


def refuse_changed(path: Path) -> ModelFileError:
    """Say that a file is not as clownfish wrote it.

    Args:
        path: of the model.

    Returns:
        The error to raise.
    """
    return ModelFileError(f"{path} is damaged, or was changed since clownfish wrote it. Use the original.")
