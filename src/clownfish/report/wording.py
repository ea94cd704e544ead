"""Numbers, dates and names as a reader wants to see them."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

NOTHING = "–"
"""Stands where there is no value."""

# A no-break space keeps number and sign on one line.
_PERCENT = "\u00a0%"
# Not allowed in HTML, or not encodable: control characters, and the lone surrogates that Python makes of
# file names in a foreign encoding.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def format_share(value: float | None) -> str:
    """Write a share of 1 in whole per cent; what is not quite everything never reads as 100 %."""
    if value is None or not is_number(value):
        return NOTHING
    return _round_percent(value) + _PERCENT


def format_range(interval: Mapping[str, Any]) -> str:
    """Write an interval, such as "89 to 97 %"; "" if it has no ends."""
    low, high = interval.get("low"), interval.get("high")
    if low is None or high is None or not is_number(low) or not is_number(high):
        return ""
    ends = dict.fromkeys([_round_percent(low), _round_percent(high)])
    return " to ".join(ends) + _PERCENT


def format_accuracy(interval: Mapping[str, Any]) -> str:
    """Write an accuracy with its interval, such as "94 % (range 89 to 97 %)"."""
    between = format_range(interval)
    share = format_share(interval.get("value"))
    return f"{share} (range {between})" if between else share


def format_of_hundred(value: float) -> str:
    """Write a share as a count out of a hundred photos, such as "About 95 of 100"."""
    text = _round_percent(value)
    if text.startswith("over"):
        return "Over 99 of 100"
    return "Fewer than 1 of 100" if text.startswith("under") else f"About {text} of 100"


def format_range_of_hundred(interval: Mapping[str, Any]) -> str:
    """Write an interval as counts out of a hundred photos, such as "89 to 98"; "" if it has no ends."""
    return format_range(interval).removesuffix(_PERCENT)


def format_points(difference: float) -> str:
    """Write the size of a difference of two shares, such as "6 percentage points"."""
    points = round(abs(difference) * 100, 1)
    text = f"{points:g}"
    return f"{text} percentage point{'' if text == '1' else 's'}"


def format_loss(value: float | None) -> str:
    """Write a cross-entropy with two decimals, three if it is tiny."""
    if value is None or not is_number(value):
        return NOTHING
    return f"{value:.3f}" if 0 < value < 0.1 else f"{value:.2f}"


def count_noun(number: int, singular: str, plural: str = "") -> str:
    """Write a count with its noun, such as "1 photo" or "1,368 photos"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def format_seconds(seconds: float | None) -> str:
    """Write a duration, such as "8.4 s" or "2 min 5 s"."""
    if seconds is None or not is_number(seconds):
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}\u00a0h {minutes}\u00a0min" if hours else f"{minutes}\u00a0min {rest}\u00a0s"


def format_moment(text: str) -> str:
    """Write an ISO date and time as "5 November 2025, 14:03"; as it is if it is not one."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day}\u00a0{moment:%B %Y, %H:%M}"


def add_article(noun: str) -> str:
    """Put "a" or "an" before a noun, by its first letter."""
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"


def format_number(number: int | None) -> str:
    """Write a count, such as "1,368"."""
    return NOTHING if number is None else f"{number:,}"


def format_value(value: object) -> str:
    """Write the value of an option or a fact."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(format_value(item) for item in value) or NOTHING
    return str(value)


def shorten(text: str, limit: int) -> str:
    """Take out the middle of a long name; both ends stay, since they tell names apart.

    Args:
        text: the name.
        limit: characters that the result may have.

    Returns:
        The name, with an ellipsis where something is missing.
    """
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}…{text[len(text) - (limit - head - 1) :]}"


def isolate(text: str) -> str:
    """Keep the direction of a name from turning the text around it; for plain text, where <bdi> cannot go."""
    return f"\u2068{text}\u2069"


def clean_text(text: str) -> str:
    """Replace characters that a UTF-8 HTML file cannot hold."""
    return _FORBIDDEN.sub("\ufffd", text)


def _round_percent(value: float) -> str:
    percent = math.floor(value * 100 + 0.5)
    if percent == 100 and value < 1:
        return "over\u00a099"
    if percent == 0 and value > 0:
        return "under\u00a01"
    return str(percent)
