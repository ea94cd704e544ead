"""Markdown tables, the description of the machine, and the file benchmarks/RESULTS.md."""

import datetime
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS_FILE = Path(__file__).parent / "RESULTS.md"
_HEADING = "# Results\n\nWritten by the scripts beside this file, one section each; README.md says what they measure.\n"


def count_cores() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a Markdown table; the first column is text, the others are numbers.

    Args:
        header: names of the columns.
        rows: the cells.

    Returns:
        The table's lines.
    """
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def show_number(value: float, decimals: int = 1) -> str:
    """Write a number with commas, or - where it could not be measured."""
    return "-" if math.isnan(value) else f"{value:,.{decimals}f}"


def show_megabytes(num_bytes: float) -> str:
    """Write a number of bytes as MB of a million."""
    return show_number(num_bytes / 1e6, 0)


def describe_conditions(packages: Sequence[str], further: str = "") -> str:
    """Say where, when and with what was measured.

    Args:
        packages: names of installed packages whose versions matter.
        further: versions found elsewhere, as text.

    Returns:
        One paragraph.
    """
    versions = [f"{package} {_find_version(package)}" for package in packages]
    return (
        f"Measured on {datetime.date.today().isoformat()}: {_find_processor()}, {count_cores()} cores,"
        f" {_find_memory()}, {_find_system()}, Python {platform.python_version()},"
        f" {', '.join([*versions, *filter(None, [further])])}."
    )


def publish(name: str, text: str, *, write: bool) -> None:
    """Print a section and, if asked, put it into the file of results in place of the one of that name.

    Args:
        name: of the section; letters, digits and hyphens.
        text: Markdown.
        write: also write the file.
    """
    print(f"\n{text}")
    if not write:
        return
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    section = f"{begin}\n{text}\n{end}"
    old = RESULTS_FILE.read_text(encoding="utf-8") if RESULTS_FILE.exists() else _HEADING
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    new = pattern.sub(lambda _: section, old) if pattern.search(old) else f"{old}\n{section}\n"
    RESULTS_FILE.write_text(new, encoding="utf-8")
    print(f"\nWritten to {RESULTS_FILE}.")


def report_progress(text: str) -> None:
    """Tell the person who waits what goes on, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _find_processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        return subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        ).stdout.strip()
    return platform.processor() or platform.machine()


def _find_memory() -> str:
    try:
        num_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "memory unknown"
    return f"{num_bytes / 2**30:.0f} GiB"


def _find_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"
