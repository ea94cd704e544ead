"""A finished training run: its folder, its numbers, its classifier."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

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
