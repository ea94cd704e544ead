"""The charts of the report; each is one call of Matplotlib's plain verbs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clownfish.report.confusion import SHADE_POWER
from clownfish.report.figure import INK, ORANGE, PAPER, RED, RULE, SEA, SOFT, draw_svg
from clownfish.report.wording import format_loss, format_range, format_share, is_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_HEIGHT, _NARROW_ROW_HEIGHT = 44, 62
_NARROW = 500
_MAX_DOTS = 40
_MAX_CELLS = 5000
_COLOURS = {"training": SEA, "validation": ORANGE}
_DASHES = {"training": "--", "validation": "-"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One row of the accuracy chart."""

    name: str
    value: float | None
    """None where only the range can be told."""
    low: float | None
    high: float | None
    text: str
    """The value and its range in words."""
    is_claim: bool = False
    """A number that is not to be believed: drawn hollow and without a bar."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a chart over epochs."""

    name: str
    """Training or validation."""
    values: Sequence[float | None]
    """One an epoch; None leaves a gap."""


def draw_accuracies(marks: Sequence[Mark], chance: float | None, *, key: str = "accuracies", width: float = 680) -> str:
    """Draw accuracies with their intervals on one scale from 0 to 100 %.

    Args:
        marks: the accuracies, from top to bottom.
        chance: accuracy of always answering with the commonest class; None if unknown.
        key: unique on the page.
        width: in pixels.

    Returns:
        An SVG element.
    """
    is_narrow = width < _NARROW
    described = [f"{mark.name}: {mark.text}." for mark in marks]
    if is_number(chance):
        described.append(f"Always the commonest class: {format_share(chance)}.")

    def draw(axes: "Axes") -> None:
        for row, mark in enumerate(marks):
            _draw_mark(axes, row, mark, is_narrow=is_narrow)
        if chance is not None and is_number(chance):
            axes.axvline(100 * chance, color=SOFT, linewidth=1.2, linestyle=(0, (3, 3)))
            side = "left" if chance < 0.6 else "right"
            axes.annotate(
                f"always the commonest class: {format_share(chance)}",
                (100 * chance, len(marks) - 0.42),
                xytext=(5 if side == "left" else -5, 0),
                textcoords="offset points",
                ha=side,
                va="center",
                color=SOFT,
            )
        axes.set(xlim=(0, 100), ylim=(len(marks) - 0.15, -0.75), yticks=[])
        axes.set_xticks([0, 25, 50, 75, 100], [f"{tick}\u00a0%" for tick in (0, 25, 50, 75, 100)])
        axes.spines["left"].set_visible(False)

    height = (_NARROW_ROW_HEIGHT if is_narrow else _ROW_HEIGHT) * len(marks) + 50
    title = "Accuracy on photos that were not trained on, with its range"
    return draw_svg(key, title, " ".join(described), draw, width=width, height=height)


def _draw_mark(axes: "Axes", row: int, mark: Mark, *, is_narrow: bool) -> None:
    """One accuracy: its name, its number to the right or, where there is no room, below, and the bar below both."""
    halo = {"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none"}
    style = {"va": "center", "color": INK, "bbox": halo, "zorder": 3}
    axes.text(0, row - (0.52 if is_narrow else 0.3), mark.name, style)
    place = (0, row - 0.25) if is_narrow else (100, row - 0.3)
    axes.text(*place, mark.text, style | {"ha": "left" if is_narrow else "right", "fontweight": "bold"})
    axes.plot([0, 100], [row, row], color=RULE, linewidth=2, solid_capstyle="round")
    if mark.low is not None and mark.high is not None and not mark.is_claim:
        ends = [100 * mark.low, 100 * mark.high]
        axes.plot(ends, [row, row], color=SEA, alpha=0.4, linewidth=10, solid_capstyle="butt")
    if mark.value is not None:
        axes.plot(
            100 * mark.value,
            row,
            "D" if mark.is_claim else "o",
            markersize=8,
            markeredgewidth=2,
            clip_on=False,
            markerfacecolor=PAPER if mark.is_claim else SEA,
            markeredgecolor=RED if mark.is_claim else SEA,
        )


