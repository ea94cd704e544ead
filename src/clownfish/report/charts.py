"""Charts as inline SVG; they need neither scripts nor fonts and follow the page's colours.

Horizontal positions are per cent, vertical ones pixels: a chart becomes as wide as the page allows while
its text and strokes keep their size. Labels may lie outside the plot; the style sheet leaves room for them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from clownfish.report.confusion import Confusion
from clownfish.report.wording import format_share, is_number, isolate, shorten

_CURVE_HEIGHT = 180
_LABEL_DISTANCE = 15
_ROW_HEIGHT = 46
_CELL = 10
_MAX_DOTS = 40
_SHARES = (0, 25, 50, 75, 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One row of the accuracy chart."""

    name: str
    value: float
    low: float | None
    high: float | None
    text: str
    """The value and its range in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a chart over epochs."""

    name: str
    """Also its class in the style sheet."""
    values: Sequence[float | None]
    """One an epoch; None leaves a gap."""


def draw_accuracies(marks: Sequence[Mark], chance: float | None) -> str:
    """Draw accuracies with their intervals on one scale from 0 to 100 %.

    Args:
        marks: the accuracies, from top to bottom.
        chance: accuracy of always answering with the commonest class; None if unknown.

    Returns:
        An SVG element.
    """
    bottom = _ROW_HEIGHT * len(marks) + 6
    parts = []
    described = [f"{mark.name}: {mark.text}." for mark in marks]
    if chance is not None:
        x = _percent(chance)
        text = f"always the commonest class: {format_share(chance)}"
        parts.append(f'<line class="chance" x1="{x}%" x2="{x}%" y1="0" y2="{bottom + 24}"/>')
        parts.append(
            f'<text class="chance" x="{x}%" y="{bottom + 38}" text-anchor="{_anchor(x, margin=30)}">{text}</text>'
        )
        described.append(f"Chance: {format_share(chance)}.")
    parts.extend(
        f'<text class="tick" x="{tick}%" y="{bottom + 16}" text-anchor="{_anchor(tick)}">{tick}\u00a0%</text>'
        for tick in _SHARES
    )
    parts.extend(_draw_mark(mark, _ROW_HEIGHT * row) for row, mark in enumerate(marks))
    return _wrap_svg("accuracies", "Accuracy, with its range", " ".join(described), parts, height=bottom + 44)


def _draw_mark(mark: Mark, top: int) -> str:
    middle = top + 32
    parts = [
        f'<text class="name" x="0" y="{top + 18}">{escape(mark.name)}</text>',
        f'<text class="value" x="100%" y="{top + 18}" text-anchor="end">{escape(mark.text)}</text>',
        f'<line class="track" x1="0" x2="100%" y1="{middle}" y2="{middle}"/>',
    ]
    parts.extend(f'<line class="track" x1="{tick}%" x2="{tick}%" y1="{middle}" y2="{middle + 6}"/>' for tick in _SHARES)
    if mark.low is not None and mark.high is not None:
        low, high = _percent(mark.low), _percent(mark.high)
        parts.append(f'<line class="interval" x1="{low}%" x2="{high}%" y1="{middle}" y2="{middle}"/>')
    parts.append(f'<circle class="dot" cx="{_percent(mark.value)}%" cy="{middle}" r="6"/>')
    return "".join(parts)


