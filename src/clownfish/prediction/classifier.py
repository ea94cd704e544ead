"""A trained model, loaded: photos in, labels and probabilities out.

Only what prediction needs is imported here (numpy, Pillow, ONNX Runtime), so that classifying one
photo starts fast.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import ModelFileError, UnusablePhotoError
from clownfish.files import compute_seal
from clownfish.images import RESIZES, Preprocessing, decode_photo, prepare_image, read_photo_file

if TYPE_CHECKING:
    from PIL import Image

_FORMAT = "1"
_MAX_MODEL_BYTES = 2 << 30  # ONNX files cannot be larger
_EXTERNAL_DATA_MARK = b"\x0a\x08location\x12"
"""How a tensor that is stored in another file begins to name it (StringStringEntryProto, key "location")."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one photo."""

    label: str
    """The most probable class."""
    probability: float
    probabilities: Mapping[str, float]
    """Every class, most probable first."""


class Classifier:
    """A trained model. Safe to use from several threads."""

    def __init__(self, path: Path, data: bytes) -> None:
        """Read a model; use `load_classifier`.

        Args:
            path: where it came from, for messages.
            data: the file's content.

        Raises:
            ModelFileError: the data is no model that clownfish made.
        """
        import onnxruntime

        if _EXTERNAL_DATA_MARK in data:
            raise ModelFileError(f"The model {path} keeps weights in other files, which is refused. Use the original.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            metadata = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # ONNX Runtime's errors share no class but this
            raise ModelFileError(f"{path} is not an ONNX model, or it is damaged.") from error
        if metadata.get("clownfish.format") != _FORMAT:
            found = metadata.get("clownfish.format")
            hint = "It was made by a newer clownfish: update yours." if found else "Give the model.onnx of a run."
            raise ModelFileError(f"{path} is not a model that this clownfish can use. {hint}")
        self.path = path
        self.hash = hashlib.sha256(data).hexdigest()
        self._metadata = dict(metadata)
        self._read_metadata(metadata)
        if compute_seal(data, metadata.get("seal", ""), metadata.get("created", "")) != metadata.get("seal"):
            raise ModelFileError(f"{path} is damaged, or was changed since clownfish wrote it. Use the original.")

    def _read_metadata(self, metadata: Mapping[str, str]) -> None:
        try:
            labels = json.loads(metadata["labels"])
            if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
                raise TypeError("the labels are no list of names")
            self.classes: tuple[str, ...] = tuple(labels)
            self.preprocessing = Preprocessing(**json.loads(metadata["preprocessing"]))
            self.backbone: dict[str, Any] = json.loads(metadata["backbone"])
            hashes = metadata["training_photos"]
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise ModelFileError(f"The metadata of {self.path} is damaged: {error}.") from error
        self._training_photos = {hashes[start : start + 16] for start in range(0, len(hashes), 16)}
        self._check_shapes()

    def _check_shapes(self) -> None:
        """The metadata must fit the network; otherwise every answer would be wrong, or a crash."""
        size = self.preprocessing.size
        shapes = {node.name: node.shape[1:] for node in (*self._session.get_inputs(), *self._session.get_outputs())}
        fits = shapes == {"image": [size, size, 3], "probabilities": [len(self.classes)]}
        if not fits or len(set(self.classes)) != len(self.classes) or self.preprocessing.resize not in RESIZES:
            raise ModelFileError(
                f"The metadata of {self.path} does not fit its network: {len(self.classes)} labels, photos of {size}"
                f" pixels, resize {self.preprocessing.resize!r}. Use the original."
            )

    def predict(self, photo: "str | Path | bytes | Image.Image | NDArray[np.uint8]") -> Prediction:
        """Classify one photo.

        Args:
            photo: a path, the bytes of a file, a Pillow image, or an array of uint8 and shape
                (height, width, 3), RGB.

        Returns:
            The answer.

        Raises:
            UnusablePhotoError: the photo cannot be read or decoded.
        """
        if isinstance(photo, str | Path):
            try:
                pixels = decode_photo(read_photo_file(Path(photo)), self.preprocessing).pixels
            except UnusablePhotoError as error:
                raise UnusablePhotoError(f"{photo}: {error}") from error
        elif isinstance(photo, bytes):
            pixels = decode_photo(photo, self.preprocessing).pixels
        else:
            pixels = prepare_image(photo, self.preprocessing)
        return self.rank(self.predict_pixels(pixels))

    def rank(self, probabilities: NDArray[np.float32]) -> Prediction:
        """Name and order the classes.

        Args:
            probabilities: shape (num_classes,).

        Returns:
            The answer, most probable class first.
        """
        order = np.argsort(-probabilities, kind="stable")
        ranked = {self.classes[number]: float(probabilities[number]) for number in order}
        label = next(iter(ranked))
        return Prediction(label=label, probability=ranked[label], probabilities=ranked)

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify prepared pixels.

        Args:
            pixels: shape (size, size, 3), as `images.prepare_pixels` makes them.

        Returns:
            Shape (num_classes,), probabilities.
        """
        probabilities: NDArray[np.float32] = self._session.run(["probabilities"], {"image": pixels[None]})[0][0]
        return probabilities

    def was_trained_on(self, content_hash: str) -> bool:
        """Tell whether a photo was among those the model learned from.

        Args:
            content_hash: SHA-256 of the file, hexadecimal.
        """
        return content_hash[:16] in self._training_photos

    def read_metadata(self, name: str) -> Any | None:
        """Read a further property of the model file.

        Args:
            name: of a property that holds JSON.

        Returns:
            What the JSON says; None if the model has no such property.
        """
        return json.loads(self._metadata[name]) if name in self._metadata else None

    def __repr__(self) -> str:
        return f"Classifier({str(self.path)!r}, classes={list(self.classes)})"


def load_classifier(path: str | Path) -> Classifier:
    """Load a model.

    Args:
        path: a `model.onnx`, or the run folder that holds one.

    Returns:
        The classifier.

    Raises:
        ModelFileError: there is no such file, or clownfish did not make it.
    """
    path = Path(path)
    try:
        if path.is_dir():
            path = path / "model.onnx"
        if path.exists() and (not path.is_file() or path.stat().st_size > _MAX_MODEL_BYTES):
            raise ModelFileError(f"{path} is not a model. Give the model.onnx of a run, or its folder.")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"The model {path} cannot be read: {error.strerror or error}. Give the model.onnx of a run, or its folder."
        ) from error
    return Classifier(path, data)