def draw_curves(
    name: str,
    epochs: Sequence[int],
    lines: Sequence[Line],
    *,
    best_epoch: int,
    as_percent: bool,
    reach: Sequence[float],
    gap: bool = False,
) -> str:
    """Draw how something changed from epoch to epoch.

    Args:
        name: what is drawn, in lower case; unique on the page.
        epochs: numbers of the epochs, rising.
        lines: values, one an epoch.
        best_epoch: the epoch to mark.
        as_percent: write the vertical axis in per cent.
        reach: values that the vertical axis encloses in any case.
        gap: mark the distance of the lines at the best epoch.

    Returns:
        An SVG element; "" if there is no value to draw.
    """
    lines = [line for line in lines if _known_values(line)]
    if not lines:
        return ""
    factor = 100 if as_percent else 1
    values = [factor * value for value in [*reach, *(value for line in lines for value in _known_values(line))]]

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import MaxNLocator

        for line in lines:
            heights = [factor * value if is_number(value) else np.nan for value in _fill(line.values)]
            marker = "o" if len(epochs) <= _MAX_DOTS else ""
            axes.plot(epochs, heights, _DASHES[line.name], color=_COLOURS[line.name], marker=marker)
        if best_epoch in epochs:
            axes.axvline(best_epoch, color=SOFT, linewidth=1, zorder=1)
            _write_above(axes, f"epoch {best_epoch}, kept", SOFT, is_right=2 * best_epoch > epochs[0] + epochs[-1])
            if gap:
                _draw_gap(axes, best_epoch - epochs[0], best_epoch, lines, factor)
        _name_lines(axes, epochs[-1], [(line.name, factor * _known_values(line)[-1]) for line in lines], values)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.03)
        low, high = min(values), max(values)
        axes.set_ylim(low if low == 0 else low - 0.06 * (high - low), high + 0.06 * (high - low))
        if as_percent:
            axes.yaxis.set_major_formatter(_write_percent)

    write = format_share if as_percent else format_loss
    described = f"From epoch {epochs[0]} to {epochs[-1]}. " + " ".join(_describe(line, write) for line in lines)
    return draw_svg(name, f"{name.capitalize()} per epoch", described, draw)


def _draw_gap(axes: "Axes", position: int, epoch: int, lines: Sequence[Line], factor: int) -> None:
    """The distance between training and validation photos at the kept epoch."""
    ends = [line.values[position] for line in lines if position < len(line.values)]
    known = [factor * end for end in ends if end is not None and is_number(end)]
    if len(known) == 2 and known[0] != known[1]:
        axes.plot([epoch, epoch], known, color=INK, linewidth=3, alpha=0.5, solid_capstyle="butt")


def _name_lines(axes: "Axes", last: int, ends: Sequence[tuple[str, float]], values: Sequence[float]) -> None:
    """Write the names at the ends of the lines, moved apart where the lines end close together."""
    apart = 0.09 * (max(values) - min(values))
    ordered = sorted(ends, key=lambda end: end[1])
    heights = [height for _, height in ordered]
    if len(heights) > 1 and heights[1] - heights[0] < apart:
        middle = sum(heights) / 2
        heights = [middle - apart / 2, middle + apart / 2]
    for (name, _), height in zip(ordered, heights, strict=True):
        text = axes.annotate(
            name, (last, height), xytext=(9, 0), textcoords="offset points", va="center", color=_COLOURS[name]
        )
        text.set_in_layout(True)


