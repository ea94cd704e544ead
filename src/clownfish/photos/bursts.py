"""Photos that one camera took within a minute: their animals and backgrounds are hardly independent."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from clownfish.records import Inspection

MAX_GAP_SECONDS = 60.0
_FIRST_BELIEVABLE = datetime(2000, 1, 2)
"""Clocks that were never set start in 1970, 1980 or at the first of January 2000."""
_MAX_SIMULTANEOUS = 20
"""More photos than that in one second of one camera: the times were written by a program."""


def find_bursts(inspections: Sequence[Inspection]) -> list[tuple[int, int, float]]:
    """Pair photos that follow each other within a minute on one camera.

    Args:
        inspections: with the camera and the time of each photo.

    Returns:
        Positions of the earlier and the later photo, and the seconds between them.
    """
    by_camera: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for position, inspection in enumerate(inspections):
        time = _read_time(inspection.taken)
        if inspection.camera and time is not None:
            by_camera[inspection.camera].append((time, position))
    pairs = []
    for moments in by_camera.values():
        moments.sort()
        simultaneous = Counter(time for time, _ in moments)
        believable = [moment for moment in moments if simultaneous[moment[0]] <= _find_limit(len(moments))]
        for (earlier, first), (later, second) in pairwise(believable):
            seconds = (later - earlier).total_seconds()
            if seconds <= MAX_GAP_SECONDS:
                pairs.append((first, second, seconds))
    return pairs


def _find_limit(num_photos: int) -> int:
    """How many photos may bear one time: half of a larger number are a program's doing."""
    return min(_MAX_SIMULTANEOUS, max(5, num_photos // 2))


def _read_time(text: str) -> datetime | None:
    if not text:
        return None
    time = datetime.fromisoformat(text)
    # exact midnight is a date without a time
    is_midnight = (time.hour, time.minute, time.second) == (0, 0, 0)
    return None if time < _FIRST_BELIEVABLE or is_midnight else time