def draw_curves(
    name: str,
    epochs: Sequence[int],
    lines: Sequence[Line],
    *,
    best_epoch: int,
    write: Callable[[float], str],
    write_tick: Callable[[float], str],
    reach: Sequence[float],
) -> str:
    """Draw how something changed from epoch to epoch.

    Args:
        name: what is drawn, in lower case; unique on the page.
        epochs: numbers of the epochs, rising.
        lines: values, one an epoch.
        best_epoch: the epoch to mark.
        write: turns a value into text.
        write_tick: turns the round numbers of the vertical axis into text.
        reach: values that the vertical axis encloses in any case.

    Returns:
        An SVG element; "" if there is no value to draw.
    """
    lines = [line for line in lines if any(map(is_number, line.values))]
    values = [value for line in lines for value in _known_values(line)]
    if not values:
        return ""
    ticks = choose_ticks(min([*values, *reach]), max([*values, *reach]))
    plot = _Plot(first=epochs[0], last=epochs[-1], bottom=ticks[0], top=ticks[-1])
    parts = [_draw_level(plot, tick, write_tick(tick)) for tick in ticks]
    parts.extend(
        f'<text class="tick" x="{plot.x(epoch)}%" y="{_CURVE_HEIGHT + 17}" text-anchor="middle">{epoch}</text>'
        for epoch in _choose_epochs(epochs)
    )
    parts.append(f'<text class="tick" x="50%" y="{_CURVE_HEIGHT + 34}" text-anchor="middle">epoch</text>')
    if best_epoch in epochs:
        parts.append(_draw_best_epoch(plot, best_epoch))
    parts.extend(_draw_line(plot, epochs, line, write) for line in lines)
    parts.append(_draw_line_names(plot, lines))
    described = f"From epoch {epochs[0]} to {epochs[-1]}. " + " ".join(_describe(line, write) for line in lines)
    title = f"{name.capitalize()} per epoch"
    return _wrap_svg(name, title, described, parts, height=_CURVE_HEIGHT, style="curves")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plot:
    """The scales of a chart over epochs."""

    first: int
    last: int
    bottom: float
    top: float

    def x(self, epoch: int) -> float:
        """Per cent of the width."""
        return 50.0 if self.first == self.last else round(100 * (epoch - self.first) / (self.last - self.first), 2)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return round(_CURVE_HEIGHT * (1 - (value - self.bottom) / (self.top - self.bottom)), 1)


def _draw_level(plot: _Plot, value: float, text: str) -> str:
    y = plot.y(value)
    return (
        f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
        f'<text class="tick" x="-8" y="{y + 4}" text-anchor="end">{text}</text>'
    )


def _draw_best_epoch(plot: _Plot, epoch: int) -> str:
    x = plot.x(epoch)
    return (
        f'<line class="best" x1="{x}%" x2="{x}%" y1="-6" y2="{_CURVE_HEIGHT}"/>'
        f'<text class="best" x="{x}%" y="-11" text-anchor="{_anchor(x)}">epoch {epoch}, kept</text>'
    )


def _draw_line(plot: _Plot, epochs: Sequence[int], line: Line, write: Callable[[float], str]) -> str:
    runs: list[list[str]] = [[]]
    dots = []
    for epoch, value in zip(epochs, line.values, strict=True):
        if value is None or not is_number(value):
            runs.append([])
            continue
        x, y = plot.x(epoch), plot.y(value)
        runs[-1].append(f"{x},{y}")
        title = f"<title>epoch {epoch}, {line.name}: {write(value)}</title>"
        dots.append(f'<circle class="dot" cx="{x}%" cy="{y}" r="2.5">{title}</circle>')
    polylines = "".join(f'<polyline points="{" ".join(run)}"/>' for run in runs if len(run) > 1)
    # the inner svg stretches to the width, its strokes do not
    stretched = (
        f'<svg viewBox="0 0 100 {_CURVE_HEIGHT}" width="100%" height="{_CURVE_HEIGHT}" preserveAspectRatio="none">'
    )
    shown = "".join(dots) if len(dots) <= _MAX_DOTS else ""
    return f'<g class="{line.name}">{stretched}{polylines}</svg>{shown}</g>'


def _draw_line_names(plot: _Plot, lines: Sequence[Line]) -> str:
    """Write the names at the ends of the lines, moved apart where the lines end close together."""
    ends = sorted((plot.y(_known_values(line)[-1]), line.name) for line in lines)
    heights = [y for y, _ in ends]
    for lower in range(1, len(heights)):
        missing = _LABEL_DISTANCE - (heights[lower] - heights[lower - 1])
        if missing > 0:
            heights[lower - 1] -= missing / 2
            heights[lower] += missing / 2
    return "".join(
        f'<text class="end {name}" x="100%" dx="9" y="{round(y + 4, 1)}">{name}</text>'
        for y, (_, name) in zip(heights, ends, strict=True)
    )


