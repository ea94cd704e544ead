"""What is read back from run folders."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clownfish.errors import RunFolderError

_CROSS_VALIDATED = {"sha256", "group", "label", "predicted", "correct"}


def read_json(run: Path, name: str) -> dict[str, Any]:
    """Read a JSON file of a run folder.

    Args:
        run: the folder.
        name: of the file.

    Returns:
        Its content.

    Raises:
        RunFolderError: the folder is none of a run, or the file cannot be read.
    """
    try:
        content = json.loads(_read_text(run, name), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _say_damaged(run / name, error) from error
    if not isinstance(content, dict):
        raise _say_damaged(run / name, "it holds no object")
    return content


def read_cross_validated(run: Path, num_photos: int) -> list[Mapping[str, str]]:
    """Read cross_validated.csv: how each photo was answered by a model that had not seen it.

    Args:
        run: the folder.
        num_photos: how many rows there have to be.

    Returns:
        One row a photo.

    Raises:
        RunFolderError: the folder is none of a run, or the table cannot be read.
    """
    path = run / "cross_validated.csv"
    text = _read_text(run, path.name)
    try:
        rows: list[Mapping[str, str]] = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise _say_damaged(path, error) from error
    if not rows or not rows[0].keys() >= _CROSS_VALIDATED:
        raise _say_damaged(path, f"it needs rows with the columns {', '.join(sorted(_CROSS_VALIDATED))}")
    if len(rows) != num_photos or any(cell is None for row in rows for cell in row.values()):
        raise _say_damaged(path, f"it is not whole; metrics.json tells of {num_photos} photos")
    return rows


def refuse_content(path: Path, error: Exception) -> RunFolderError:
    """Say that a file was read, but does not hold what it should.

    Args:
        path: of the file.
        error: what was missed.

    Returns:
        The error to raise.
    """
    return _say_damaged(path, f"it does not hold what clownfish train writes ({type(error).__name__}: {error})")


def _read_text(run: Path, name: str) -> str:
    try:
        return (run / name).read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        if (run / "metrics.json").is_file():
            raise RunFolderError(
                f"{run} has no {name}: it was made by an older clownfish, or the file was removed. Train again:"
                f" clownfish train --config {run / 'config.toml'}"
            ) from error
        raise RunFolderError(
            f"{run} is no run folder: it has no metrics.json. Give a folder that clownfish train has made, such as"
            " runs/photos-1."
        ) from error
    except OSError as error:
        raise _say_damaged(run / name, error.strerror or error) from error
    except UnicodeDecodeError as error:
        raise _say_damaged(run / name, error) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _say_damaged(path: Path, reason: object) -> RunFolderError:
    return RunFolderError(
        f"{path} cannot be read: {reason}. Train again: clownfish train --config {path.parent / 'config.toml'}"
    )
