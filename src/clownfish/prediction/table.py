"""The table of predictions: written as the photos are done, continued where it was interrupted."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

import numpy as np
from filelock import FileLock, Timeout

from clownfish.answers.rules import STATUSES
from clownfish.errors import OutputError
from clownfish.files import encode_text, format_cell, format_line, name_columns
from clownfish.prediction.batch import Answer, predict_photos
from clownfish.prediction.classifier import Classifier
from clownfish.records import PhotoFile

FIXED_COLUMNS = ("file", "label", "probability", "second", "second_probability", "status", "candidates")
CANDIDATE_SEPARATOR = " | "
_STATUS = FIXED_COLUMNS.index("status")


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSummary:
    """What a table of predictions holds."""

    num_photos: int
    num_unusable: int
    num_resumed: int
    """Photos that an interrupted run had done already."""
    counts: Counter[str]
    """Photos by predicted label, of those that are answered."""
    num_unsure: int = 0
    """Photos whose best guess is wrong too often to be used."""
    num_unlike: int = 0
    """Photos that are unlike anything the model has seen."""
    left_out: tuple[str, ...] = ()
    """Photos that the format has no place for, with the reason; up to 20."""
    num_left_out: int = 0
    messages: tuple[str, ...] = ()
    """What else to know, one sentence each."""


class Layout(Protocol):
    """How an answer is written to a line, and what can be told from the line again."""

    @property
    def header(self) -> bytes:
        """The first line."""
        ...

    def format_answer(self, answer: Answer) -> bytes:
        """Write one answer as one line."""
        ...

    def name_photo(self, photo: PhotoFile) -> str:
        """Tell how `read` will call a photo."""
        ...

    def read(self, file: TextIO) -> Iterator[tuple[str, Sequence[str]]]:
        """Read the lines of a file: what each calls its photo, and the cells of its row (see `make_row`)."""
        ...


class TableLayout:
    """A CSV."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self.header = encode_text(format_line([format_cell(name) for name in make_header(classes)]))

    def format_answer(self, answer: Answer) -> bytes:
        """Write one answer as one line."""
        return encode_text(format_line(make_row(answer, self._classes)))

    def name_photo(self, photo: PhotoFile) -> str:
        """Tell how `read` will call a photo."""
        return encode_text(format_cell(photo.file)).decode()

    def read(self, file: TextIO) -> Iterator[tuple[str, Sequence[str]]]:
        """Read what each row calls its photo, and its cells."""
        rows = csv.reader(file)
        next(rows)
        for cells in rows:
            yield cells[0], cells


def write_predictions(
    classifier: Classifier,
    photos: Iterable[PhotoFile],
    path: Path,
    *,
    overwrite: bool = False,
    on_row: Callable[[Sequence[str]], None] = lambda _: None,
) -> TableSummary:
    """Classify photos and write a row each, in constant memory.

    Rows go to a file beside `path` that is renamed at the end. If an interrupted run of the same model left
    such a file, its rows are kept and the work goes on behind them.

    Args:
        classifier: the model.
        photos: in an order that is the same each time.
        path: the CSV to write.
        overwrite: replace an existing table.
        on_row: called with the cells of each row, also of rows that an interrupted run had written.

    Returns:
        What the table holds.

    Raises:
        OutputError: the table exists, cannot be written, or an interrupted one is of other photos.
    """
    partial = name_partial(path, classifier)
    try:
        if path.exists() and not path.is_file():
            raise OutputError(f"{path} is not a file that can be replaced by a table. Give another name with --out.")
        check_replaceable(path, overwrite=overwrite)
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock_partial(partial):
            summary = collect_answers(classifier, photos, partial, TableLayout(classifier.classes), on_row=on_row)
            partial.replace(path)
    except OSError as error:
        raise refuse_place(path, error) from error
    return summary


def name_partial(path: Path, classifier: Classifier, ending: str = "") -> Path:
    """Name the file that holds the answers until all are there.

    Args:
        path: of what is to be written.
        classifier: the model; another one, or another budget of errors, has another file.
        ending: tells layouts apart.
    """
    budget = "" if classifier.max_error is None else f"-{classifier.max_error:g}"
    return path.with_name(f"{path.name}.partial-{classifier.hash[:8]}{budget}{ending}")


