"""The file that Timelapse reads as "image recognition": MegaDetector's format of results.

Source:
    MegaDetector output format, https://lila.science/megadetector-output-format.
"""

import json
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

from clownfish.prediction.answer_lines import PhotoAnswer, classify_name
from clownfish.prediction.classifier import Classifier

_FORMAT_VERSION = "1.5"
_CATEGORIES = {"animal": "1", "human": "2", "vehicle": "3", "unsure": "4", "unlike anything seen": "5"}
_NAMES = {"1": "animal", "2": "person", "3": "vehicle", "4": "unsure", "5": "unlike anything seen"}
_WHOLE_PHOTO = [0.0, 0.0, 1.0, 1.0]
_MAX_CLASSES = 5
_MIN_PROBABILITY = 0.01


def write_timelapse(classifier: Classifier, answers: Iterable[PhotoAnswer]) -> Iterator[str]:
    """Write the document piece by piece, a line a photo.

    Nothing was looked for in the photo, so there is one box, the whole photo, with a confidence of 1: a lower one would
    make Timelapse take an unsure animal for an empty photo. How certain the answer is stands with the classes.
    "unsure" and "unlike anything seen" are categories of their own, which can be selected like "animal"; for the latter
    no class is named.

    Args:
        classifier: the model.
        answers: of all photos.

    Yields:
        Text.
    """
    info: dict[str, Any] = {
        "format_version": _FORMAT_VERSION,
        "detector": "none, the whole photo",
        "classifier": f"clownfish {version('clownfish')}, model {classifier.hash[:8]}",
    }
    threshold = float("inf") if classifier.rules is None else classifier.rules.threshold
    if threshold <= 1:
        info["classifier_metadata"] = {"typical_classification_threshold": round(threshold, 4)}
    facts = {
        "info": info,
        "detection_categories": _NAMES,
        "classification_categories": {str(number): label for number, label in enumerate(classifier.classes)},
    }
    yield json.dumps(facts, ensure_ascii=False)[:-1] + ', "images": ['
    for number, answer in enumerate(answers):
        yield (",\n" if number else "\n") + json.dumps(_describe(answer, classifier.classes), ensure_ascii=False)
    yield "\n]}\n"


def _describe(answer: PhotoAnswer, classes: tuple[str, ...]) -> dict[str, Any]:
    if answer.status is None:
        return {"file": answer.file, "failure": answer.note or "unusable", "detections": None}
    kind = classify_name(classes[answer.ranked[0][0]]) if answer.status == "ok" else str(answer.status)
    if kind == "blank":
        return {"file": answer.file, "detections": []}
    detection: dict[str, Any] = {"category": _CATEGORIES[kind], "conf": 1.0, "bbox": _WHOLE_PHOTO}
    if answer.status != "unlike anything seen":
        named = [answer.ranked[0], *(pair for pair in answer.ranked[1:_MAX_CLASSES] if pair[1] >= _MIN_PROBABILITY)]
        detection["classifications"] = [[str(number), round(value, 4)] for number, value in named]
    return {"file": answer.file, "detections": [detection]}
