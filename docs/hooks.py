"""What MkDocs does to the pages: numbers in them come from a real run, never from somebody's memory.

A page says `{{ percent test.accuracy.value }}`; the number is looked up in numbers.json, which
pictures/make_pictures.py writes from `clownfish demo`. A name that is not there is an error. The command line is
described by the program itself.
"""

import inspect
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import click

_COMMANDS = "<!-- commands -->"
_CODE = re.compile(r"(<pre.*?</pre>|<code.*?</code>)", re.DOTALL)
_TERMINAL = re.compile(r'<p>(<img alt="(?:What clownfish|The answer)[^>]*>)</p>')
_PLACEHOLDER = re.compile(r"\{\{ (\w+) ([\w.-]+) \}\}")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the numbers and the commands in (MkDocs calls this for every page)."""
    if _COMMANDS in markdown:
        markdown = markdown.replace(_COMMANDS, describe_commands())
    return fill_numbers(markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Mark pictures of terminals for style.css; keep numbers and "%" on one line (MkDocs calls this for every page)."""
    html = _TERMINAL.sub(r'<div class="terminal">\1</div>', html)
    parts = _CODE.split(html)  # every second one is code, which readers copy
    return "".join(
        part if number % 2 else part.replace(" %", "\N{NO-BREAK SPACE}%") for number, part in enumerate(parts)
    )


def describe_commands() -> str:
    """Write the reference of the command line from the program itself.

    Returns:
        Markdown: a section a command, with its arguments and options.
    """
    from clownfish.cli import clownfish as program

    parts = []
    for name, command in sorted(program.commands.items()):
        context = click.Context(command, info_name=f"clownfish {name}", help_option_names=["-h", "--help"])
        parts += [f"## clownfish {name}", inspect.cleandoc(command.help or "")]
        parts.append(f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```")
        records = [option.get_help_record(context) for option in command.get_params(context)]
        rows = [record for record in records if record and record[1]]  # arguments are told of in the text
        parts.append("| option | meaning |\n|---|---|\n" + "\n".join(_write_option(*row) for row in rows))
    return "\n\n".join(parts)


def _write_option(names: str, meaning: str) -> str:
    escaped = meaning.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    return f"| `{names}` | {escaped} |"


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
