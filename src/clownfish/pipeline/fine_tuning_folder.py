"""Where the checkpoints of fine-tuning lie: one run at a time, and not for ever."""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from clownfish.errors import FineTuningError, OutputError
from clownfish.features.cache import find_cache_folder
from clownfish.features.extract import write_pixels
from clownfish.files import write_file
from clownfish.pipeline.fine_tuning_stage import Stage
from clownfish.records import Photo, PhotoFile

_STALE_SECONDS = 30 * 86_400.0


def find_folder(stage: Stage) -> Path:
    """Name a folder for exactly this work, so that the same command finds it again.

    Args:
        stage: of the run.

    Returns:
        Its path; it need not exist yet.
    """
    config, catalog = stage.config, stage.material.catalog
    options = replace(config.fine_tuning, model_dir="")
    facts = [
        [repr(options), repr(config.training), repr(config.features), repr(config.search)],
        [version("clownfish"), version("torch"), version("torchvision")],
        [stage.material.backbone.hash, stage.material.preprocessing.make_key()],
        [photo.content_hash for photo in stage.used],
        [list(catalog.label_names), list(catalog.groups), list(stage.split.parts)],
    ]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    base = Path(config.fine_tuning.model_dir) if config.fine_tuning.model_dir else find_cache_folder() / "fine-tuning"
    return base / digest


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


def load_pixels(stage: Stage, folder: Path) -> NDArray[np.uint8]:
    """Write what the network sees of every photo into a file that the helper maps to memory, if it is not there yet.

    Args:
        stage: of the run.
        folder: of the checkpoints.

    Returns:
        Shape (num_used, size, size, 3), mapped to memory too.

    Raises:
        FineTuningError: a photo cannot be read any more.
    """
    path, mark = folder / "pixels.npy", folder / "pixels.json"
    if not mark.exists():
        photos, preprocessing = list_files(stage.used), stage.material.preprocessing
        with stage.progress.show_stage("Reading photos", len(photos)) as advance:
            failed = write_pixels(photos, preprocessing, path, helpers=stage.helpers, on_photo=advance)
        if failed:
            raise FineTuningError(f"{photos[failed[0]].file} could be read at first and cannot be read any more")
        write_file(mark, b"{}")
    pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return pixels


def list_files(photos: Sequence[Photo]) -> list[PhotoFile]:
    """Name the files of photos.

    Args:
        photos: of the catalog.

    Returns:
        One entry a photo.
    """
    return [PhotoFile(file=photo.file, path=photo.path, label=photo.label) for photo in photos]
