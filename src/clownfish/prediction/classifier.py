"""A trained model, loaded: photos in, labels and probabilities out.

Only what prediction needs is imported here (numpy, Pillow), and the runtime when the file is opened, so that
classifying one photo starts fast.
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clownfish.answers.rules import AnswerRules, Status, read_rules
from clownfish.displays import draw_accuracy, make_table, write_accuracy
from clownfish.errors import ConfigError, ModelFileError, UnusablePhotoError
from clownfish.images import RESIZES, Preprocessing, decode_photo, prepare_image, read_photo_file
from clownfish.prediction.networks import PLAIN_PROPERTIES, Network, open_network, refuse_changed

if TYPE_CHECKING:
    from PIL import Image

_FORMAT = "1"
_MAX_MODEL_BYTES = 2 << 30  # ONNX files cannot be larger


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one photo."""

    label: str
    """The most probable class."""
    probability: float
    probabilities: Mapping[str, float]
    """Every class, most probable first; calibrated."""
    status: Status = "ok"
    """"ok"; "unsure" if such an answer is wrong too often; "unlike anything seen" if the photo is not like those of
    the training. The label is the best guess in any case."""
    candidates: tuple[str, ...] = ()
    """The classes that are possible, most probable first: about 90 % of photos drawn like those of the training have
    their true class among them. Void for unknown things."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What the model says about prepared pixels."""

    probabilities: NDArray[np.float32]
    """Shape (num_classes,)."""
    status: Status
    candidates: tuple[str, ...]
    """Possible classes, most probable first."""


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
        self._network: Network = open_network(path, data)
        metadata = self._network.metadata
        if metadata["clownfish.format"] != _FORMAT:
            raise ModelFileError(
                f"{path} is not a model that this clownfish can use. It was made by a newer clownfish: update yours."
            )
        self.path = path
        self.hash = hashlib.sha256(data).hexdigest()
        self._metadata = dict(metadata)
        self.max_error: float | None = None
        """The budget of errors that was asked for instead of the model's own; None for the model's own."""
        self._parse_metadata(metadata)
        if not self._network.is_sealed():
            raise refuse_changed(path)

    def read_metadata(self, name: str) -> Any | None:
        """Read a property that the model file holds as JSON, such as "confusions" or "answering".

        Args:
            name: of the property.

        Returns:
            Its content; None if the model has no such property.

        Raises:
            ModelFileError: it is no JSON.
        """
        text = self._metadata.get(name)
        if text is None:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"The metadata of {self.path} is damaged: {name} is no JSON ({error}).") from error

    def read_all_metadata(self) -> dict[str, Any]:
        """Read every property of the model file: those that are JSON as what they hold, the others as text."""
        return {
            name: text if name in PLAIN_PROPERTIES else self.read_metadata(name)
            for name, text in self._metadata.items()
        }

    def _parse_metadata(self, metadata: Mapping[str, str]) -> None:
        try:
            labels = json.loads(metadata["labels"])
            if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
                raise TypeError("the labels are no list of names")
            self.classes: tuple[str, ...] = tuple(labels)
            self.preprocessing = Preprocessing(**json.loads(metadata["preprocessing"]))
            self.backbone: dict[str, Any] = json.loads(metadata["backbone"])
            hashes = metadata["training_photos"]
            self.rules: AnswerRules | None = read_rules(self.read_metadata)
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise ModelFileError(f"The metadata of {self.path} is damaged: {error}.") from error
        self._training_photos = {hashes[start : start + 16] for start in range(0, len(hashes), 16)}
        self._check_shapes()

    def _check_shapes(self) -> None:
        """The metadata must fit the network; otherwise every answer would be wrong, or a crash."""
        size, widths = self.preprocessing.size, dict(self._network.output_widths)
        width = widths.pop("embedding", 0)
        fits = self._network.input_shape == (size, size, 3) and widths == {"probabilities": len(self.classes)}
        if self.rules is not None:
            novelty = self.rules.novelty
            fits &= self.rules.set_thresholds.shape == (len(self.classes),)
            fits &= novelty is None or novelty.class_means.shape == (len(self.classes), width - 1)
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

    def rank(self, answered: Answered) -> Prediction:
        """Name and order the classes.

        Args:
            answered: of `predict_pixels`.

        Returns:
            The answer, most probable class first.
        """
        probabilities = answered.probabilities
        order = np.argsort(-probabilities, kind="stable")
        ranked = {self.classes[number]: float(probabilities[number]) for number in order}
        label = next(iter(ranked))
        return Prediction(
            label=label,
            probability=ranked[label],
            probabilities=ranked,
            status=answered.status,
            candidates=answered.candidates,
        )

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> Answered:
        """Classify prepared pixels.

        Args:
            pixels: shape (size, size, 3), as `images.prepare_pixels` makes them.

        Returns:
            The answer.
        """
        outputs = self._network.run(pixels[None])
        probabilities = outputs["probabilities"]
        order = np.argsort(-probabilities[0], kind="stable")
        if self.rules is None:
            return Answered(probabilities=probabilities[0], status="ok", candidates=(self.classes[order[0]],))
        (status,) = self.rules.decide(probabilities, outputs.get("embedding"))
        possible = self.rules.find_candidates(probabilities)[0]
        candidates = tuple(self.classes[number] for number in order if possible[number])
        return Answered(probabilities=probabilities[0], status=status, candidates=candidates)

    def run_network(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the probabilities of many photos at once, on one core.

        Args:
            pixels: shape (num_photos, size, size, 3), as `images.prepare_pixels` makes them.

        Returns:
            Shape (num_photos, num_classes).
        """
        return self._network.run(pixels)["probabilities"]

    def change_budget(self, max_error: str | float) -> "Classifier":
        """Accept another share of wrong answers than the model was trained for.

        Args:
            max_error: such as "5%" or 0.05.

        Returns:
            A classifier of the same network with another threshold.

        Raises:
            ConfigError: it is not such a share, or the model knows nothing about its errors.
        """
        if self.rules is None:
            raise ConfigError(f"{self.path} does not know its errors, so max_error cannot be kept. Train it anew.")
        changed = copy.copy(self)
        changed.rules = self.rules.change_budget(max_error)
        changed.max_error = changed.rules.max_error
        return changed

    def was_trained_on(self, content_hash: str) -> bool:
        """Tell whether a photo was among those the model learned from.

        Args:
            content_hash: SHA-256 of the file, hexadecimal.
        """
        return content_hash[:16] in self._training_photos

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        size = self.preprocessing.size
        rows: list[list[object]] = [
            ["classes", ", ".join(self.classes[:20]) + (", ..." if len(self.classes) > 20 else "")],
            ["network", f"{self.backbone.get('name', '')}, photos of {size} x {size} pixels"],
            ["file", self.path],
        ]
        accuracy = (self.read_metadata("facts") or {}).get("cross_validated_accuracy")
        if accuracy is not None:
            rows.insert(1, ["right, cross-validated", write_accuracy(accuracy)])
            rows.insert(2, ["", draw_accuracy(accuracy)])
        return make_table(f"Classifier of {len(self.classes)} classes", [], rows)

    def __repr__(self) -> str:
        return f"Classifier({str(self.path)!r}, classes={list(self.classes)})"


def load_classifier(path: str | Path, *, max_error: str | float | None = None) -> Classifier:
    """Load a model.

    Args:
        path: a `model.onnx`, the run folder that holds one, or a file that `clownfish export` made of it.
        max_error: share of wrong answers to accept, such as "5%" or 0.05; None for what the model was trained with.

    Returns:
        The classifier.

    Raises:
        ModelFileError: there is no such file, or clownfish did not make it.
        ConfigError: the share makes no sense.
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
    classifier = Classifier(path, data)
    return classifier if max_error is None else classifier.change_budget(max_error)
