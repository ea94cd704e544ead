"""Render the report: content in, one HTML file out."""

import base64
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from clownfish.report.charts import Line, Mark, draw_accuracies, draw_curves, draw_matrix
from clownfish.report.confusion import (
    MAX_CLASSES_AS_TABLE,
    MAX_CLASSES_WITH_SHARES,
    Confusion,
    prepare_confusion,
)
from clownfish.report.content import ReportContent
from clownfish.report.wording import (
    clean_text,
    count_noun,
    format_accuracy,
    format_loss,
    format_moment,
    format_number,
    format_points,
    format_range,
    format_seconds,
    format_share,
    format_value,
    is_number,
    shorten,
)

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_PARTS = ("train", "validation", "test", "cross_validated")
_FACT_NAMES = {
    "input_size": "side of the input, pixels",
    "num_features": "numbers that describe a photo",
    "num_parameters": "parameters of the backbone",
    "num_trained_parameters": "parameters trained on your photos",
    "licence": "licence of the backbone",
}
_NO_PART: Mapping[str, Any] = {"num_photos": 0, "accuracy": {}, "balanced_accuracy": {}, "cross_entropy": None}


def render_report(content: ReportContent) -> str:
    """Write the report.

    Args:
        content: everything it says.

    Returns:
        A whole HTML document without references to anything outside itself; encode it as UTF-8.
    """
    return clean_text(load_template().render(_collect_values(content)))


@lru_cache(maxsize=1)
def load_template() -> "Template":
    """Read and compile the template; `render_report` does it, but it may be done in good time."""
    return _make_environment().get_template("template.html.j2")


def _make_environment() -> "Environment":
    # imported here because prediction imports clownfish too and must not pay for it
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("clownfish.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        accuracy=format_accuracy,
        between=format_range,
        count=count_noun,
        data_uri=_make_data_uri,
        loss=format_loss,
        moment=format_moment,
        number=format_number,
        pieces=_split_at_breaks,
        points=format_points,
        seconds=format_seconds,
        share=format_share,
        shorten=shorten,
        value=format_value,
    )
    return environment


def _collect_values(content: ReportContent) -> dict[str, Any]:
    """Everything that the template refers to."""
    metrics = content.metrics
    parts = {name: metrics.get(name) or _NO_PART for name in _PARTS}
    cross_validated, test = parts["cross_validated"], parts["test"]
    class_numbers = {name: number for number, name in enumerate(metrics["classes"], start=1)}
    per_class = {"cross_validated": cross_validated.get("per_class") or [], "test": metrics["per_class"]}
    return {
        "content": content,
        "metrics": metrics,
        "chance": metrics["chance"],
        "parts": parts,
        "headline": next((part for part in (cross_validated, test) if _has_accuracy(part)), None),
        "accuracies_chart": _draw_accuracies(parts, metrics["chance"]["accuracy"]),
        "curves": _draw_history(content),
        "confusions": {
            "cross_validated": _describe_confusion("cross-validated", content, cross_validated.get("confusion_matrix")),
            "test": _describe_confusion("test", content, metrics["confusion_matrix"]),
        },
        "per_class": per_class if test["num_photos"] else {**per_class, "test": []},
        "example_class": _find_weakest(per_class["cross_validated"]) or _find_weakest(per_class["test"]),
        "class_numbers": class_numbers,
        "num_usable": sum(metrics["num_photos"][part] for part in ("train", "validation", "test")),
        "held_out_noun": _name_held_out(parts),
        "num_wrong": max(len(content.wrong_photos), _count_wrong(parts["validation"]) + _count_wrong(test)),
        "facts": {
            _FACT_NAMES.get(key, key.replace("_", " ")): _format_fact(value) for key, value in content.model.items()
        },
    }


def _has_accuracy(part: Mapping[str, Any]) -> bool:
    return is_number(part["accuracy"].get("value"))


def _count_right(part: Mapping[str, Any]) -> int:
    return round(part["num_photos"] * part["accuracy"]["value"]) if _has_accuracy(part) else 0


def _count_wrong(part: Mapping[str, Any]) -> int:
    return part["num_photos"] - _count_right(part) if _has_accuracy(part) else 0


def _name_held_out(parts: Mapping[str, Mapping[str, Any]]) -> str:
    names = [name for name in ("validation", "test") if parts[name]["num_photos"]]
    return f"{' and '.join(names)} photo"


def _draw_accuracies(parts: Mapping[str, Mapping[str, Any]], chance: float | None) -> Any:
    named = [("cross-validated", parts["cross_validated"]), ("test photos", parts["test"])]
    marks = [
        Mark(
            name=name,
            value=part["accuracy"]["value"],
            low=part["accuracy"].get("low"),
            high=part["accuracy"].get("high"),
            text=format_accuracy(part["accuracy"]),
        )
        for name, part in named
        if _has_accuracy(part)
    ]
    return _mark_safe(draw_accuracies(marks, chance)) if marks else None


def _draw_history(content: ReportContent) -> list[tuple[str, Any]]:
    """The learning curves with their titles: loss, then accuracy; none without epochs."""
    history = content.history
    if not history:
        return []
    epochs = [row.epoch for row in history]
    loss = draw_curves(
        "loss",
        epochs,
        [
            Line(name="training", values=[row.train_loss for row in history]),
            Line(name="validation", values=[row.validation_loss for row in history]),
        ],
        best_epoch=content.best_epoch,
        write=format_loss,
        write_tick="{:g}".format,
        reach=[0.0],
    )
    accuracy = draw_curves(
        "accuracy",
        epochs,
        [
            Line(name="training", values=[row.train_accuracy for row in history]),
            Line(name="validation", values=[row.validation_accuracy for row in history]),
        ],
        best_epoch=content.best_epoch,
        write=format_share,
        write_tick=lambda share: f"{100 * share:g}\u00a0%",
        reach=[0.9, 1.0],
    )
    titled = [("Loss (cross-entropy)", loss), ("Accuracy", accuracy)]
    return [(title, _mark_safe(chart)) for title, chart in titled if chart]


def _describe_confusion(
    name: str, content: ReportContent, matrix: Sequence[Sequence[int]] | None
) -> dict[str, Any] | None:
    confusion = prepare_confusion(content.metrics["classes"], matrix)
    if confusion is None:
        return None
    style = _choose_style(confusion)
    chart = _mark_safe(draw_matrix(f"{name} matrix", confusion)) if style == "picture" else None
    num_pairs = 20 if style == "picture" else 5
    return {"confusion": confusion, "style": style, "chart": chart, "pairs": confusion.pairs[:num_pairs]}


def _choose_style(confusion: Confusion) -> str:
    if len(confusion.classes) <= MAX_CLASSES_WITH_SHARES:
        return "roomy"
    return "dense" if len(confusion.classes) <= MAX_CLASSES_AS_TABLE else "picture"


def _find_weakest(per_class: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The class of which the smallest share is recognised; the first of several; None if there is none."""
    measured = [row for row in per_class if is_number(row["recall"])]
    return min(measured, key=lambda row: float(row["recall"]), default=None)


def _format_fact(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return format_number(value)
    return format_value(value)


def _make_data_uri(preview: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(preview).decode("ascii")


def _split_at_breaks(name: str) -> list[str]:
    """Cut a name after the characters where a line may break."""
    return [piece for piece in re.split(r"(?<=[_/\\.\-])", name) if piece]


def _mark_safe(svg: str) -> Any:
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704 - charts.py escapes the names in it
