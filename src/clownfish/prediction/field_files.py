"""Answers in the formats of field tools: collected line by line, then written whole."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from clownfish.errors import OutputError
from clownfish.files import encode_text
from clownfish.prediction.answer_lines import ENDING, AnswerLayout, PhotoAnswer, read_answers
from clownfish.prediction.camtrap_dp import FILES, write_camtrap_dp
from clownfish.prediction.classifier import Classifier
from clownfish.prediction.json_file import write_json
from clownfish.prediction.study import Study
from clownfish.prediction.table import (
    TableSummary,
    check_replaceable,
    collect_answers,
    lock_partial,
    name_partial,
    refuse_place,
)
from clownfish.prediction.timelapse import write_timelapse
from clownfish.records import PhotoFile

_WRITERS = {"json": write_json, "timelapse": write_timelapse}


def write_document(
    classifier: Classifier,
    photos: Iterable[PhotoFile],
    path: Path,
    kind: str,
    *,
    overwrite: bool = False,
    on_row: Callable[[Sequence[str]], None] = lambda _: None,
) -> TableSummary:
    """Classify photos into one document, in constant memory; interrupted work is continued.

    Args:
        classifier: the model.
        photos: in an order that is the same each time.
        path: the file to write.
        kind: "json" or "timelapse".
        overwrite: replace an existing file.
        on_row: called with the cells of each row, as in `table.write_predictions`.

    Returns:
        What the document holds.

    Raises:
        OutputError: the file exists, cannot be written, or interrupted work is of other photos.
    """

    def finish(answers: Iterator[PhotoAnswer], temporary: Path) -> TableSummary | None:
        with (temporary / "document").open("wb") as file:
            for piece in _WRITERS[kind](classifier, answers):
                file.write(encode_text(piece))
            file.flush()
            os.fsync(file.fileno())
        (temporary / "document").replace(path)
        return None

    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is not a file that can be replaced. Give another name with --out.")
    return _write(classifier, photos, path, finish, overwrite=overwrite, on_row=on_row)


def write_package(
    classifier: Classifier,
    photos: Iterable[PhotoFile],
    path: Path,
    study: Study,
    scientific_names: Mapping[str, str],
    *,
    overwrite: bool = False,
    on_row: Callable[[Sequence[str]], None] = lambda _: None,
) -> TableSummary:
    """Classify photos into a Camtrap DP, in constant memory; interrupted work is continued.

    Args:
        classifier: the model.
        photos: in an order that is the same each time.
        path: the folder to write.
        study: what photos do not tell.
        scientific_names: by class.
        overwrite: replace an existing package.
        on_row: called with the cells of each row, as in `table.write_predictions`.

    Returns:
        What the package holds, and what not.

    Raises:
        OutputError: the folder exists, cannot be written, or interrupted work is of other photos.
    """
    summaries = []

    def finish(answers: Iterator[PhotoAnswer], temporary: Path) -> None:
        made = temporary / "package"
        made.mkdir()
        summaries.append(write_camtrap_dp(classifier, answers, study, scientific_names, made))
        if path.exists():
            path.rename(temporary / "old")
        made.rename(path)

    if path.exists() and not (path.is_dir() and {entry.name for entry in path.iterdir()} <= FILES):
        raise OutputError(f"{path} is not a package that can be replaced. Give another name with --out.")
    summary = _write(classifier, photos, path, finish, overwrite=overwrite, on_row=on_row)
    (made,) = summaries
    messages = []
    if made.num_outside:
        messages.append(
            f"{made.num_outside} photos were taken outside the time of their deployment. Check the cameras' clocks, and"
            " deploymentStart and deploymentEnd."
        )
    nameless = sorted(made.used - scientific_names.keys())
    if nameless:
        messages.append(
            f"No scientific name is known for {', '.join(nameless[:5])}{', ...' if len(nameless) > 5 else ''}: these"
            " observations have the class as a tag only. Name them in datapackage.json of the study, under taxonomic."
        )
    return replace(summary, left_out=tuple(made.left_out), num_left_out=made.num_left_out, messages=tuple(messages))


def _write(
    classifier: Classifier,
    photos: Iterable[PhotoFile],
    path: Path,
    finish: Callable[[Iterator[PhotoAnswer], Path], object],
    *,
    overwrite: bool,
    on_row: Callable[[Sequence[str]], None],
) -> TableSummary:
    """Collect the answers beside `path`, then let `finish` make it of them."""
    partial = name_partial(path, classifier, ENDING)
    try:
        check_replaceable(path, overwrite=overwrite)
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock_partial(partial):
            summary = collect_answers(classifier, photos, partial, AnswerLayout(classifier.classes), on_row=on_row)
            temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".partial-"))
            try:
                finish(read_answers(partial), temporary)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            with suppress(OSError):
                partial.unlink()
    except OSError as error:
        raise refuse_place(path, error) from error
    return summary
