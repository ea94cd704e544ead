"""Which charts a report has, as requests that can be drawn here or in a helper process.

Matplotlib takes longer to import than a small set takes to train, so a training run lets a helper draw while the model
is exported. A request holds what JSON can hold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from clownfish.records import EpochRow
from clownfish.report.charts import (
    Line,
    Mark,
    draw_accuracies,
    draw_answering,
    draw_curves,
    draw_learning_curve,
    draw_matrix,
    draw_reliability,
)
from clownfish.report.confusion import MAX_CLASSES_AS_TABLE
from clownfish.report.content import ReportContent
from clownfish.report.headline import make_headline

DRAW_FUNCTION = "clownfish.report.drawer:draw_reply"
"""For `compute.run_in_workers`: a module of its own, since a process imports Matplotlib with it."""
Request = dict[str, Any]
_NARROW = 330
"""Pixels; where there is no room for more, text must not shrink with the rest."""


def list_charts(content: ReportContent) -> dict[str, Request]:
    """List the charts that the report needs.

    Args:
        content: of the report.

    Returns:
        By name, "kind" and the arguments of the function that draws it; nothing for what was not measured.
    """
    metrics = content.metrics
    charts: dict[str, Request] = {}
    headline = make_headline(content)
    if headline is not None:
        marks, chance = [asdict(mark) for mark in headline.marks], metrics["chance"]["accuracy"]
        charts["wide"] = {"kind": "accuracies", "marks": marks, "chance": chance}
        charts["narrow"] = {**charts["wide"], "key": "accuracies-narrow", "width": _NARROW}
    charts |= list_curves(content.history, content.best_epoch) | list_answering(metrics)
    if metrics.get("learning_curve"):
        charts["learning"] = {"kind": "learning", "needs": metrics["learning_curve"]}
    return charts | _list_matrices(metrics)


def list_answering(metrics: Mapping[str, Any]) -> dict[str, Request]:
    """List the charts of how far probabilities can be trusted.

    Args:
        metrics: with "calibration" and "answering", if they were measured.

    Returns:
        As `list_charts`.
    """
    charts: dict[str, Request] = {}
    bins = (metrics.get("calibration") or {}).get("bins")
    if bins:
        charts["reliability"] = {"kind": "reliability", "bins": bins}
    answering = metrics.get("answering") or {}
    if answering.get("curve"):
        answered = answering["out_of_fold"]["answered"]["value"] if answering["threshold"] is not None else None
        facts = {"curve": answering["curve"], "answered": answered, "max_error": answering["max_error"]}
        charts["answering"] = {"kind": "answering", **facts}
    return charts


def list_curves(history: Sequence[EpochRow], best_epoch: int) -> dict[str, Request]:
    """List the charts of training and validation, epoch by epoch.

    Args:
        history: one row an epoch; may be empty.
        best_epoch: the one that was kept.

    Returns:
        As `list_charts`.
    """
    if not history:
        return {}
    shared = {"kind": "curves", "epochs": [row.epoch for row in history], "best_epoch": best_epoch}
    loss = {"training": [row.train_loss for row in history], "validation": [row.validation_loss for row in history]}
    accuracy = {
        "training": [row.train_accuracy for row in history],
        "validation": [row.validation_accuracy for row in history],
    }
    return {
        "loss": {**shared, "name": "loss", "lines": loss, "as_percent": False, "reach": [0.0], "gap": True},
        "accuracy": {**shared, "name": "accuracy", "lines": accuracy, "as_percent": True, "reach": [1.0], "gap": True},
    }


def _list_matrices(metrics: Mapping[str, Any]) -> dict[str, Request]:
    """Matrices of so many classes that they are no tables."""
    if len(metrics["classes"]) <= MAX_CLASSES_AS_TABLE:
        return {}
    matrices = {
        "cross-validated-matrix": (metrics.get("cross_validated") or {}).get("confusion_matrix"),
        "test-matrix": metrics["confusion_matrix"],
    }
    return {
        name: {"kind": "matrix", "name": name, "matrix": matrix}
        for name, matrix in matrices.items()
        if matrix and any(map(sum, matrix))
    }


def draw_chart(request: Mapping[str, Any]) -> str:
    """Draw one chart.

    Args:
        request: of `list_charts`.

    Returns:
        An SVG element; "" if there is nothing to draw.
    """
    arguments = dict(request)
    return _DRAW[arguments.pop("kind")](**arguments)


_DRAW: Mapping[str, Callable[..., str]] = {
    "accuracies": lambda marks, **further: draw_accuracies([Mark(**mark) for mark in marks], **further),
    "curves": lambda lines, **further: draw_curves(
        lines=[Line(name=name, values=values) for name, values in lines.items()], **further
    ),
    "reliability": draw_reliability,
    "answering": draw_answering,
    "learning": draw_learning_curve,
    "matrix": draw_matrix,
}
