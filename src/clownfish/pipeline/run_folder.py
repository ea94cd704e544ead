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
        content = json.loads(_read_text(run, name))
    except ValueError as error:
        raise _say_damaged(run / name, error) from error
    if not isinstance(content, dict):
        raise _say_damaged(run / name, "it holds no object")
    return content


def read_cross_validated(run: Path) -> list[Mapping[str, str]]:
    """Read cross_validated.csv: how each photo was answered by a model that had not seen it.

    Args:
        run: the folder.

    Returns:
        One row a photo.

    Raises:
        RunFolderError: the folder is none of a run, or the table cannot be read.
    """
    path = run / "cross_validated.csv"
    rows: list[Mapping[str, str]] = list(csv.DictReader(io.StringIO(_read_text(run, path.name), newline="")))
    if not rows or not rows[0].keys() >= _CROSS_VALIDATED:
        raise _say_damaged(path, f"it needs rows with the columns {', '.join(sorted(_CROSS_VALIDATED))}")
    return rows


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
    except (OSError, UnicodeDecodeError) as error:
        raise _say_damaged(run / name, error) from error


def _say_damaged(path: Path, reason: object) -> RunFolderError:
    return RunFolderError(
        f"{path} cannot be read: {reason}. Train again: clownfish train --config {path.parent / 'config.toml'}"
    )
