"""Write results whole or not at all, and tables that spreadsheets can open safely."""

import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clownfish.errors import OutputError

_PARTIAL_PREFIX = ".partial-"
_STALE_SECONDS = 3600.0
_NUM_COMPARED = 200
"""Bytes at the start of a page that tell it from anything else."""


def write_file(path: Path, data: bytes) -> None:
    """Write a file so that at every moment either the old or the new content is there.

    Args:
        path: where.
        data: the whole content.

    Raises:
        OutputError: the place cannot be written, or holds what is no file.
    """
    try:
        _check_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_PARTIAL_PREFIX)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}. Choose another place.") from error


def write_page(path: Path, data: bytes) -> None:
    """Like `write_file`, but replace nothing except an earlier page of the same kind.

    Args:
        path: where.
        data: the whole page.

    Raises:
        OutputError: the place cannot be written, or holds something else, such as a photo.
    """
    try:
        if path.is_file():
            with path.open("rb") as file:
                is_page = file.read(_NUM_COMPARED) == data[:_NUM_COMPARED]
            if not is_page:
                raise OutputError(
                    f"{path} exists already, and is no page of clownfish. Choose another place with --out."
                )
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}. Choose another place.") from error
    write_file(path, data)


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a folder that appears whole or not at all: built beside its place, then renamed.

    Args:
        path: where; must not exist.
        files: content by file name.

    Returns:
        The same path.

    Raises:
        OutputError: the folder exists already or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path.parent)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=_PARTIAL_PREFIX))
        try:
            for name, data in files.items():
                with (temporary / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            temporary.chmod(0o755)
            if path.exists():  # renaming onto an empty folder would succeed on some systems
                raise FileExistsError
            temporary.rename(path)
            _sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except FileExistsError as error:
        raise OutputError(f"{path} exists already. Choose another place with --out, or remove it.") from error
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. Choose another place with --out."
        ) from error
    return path


def write_numbered_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """Like `write_folder`, but with the next free number if another process has taken the name meanwhile.

    Args:
        path: what `find_free_folder` found.
        files: content by file name.

    Returns:
        The folder that was made.

    Raises:
        OutputError: it cannot be written.
    """
    while True:
        try:
            return write_folder(path, files)
        except OutputError:
            if not path.exists():
                raise
            path = find_free_folder(path.with_name(path.name.rpartition("-")[0]))


def find_free_folder(path: Path) -> Path:
    """Find a name that is not taken: PATH-1, PATH-2 and so on.

    Args:
        path: where the name starts.

    Returns:
        A path that does not exist at this moment.
    """
    number = 1
    while (numbered := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return numbered


def check_free(path: Path) -> None:
    """Find out before hours of work, not after, whether a folder can be made.

    Args:
        path: the folder that will be made; its parent is made now.

    Raises:
        OutputError: it exists already, or its parent cannot be written to.
    """
    try:
        if path.exists():
            raise OutputError(f"{path} exists already. Choose another place with --out, or remove it.")
        check_writable(path)
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. Choose another place with --out."
        ) from error


def check_writable(path: Path) -> None:
    """Find out before hours of work, not after, whether a file can be written.

    Args:
        path: the file that will be written or replaced; its parent is made now.

    Raises:
        OutputError: its parent cannot be written to, or the place holds what is no file.
    """
    try:
        _check_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. Choose another place with --out."
        ) from error


def compute_seal(data: bytes, *blanked: str) -> str:
    """Compute a checksum of a file that holds its own checksum.

    Args:
        data: the file's content.
        blanked: texts inside it that do not count: the checksum itself, or what stands in its place, and dates.

    Returns:
        SHA-256 of the content with those texts blanked out, hexadecimal.
    """
    for text in blanked:
        data = data.replace(text.encode(), b" " * len(text.encode()))
    return hashlib.sha256(data).hexdigest()


def compute_facts_seal(data: bytes, facts: Mapping[str, Any]) -> str:
    """Compute a checksum over a model and what is known of it, where the facts are kept beside the model.

    Args:
        data: the model.
        facts: by name, as JSON can hold them; a seal and the date do not count.

    Returns:
        SHA-256, hexadecimal.
    """
    counted = {name: content for name, content in facts.items() if name not in ("seal", "created")}
    return compute_seal(data + json.dumps(counted, sort_keys=True).encode())


def format_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Format a CSV: UTF-8, commas, one line a row.

    Args:
        header: column names.
        rows: cells; floats are written to six digits, None as nothing, booleans as true and false.

    Returns:
        The file's content.
    """
    lines = [format_line([format_cell(name) for name in header])]
    lines += [format_line([format_cell(cell) for cell in row]) for row in rows]
    return encode_text("".join(lines))


def name_columns(names: Sequence[str], fixed: Sequence[str], *, prefix: str = "class") -> list[str]:
    """Name further columns; one called like a column that is taken gets a prefix in front.

    Args:
        names: of classes, or of the user's own columns.
        fixed: names of the columns before them.
        prefix: the word in front.

    Returns:
        One name each, all different from each other and from the fixed ones.
    """
    taken = {*fixed, *names}
    unique = []
    for wanted in names:
        name = wanted
        while name in fixed or (name != wanted and name in taken):
            name = f"{prefix} {name}"
        taken.add(name)
        unique.append(name)
    return unique


def format_line(cells: Sequence[str]) -> str:
    """Join formatted cells to one line of a CSV, with its line end."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def format_cell(cell: object) -> str:
    """Format one cell, so that a row is one line and no spreadsheet runs it as a formula.

    Args:
        cell: a number, a boolean, text or None.

    Returns:
        Floats to six digits, true or false, "" for None; text with line ends escaped, and with an apostrophe in
        front of = + - @ at its start.
    """
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return f"{cell:.6g}"
    if isinstance(cell, int):
        return str(cell)
    text = str(cell).replace("\r", "\\r").replace("\n", "\\n")
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def encode_text(text: str) -> bytes:
    """Encode as UTF-8; bytes of file names that are no valid text (Linux) are written as escapes."""
    return text.encode("utf-8", errors="backslashreplace")


def _check_replaceable(path: Path) -> None:
    """Renaming onto a device or a pipe would remove it."""
    if path.exists() and not path.is_file():
        raise OutputError(f"Cannot write {path}: it is not a file that can be replaced. Choose another place.")


def _remove_stale(parent: Path) -> None:
    """Remove what a killed run left behind; a living one needs its folder for a second only."""
    for leftover in parent.glob(f"{_PARTIAL_PREFIX}*"):
        with contextlib.suppress(OSError):
            if leftover.is_dir() and time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