def draw_matrix(name: str, matrix: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix of many classes as a picture without labels; classes are numbered from 1.

    Args:
        name: unique on the page.
        matrix: counts, a row a true class, a column a predicted class.

    Returns:
        An SVG element.
    """
    counts = np.array(matrix, np.int64)
    num_classes = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # such small cells need some colour to be seen at all, above all on a dark page
    shades = np.where(counts > 0, np.round(0.3 + 0.7 * shares**SHADE_POWER, 1), 0.0)
    is_right = np.eye(num_classes, dtype=np.bool_)
    wrong = np.where(is_right, 0, counts)
    # a file of many megabytes shows no more
    rare = np.argsort(-wrong, axis=None, kind="stable")[_MAX_CELLS:]
    shades.flat[rare[wrong.flat[rare] > 0]] = 0.0

    def draw(axes: "Axes") -> None:
        from matplotlib.collections import PolyCollection

        for kind, colour in ((is_right, SEA), (~is_right, RED)):
            for shade in np.unique(shades[kind & (shades > 0)]):
                cells = np.argwhere(kind & (shades == shade))
                squares = [[(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)] for y, x in cells.tolist()]
                axes.add_collection(PolyCollection(squares, facecolors=colour, alpha=float(shade), linewidths=0))
        axes.set(xlim=(0, num_classes), ylim=(num_classes, 0), aspect="equal")
        step = 10 if num_classes <= 150 else 50
        numbers = [1, *range(step, num_classes + 1, step)]
        axes.set_xticks([number - 0.5 for number in numbers], [str(number) for number in numbers])
        axes.set_yticks([number - 0.5 for number in numbers], [str(number) for number in numbers])
        axes.set(xlabel="predicted", ylabel="true class")
        axes.grid(visible=False)

    described = (
        f"{num_classes} classes; rows are the true class, columns the predicted one. "
        f"{counts.trace()} of {counts.sum()} photos lie on the diagonal, where both agree."
    )
    return draw_svg(name, "Confusion matrix", described, draw, width=560, height=560)


def draw_reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    """Draw the share of right answers against the certainty that the model claims.

    Args:
        bins: of `calibration` in metrics.json.

    Returns:
        An SVG element.
    """
    from scipy.special import bdtrik

    certainties = np.array([row["certainty"] for row in bins])
    shares = np.array([row["right"] for row in bins])
    groups = np.array([row["num_groups"] for row in bins])
    # quantiles of the binomial distribution; bdtrik knows none where zero is already more than the tail
    low, high = (100 * np.nan_to_num(np.ceil(bdtrik(tail, groups, certainties))) / groups for tail in (0.025, 0.975))

    def draw(axes: "Axes") -> None:
        axes.plot([0, 100], [0, 100], color=SOFT, linewidth=1, linestyle=(0, (3, 3)))
        axes.fill_between(100 * certainties, low, high, color=SOFT, alpha=0.2, linewidth=0)
        below = [100 * (row["right"] - row["low"]) for row in bins]
        above = [100 * (row["high"] - row["right"]) for row in bins]
        axes.errorbar(
            100 * certainties, 100 * shares, [below, above], fmt="o", color=SEA, elinewidth=1.5, markersize=6, zorder=3
        )
        start = max(0.0, 10 * np.floor(10 * min(certainties.min(), shares.min())) - 5)
        axes.set(xlim=(start, 101), ylim=(start, 101), xlabel="certainty the model claims", ylabel="right in truth")
        axes.xaxis.set_major_formatter(_write_percent)
        axes.yaxis.set_major_formatter(_write_percent)

    described = " ".join(
        f"Claimed {format_share(row['certainty'])}, right {format_share(row['right'])} ({format_range(row)})."
        for row in bins
    )
    return draw_svg("reliability", "Claimed certainty and share of right answers", described, draw, height=300)


def draw_answering(curve: Sequence[Mapping[str, Any]], answered: float | None, max_error: float) -> str:
    """Draw the share of right answers against the share of photos that are answered.

    Args:
        curve: of `answering` in metrics.json.
        answered: share of photos that is answered with the threshold in use; None if none is.
        max_error: share of wrong answers that is accepted.

    Returns:
        An SVG element.
    """
    shares = [100 * row["answered"] for row in curve]
    right = [100 * (1 - row["error"]) for row in curve]

    def draw(axes: "Axes") -> None:
        axes.plot(shares, right, color=SEA)
        axes.axhline(100 * (1 - max_error), color=SOFT, linewidth=1, linestyle=(0, (3, 3)))
        axes.annotate(
            f"{format_share(1 - max_error)} wanted",
            (0, 100 * (1 - max_error)),
            xytext=(4, -9),
            textcoords="offset points",
            va="center",
            color=SOFT,
        )
        if answered is not None:
            axes.axvline(100 * answered, color=ORANGE, linewidth=1.5)
            _write_above(axes, f"in use: {format_share(answered)} answered", ORANGE, is_right=answered > 0.5)
        lowest = min([*right, 100 * (1 - max_error)])
        axes.set(xlim=(0, 101), ylim=(lowest - 0.1 * (100.5 - lowest), 100.5))
        axes.set(xlabel="photos answered, the most certain first", ylabel="right among them")
        axes.xaxis.set_major_formatter(_write_percent)
        axes.yaxis.set_major_formatter(_write_percent)

    described = " ".join(
        f"{format_share(row['answered'])} answered: {format_share(1 - row['error'])} right." for row in curve
    )
    return draw_svg("answering", "Right answers against photos answered", described, draw, height=300)


def draw_learning_curve(needs: Mapping[str, Any]) -> str:
    """Draw accuracy against the number of training photos, and on into the forecast.

    Args:
        needs: `learning_curve` of metrics.json.

    Returns:
        An SVG element.
    """
    sizes, measured = needs["sizes"], needs["accuracies"]
    forecasts = needs["forecasts"]

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import NullLocator

        axes.set_xscale("log")
        _draw_band(axes, sizes, measured, SEA, "-")
        if forecasts:
            _draw_band(
                axes, [row["num_photos"] for row in forecasts], [row["accuracy"] for row in forecasts], ORANGE, "--"
            )
            axes.axvline(needs["num_photos"], color=SOFT, linewidth=1, zorder=1)
            _write_above(axes, "now | forecast", SOFT, is_right=True)
        ends = [sizes[0], needs["num_photos"], *(row["num_photos"] for row in forecasts[-1:])]
        ticks = sorted({round(end) for end in [*ends, *(sizes[len(sizes) // 2 : len(sizes) // 2 + 1])]})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(_write_percent)
        axes.set(xlabel="photos (each step doubles alike)", ylabel="right on unseen photos")

    told = [
        *(f"{size:.0f} photos: {format_share(row['value'])}." for size, row in zip(sizes, measured, strict=True)),
        *(
            f"Forecast for {row['num_photos']:,} photos: {format_share(row['accuracy']['value'])}"
            f" ({format_range(row['accuracy'])})."
            for row in forecasts
        ),
    ]
    return draw_svg("learning", "Accuracy against the number of photos", " ".join(told), draw, width=480, height=290)


def _draw_band(
    axes: "Axes", places: Sequence[float], rows: Sequence[Mapping[str, Any]], colour: str, style: str
) -> None:
    low, high = ([100 * row[end] for row in rows] for end in ("low", "high"))
    axes.fill_between(places, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(places, [100 * row["value"] for row in rows], style, marker="o", color=colour)


def _write_above(axes: "Axes", text: str, colour: str, *, is_right: bool) -> None:
    axes.set_title(text, loc="right" if is_right else "left", fontsize=10, color=colour, fontweight="normal")


def _write_percent(tick: float, _: float) -> str:
    return f"{tick:g}\u00a0%" if 0 <= tick <= 100 else ""


def _describe(line: Line, write: Callable[[float], str]) -> str:
    values = _known_values(line)
    return (
        f"{line.name.capitalize()}: {write(values[0])} at first, {write(values[-1])} at last, "
        f"lowest {write(min(values))}, highest {write(max(values))}."
    )


def _known_values(line: Line) -> list[float]:
    return [value for value in line.values if value is not None and is_number(value)]


def _fill(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
