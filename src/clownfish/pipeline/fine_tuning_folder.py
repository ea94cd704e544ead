"""Where the checkpoints of fine-tuning lie: one run at a time, and not for ever."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from clownfish.errors import OutputError

_STALE_SECONDS = 30 * 86_400.0


def remove_checkpoints(folder: Path) -> None:
    """Remove what an interrupted run would have gone on from.

    Args:
        folder: of the checkpoints.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.with_suffix(".lock").unlink()


def remove_stale(base: Path) -> None:
    """Remove what nobody has gone on with for a month.

    Args:
        base: the folder that holds those of all runs.
    """
    for mark in base.glob("*/start.npz"):
        with contextlib.suppress(OSError):
            if time.time() - mark.stat().st_mtime > _STALE_SECONDS:
                remove_checkpoints(mark.parent)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other runs out of it while the context lasts.

    Args:
        folder: of the checkpoints.

    Raises:
        OutputError: another run uses it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock"), timeout=0):
            yield
    except Timeout as error:
        raise OutputError(
            f"Another run fine-tunes the same photos with the same options (its checkpoints are in {folder}). Wait for"
            " it, or stop it; the same command then goes on where it was."
        ) from error
    except PermissionError as error:
        raise OutputError(
            f"Cannot write {folder}: {error.strerror or error}. Choose another place with --model-dir."
        ) from error
