from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clownfish.compute import Message, Outcome, WorkerFailure
from clownfish.photos.scan import scan_photos
from clownfish.pipeline.run import Run
from clownfish.prediction import batch
from clownfish.prediction.batch import decode_request, predict_photos
from clownfish.records import PhotoFile


@pytest.mark.parametrize("workers", ["0", "1", "3"])
def test_answers_come_in_order_and_are_those_of_single_photos(
    digits_run: Run, messy_photos: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", workers)
    classifier = digits_run.classifier
    photos = list(scan_photos(messy_photos))
    answers = list(predict_photos(classifier, iter(photos)))
    assert [answer.photo for answer in answers] == photos
    for answer in answers:
        if answer.probabilities is None:
            assert answer.note
        else:
            assert answer.probabilities.sum() == pytest.approx(1, abs=1e-5)
            best = classifier.classes[int(np.argmax(answer.probabilities))]
            assert best == classifier.predict(answer.photo.path).label
    assert sum(answer.probabilities is None for answer in answers) == 3


def test_photos_are_taken_as_they_are_needed(digits_run: Run, insects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")
    taken = []

    def list_photos() -> object:
        for photo in scan_photos(insects):
            taken.append(photo.file)
            yield photo

    answers = predict_photos(digits_run.classifier, list_photos())  # type: ignore[arg-type]
    next(answers)
    assert len(taken) < 5
    answers.close()  # type: ignore[attr-defined]


def test_refused_photo_is_not_opened(digits_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")
    photo = PhotoFile(file="a.png", path="/dev/zero", label="", refusal="a link that leads nowhere")
    (answer,) = predict_photos(digits_run.classifier, [photo])
    assert (answer.note, answer.probabilities, answer.content_hash) == ("a link that leads nowhere", None, "")
    request = {"path": "/dev/zero", "refusal": "a link that leads nowhere", "size": 8, "resize": "stretch"}
    assert decode_request(request) == {"hash": "", "note": "a link that leads nowhere"}


def test_no_photos_give_no_answers(digits_run: Run) -> None:
    assert list(predict_photos(digits_run.classifier, [])) == []


def test_photo_that_its_helper_did_not_survive_is_unusable(
    digits_run: Run, insects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(items: Iterable[Message], *, function: str, finish: Any) -> Iterator[Outcome[Any]]:
        for index, item in reversed(list(enumerate(items))):
            yield Outcome(index, finish(item, WorkerFailure(f"the decoder crashed on it ({function})")))

    monkeypatch.setattr(batch, "run_in_workers", crash)
    photos = list(scan_photos(insects))
    answers = list(predict_photos(digits_run.classifier, photos))
    assert [answer.photo for answer in answers] == photos
    for answer in answers:
        assert answer.note == "the decoder crashed on it (clownfish.prediction.batch:decode_request)"
        assert (answer.probabilities, answer.content_hash) == (None, "")
