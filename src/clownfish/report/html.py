"""Render the report: content in, one HTML file out."""

import base64
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clownfish.report.confusion import (
    MAX_CLASSES_AS_TABLE,
    MAX_CLASSES_WITH_SHARES,
    Confusion,
    find_mutual_pairs,
    prepare_confusion,
)
from clownfish.report.content import ReportContent, ReportExport
from clownfish.report.drawing import draw_chart, list_charts
from clownfish.report.findings import list_shortcuts, list_verdicts
from clownfish.report.glance import list_answers
from clownfish.report.headline import make_headline, name_group
from clownfish.report.methods import write_methods
from clownfish.report.names import find_binomials, write_binomial
from clownfish.report.next_steps import choose_next_steps
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
    "licence": "licence of the backbone's weights",
    "weights_sha256": "SHA-256 of the backbone's weights",
}
_NO_PART: Mapping[str, Any] = {"num_photos": 0, "accuracy": {}, "balanced_accuracy": {}, "cross_entropy": None}
_SECTIONS = (
    ("headline", "How good it is"),
    ("verdicts", "What to know"),
    ("parts", "Training and test"),
    ("curves", "Curves of training"),
    ("confusion", "What is confused"),
    ("classes", "Class by class"),
    ("mistakes", "Mistakes"),
    ("where", "Where it looks"),
    ("certainty", "How certain it is"),
    ("unknown", "Unknown species"),
    ("more", "More photos"),
    ("labels", "Labels that look wrong"),
    ("shortcuts", "Shortcuts"),
    ("tests", "Test photos"),
    ("examples", "Training photos"),
    ("exports", "Exported files"),
    ("making", "How it was made"),
)
_MAX_UNUSABLE = 500


def render_report(content: ReportContent, charts: Mapping[str, str] | None = None) -> str:
    """Write the report.

    Args:
        content: everything it says.
        charts: SVG elements that were drawn before, by name; None to draw those of `list_charts` now.

    Returns:
        A whole HTML document without references to anything outside itself; encode it as UTF-8.
    """
    if charts is None:
        charts = {name: draw_chart(request) for name, request in list_charts(content).items()}
    return clean_text(load_template().render(_collect_values(content, charts)))


@lru_cache(maxsize=1)
def load_template() -> "Template":
    """Read and compile the template; `render_report` does it, but it may be done in good time."""
    return make_environment().get_template("template.html.j2")


