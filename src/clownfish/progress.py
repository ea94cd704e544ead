"""How far a long stage has come, shown while it runs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[], None]
"""Call it once for each item that is done."""


class Progress(Protocol):
    """Shows stages."""

    def show_stage(self, name: str, total: int | None) -> AbstractContextManager[Advance]:
        """Show a stage while the context lasts; total is the number of items, None if unknown."""
        ...


class NoProgress:
    """Shows nothing."""

    @contextmanager
    def show_stage(self, name: str, total: int | None) -> Iterator[Advance]:
        """Do nothing."""
        yield lambda: None


class BarProgress:
    """Shows a bar with speed and time left, on standard error; in notebooks too."""

    @contextmanager
    def show_stage(self, name: str, total: int | None) -> Iterator[Advance]:
        """Draw a bar until the context ends."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description:<16}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5) as bars:
            task = bars.add_task(name, total=total)
            yield lambda: bars.advance(task)
