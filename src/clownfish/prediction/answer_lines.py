"""Answers as lines of JSON: what field formats are made of once all photos are done.

Such formats are one document, which cannot be written photo by photo, so that an interruption could be continued. Lines
can, and nothing is lost or rounded on the way from them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from clownfish.answers.rules import Status
from clownfish.files import encode_text
from clownfish.prediction.batch import Answer
from clownfish.prediction.classifier import Answered
from clownfish.prediction.table import make_row
from clownfish.records import PhotoFile

ENDING = "-answers"
_BLANK = frozenset({"blank", "empty"})
_HUMAN = frozenset({"human", "person", "people", "homo sapiens"})
_VEHICLE = frozenset({"vehicle"})


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoAnswer:
    """The answer for one photo, as formats need it."""

    file: str
    """Path relative to the photo folder."""
    columns: Mapping[str, str]
    """Further columns of the user's CSV."""
    taken: str
    """Local time of exposure as ISO 8601; "" if unknown."""
    format: str
    """Pillow's name of the file's format; "" for an unusable photo."""
    status: Status | None
    """None for an unusable photo."""
    note: str
    """Why it is unusable."""
    ranked: Sequence[tuple[int, float]]
    """Number of the class and its probability, most probable first; empty for an unusable photo."""
    candidates: Sequence[str]
    """Possible classes, most probable first."""


class AnswerLayout:
    """Lines of JSON, a photo each; see `table.Layout`."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self.header = _format_line({"classes": list(classes)})

    def format_answer(self, answer: Answer) -> bytes:
        """Write one answer as one line."""
        photo, answered = answer.photo, answer.answered
        facts: dict[str, Any] = {"file": photo.file, "columns": dict(photo.columns)}
        seen = answer.inspection
        facts |= {"taken": seen.taken if seen else "", "format": seen.format if seen else "", "note": answer.note}
        if answered is not None:
            facts |= {"status": answered.status, "candidates": answered.candidates}
            facts["probabilities"] = [float(f"{value:.6g}") for value in answered.probabilities.tolist()]
        return _format_line(facts)

    def name_photo(self, photo: PhotoFile) -> str:
        """Tell how `read` will call a photo."""
        return photo.file

    def read(self, file: TextIO) -> Iterator[tuple[str, Sequence[str]]]:
        """Read what each line calls its photo, and the cells of its row."""
        next(file)
        for line in file:
            facts = json.loads(line)
            answered = None
            if "probabilities" in facts:
                answered = Answered(
                    probabilities=np.array(facts["probabilities"], np.float32),
                    status=facts["status"],
                    candidates=tuple(facts["candidates"]),
                )
            photo = PhotoFile(file=facts["file"], path="", label="")
            answer = Answer(photo=photo, content_hash="", answered=answered, note=facts["note"])
            yield facts["file"], make_row(answer, self._classes)


def read_answers(partial: Path) -> Iterator[PhotoAnswer]:
    """Read the answers one by one.

    Args:
        partial: a whole file of `AnswerLayout`.

    Yields:
        One answer a photo.
    """
    with partial.open(encoding="utf-8", newline="") as file:
        next(file)
        for line in file:
            facts = json.loads(line)
            values = facts.get("probabilities", [])
            order = sorted(range(len(values)), key=lambda number: -values[number])
            yield PhotoAnswer(
                file=facts["file"],
                columns=facts["columns"],
                taken=facts["taken"],
                format=facts["format"],
                status=facts.get("status"),
                note=facts["note"],
                ranked=[(number, values[number]) for number in order],
                candidates=facts.get("candidates", ()),
            )


def classify_name(label: str) -> str:
    """Tell what kind of thing a class is, from a few names that camera trappers use.

    Args:
        label: name of the class.

    Returns:
        "blank", "human", "vehicle", or "animal" for all others.
    """
    name = label.replace("_", " ").strip().casefold()
    if name in _BLANK:
        return "blank"
    if name in _HUMAN:
        return "human"
    return "vehicle" if name in _VEHICLE else "animal"


def _format_line(facts: Mapping[str, Any]) -> bytes:
    return encode_text(json.dumps(facts, ensure_ascii=False) + "\n")
