"""What MkDocs does to the pages: numbers in them come from a real run, never from somebody's memory.

A page says `{{ percent test.accuracy.value }}`; the number is looked up in numbers.json, which
pictures/make_pictures.py writes from `clownfish demo`. A name that is not there is an error.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

_PLACEHOLDER = re.compile(r"\{\{ (\w+) ([\w.-]+) \}\}")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the numbers in (MkDocs calls this for every page)."""
    return fill_numbers(markdown)


def fill_numbers(markdown: str) -> str:
    """Replace every placeholder of a page.

    Args:
        markdown: the page.

    Returns:
        The page with numbers.

    Raises:
        KeyError: there is no such number, or no such way to write it.
    """
    return _PLACEHOLDER.sub(lambda match: _WRITERS[match[1]](find_number(match[2])), markdown)


def find_number(path: str) -> Any:
    """Look a number up.

    Args:
        path: keys of numbers.json, joined by dots; whole numbers are positions in lists.

    Returns:
        What stands there.

    Raises:
        KeyError: nothing stands there.
    """
    value: Any = read_numbers()
    for key in path.split("."):
        try:
            value = value[int(key) if isinstance(value, list) else key]
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise KeyError(
                f"numbers.json has no {path}. Run docs/pictures/make_pictures.py, or correct the page."
            ) from error
    return value


@cache
def read_numbers() -> dict[str, Any]:
    """The content of numbers.json."""
    content: dict[str, Any] = json.loads(Path(__file__).with_name("numbers.json").read_text(encoding="utf-8"))
    return content


def _write_percent(share: float) -> str:
    if 0.995 <= share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %"


def _write_range(interval: dict[str, float]) -> str:
    return f"{_write_percent(interval['low'])} to {_write_percent(interval['high'])}"


_WRITERS = {
    "percent": _write_percent,
    "points": lambda share: f"{100 * abs(share):.0f}",
    "range": _write_range,
    "number": lambda value: f"{value:,}",
    "decimals": lambda value: f"{value:.2f}",
    "text": str,
}
