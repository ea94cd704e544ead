"""How far a long stage has come, shown while it runs."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from math import isfinite
from typing import Protocol

_ESTIMATE_SECONDS = 3600.0
"""Time left follows from as much of the past: an epoch of fine-tuning may take many minutes."""


class Advance(Protocol):
    """Call it once for each item that is done."""

    def __call__(self, text: str = "") -> None:
        """Advance by one item; a text is shown behind the bar until the next one comes."""
        ...


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
        yield lambda text="": None


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
            TextColumn("{task.fields[text]}"),
        )
        with Progress(
            *columns,
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=5,
            speed_estimate_period=_ESTIMATE_SECONDS,
        ) as bars:
            task = bars.add_task(name, total=total, text="")

            def advance(text: str = "") -> None:
                if text:
                    bars.update(task, text=text)
                bars.advance(task)

            yield advance


def describe_epoch(loss: float | None, accuracy: float | None) -> str:
    """Tell how an epoch went, to stand behind a bar.

    Args:
        loss: cross-entropy, of validation photos where there are any.
        accuracy: share of the same photos that are named right.

    Returns:
        Such as "loss 0.312, 92 % right"; "" if nothing is known.
    """
    if loss is None or accuracy is None or not (isfinite(loss) and isfinite(accuracy)):
        return ""
    return f"loss {loss:.3f}, {100 * accuracy:.0f} % right"
