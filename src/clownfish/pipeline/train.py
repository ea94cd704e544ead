"""`clownfish train`: the whole story, from a folder of photos to a run folder."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clownfish.compute import Helpers, limit_matrix_threads
from clownfish.config import TrainConfig
from clownfish.errors import ConfigError, PhotosError
from clownfish.features.extract import INSPECT_FUNCTION
from clownfish.files import check_free, find_free_folder, write_folder, write_numbered_folder
from clownfish.photos.catalog import leave_out
from clownfish.pipeline.chart_drawer import ChartDrawer
from clownfish.pipeline.live_log import check_log, open_live_log
from clownfish.pipeline.log import RunLog
from clownfish.pipeline.material import Found, find_photos, group_photos, read_photos
from clownfish.pipeline.run import Run
from clownfish.progress import NoProgress, Progress
from clownfish.records import Catalog
from clownfish.splits import Split, parse_shares, split_photos, take_split
from clownfish.training.search import check_search


def train_classifier(config: TrainConfig, *, out: Path | None = None, progress: Progress | None = None) -> Run:
    """Train a classifier and measure how good it is.

    Args:
        config: every option.
        out: the run folder to make; None for a fresh one in `runs`.
        progress: shows how far the work has come.

    Returns:
        The run: its folder and its numbers.

    Raises:
        PhotosError: the photos cannot be trained on.
        ConfigError: an option makes no sense.
        BackboneError: the pre-trained weights are missing or changed.
        OutputError: the run folder exists or cannot be written.
    """
    log = RunLog()
    folder = _choose_folder(config, out)
    check_log(config.logging)
    if config.search.tune:
        check_search()
    if config.search.find_learning_rate and not config.fine_tuning.fine_tune:
        raise ConfigError("--find-learning-rate is for fine-tuning. Add --fine-tune, or leave it out.")
    if config.fine_tuning.fine_tune:
        from clownfish.pipeline.fine_tuning import check_options
        from clownfish.training.fine_tuning_helper import check_extra

        check_extra()
        check_options(config)
    with log.time_stage("scan"):
        found = find_photos(config.photos)
        scan = found.scan
        log.add("photos found", num_photos=len(scan.photos), skipped=scan.skipped, loose=len(scan.loose_files))
    with (
        open_live_log(config.logging, folder.name, config.flatten()) as live,
        Helpers() as helpers,
        ChartDrawer() as drawer,
        limit_matrix_threads(len(scan.photos)),
    ):
        log.listen(live.note)
        metrics, files, checkpoints = _train(config, found, folder.name, log, progress or NoProgress(), helpers, drawer)
        folder = write_folder(folder, files) if out else write_numbered_folder(folder, files)
        live.note_results(metrics)
    if live.warning:
        metrics["messages"].append(live.warning)
    if checkpoints is not None:
        from clownfish.pipeline.fine_tuning_folder import remove_checkpoints

        remove_checkpoints(checkpoints)
    return Run(path=folder, metrics=metrics)


def _train(
    config: TrainConfig,
    found: Found,
    name: str,
    log: RunLog,
    progress: Progress,
    helpers: Helpers,
    drawer: ChartDrawer,
) -> tuple[dict[str, Any], dict[str, bytes], Path | None]:
    """Metrics, the content of the run folder's files by name, and where there are checkpoints of no more use."""
    helpers.start(len(found.scan.photos), function=INSPECT_FUNCTION)
    # while they start: what takes time to import
    from clownfish.pipeline.learning import learn
    from clownfish.pipeline.run_files import make_run_files

    with log.time_stage("features"):
        seen = read_photos(found, config, progress, helpers)
    drawer.start()
    with log.time_stage("split"):
        material = group_photos(found, seen, config.photos, choose=partial(_leave_out_unsplit, config=config))
        split = _split(material.catalog, config)
    outcome, checkpoints = learn(name, material, split, config, log, progress, helpers, drawer)
    metrics, files = make_run_files(outcome, log, helpers=helpers, drawer=drawer)
    material.cache.close()
    return metrics, files, checkpoints


def _choose_folder(config: TrainConfig, out: Path | None) -> Path:
    if not config.photos.place:
        raise ConfigError("No photos are given. Give a folder with one folder a class, or a CSV with file,label.")
    if out is None:
        name = re.sub(r"[^\w.-]+", "-", Path(config.photos.place).resolve().stem)[:60].strip("-.") or "run"
        out = find_free_folder(Path("runs") / name)
    check_free(out)
    return out


def _split(catalog: Catalog, config: TrainConfig) -> Split:
    _check_groups(catalog)
    column = config.split.split_column
    if not column:
        shares = parse_shares(config.split.shares)
        return split_photos(catalog.label_names, catalog.groups, shares=shares, seed=config.training.seed)
    return take_split(_read_column(catalog, column), catalog.label_names, catalog.groups)


def _leave_out_unsplit(catalog: Catalog, config: TrainConfig) -> Catalog:
    """Photos without an entry in the split column are not used."""
    if not config.split.split_column:
        return catalog
    values = _read_column(catalog, config.split.split_column)
    return leave_out(catalog, np.array([not value.strip() for value in values]), "the split column leaves it out")


def _read_column(catalog: Catalog, column: str) -> list[str]:
    known = sorted({name for photo in catalog.photos for name in photo.columns})
    if column not in known:
        found = f"the columns are {', '.join(known)}" if known else "there is no CSV with further columns"
        raise ConfigError(f"--split-column {column}: there is no such column; {found}.")
    return [catalog.photos[position].columns.get(column) or "" for position in catalog.used]


def _check_groups(catalog: Catalog) -> None:
    groups = set(catalog.groups)
    if len(groups) < 2:
        raise PhotosError(
            [
                f"All {len(catalog.used)} photos are in one group, {min(groups)!r}, which must not be cut. At least two"
                " groups are needed, to test on what was not trained on. Give other groups, or none."
            ]
        )
