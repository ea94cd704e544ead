"""Made-up contents of a report, and its page parsed, that several tests share."""

import copy
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from PIL import Image

from clownfish.records import EpochRow
from clownfish.report import ReportContent, ReportPhoto

VOID_ELEMENTS = {"br", "img", "link", "meta", "wbr"}
REFERRING_ATTRIBUTES = {"action", "background", "data", "formaction", "href", "poster", "src", "srcset", "xlink:href"}


class Page(HTMLParser):
    """A parsed report: elements with their attributes, and the text of each."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_ELEMENTS:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self._open), data))

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """What a reader sees, white space squeezed."""
        shown = "".join(text for path, text in self.texts if "style" not in path and "title" not in path[:2])
        return re.sub(r"\s+", " ", shown)


def make_preview() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (160, 120), (20, 90, 120)).save(file, "JPEG")
    return file.getvalue()


def make_photo(*, label: str = "perch", predicted: str = "", file: str = "perch/a.jpg") -> ReportPhoto:
    predicted = predicted or label
    return ReportPhoto(
        file=file,
        label=label,
        predicted=predicted,
        probability=0.87,
        correct=predicted == label,
        preview=make_preview(),
    )


def make_part(num_photos: int, num_right: int) -> dict[str, Any]:
    if not num_photos:
        nothing = {"value": None, "low": None, "high": None}
        return {"num_photos": 0, "accuracy": nothing, "balanced_accuracy": nothing, "cross_entropy": None}
    share = num_right / num_photos
    interval = {"value": share, "low": max(0.0, share - 0.05), "high": min(1.0, share + 0.03)}
    return {"num_photos": num_photos, "accuracy": interval, "balanced_accuracy": interval, "cross_entropy": 0.2}


def count_classes(classes: list[str], matrix: list[list[int]]) -> list[dict[str, Any]]:
    rows = []
    for number, label in enumerate(classes):
        tp = matrix[number][number]
        fn = sum(matrix[number]) - tp
        fp = sum(row[number] for row in matrix) - tp
        tn = sum(map(sum, matrix)) - tp - fn - fp
        precision = tp / (tp + fp) if tp + fp else None
        recall = tp / (tp + fn) if tp + fn else None
        f1 = 2 * tp / (2 * tp + fp + fn) if precision is not None and recall is not None else None
        counts = {"label": label, "num_photos": tp + fn, "tp": tp, "fp": fp, "fn": fn, "tn": tn}
        rows.append({**counts, "precision": precision, "recall": recall, "f1": f1})
    return rows


def make_matrix(num_classes: int, right: int, wrong: int) -> list[list[int]]:
    """Each class is right so often, and taken for the next class so often."""
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for number in range(num_classes):
        matrix[number][number] = right
        matrix[number][(number + 1) % num_classes] = wrong
    return matrix


def make_content(classes: list[str] | None = None) -> ReportContent:
    classes = classes or ["perch", "striped_bass", "trout"]
    num_classes = len(classes)
    cross_validated, test = make_matrix(num_classes, 47, 3), make_matrix(num_classes, 4, 1)
    metrics = {
        "schema": 1,
        "classes": classes,
        "num_photos": {
            "train": 40 * num_classes,
            "validation": 5 * num_classes,
            "test": 5 * num_classes,
            "unusable": 1,
        },
        "num_groups": 48 * num_classes,
        "iterations_per_epoch": 4,
        "best_epoch": 2,
        "weight_decay": 0.8,
        "train": make_part(40 * num_classes, 40 * num_classes),
        "validation": make_part(5 * num_classes, 5 * num_classes - 1),
        "test": make_part(5 * num_classes, 4 * num_classes),
        "cross_validated": {
            **make_part(50 * num_classes, 47 * num_classes),
            "num_folds": 5,
            "per_class": count_classes(classes, cross_validated),
            "confusion_matrix": cross_validated,
        },
        "chance": {"accuracy": 0.35, "cross_entropy": 1.098},
        "per_class": count_classes(classes, test),
        "confusion_matrix": test,
        "seconds": {"scan": 0.3, "features": 5.2, "train": 0.9, "total": 6.4},
        "versions": {"clownfish": "0.1.0", "numpy": "2.4.6"},
        "label_conflicts": 0,
    }
    history = [
        EpochRow(
            epoch=epoch,
            train_loss=1 / epoch,
            validation_loss=1.1 / epoch,
            train_accuracy=1 - 0.3 / epoch,
            validation_accuracy=1 - 0.4 / epoch,
            seconds=0.01,
        )
        for epoch in (1, 2, 3)
    ]
    return ReportContent(
        name="course-fish",
        created="2025-11-05T14:03:22",
        metrics=metrics,
        history=history,
        best_epoch=2,
        messages=["5 photos are copies of others."],
        test_photos=[make_photo(label=classes[0]), make_photo(label=classes[1], predicted=classes[0])],
        wrong_photos=[make_photo(label=classes[1], predicted=classes[0])],
        example_photos=[make_photo(label=label) for label in classes[:25]],
        unusable=[("perch/empty.jpg", "the file is empty")],
        options={"batch_size": 32, "balance": False, "weight_decay": None, "backbone": "efficientnet-lite0"},
        model={
            "backbone": "efficientnet-lite0",
            "input_size": 224,
            "num_features": 2848,
            "num_parameters": 3_372_000,
            "num_trained_parameters": 8547,
            "weight_decay": 0.8,
            "licence": "Apache-2.0",
        },
    )


def make_content_without_held_out_photos() -> ReportContent:
    content = make_content()
    metrics = copy.deepcopy(dict(content.metrics))
    metrics["num_photos"].update(validation=0, test=0)
    metrics.update(validation=make_part(0, 0), test=make_part(0, 0), confusion_matrix=[[0] * 3] * 3)
    metrics["cross_validated"] = {**make_part(0, 0), "num_folds": 5, "per_class": [], "confusion_matrix": []}
    metrics["per_class"] = count_classes(metrics["classes"], metrics["confusion_matrix"])
    history = [replace(row, validation_loss=None, validation_accuracy=None) for row in content.history[:1]]
    return replace(
        content,
        metrics=metrics,
        history=history,
        best_epoch=1,
        messages=[],
        test_photos=[],
        wrong_photos=[],
        example_photos=[],
        unusable=[],
        model={},
        options={},
    )


def check_harmless(html: str) -> Page:
    """Nothing runs, nothing is loaded, nothing breaks out of its element."""
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {"script", "iframe", "object", "embed", "form", "base", "link"}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in REFERRING_ATTRIBUTES & attributes.keys():
            value = attributes[name] or ""
            assert value.startswith(("data:image/jpeg;base64,", "#")), (tag, name, value[:80])
        assert "url(" not in (attributes.get("style") or "")
    style_sheets = [text for path, text in page.texts if path[-1:] == ("style",)]
    assert len(page.find("style")) == 1
    assert not re.search(r"url\(|@import|http", "".join(style_sheets))
    return page
