"""Photos and a backbone to features: decode in helper processes, run the network in threads.

Each photo is read once: the same bytes give the content hash, the inspection and the features.
Photos go through the network one at a time, each on one core, several at once. That is as fast as
batches on a CPU, needs the least memory, and makes a photo's features the same whatever else is in
the run, so that a run can be repeated to the bit.
"""

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from clownfish.compute import Helpers, Message, WorkerFailure, run_in_threads, run_in_workers
from clownfish.errors import OutputError
from clownfish.features.cache import INSPECTED_NAMES, Entry, FeatureCache
from clownfish.features.inspection import inspect_photo
from clownfish.images import AUGMENTED_VIEWS, Preprocessing, View
from clownfish.records import Backbone, Inspection, PhotoFile

if TYPE_CHECKING:
    import onnxruntime

INSPECT_FUNCTION = "clownfish.features.inspection:inspect_photo"
"""What helper processes are asked to do."""


def make_session(onnx: bytes) -> "onnxruntime.InferenceSession":
    """Load a graph for use from several threads at once, one core each.

    Args:
        onnx: the serialised model.

    Returns:
        The session.
    """
    import onnxruntime  # here, so that helper processes can be started before it is imported

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def extract_features(
    photos: Sequence[PhotoFile],
    backbone: Backbone,
    preprocessing: Preprocessing,
    cache: FeatureCache,
    *,
    view: View = "whole",
    helpers: Helpers | None = None,
    keep: dict[str, NDArray[np.uint8]] | None = None,
    on_photo: Callable[[], None] = lambda: None,
) -> tuple[list[Inspection], NDArray[np.float32]]:
    """Inspect every photo and compute its features, taking from the cache what is there.

    Args:
        photos: what to read.
        backbone: the network.
        preprocessing: how photos become the network's input.
        cache: where features are kept between runs.
        view: what to show of each photo.
        helpers: helper processes that are there already.
        keep: is given what the network is shown, by content hash, for `extract_upside_down`; nothing of photos that
            the cache knows.
        on_photo: called once for each photo that is done.

    Returns:
        One inspection a photo, and the features of the usable ones in the same order, shape
        (num_usable, num_features).
    """
    extractor = _Extractor(backbone, preprocessing, cache, view, keep)
    inspections: list[Inspection | None] = [None] * len(photos)
    values = np.empty((len(photos), backbone.num_features), np.float32)
    positions = []
    for position, photo in enumerate(photos):
        if photo.refusal:
            inspections[position] = Inspection(content_hash="", note=photo.refusal)
            on_photo()
        else:
            positions.append(position)
    requests = [extractor.make_request(photos[position].path) for position in positions]
    outcomes = run_in_workers(requests, function=INSPECT_FUNCTION, finish=extractor.finish, helpers=helpers)
    try:
        with closing(outcomes):
            for outcome in outcomes:
                position = positions[outcome.index]
                inspections[position] = outcome.result.inspection
                if outcome.result.features is not None:
                    values[position] = outcome.result.features
                on_photo()
    finally:
        cache.flush()  # after an interruption, the next run goes on from here
    done = [inspection for inspection in inspections if inspection is not None]
    usable = np.flatnonzero([inspection.usable for inspection in done])
    return done, keep_rows(values, usable)


