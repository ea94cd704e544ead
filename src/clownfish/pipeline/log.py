"""What happened when, and how long each stage took."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from clownfish.files import encode_text


class RunLog:
    """Collects events and the seconds of each stage."""

    def __init__(self) -> None:
        """Start the clock."""
        self._started = time.perf_counter()
        self._events: list[dict[str, Any]] = []
        self._seconds: dict[str, float] = {}
        self._listener: Callable[[str, Mapping[str, Any]], None] = lambda *_: None
        self.created = datetime.now(UTC).astimezone().isoformat(timespec="seconds")

    @contextmanager
    def time_stage(self, name: str) -> Iterator[None]:
        """Measure a stage while the context lasts."""
        started = time.perf_counter()
        self.add("stage started", stage=name)
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - started
        self.add("stage done", stage=name, seconds=round(self._seconds[name], 3))

    def add(self, event: str, **facts: Any) -> None:
        """Note an event.

        Args:
            event: what happened.
            facts: further keys of the line in log.jsonl.
        """
        now = datetime.now(UTC).astimezone().isoformat(timespec="milliseconds")
        self._events.append({"time": now, "event": event, **facts})
        self._listener(event, facts)

    def listen(self, listener: Callable[[str, Mapping[str, Any]], None]) -> None:
        """Pass on every event from now on.

        Args:
            listener: called with the event and its facts.
        """
        self._listener = listener

    def summarise_seconds(self) -> dict[str, float]:
        """Seconds of each stage, and in total until now."""
        return {**self._seconds, "total": time.perf_counter() - self._started}

    def format(self) -> bytes:
        """All events, one JSON object a line."""
        return encode_text("".join(json.dumps(event, ensure_ascii=False) + "\n" for event in self._events))
