"""All answers as one JSON document: what the table holds, and the times of exposure."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from clownfish.prediction.answer_lines import PhotoAnswer
from clownfish.prediction.classifier import Classifier

SCHEMA = 1


def write_json(classifier: Classifier, answers: Iterable[PhotoAnswer]) -> Iterator[str]:
    """Write the document piece by piece, a line a photo.

    Args:
        classifier: the model.
        answers: of all photos.

    Yields:
        Text.
    """
    facts = {
        "schema": SCHEMA,
        "model": {"file": classifier.path.name, "sha256": classifier.hash},
        "max_error": None if classifier.rules is None else classifier.rules.max_error,
        "classes": classifier.classes,
    }
    yield json.dumps(facts, ensure_ascii=False)[:-1] + ', "photos": ['
    for number, answer in enumerate(answers):
        yield (",\n" if number else "\n") + json.dumps(_describe(answer, classifier.classes), ensure_ascii=False)
    yield "\n]}\n"


def _describe(answer: PhotoAnswer, classes: tuple[str, ...]) -> dict[str, Any]:
    facts: dict[str, Any] = {"file": answer.file, "status": answer.status or "unusable"}
    if answer.status is None:
        return {**facts, "reason": answer.note}
    first, probability = answer.ranked[0]
    return {
        **facts,
        "label": classes[first],
        "probability": probability,
        "candidates": answer.candidates,
        "probabilities": {classes[number]: value for number, value in answer.ranked},
        "taken": answer.taken or None,
    }
