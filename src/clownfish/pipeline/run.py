"""A finished training run: its folder, its numbers, its classifier."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from clownfish.displays import CLASS_HEADER, draw_accuracy, make_class_rows, make_table, write_accuracy
from clownfish.prediction.classifier import Classifier, load_classifier


@dataclass(frozen=True)
class Run:
    """A finished training run."""

    path: Path
    """The run folder."""
    metrics: dict[str, Any] = field(repr=False)
    """What metrics.json holds."""

    @cached_property
    def classifier(self) -> Classifier:
        """The trained classifier, loaded from the folder's model.onnx."""
        return load_classifier(self.path)

    @property
    def report(self) -> Path:
        """The report to open in a browser."""
        return self.path / "report.html"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        metrics, photos = self.metrics, self.metrics["num_photos"]
        rows: list[list[object]] = [
            [name, metrics[part]["num_photos"], write_accuracy(metrics[part]["accuracy"]), _draw(metrics, part)]
            for name, part in _PARTS
            if metrics[part]["num_photos"]
        ]
        used = sum(photos[part] for part in ("train", "validation", "test"))
        title = f"{len(metrics['classes'])} classes, {used:,} photos in {metrics['num_groups']:,} groups"
        summary = make_table(title, ["", "photos", "right (95 % interval)", ""], rows, note=f"Report: {self.report}")
        classes = make_class_rows(metrics["cross_validated"]["per_class"])
        return summary + make_table("Each class, cross-validated; the worst first", CLASS_HEADER, classes)


_PARTS = (
    ("training", "train"),
    ("validation", "validation"),
    ("test", "test"),
    ("cross-validated", "cross_validated"),
)


def _draw(metrics: dict[str, Any], part: str) -> str:
    return draw_accuracy(metrics[part]["accuracy"], metrics["chance"]["accuracy"])
