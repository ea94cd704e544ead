"""Charts are drawn by a helper process, those that are known early while the rest is still being found out."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, Self

from clownfish.compute import Helpers, Message, WorkerFailure, run_in_workers
from clownfish.errors import WorkerError
from clownfish.report.drawing import DRAW_FUNCTION, draw_chart

_DRAWING_SECONDS = 120.0

Requests = Mapping[str, Mapping[str, Any]]
"""Of `report.drawing`: what is drawn, by the chart's name."""


class ChartDrawer:
    """One helper process that draws, for the length of a context."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._helpers = Helpers()
        self._pool = ThreadPoolExecutor(1)
        self._ahead: list[tuple[Requests, Future[dict[str, str]]]] = []

    def __enter__(self) -> Self:
        """Keep the helper while the context lasts."""
        self._helpers.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        """End the helper, and forget what has not been drawn."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._helpers.__exit__(*reason)

    def start(self) -> None:
        """Let the helper import Matplotlib, which takes longer than a small set takes to train."""
        self._helpers.start(1, function=DRAW_FUNCTION)

    def draw_ahead(self, requests: Requests) -> None:
        """Begin to draw charts that will probably be wanted; what has changed by then is drawn anew.

        Args:
            requests: of `report.drawing`.
        """
        self._ahead.append((requests, self._pool.submit(self._draw, requests)))

    def draw(self, requests: Requests) -> dict[str, str]:
        """Draw charts, or take what was drawn ahead.

        Args:
            requests: of `report.drawing.list_charts`.

        Returns:
            An SVG element by name.
        """
        known: dict[str, str] = {}
        rest = dict(requests)
        for asked, drawn in self._ahead:
            same = [name for name in asked if rest.get(name) == asked[name]]
            known |= {name: drawn.result()[name] for name in same}
            rest = {name: request for name, request in rest.items() if name not in same}
        return known | (self._pool.submit(self._draw, rest).result() if rest else {})

    def _draw(self, requests: Requests) -> dict[str, str]:
        """In the helper process; in this one where none can be had."""

        def take(_: Message, answer: Message | WorkerFailure) -> dict[str, str] | None:
            return None if isinstance(answer, WorkerFailure) else answer["charts"]

        work = run_in_workers(
            [{"charts": dict(requests)}],
            function=DRAW_FUNCTION,
            finish=take,
            timeout_seconds=_DRAWING_SECONDS,
            helpers=self._helpers,
        )
        drawn = None
        try:
            with closing(work) as outcomes:
                drawn = next(outcomes).result
        except WorkerError:
            drawn = None
        return {name: draw_chart(chart) for name, chart in requests.items()} if drawn is None else drawn