def check_replaceable(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace what exists unless that is wanted.

    Raises:
        OutputError: it exists.
    """
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already. Give another name with --out, or replace it with --overwrite.")


def refuse_place(path: Path, error: OSError) -> OutputError:
    """Say that a place cannot be written."""
    return OutputError(f"Cannot write {path}: {error.strerror or error}. Give another place with --out.")


def collect_answers(
    classifier: Classifier,
    photos: Iterable[PhotoFile],
    partial: Path,
    layout: Layout,
    *,
    on_row: Callable[[Sequence[str]], None] = lambda _: None,
) -> TableSummary:
    """Classify photos into a file, behind those that it holds already.

    Args:
        classifier: the model.
        photos: in an order that is the same each time.
        partial: the file; locked with `lock_partial`.
        layout: of its lines.
        on_row: called with the cells of each row, also of those that were there.

    Returns:
        What the file holds.

    Raises:
        OutputError: the file is of other photos.
        OSError: it cannot be written.
    """
    counts: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    num_photos, num_resumed = 0, _recover(partial, layout.header)
    for cells in _chain(partial, num_resumed, classifier, iter(photos), layout):
        num_photos += 1
        statuses[cells[_STATUS]] += 1
        if cells[_STATUS] == "ok":
            counts[cells[1]] += 1
        on_row(cells)
    return TableSummary(
        num_photos=num_photos,
        num_unusable=num_photos - sum(statuses[status] for status in STATUSES),
        num_resumed=num_resumed,
        counts=counts,
        num_unsure=statuses["unsure"],
        num_unlike=statuses["unlike anything seen"],
    )


def make_header(classes: Sequence[str]) -> list[str]:
    """Column names: the fixed ones and one a class; a class called like a fixed column gets "class " in front."""
    return [*FIXED_COLUMNS, *name_columns(classes, FIXED_COLUMNS)]


def make_row(answer: Answer, classes: Sequence[str]) -> list[str]:
    """Format one answer as the cells of its row.

    Args:
        answer: of one photo.
        classes: names of the classes.

    Returns:
        One cell a column of `make_header`.
    """
    answered = answer.answered
    if answered is None:
        cells: list[object] = [answer.photo.file, None, None, None, None, f"unusable: {answer.note}", None]
        cells += [None] * len(classes)
    else:
        first, second = np.argsort(-answered.probabilities, kind="stable")[:2]
        values = [float(value) for value in answered.probabilities]
        cells = [answer.photo.file, classes[first], values[first], classes[second], values[second]]
        cells += [answered.status, CANDIDATE_SEPARATOR.join(answered.candidates), *values]
    return [format_cell(cell) for cell in cells]


@contextmanager
def lock_partial(partial: Path) -> Iterator[None]:
    """Keep a second process from writing the same file; the lock of a killed one is free.

    Raises:
        OutputError: another process writes it.
    """
    lock = FileLock(f"{partial}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(f"Another clownfish is writing this table ({partial}). Wait for it, or use --out.") from error
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # another process may be about to take it
            Path(lock.lock_file).unlink(missing_ok=True)


def _recover(partial: Path, header: bytes) -> int:
    """Cut off what a kill left of the last line; returns the number of complete rows, starting anew if need be."""
    if partial.exists():
        with partial.open("rb+") as file:
            num_lines = end = 0
            for line in file:
                if line.endswith(b"\n"):
                    num_lines, end = num_lines + 1, end + len(line)
            file.truncate(end)
        if num_lines:
            return num_lines - 1
    partial.write_bytes(header)
    return 0


def _chain(
    partial: Path, num_resumed: int, classifier: Classifier, remaining: Iterator[PhotoFile], layout: Layout
) -> Iterator[Sequence[str]]:
    """The rows that are there, checked against the photos, then the new ones as they are written."""
    if num_resumed:
        with partial.open(encoding="utf-8", newline="") as file:
            for name, cells in layout.read(file):
                photo = next(remaining, None)
                if photo is None or layout.name_photo(photo) != name:
                    raise OutputError(
                        f"{partial} holds an interrupted table of other photos ({name!r} is not where it was)."
                        " Remove that file to start anew."
                    )
                yield cells
    with partial.open("ab") as output:
        for answer in predict_photos(classifier, remaining):
            output.write(layout.format_answer(answer))
            output.flush()
            yield make_row(answer, classifier.classes)
        os.fsync(output.fileno())
