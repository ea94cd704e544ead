"""What a notebook shows of a result: a small table and a bar, as HTML that needs no script, style sheet or font.

Labels and file names come from anywhere, so every text is escaped here and nowhere else. A notebook may be dark or
light: colours are the page's own, but for the mark of the accuracy.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_MAX_ROWS = 30
_MAX_LETTERS = 200
_WIDTH, _HEIGHT = 300, 34
_BAR_COLOUR = "#0072b2"  # of Okabe & Ito: told from others by colour-blind readers too
_FORBIDDEN = frozenset({"Cc", "Cs"})  # control characters, and what Python makes of names that are no UTF-8


def write_text(value: object) -> str:
    """Write a value for HTML.

    Args:
        value: anything; text of any origin.

    Returns:
        Escaped text, cut at 200 letters, whose direction does not turn what stands around it.
    """
    text = "–" if value is None else str(value)
    text = "".join("\ufffd" if unicodedata.category(letter) in _FORBIDDEN else letter for letter in text)
    if len(text) > _MAX_LETTERS:
        text = text[: _MAX_LETTERS - 1] + "…"
    return f"<bdi>{escape(text)}</bdi>"


def write_share(share: float | None) -> str:
    """Write a share in whole per cent: never 100 where something is wrong, nor 0 where something is right."""
    if share is None:
        return "–"
    if 0.995 <= share < 1:
        return "over 99 %"
    if 0 < share <= 0.005:
        return "under 1 %"
    return f"{100 * share:.0f} %"


def write_accuracy(accuracy: Mapping[str, Any]) -> str:
    """Write an accuracy with its interval, such as "94 % (89 % to 97 %)"."""
    if accuracy["value"] is None:
        return "–"
    between = f" ({write_share(accuracy['low'])} to {write_share(accuracy['high'])})"
    return write_share(accuracy["value"]) + (between if accuracy["low"] is not None else "")


def make_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], *, note: str = "") -> str:
    """Make a table.

    Args:
        title: the line above it.
        header: one name a column; empty for none.
        rows: cells; a cell that is an `Html` is put in as it is, every other is escaped.
        note: the line below it.

    Returns:
        HTML with at most 30 rows, and the number of those left out.
    """
    parts = [f"<table><caption><b>{write_text(title)}</b></caption>"]
    if header:
        names = "".join(f'<th scope="col">{write_text(name)}</th>' for name in header)
        parts.append(f"<thead><tr>{names}</tr></thead>")
    parts.append("<tbody>")
    parts.extend(f"<tr>{''.join(map(_make_cell, row))}</tr>" for row in rows[:_MAX_ROWS])
    parts.append("</tbody></table>")
    if len(rows) > _MAX_ROWS:
        parts.append(f"<p>and {len(rows) - _MAX_ROWS:,} more</p>")
    if note:
        parts.append(f"<p>{write_text(note)}</p>")
    return "".join(parts)


class Html(str):
    """Text that is HTML already; only this module makes it."""

    __slots__ = ()


def draw_accuracy(accuracy: Mapping[str, Any], chance: float | None = None) -> Html:
    """Draw an accuracy and its interval on a scale from 0 to 100 %.

    Args:
        accuracy: "value", "low" and "high", shares of 1.
        chance: what guessing reaches; None to leave it out.

    Returns:
        An SVG of 300 x 34 pixels; nothing where there is no accuracy.
    """
    value, low, high = accuracy["value"], accuracy["low"], accuracy["high"]
    if value is None:
        return Html("")

    def place(share: float) -> float:
        return round(10 + share * (_WIDTH - 20), 1)

    told = f"Accuracy {write_accuracy(accuracy)}" + (f", guessing {write_share(chance)}" if chance is not None else "")
    ends = (place(0), place(1))
    parts = [f'<line x1="{ends[0]}" x2="{ends[1]}" y1="14" y2="14" stroke="currentColor" stroke-opacity="0.3"/>']
    if low is not None and high is not None:
        parts.append(
            f'<line x1="{place(low)}" x2="{place(high)}" y1="14" y2="14" stroke="{_BAR_COLOUR}" stroke-width="8"'
            ' stroke-opacity="0.5"/>'
        )
    if chance is not None:
        x = place(chance)
        parts.append(f'<line x1="{x}" x2="{x}" y1="4" y2="24" stroke="currentColor" stroke-dasharray="2 2"/>')
    parts.append(f'<circle cx="{place(value)}" cy="14" r="5" fill="{_BAR_COLOUR}"/>')
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        parts.append(
            f'<text x="{place(share)}" y="32" font-size="9" fill="currentColor" text-anchor="{anchor}">'
            f"{100 * share:.0f} %</text>"
        )
    return Html(
        f'<svg role="img" aria-label="{escape(told)}" width="{_WIDTH}" height="{_HEIGHT}"'
        f' viewBox="0 0 {_WIDTH} {_HEIGHT}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def make_class_rows(classes: Sequence[Mapping[str, Any]]) -> list[list[object]]:
    """Make rows of a table of classes.

    Args:
        classes: as "per_class" of metrics.json.

    Returns:
        Label, photos, how many right, share of them right, share of the answers that are right; the worst first.
    """
    known = [row for row in classes if row["num_photos"]]
    return [
        [row["label"], row["num_photos"], row["tp"], write_share(row["recall"]), write_share(row["precision"])]
        for row in sorted(known, key=lambda row: row["recall"])
    ]


CLASS_HEADER = ("class", "photos", "right", "of its photos right", "of such answers right")
"""Of the columns of `make_class_rows`."""


def _make_cell(cell: object) -> str:
    return f"<td>{cell if isinstance(cell, Html) else write_text(cell)}</td>"