def _describe(line: Line, write: Callable[[float], str]) -> str:
    values = _known_values(line)
    return (
        f"{line.name.capitalize()}: {write(values[0])} at first, {write(values[-1])} at last, "
        f"lowest {write(min(values))}, highest {write(max(values))}."
    )


def draw_matrix(name: str, confusion: Confusion) -> str:
    """Draw a confusion matrix of many classes as a picture without labels; classes are numbered from 1.

    Args:
        name: unique on the page.
        confusion: the matrix.

    Returns:
        An SVG element.
    """
    num_classes = len(confusion.classes)
    side = num_classes * _CELL
    parts = [f'<rect class="ground" width="{side}" height="{side}"/>']
    for number in [1, *range(10, num_classes + 1, 10)]:
        middle = (number - 0.5) * _CELL
        parts.append(f'<text class="tick" x="-6" y="{middle + 4}" text-anchor="end">{number}</text>')
        parts.append(f'<text class="tick" x="{middle}" y="-6" text-anchor="middle">{number}</text>')
    for row, cells in enumerate(confusion.rows):
        for column, cell in enumerate(cells):
            if cell.count:
                # such small cells need some colour to be seen at all, above all on a dark page
                pair = f"{_name_class(confusion, row)} predicted as {_name_class(confusion, column)}"
                parts.append(
                    f'<rect class="{"right" if cell.is_right else "wrong"}" x="{column * _CELL}" y="{row * _CELL}" '
                    f'width="{_CELL}" height="{_CELL}" fill-opacity="{0.3 + 0.7 * cell.shade:.2f}">'
                    f"<title>{pair}: {cell.count} ({format_share(cell.share)})</title></rect>"
                )
    right = sum(cell.count for cells in confusion.rows for cell in cells if cell.is_right)
    described = (
        f"{num_classes} classes; rows are the true class, columns the predicted one. "
        f"{right} of {confusion.num_photos} photos lie on the diagonal, where both agree."
    )
    view = f'viewBox="-30 -20 {side + 30} {side + 20}"'
    return _wrap_svg(name, "Confusion matrix", described, parts, style="matrix", view=view)


def choose_ticks(low: float, high: float) -> list[float]:
    """Choose three to six round numbers that enclose a range.

    Args:
        low: the lowest value.
        high: the highest value, not below `low`.

    Returns:
        Evenly spaced numbers; the first is at most `low`, the last at least `high`.
    """
    if high - low < 1e-9:
        high = low + max(abs(low), 1.0) / 10
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _choose_epochs(epochs: Sequence[int]) -> list[int]:
    """The first, the last, and round numbers well between them."""
    first, last = epochs[0], epochs[-1]
    if last - first <= 6:
        return list(range(first, last + 1))
    step = next(size for size in (2, 5, 10, 20, 50, 100, 200, 500, 10**9) if (last - first) / size <= 5)
    inner = [epoch for epoch in range(step, last, step) if epoch - first >= step / 2 and last - epoch >= step / 2]
    return [first, *inner, last]


def _wrap_svg(
    name: str,
    title: str,
    description: str,
    parts: Sequence[str],
    *,
    height: int | None = None,
    style: str = "",
    view: str = "",
) -> str:
    """Make the SVG element, with title and description for those who cannot see it."""
    key = name.replace(" ", "-")
    size = f'width="100%" height="{height}"' if height else view
    return (
        f'<svg class="{style or name}" role="img" aria-labelledby="{key}-title {key}-description" {size}>'
        f'<title id="{key}-title">{escape(title)}</title>'
        f'<desc id="{key}-description">{escape(description)}</desc>{"".join(parts)}</svg>'
    )


def _name_class(confusion: Confusion, number: int) -> str:
    return escape(isolate(shorten(confusion.classes[number], 40)))


def _known_values(line: Line) -> list[float]:
    return [value for value in line.values if value is not None and is_number(value)]


def _percent(share: float) -> float:
    return round(100 * share, 2)


def _anchor(position: float, margin: float = 20) -> str:
    """Keep a text that belongs to a position inside the chart, also on a phone."""
    return "start" if position < margin else "end" if position > 100 - margin else "middle"
