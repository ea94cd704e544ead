"""`clownfish train`: the whole story, from a folder of photos to a run folder."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clownfish.backbones import load_backbone
from clownfish.compute import Helpers
from clownfish.config import TrainConfig
from clownfish.errors import ConfigError, PhotosError
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import INSPECT_FUNCTION, extract_features, extract_views, keep_rows
from clownfish.features.pictures import load_pictures
from clownfish.files import check_free, find_free_folder, write_folder, write_numbered_folder
from clownfish.images import AUGMENTED_VIEWS, Preprocessing
from clownfish.photos.catalog import build_catalog, leave_out
from clownfish.photos.corrections import note_corrections
from clownfish.pipeline.answering import Answers, AnswersProblem, fit_answers
from clownfish.pipeline.corrected_scan import scan_corrected
from clownfish.pipeline.cross_validation import CrossValidation, validate_model
from clownfish.pipeline.examination import AUDITS, Evidence, examine
from clownfish.pipeline.log import RunLog
from clownfish.pipeline.run import Run
from clownfish.progress import NoProgress, Progress
from clownfish.records import Backbone, Catalog, Part, Photo, PhotoFile
from clownfish.regression.rotation import Rotation, rotate_features
from clownfish.splits import Split, make_folds, parse_shares, split_photos, take_split
from clownfish.training.descent import TrainingSet
from clownfish.training.selection import Trained, train_head

_MAX_AXES = 512
"""Of the rotated features: the audits refit three times faster than with all of them, for little loss."""


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
    with Helpers() as helpers:
        return _train(config, out, progress or NoProgress(), helpers)


def _train(config: TrainConfig, out: Path | None, progress: Progress, helpers: Helpers) -> Run:
    log = RunLog()
    folder = _choose_folder(config, out)
    with log.time_stage("scan"):
        scan, corrections = scan_corrected(config.photos)
        log.add("photos found", num_photos=len(scan.photos), skipped=scan.skipped, loose=len(scan.loose_files))
    helpers.start(len(scan.photos), function=INSPECT_FUNCTION)
    # while they start: what takes time to import, and the network
    from clownfish.pipeline.photo_examination import PhotoMaterial, examine_photos
    from clownfish.pipeline.run_files import TrainingOutcome, make_run_files

    with log.time_stage("features"):
        backbone = load_backbone(
            config.features.backbone, feature_set=config.features.feature_set, weights=config.features.weights or None
        )
        preprocessing = Preprocessing(size=backbone.input_size, resize=config.features.resize)
        cache = FeatureCache()
        with progress.show_stage("Reading photos", len(scan.photos)) as advance:
            inspections, features = extract_features(
                scan.photos, backbone, preprocessing, cache, helpers=helpers, on_photo=advance
            )
    with log.time_stage("split"):
        catalog = build_catalog(
            scan.photos,
            inspections,
            config.photos,
            features=features,
            load_pictures=lambda places: load_pictures(places, cache),
        )
        catalog = note_corrections(catalog, corrections)
        catalog, split = _split(catalog, config)
        _check_groups(catalog)
        unknown_features = features[catalog.unknown_rows]
        features = keep_rows(features, catalog.feature_rows)
    views = (
        _extract_views(catalog, features, backbone, preprocessing, cache, helpers, log, progress)
        if config.features.augment
        else None
    )
    with log.time_stage("train"), progress.show_stage("Training", config.training.epochs) as advance:
        photos = _make_training_set(catalog, features, views, backbone, config)
        training = replace(photos, rows=_find_rows(split, "train"))
        trained = train_head(training, _find_rows(split, "validation"), config.training, on_epoch=advance)
    with log.time_stage("cross-validate"):
        validated = validate_model(photos, catalog, split, config, progress)
    with log.time_stage("answers"):
        answers = fit_answers(_pose_answers(catalog, split, features, unknown_features, validated, trained, config))
        trained = replace(trained, head=answers.head)
    with log.time_stage("examine"), progress.show_stage("Examining", len(AUDITS)) as advance:
        rotation = rotate_features(features, parts=backbone.parts, max_axes=_MAX_AXES)
        examination = examine(
            _gather_evidence(catalog, split, features, rotation, validated, trained, answers, config), on_audit=advance
        )
        of_photos = examine_photos(
            PhotoMaterial(
                catalog=catalog,
                features=features,
                folds=make_folds(catalog.label_names, catalog.groups, seed=config.training.seed),
                backbone=backbone,
                preprocessing=preprocessing,
                cache=cache,
                seed=config.training.seed,
                fast=config.examination.fast,
            )
        )
        examination = replace(
            examination,
            metrics={**examination.metrics, **of_photos.metrics},
            messages=[*of_photos.messages, *examination.messages],
            files={**examination.files, **of_photos.files},
        )
    outcome = TrainingOutcome(
        name=folder.name,
        config=config,
        scan=scan,
        catalog=catalog,
        split=split,
        backbone=backbone,
        preprocessing=preprocessing,
        trained=trained,
        cross_validation=validated,
        answers=answers,
        examination=examination,
        cache=cache,
    )
    metrics, files_to_write = make_run_files(outcome, log, helpers)
    cache.close()
    folder = write_folder(folder, files_to_write) if out else write_numbered_folder(folder, files_to_write)
    return Run(path=folder, metrics=metrics)


def _extract_views(
    catalog: Catalog,
    features: NDArray[np.float32],
    backbone: Backbone,
    preprocessing: Preprocessing,
    cache: FeatureCache,
    helpers: Helpers,
    log: RunLog,
    progress: Progress,
) -> NDArray[np.float32]:
    files = [_find_file(catalog.photos[position]) for position in catalog.used]
    num_views = len(files) * len(AUGMENTED_VIEWS)
    with log.time_stage("views"), progress.show_stage("Making views", num_views) as advance:
        return extract_views(files, features, backbone, preprocessing, cache, helpers=helpers, on_photo=advance)


def _pose_answers(
    catalog: Catalog,
    split: Split,
    features: NDArray[np.float32],
    unknown_features: NDArray[np.float32],
    validated: CrossValidation,
    trained: Trained,
    config: TrainConfig,
) -> AnswersProblem:
    return AnswersProblem(
        classes=catalog.classes,
        features=features,
        labels=catalog.labels,
        groups=np.array(catalog.groups),
        folds=validated.folds,
        parts=np.array(split.parts),
        out_of_fold=validated.out_of_fold,
        head=trained.head,
        unknown_features=unknown_features,
        unknown_groups=np.array([catalog.photos[position].group for position in catalog.unknown]),
        max_error=config.answering.max_error,
        seed=config.training.seed,
    )


def _gather_evidence(
    catalog: Catalog,
    split: Split,
    features: NDArray[np.float32],
    rotation: Rotation,
    validated: CrossValidation,
    trained: Trained,
    answers: Answers,
    config: TrainConfig,
) -> Evidence:
    return Evidence(
        catalog=catalog,
        features=features,
        rotation=rotation,
        groups=np.unique(np.array(catalog.groups), return_inverse=True)[1],
        folds=validated.folds,
        parts=np.array(split.parts),
        probabilities=answers.probabilities,
        out_of_fold=answers.out_of_fold,
        uncalibrated=validated.out_of_fold,
        penalty=max(trained.weight_decay * split.parts.count("train"), 1e-3),
        temperature=answers.temperature,
        near_weight=answers.metrics["unknowns"]["near_weight"],
        seed=config.training.seed,
        fast=config.examination.fast,
    )


def _choose_folder(config: TrainConfig, out: Path | None) -> Path:
    if not config.photos.place:
        raise ConfigError("No photos are given. Give a folder with one folder a class, or a CSV with file,label.")
    if out is None:
        name = re.sub(r"[^\w.-]+", "-", Path(config.photos.place).resolve().stem)[:60].strip("-.") or "run"
        out = find_free_folder(Path("runs") / name)
    check_free(out)
    return out


def _split(catalog: Catalog, config: TrainConfig) -> tuple[Catalog, Split]:
    column = config.split.split_column
    if not column:
        shares = parse_shares(config.split.shares)
        return catalog, split_photos(catalog.label_names, catalog.groups, shares=shares, seed=config.training.seed)
    values = [catalog.photos[position].columns.get(column) for position in catalog.used]
    known = sorted({name for photo in catalog.photos for name in photo.columns})
    if column not in known:
        found = f"the columns are {', '.join(known)}" if known else "there is no CSV with further columns"
        raise ConfigError(f"--split-column {column}: there is no such column; {found}.")
    split = take_split([value or "" for value in values], catalog.label_names, catalog.groups)
    chosen = np.array([bool(part) for part in split.parts])
    catalog = leave_out(catalog, ~chosen, "the split column leaves it out")
    return catalog, replace(split, parts=tuple(part for part in split.parts if part))


def _check_groups(catalog: Catalog) -> None:
    groups = set(catalog.groups)
    if len(groups) < 2:
        raise PhotosError(
            [
                f"All {len(catalog.used)} photos are in one group, {min(groups)!r}, which must not be cut. At least two"
                " groups are needed, to test on what was not trained on. Give other groups, or none."
            ]
        )


def _find_rows(split: Split, part: Part) -> NDArray[np.int64]:
    return np.flatnonzero([own == part for own in split.parts])


def _find_file(photo: Photo) -> PhotoFile:
    return PhotoFile(file=photo.file, path=photo.path, label=photo.label)


def _make_training_set(
    catalog: Catalog,
    features: NDArray[np.float32],
    views: NDArray[np.float32] | None,
    backbone: Backbone,
    config: TrainConfig,
) -> TrainingSet:
    return TrainingSet(
        features=features,
        labels=catalog.labels,
        rows=np.arange(len(catalog.used)),
        num_classes=len(catalog.classes),
        views=views,
        balance=config.training.balance,
        parts=backbone.parts,
    )
