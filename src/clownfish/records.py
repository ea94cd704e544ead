"""Frozen records that pass between the stages; data only, no decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Part = Literal["train", "validation", "test", ""]
"""Where a photo is used; "" for a photo that is not used at all."""

UNKNOWN_LABEL = "_unknown"
"""Folder or label of other things: never a class, used to check what is unlike the classes."""

_CHUNK_ROWS = 4096

PARTS: tuple[Part, Part, Part] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoFile:
    """One photo as it was found, before anybody looked inside."""

    file: str
    """Path relative to the photo folder, with forward slashes on every system."""
    path: str
    """Where to read it."""
    label: str
    """Class name; "" where a CSV row has none."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Further columns of the user's CSV, as text."""
    refusal: str = ""
    """Why the file must not be opened (a link out of the folder, a missing file); "" for most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What one full decode of a photo told."""

    content_hash: str
    """SHA-256 of the file's bytes, hexadecimal; "" where the file could not be read at all."""
    pixel_hash: str = ""
    """SHA-256 of the decoded pixels, hexadecimal."""
    width: int = 0
    """Pixels, after EXIF rotation."""
    height: int = 0
    """Pixels, after EXIF rotation."""
    usable: bool = False
    note: str = ""
    """Why the photo is unusable, or what had to be converted; "" for an ordinary photo."""
    thumbnail: NDArray[np.uint8] | None = None
    """Grey levels of shape (32, 32), the whole photo squeezed to a square; None if unusable."""
    colours: NDArray[np.uint8] | None = None
    """RGB of shape (16, 16, 3), likewise."""
    format: str = ""
    """Pillow's name of the file's format, such as JPEG."""
    num_bytes: int = 0
    """Size of the file."""
    mode: str = ""
    """Pillow's name of the colours as stored, such as RGB, L, CMYK or I;16."""
    camera: str = ""
    """Make, model and serial number from EXIF, joined by spaces; "" where the photo does not tell."""
    taken: str = ""
    """Local time of exposure as ISO 8601, with milliseconds where known; "" where the photo does not tell."""
    orientation: int = 1
    """EXIF's number for how to turn the photo, 1 to 8; 1 for upright."""
    sharpness: float = 0.0
    """Variance of the Laplacian of the grey levels at a longest side of 128 pixels."""
    brightness: float = 0.0
    """Mean grey level, 0 to 255."""
    contrast: float = 0.0
    """Standard deviation of the grey levels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """A pre-trained network without its last layer, ready to run."""

    name: str
    input_size: int
    """Side of the square input, pixels."""
    parts: tuple[int, ...]
    """How many features each part of the vector has: the last layer, then mean and deviation of every stage."""
    num_parameters: int
    """Weights and biases in the graph, batch normalisation folded in."""
    feature_set: str
    """Which parts of the network the feature vector is made of."""
    onnx: bytes
    """Graph: "image" uint8 (batch, size, size, 3) to "features" float32 (batch, num_features)."""
    hash: str
    """SHA-256 of `onnx`, hexadecimal; part of every cache key."""
    licence: str
    """Of the pre-trained weights."""
    weights_hash: str
    """SHA-256 of the file of pre-trained weights, hexadecimal."""

    @property
    def num_features(self) -> int:
        """Length of the feature vector."""
        return sum(self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoMap:
    """Where in a photo a score comes from."""

    pixels: NDArray[np.uint8]
    """What the network saw, shape (size, size, 3)."""
    values: NDArray[np.float64]
    """What each place adds to the score, shape (num_rows, num_columns); its mean is `placed`."""
    placed: float
    """The part of the score that comes from places."""
    unplaced: float
    """The part that belongs to no place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A linear layer on top of the features; what training makes."""

    weights: NDArray[np.float32]
    """Shape (num_features, num_classes); applies to raw features, the scaling is folded in."""
    bias: NDArray[np.float32]
    """Shape (num_classes,)."""

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Apply the layer and the softmax.

        Args:
            features: shape (num_photos, num_features).

        Returns:
            Shape (num_photos, num_classes); rows sum to 1.
        """
        logits = (features @ self.weights + self.bias).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        return logits

    def predict_rows(self, features: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Like `predict_probabilities` for some rows of a large matrix, without copying them all at once.

        Args:
            features: shape (num_photos, num_features).
            rows: which ones.

        Returns:
            Shape (len(rows), num_classes).
        """
        probabilities = np.empty((len(rows), len(self.bias)))
        for start in range(0, len(rows), _CHUNK_ROWS):
            chunk = rows[start : start + _CHUNK_ROWS]
            probabilities[start : start + len(chunk)] = self.predict_probabilities(features[chunk])
        return probabilities


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding:
    """From features to a small space that shows how like the training photos a photo is."""

    mean: NDArray[np.float32]
    """Shape (num_features,)."""
    inverse_deviation: NDArray[np.float32]
    """Shape (num_features,); 0 for a feature that does not vary."""
    axes: NDArray[np.float32]
    """Shape (num_features, num_axes), orthonormal columns."""
    whitening: NDArray[np.float32]
    """Shape (num_axes, num_axes); applied after the length is made 1."""

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute what the model's output "embedding" is.

        Args:
            features: shape (num_photos, num_features).

        Returns:
            Shape (num_photos, num_axes + 1); the last column is the length of the standardised features.
        """
        result = np.empty((len(features), self.axes.shape[1] + 1), np.float32)
        for start in range(0, len(features), _CHUNK_ROWS):
            standardised = (features[start : start + _CHUNK_ROWS] - self.mean) * self.inverse_deviation
            points = standardised @ self.axes
            points /= np.linalg.norm(points, axis=1, keepdims=True) + np.float32(1e-6)
            rows = slice(start, start + len(points))
            result[rows, :-1] = points @ self.whitening
            result[rows, -1] = np.linalg.norm(standardised, axis=1)
        return result


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo:
    """One photo after inspection and grouping: a row of photos.csv without its part."""

    file: str
    path: str
    label: str
    columns: Mapping[str, str]
    content_hash: str
    """SHA-256 of the file, hexadecimal; "" if it could not be read."""
    group: str
    """Name of the group; "" for an unusable photo."""
    group_reason: str = ""
    """Why it is in its group, such as "same bytes as cat/1.jpg"; "" for a photo that is alone in its group."""
    name_mark: str = ""
    """Marks of copying or altering in the file's name, such as "vertical-flip"; "" for an ordinary name."""
    width: int
    """Pixels, after EXIF rotation; 0 for an unusable photo."""
    height: int
    status: Literal["used", "unusable", "left out"]
    note: str


LinkKind = Literal["bytes", "pixels", "looks", "part", "scene", "name", "moment", "user"]
"""Why two photos belong together, the strongest reason first: the same file, the same pixels, the same picture, one is
cut out of the other, the same scene, a name marked as a copy's, one camera within a minute, the user's word."""

LINK_KINDS: tuple[LinkKind, ...] = get_args(LinkKind)
COPY_KINDS: frozenset[LinkKind] = frozenset({"bytes", "pixels", "looks", "part"})
"""Reasons that make one photo a copy of another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """Two photos that belong together, and why."""

    first: int
    """Position of the photo; of a part, what is cut out; of a moment, the earlier one; of a name, the original."""
    second: int
    kind: LinkKind
    relation: str = ""
    """How the second differs: "mirrored", "flipped upside down", "turned by 180 degrees", "3 s", "site=A"; "" for
    nothing known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """All photos that were found, and which of them are used."""

    photos: tuple[Photo, ...]
    classes: tuple[str, ...]
    """Names of the classes in use, sorted; a label's position is its number everywhere."""
    used: NDArray[np.int64]
    """Positions in `photos`, shape (num_used,)."""
    feature_rows: NDArray[np.int64]
    """Row of each used photo in the feature matrix of the usable ones, shape (num_used,)."""
    labels: NDArray[np.int64]
    """Class number of each used photo, shape (num_used,)."""
    unknown: NDArray[np.int64]
    """Positions in `photos` of usable photos of other things, shape (num_unknown,)."""
    unknown_rows: NDArray[np.int64]
    """Their rows in the feature matrix of the usable ones, shape (num_unknown,)."""
    num_label_conflicts: int
    """Pairs of copies of one picture that carry different labels."""
    notes: tuple[str, ...]
    """What the user should know: conflicts, copies, classes left out."""
    inspections: tuple[Inspection, ...] = ()
    """What decoding told, one a photo of `photos`; see `used_inspections`."""
    links: tuple[Link, ...] = ()
    """Pairs of positions in `photos` that belong together, among them every pair of copies that was found."""
    reason_counts: Mapping[LinkKind, int] = field(default_factory=dict)
    """By reason, how many photos it joins to a group; a photo with several reasons counts for the strongest."""

    @property
    def used_inspections(self) -> list[Inspection]:
        """What decoding told of each used photo."""
        return [self.inspections[position] for position in self.used]

    @property
    def groups(self) -> list[str]:
        """Group of each used photo."""
        return [self.photos[position].group for position in self.used]

    @property
    def label_names(self) -> list[str]:
        """Class name of each used photo."""
        return [self.photos[position].label for position in self.used]


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRow:
    """One pass of the training photos through the algorithm: a row of history.csv."""

    epoch: int
    """Counted from 1."""
    train_loss: float
    validation_loss: float | None
    """None without validation photos."""
    train_accuracy: float
    validation_accuracy: float | None
    """None without validation photos."""
    seconds: float
