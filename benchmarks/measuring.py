"""Run a program as a process of its own and measure what it cost: time, processor time, memory.

The largest process and the processor time come from the operating system (`wait4`; Linux, macOS): they
cover the program and all of its helpers that it waited for. The memory of all its processes together
is sampled five times a second (Linux): each shared page is counted once (PSS), so that processes
made by fork are not charged twice. What cannot be measured on a system is nan.
"""

import contextlib
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

_MOST_SAMPLING = 50
"""Pauses are so many times as long as what was sampled before them."""
_SAMPLE_SECONDS = 0.2
_CALM_SECONDS = 2.0
_PROC = Path("/proc")


class JobFailedError(Exception):
    """A measured program ended with an error; the message shows the end of what it printed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What one run of a program cost."""

    wall_seconds: float
    cpu_seconds: float
    """User and system time of all its processes."""
    largest_process_bytes: float
    """Highest resident memory of any one of its processes."""
    all_processes_bytes: float
    """Highest sampled memory of all its processes together."""
    others_share: float
    """Share of the machine's processor time that other programs took meanwhile, 0 to 1."""
    output: str
    """What it printed on standard output."""


@dataclass(slots=True)
class OthersLoad:
    """Filled in when the block that watched ends."""

    share: float = math.nan


@contextlib.contextmanager
def watch_others(cpu_seconds: Sequence[float] | None = None) -> Iterator[OthersLoad]:
    """Measure how busy other programs keep the machine while the block runs.

    Args:
        cpu_seconds: processor seconds that are not the others', filled in by the block; None for those of
            this process and of its ended children.

    Yields:
        The load; its share is known after the block.
    """
    load = OthersLoad()
    start, busy_start, own_start = time.perf_counter(), _read_busy_seconds(), read_own_seconds()
    try:
        yield load
    finally:
        own = read_own_seconds() - own_start if cpu_seconds is None else sum(cpu_seconds)
        capacity = (time.perf_counter() - start) * (os.cpu_count() or 1)
        others = _read_busy_seconds() - busy_start - own
        load.share = others if math.isnan(others) else max(0.0, others) / capacity


def wait_for_calm(max_share: float = 0.1, patience_seconds: float = 600.0) -> None:
    """Wait until other programs leave the machine alone for two seconds, or the patience is over."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        with watch_others() as load:
            time.sleep(_CALM_SECONDS)
        if not load.share > max_share:  # also where it cannot be measured
            return


def show_share(share: float) -> str:
    """Write a share as per cent, or - where it could not be measured."""
    return "-" if math.isnan(share) else f"{share:.0%}"


def run_measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measurement:
    """Run a program to its end.

    Args:
        command: the program and its arguments.
        environment: variables to add to those of this process.

    Returns:
        What it cost and what it printed.

    Raises:
        JobFailedError: it did not end with exit code 0.
    """
    cpu_seconds: list[float] = []
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        with watch_others(cpu_seconds) as load:
            start = time.perf_counter()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # its helpers are then known by their session
            )
            with _sample_memory(process.pid) as samples:
                cpu, largest = _wait(process)
            wall = time.perf_counter() - start
            cpu_seconds.append(cpu)
        printed = _read_back(output)
        if process.returncode:
            tail = (printed + _read_back(errors))[-3000:]
            raise JobFailedError(f"exit code {process.returncode} from: {' '.join(command)}\n{tail}")
    return Measurement(
        wall_seconds=wall,
        cpu_seconds=cpu,
        largest_process_bytes=largest,
        all_processes_bytes=samples.highest,
        others_share=load.share,
        output=printed,
    )


@dataclass(slots=True)
class _Samples:
    highest: float = math.nan
    done: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def _sample_memory(session: int) -> Iterator[_Samples]:
    samples = _Samples()
    if not (_PROC / "self" / "smaps_rollup").exists():
        yield samples
        return
    thread = threading.Thread(target=_keep_sampling, args=(session, samples), daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        samples.done.set()
        thread.join()


def _keep_sampling(session: int, samples: _Samples) -> None:
    pause = _SAMPLE_SECONDS
    while not samples.done.wait(pause):
        start = time.perf_counter()
        total = sum(_read_shared_fairly(process) for process in _list_session(session))
        if total and not samples.highest >= total:
            samples.highest = total
        # adding up the pages of large processes holds them up; it shall not count
        pause = max(_SAMPLE_SECONDS, _MOST_SAMPLING * (time.perf_counter() - start))


def _list_session(session: int) -> Iterator[Path]:
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):  # it may have ended
                # the name in brackets may hold anything; session is the fourth field after it
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if fields[3] == str(session):
                    yield folder


def _read_shared_fairly(folder: Path) -> float:
    with contextlib.suppress(OSError):
        for line in (folder / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1]) * 1024
    return 0.0


def _wait(process: "subprocess.Popen[bytes]") -> tuple[float, float]:
    """Wait for the end; processor seconds and bytes of the largest process."""
    if sys.platform == "win32":
        process.wait()
        return math.nan, math.nan
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:  # interrupted: its session does not hear of Ctrl+C by itself
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_utime + usage.ru_stime, float(usage.ru_maxrss * unit)


def _read_back(file: TextIO) -> str:
    file.seek(0)
    return file.read()


def _read_busy_seconds() -> float:
    """Processor seconds spent by everything on this machine since it started (Linux)."""
    try:
        with (_PROC / "stat").open() as file:
            user, nice, system, _idle, _wait, *interrupts = map(int, file.readline().split()[1:9])
    except OSError:
        return math.nan
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def read_own_seconds() -> float:
    """Processor seconds of this process and of its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