def extract_views(
    photos: Sequence[PhotoFile],
    features: NDArray[np.float32],
    backbone: Backbone,
    preprocessing: Preprocessing,
    cache: FeatureCache,
    *,
    helpers: Helpers | None = None,
    on_photo: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Compute the features of mirrored and cropped views, for augmentation.

    Args:
        photos: usable photos.
        features: of the whole photos, shape (num_photos, num_features); stands in for a view that fails.
        backbone: the network.
        preprocessing: how photos become the network's input.
        cache: where features are kept between runs.
        helpers: helper processes that are there already.
        on_photo: called once for each view that is done.

    Returns:
        Shape (num_photos, num_views, num_features).
    """
    views = np.repeat(features[:, None], len(AUGMENTED_VIEWS), axis=1)
    for number, view in enumerate(AUGMENTED_VIEWS):
        inspections, values = extract_features(
            photos, backbone, preprocessing, cache, view=view, helpers=helpers, on_photo=on_photo
        )
        views[np.flatnonzero([inspection.usable for inspection in inspections]), number] = values
    return views


def extract_upside_down(
    inspections: Sequence[Inspection],
    pixels: Mapping[str, NDArray[np.uint8]],
    backbone: Backbone,
    preprocessing: Preprocessing,
    cache: FeatureCache,
    *,
    on_photo: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Compute the features of photos upside down without reading them again.

    Args:
        inspections: of the photos.
        pixels: what `extract_features` kept of each.
        backbone: the network.
        preprocessing: how photos became the network's input.
        cache: where features are kept between runs.
        on_photo: called once for each photo that is done.

    Returns:
        Shape (num_photos, num_features), to the bit what `extract_features` gives for the view "upside_down".
    """
    extractor = _Extractor(backbone, preprocessing, cache, "upside_down")
    features = np.empty((len(inspections), backbone.num_features), np.float32)
    for row, inspection in enumerate(inspections):
        features[row] = extractor.turn(inspection, pixels[inspection.content_hash])
        on_photo()
    cache.flush()
    return features


def extract_from_pixels(
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    backbone: Backbone,
    *,
    on_photo: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Compute the features of photos that are decoded already, for a network that only this run has.

    Args:
        pixels: the network's input, shape (num_photos, size, size, 3); may be a file mapped to memory.
        rows: which photos.
        backbone: the network.
        on_photo: called once for each photo that is done.

    Returns:
        Shape (num_photos, num_features); zeros for the other photos.
    """
    session = make_session(backbone.onnx)
    features = np.zeros((len(pixels), backbone.num_features), np.float32)

    def run(row: int) -> NDArray[np.float32]:
        values: NDArray[np.float32] = session.run(["features"], {"image": pixels[row : row + 1]})[0][0]
        return values

    for row, values in zip(rows.tolist(), run_in_threads(run, rows.tolist()), strict=True):
        features[row] = values
        on_photo()
    return features


def write_pixels(
    photos: Sequence[PhotoFile],
    preprocessing: Preprocessing,
    path: Path,
    *,
    helpers: Helpers | None = None,
    on_photo: Callable[[], None] = lambda: None,
) -> list[int]:
    """Decode photos to the network's input, into one file.

    Args:
        photos: usable ones.
        preprocessing: how photos become the network's input.
        path: a .npy file to make, uint8, shape (num_photos, size, size, 3).
        helpers: helper processes that are there already.
        on_photo: called once for each photo that is done.

    Returns:
        Positions of photos that cannot be read any more; grey in the file.

    Raises:
        OutputError: the file cannot be written.
    """
    size = preprocessing.size
    shape = (len(photos), size, size, 3)
    request = {"size": size, "resize": preprocessing.resize}
    failed = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        needed = int(np.prod(shape, dtype=np.int64))
        if shutil.disk_usage(path.parent).free < needed:
            raise OSError(f"{needed / 1e9:.1f} GB are needed, and less is free")
        pixels = open_memmap(path, "w+", np.uint8, shape)
        outcomes = run_in_workers(
            [{"path": photo.path, **request} for photo in photos],
            function="clownfish.features.maps:decode_reply",
            finish=lambda _, answer: None if isinstance(answer, WorkerFailure) else answer.get("pixels"),
            helpers=helpers,
        )
        with closing(outcomes):
            for outcome in outcomes:
                if outcome.result is None:
                    failed.append(outcome.index)
                pixels[outcome.index] = 128 if outcome.result is None else outcome.result
                on_photo()
        pixels.flush()
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}. Choose another place.") from error
    return failed


class _Extractor:
    """What the threads share: the session (made when first needed), the cache and the cache key."""

    def __init__(
        self,
        backbone: Backbone,
        preprocessing: Preprocessing,
        cache: FeatureCache,
        view: View,
        keep: dict[str, NDArray[np.uint8]] | None = None,
    ) -> None:
        self._backbone = backbone
        self._preprocessing = preprocessing
        self._cache = cache
        self._view: View = view
        self._keep = keep
        self._key = f"{backbone.hash}/{preprocessing.make_key(view)}"
        self._lock = threading.Lock()
        self._session: onnxruntime.InferenceSession | None = None

    def make_request(self, path: str) -> Message:
        return {
            "path": path,
            "size": self._preprocessing.size,
            "resize": self._preprocessing.resize,
            "view": self._view,
            "cache": str(self._cache.path),
            "key": self._key,
        }

    def finish(self, request: Message, answer: Message | WorkerFailure) -> Entry:
        if isinstance(answer, WorkerFailure):  # not kept: the next run may have more time or memory
            return Entry(inspection=Inspection(content_hash="", note=str(answer)), features=None)
        if answer.get("known"):
            entry = self._cache.get(answer["hash"], self._key)
            if entry is not None:
                return entry
            answer = inspect_photo({**request, "cache": ""})  # gone since, or its checksum was wrong
        entry = self._make_entry(answer)
        if entry.inspection.usable:  # what fails today may work with a further extra, or a newer Pillow
            self._cache.put(self._key, entry)
            self._cache.put_picture(answer["hash"], answer["picture"])
        return entry

    def turn(self, inspection: Inspection, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        features = self._run_backbone(np.ascontiguousarray(pixels[::-1]))
        self._cache.put(self._key, Entry(inspection=inspection, features=features))
        return features

    def _make_entry(self, answer: Message) -> Entry:
        if "pixels" not in answer:
            return Entry(inspection=Inspection(content_hash=answer["hash"], note=answer["note"]), features=None)
        if self._keep is not None:
            self._keep[answer["hash"]] = answer["pixels"]
        facts = {name: answer[name] for name in INSPECTED_NAMES if name in answer}
        thumbnail, colours = answer["thumbnail"], answer["colours"]
        inspection = Inspection(content_hash=answer["hash"], usable=True, thumbnail=thumbnail, colours=colours, **facts)
        return Entry(inspection=inspection, features=self._run_backbone(answer["pixels"]))

    def _run_backbone(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self._lock:
            if self._session is None:
                self._session = make_session(self._backbone.onnx)
        values: NDArray[np.float32] = self._session.run(["features"], {"image": pixels[None]})[0][0]
        return values


def keep_rows(values: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Move rows to the front of a matrix, instead of copying them into a second one.

    Args:
        values: shape (num_rows, num_features); changed in place.
        rows: ascending positions of the rows to keep.

    Returns:
        The front part of `values`, shape (len(rows), num_features).
    """
    for target, source in enumerate(rows.tolist()):
        if source != target:
            values[target] = values[source]
    return values[: len(rows)]