def make_environment() -> "Environment":
    """Make what reads the templates: it escapes everything, and knows how numbers and names are written."""
    # imported here because prediction imports clownfish too and must not pay for it
    from jinja2 import Environment, FileSystemBytecodeCache, PackageLoader, StrictUndefined

    # compiling takes half a second of processor time; what comes of it is kept where Python keeps its own
    folder = Path(__file__).parent / "__pycache__"
    can_keep = not sys.dont_write_bytecode and os.access(folder, os.W_OK)
    environment = Environment(
        loader=PackageLoader("clownfish.report", ""),
        bytecode_cache=FileSystemBytecodeCache(str(folder)) if can_keep else None,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        accuracy=format_accuracy,
        between=format_range,
        binomial=write_binomial,
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


class _Numbering:
    """Numbers sections, tables and figures while the page is written."""

    def __init__(self) -> None:
        self._last: Counter[str] = Counter()

    def count(self, kind: str) -> int:
        self._last[kind] += 1
        return self._last[kind]


def _collect_values(content: ReportContent, charts: Mapping[str, str]) -> dict[str, Any]:
    """Everything that the template refers to."""
    metrics = content.metrics
    parts = {name: metrics.get(name) or _NO_PART for name in _PARTS}
    headline = make_headline(content)
    binomials = find_binomials(metrics["classes"])
    return {
        "content": content,
        "metrics": metrics,
        "chance": metrics["chance"],
        "parts": parts,
        "headline": headline,
        "numbering": _Numbering(),
        "sections": [section for section in _SECTIONS if section[0] != "exports" or content.exports],
        "export_verdict": _judge_export,
        "group": name_group(content),
        "binomials": binomials,
        "prose": make_prose(binomials),
        "answers": list_answers(content, headline),
        "steps": choose_next_steps(metrics, group=name_group(content), min_groups_of_class=content.min_groups_of_class),
        "verdicts": list_verdicts(metrics),
        "notes": _list_notes(content),
        "shortcuts": list_shortcuts(metrics),
        "charts": defaultdict(str, {name: mark_safe(chart) for name, chart in charts.items() if chart}),
        "num_usable": sum(metrics["num_photos"][part] for part in ("train", "validation", "test")),
        "held_out_noun": _name_held_out(parts),
        "num_wrong": max(len(content.wrong_photos), _count_wrong(parts["validation"]) + _count_wrong(parts["test"])),
        "methods": write_methods(content),
        "placed_share": _measure_placed(content),
        "unusable": content.unusable[:_MAX_UNUSABLE],
        "facts": {
            _FACT_NAMES.get(key, key.replace("_", " ")): _format_fact(value) for key, value in content.model.items()
        },
        **_collect_classes(content, parts),
    }


def _judge_export(export: ReportExport) -> dict[str, str]:
    """A line like those of the findings: whether the file is certified, and still the one that was."""
    places = {
        "unchanged": "The file beside this report is the one that was checked.",
        "elsewhere": "The file is not beside this report; its SHA-256 tells whether one that you have is it.",
        "changed": "The file beside this report has changed since it was checked. Export again.",
    }
    mood, sign, word, question, sentence = "good", "✓", "certified", "It agrees with the original.", ""
    if export.failures:
        mood, sign, word, question = "bad", "✗", "failed", "It is not certified:"
        sentence = "; ".join(export.failures) + "."
    elif export.state == "changed":
        mood, sign, word, question = "bad", "✗", "changed", "Another file agreed with the original."
    advice = places[export.state]
    return {"mood": mood, "sign": sign, "word": word, "question": question, "sentence": sentence, "advice": advice}


def _collect_classes(content: ReportContent, parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is told class by class."""
    metrics, cross_validated, test = content.metrics, parts["cross_validated"], parts["test"]
    per_class = {
        "cross_validated": cross_validated.get("per_class") or [],
        "test": metrics["per_class"] if test["num_photos"] else [],
    }
    matrix = cross_validated.get("confusion_matrix")
    return {
        "class_numbers": {name: number for number, name in enumerate(metrics["classes"], start=1)},
        "per_class": per_class,
        "example_class": _find_weakest(per_class["cross_validated"], content.min_groups_of_class)
        or _find_weakest(per_class["test"], content.min_groups_of_class),
        "mutual_pairs": {
            (pair.first, pair.second): pair for pair in find_mutual_pairs(metrics["classes"], matrix or [])
        },
        "confusions": {
            "cross_validated": _describe_confusion(content, matrix),
            "test": _describe_confusion(content, metrics["confusion_matrix"]),
        },
    }


def make_prose(binomials: frozenset[str]) -> Callable[[str], Any]:
    """Make the function that turns a sentence into HTML, with names of species in italics.

    Args:
        binomials: names of `find_binomials`.

    Returns:
        A function from text to safe HTML.
    """
    from markupsafe import Markup

    names = "|".join(re.escape(name) for name in sorted(binomials, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w/])(?:{names})(?![\w/])") if names else None

    def write(sentence: str) -> Markup:
        safe = re.sub(r"(\d) (%|points?\b)", "\\1\u00a0\\2", escape(sentence))
        safe = re.sub(r"(?<![^\s(])--[a-z][a-z-]*", "<code>\\g<0></code>", safe)
        if pattern is not None:  # these names are letters, spaces and underscores only
            safe = pattern.sub(lambda found: f"<i>{write_binomial(found[0])}</i>", safe)
        return Markup(safe)  # noqa: S704 - escaped above

    return write


def _list_notes(content: ReportContent) -> list[str]:
    """The messages that stand nowhere else."""
    metrics = content.metrics
    told = {verdict["sentence"] for verdict in metrics.get("verdicts") or []}
    told.update((metrics.get("learning_curve") or {}).get("sentences") or [])
    told.update((metrics.get("shortcuts") or {}).get("sentences") or [])
    return [message for message in content.messages if message not in told]


def _has_accuracy(part: Mapping[str, Any]) -> bool:
    return is_number(part["accuracy"].get("value"))


def _count_right(part: Mapping[str, Any]) -> int:
    return round(part["num_photos"] * part["accuracy"]["value"]) if _has_accuracy(part) else 0


def _count_wrong(part: Mapping[str, Any]) -> int:
    return part["num_photos"] - _count_right(part) if _has_accuracy(part) else 0


def _name_held_out(parts: Mapping[str, Mapping[str, Any]]) -> str:
    names = [name for name in ("validation", "test") if parts[name]["num_photos"]]
    return f"{' and '.join(names)} photo"


def _describe_confusion(content: ReportContent, matrix: Sequence[Sequence[int]] | None) -> dict[str, Any] | None:
    confusion = prepare_confusion(content.metrics["classes"], matrix)
    if confusion is None:
        return None
    style = _choose_style(confusion)
    num_pairs = 20 if style == "picture" else 5
    return {"confusion": confusion, "style": style, "pairs": confusion.pairs[:num_pairs]}


def _measure_placed(content: ReportContent) -> float | None:
    """How much of the scores the maps show: the parts that have a place, of all parts by their size."""
    placed = sum(abs(place.placed) for place in content.maps)
    whole = placed + sum(abs(place.unplaced) for place in content.maps)
    return placed / whole if whole else None


def _choose_style(confusion: Confusion) -> str:
    if len(confusion.classes) <= MAX_CLASSES_WITH_SHARES:
        return "roomy"
    return "dense" if len(confusion.classes) <= MAX_CLASSES_AS_TABLE else "picture"


def _find_weakest(per_class: Sequence[Mapping[str, Any]], min_groups: int) -> Mapping[str, Any] | None:
    """The class of which the smallest share is recognised, among those of which enough is known if there are any."""
    measured = [row for row in per_class if is_number(row["recall"])]
    known = [row for row in measured if row.get("num_groups", min_groups) >= min_groups]
    return min(known or measured, key=lambda row: float(row["recall"]), default=None)


def _format_fact(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return format_number(value)
    return format_value(value)


def _make_data_uri(preview: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(preview).decode("ascii")


def _split_at_breaks(name: str) -> list[str]:
    """Cut a name after the characters where a line may break."""
    return [piece for piece in re.split(r"(?<=[_/\\.\-])", name) if piece]


def mark_safe(svg: str) -> Any:
    """Say that a chart is HTML already."""
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704 - figure.py and Matplotlib escape the text in it
