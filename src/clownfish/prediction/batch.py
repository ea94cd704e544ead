"""Classify many photos: decode in helper processes, run the model in threads, answer in order."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clownfish.answers.rules import Status
from clownfish.compute import WorkerFailure, run_in_workers
from clownfish.compute.worker import Message
from clownfish.images import Preprocessing, decode_file
from clownfish.prediction.classifier import Answered, Classifier
from clownfish.records import Inspection, PhotoFile

_INSPECTED_NAMES = {field.name for field in fields(Inspection)} - {"content_hash", "usable", "colours"}
"""What is kept of a decode; colours are for audits only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the model says about one photo."""

    photo: PhotoFile
    content_hash: str
    """SHA-256 of the file, hexadecimal; "" if it could not be read."""
    answered: Answered | None
    """None for an unusable photo."""
    note: str
    """Why the photo is unusable, or what had to be converted."""
    inspection: Inspection | None = None
    """What decoding told beside the pixels, without colours; None for an unusable photo."""
    picture: NDArray[np.uint8] | None = None
    """The photo in small and grey, shape (64, 64); None for an unusable photo."""

    @property
    def probabilities(self) -> NDArray[np.float32] | None:
        """Shape (num_classes,); None for an unusable photo."""
        return None if self.answered is None else self.answered.probabilities

    @property
    def status(self) -> Status | None:
        """What to do with the answer; None for an unusable photo."""
        return None if self.answered is None else self.answered.status


def predict_photos(classifier: Classifier, photos: Iterable[PhotoFile]) -> Iterator[Answer]:
    """Classify photos one after another, in constant memory.

    Args:
        classifier: the model.
        photos: taken as they are needed.

    Yields:
        One answer a photo, in the order of the photos.
    """
    waiting: dict[int, Answer] = {}
    next_index = 0
    with closing(_answer_in_any_order(classifier, photos)) as answers:
        for index, answer in answers:
            waiting[index] = answer
            while next_index in waiting:
                yield waiting.pop(next_index)
                next_index += 1


def _answer_in_any_order(classifier: Classifier, photos: Iterable[PhotoFile]) -> Generator[tuple[int, Answer]]:
    pending: dict[int, PhotoFile] = {}

    def make_requests() -> Iterator[Message]:
        for index, photo in enumerate(photos):
            pending[index] = photo
            preprocessing = classifier.preprocessing
            yield {
                "index": index,
                "path": photo.path,
                "refusal": photo.refusal,
                "size": preprocessing.size,
                "resize": preprocessing.resize,
            }

    def finish(request: Message, answer: Message | WorkerFailure) -> Answer:
        photo = pending.pop(request["index"])
        if isinstance(answer, WorkerFailure):
            return Answer(photo=photo, content_hash="", answered=None, note=str(answer))
        pixels = answer.get("pixels")
        if pixels is None:
            return Answer(photo=photo, content_hash=answer["hash"], answered=None, note=answer["note"])
        kept = {name: value for name, value in answer.items() if name in _INSPECTED_NAMES}
        return Answer(
            photo=photo,
            content_hash=answer["hash"],
            answered=classifier.predict_pixels(pixels),
            note=answer["note"],
            inspection=Inspection(content_hash=answer["hash"], usable=True, **kept),
            picture=answer["picture"],
        )

    function = "clownfish.prediction.batch:decode_request"
    with closing(run_in_workers(make_requests(), function=function, finish=finish)) as outcomes:
        for outcome in outcomes:
            yield outcome.index, outcome.result


def decode_request(request: Message) -> Message:
    """Read and decode one photo; runs in a helper process.

    Args:
        request: "path", "refusal" (why not to open it, or ""), "size" and "resize".

    Returns:
        See `images.decode_file`.
    """
    if request["refusal"]:
        return {"hash": "", "note": request["refusal"]}
    preprocessing = Preprocessing(size=request["size"], resize=request["resize"])
    return decode_file(Path(request["path"]), preprocessing)
