"""`clownfish train`: the whole story, from a folder of photos to a run folder."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import Helpers
from clownfish.config import TrainConfig
from clownfish.errors import ConfigError, PhotosError
from clownfish.evaluation.unknowns import FoldEmbedding
from clownfish.features.extract import INSPECT_FUNCTION
from clownfish.files import check_free, find_free_folder, write_folder, write_numbered_folder
from clownfish.photos.catalog import leave_out
from clownfish.pipeline.answering import Answers, AnswersProblem, fit_answers
from clownfish.pipeline.cross_validation import CrossValidation, validate_model
from clownfish.pipeline.examination import AUDITS, MAX_AXES, Evidence, Examination, examine
from clownfish.pipeline.fine_tuning import FineTuning, Stage, check_options, fine_tune
from clownfish.pipeline.fine_tuning_folder import remove_checkpoints
from clownfish.pipeline.log import RunLog
from clownfish.pipeline.material import Material, find_photos, group_photos, read_photos
from clownfish.pipeline.run import Run
from clownfish.progress import NoProgress, Progress
from clownfish.records import Catalog, Part
from clownfish.regression.rotation import Rotation, rotate_features
from clownfish.report.drawing import DRAW_FUNCTION
from clownfish.splits import Split, parse_shares, split_photos, take_split
from clownfish.training.descent import TrainingSet
from clownfish.training.fine_tuning import check_extra
from clownfish.training.selection import Trained, train_head


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
    with Helpers() as helpers, Helpers() as drawers:
        return _train(config, out, progress or NoProgress(), helpers, drawers)


def _train(config: TrainConfig, out: Path | None, progress: Progress, helpers: Helpers, drawers: Helpers) -> Run:
    log = RunLog()
    folder = _choose_folder(config, out)
    if config.fine_tuning.fine_tune:
        check_extra()
        check_options(config)
    with log.time_stage("scan"):
        found = find_photos(config.photos)
        scan = found.scan
        log.add("photos found", num_photos=len(scan.photos), skipped=scan.skipped, loose=len(scan.loose_files))
    helpers.start(len(scan.photos), function=INSPECT_FUNCTION)
    # while they start: what takes time to import
    import_module("clownfish.pipeline.photo_examination")
    from clownfish.pipeline.run_files import TrainingOutcome, make_run_files

    with log.time_stage("features"):
        seen = read_photos(found, config, progress, helpers)
    drawers.start(1, function=DRAW_FUNCTION)  # it imports Matplotlib while the model is trained
    with log.time_stage("split"):
        material = group_photos(found, seen, config.photos, choose=partial(_leave_out_unsplit, config=config))
        split = _split(material.catalog, config)
    views = None
    if config.features.augment:
        with log.time_stage("views"):
            views = material.extract_views(helpers, progress)
    stage = _train_frozen(material, views, split, config, log=log, progress=progress, helpers=helpers)
    tuning = None
    if config.fine_tuning.fine_tune:
        with log.time_stage("fine-tune"):
            tuning = fine_tune(stage)
    shipped = _choose_shipped(stage, tuning)
    with log.time_stage("answers"):
        answers = fit_answers(_pose_answers(shipped, split, config))
    with log.time_stage("examine"):
        examination = _examine(stage, tuning, answers)
    outcome = TrainingOutcome(
        name=folder.name,
        config=_note_epochs(config, tuning),
        material=shipped.material,
        split=split,
        trained=replace(shipped.trained, head=answers.head),
        cross_validation=shipped.validated,
        answers=answers,
        examination=examination,
    )
    metrics, files_to_write = make_run_files(outcome, log, helpers=helpers, drawers=drawers)
    material.cache.close()
    folder = write_folder(folder, files_to_write) if out else write_numbered_folder(folder, files_to_write)
    if tuning is not None:
        remove_checkpoints(tuning.folder)
    return Run(path=folder, metrics=metrics)


def _train_frozen(
    material: Material,
    views: NDArray[np.float32] | None,
    split: Split,
    config: TrainConfig,
    *,
    log: RunLog,
    progress: Progress,
    helpers: Helpers,
) -> Stage:
    """Train the layer on top of the frozen network, and cross-validate it."""
    with log.time_stage("train"), progress.show_stage("Training", config.training.epochs) as advance:
        photos = _make_training_set(material, views, config)
        training = replace(photos, rows=_find_rows(split, "train"))
        trained = train_head(training, _find_rows(split, "validation"), config.training, on_epoch=advance)
    with log.time_stage("cross-validate"):
        validated = validate_model(photos, material.catalog, split, config, progress)
    return Stage(
        config=config,
        material=material,
        split=split,
        photos=photos,
        trained=trained,
        validation=validated,
        log=log,
        progress=progress,
        helpers=helpers,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shipped:
    """The model that is written, frozen or tuned."""

    material: Material
    trained: Trained
    validated: CrossValidation
    fold_embeddings: Sequence[FoldEmbedding] | None = None


def _note_epochs(config: TrainConfig, tuning: FineTuning | None) -> TrainConfig:
    """What a time limit has come to, so that the run can be repeated to the same numbers on another machine."""
    if tuning is None or not config.fine_tuning.time_limit or "epochs" not in tuning.metrics:
        return config
    return config.change({"fine_tune_epochs": tuning.metrics["epochs"], "time_limit": ""})


def _choose_shipped(stage: Stage, tuning: FineTuning | None) -> _Shipped:
    if tuning is None or tuning.kept is None:
        return _Shipped(material=stage.material, trained=stage.trained, validated=stage.validation)
    kept = tuning.kept
    # what other ways of dividing the photos would claim is known of the frozen network only, so it is left out
    own = replace(stage.validation, out_of_fold=kept.out_of_fold, of_random_folds=None, of_seen_groups=None)
    return _Shipped(material=kept.material, trained=kept.trained, validated=own, fold_embeddings=kept.fold_embeddings)


def _examine(stage: Stage, tuning: FineTuning | None, answers: Answers) -> Examination:
    """Photos are always looked at with the frozen network, which none of them has changed."""
    # here, since it is imported while helpers start
    from clownfish.pipeline.photo_examination import examine_photos

    material, config, folds = stage.material, stage.config, stage.validation.folds
    seed, fast = config.training.seed, config.examination.fast
    with stage.progress.show_stage("Examining", len(AUDITS) + 1) as advance:
        rotation = rotate_features(material.features, parts=material.backbone.parts, max_axes=MAX_AXES)
        examination = examine_photos(material, rotation, folds, seed=seed, fast=fast)
        advance()
        evidence = _gather_evidence(material, rotation, stage.split, stage.validation, stage.trained, answers, config)
        evidence = replace(evidence, is_tuned=tuning is not None and tuning.kept is not None)
        examination = examination.join(examine(evidence, on_audit=advance))
    if tuning is None:
        return examination
    return Examination(metrics={"fine_tuning": tuning.metrics}, messages=tuning.messages).join(examination)


def _pose_answers(shipped: _Shipped, split: Split, config: TrainConfig) -> AnswersProblem:
    material = shipped.material
    catalog = material.catalog
    return AnswersProblem(
        classes=catalog.classes,
        features=material.features,
        feature_parts=material.backbone.parts,
        labels=catalog.labels,
        groups=np.array(catalog.groups),
        folds=shipped.validated.folds,
        parts=np.array(split.parts),
        out_of_fold=shipped.validated.out_of_fold,
        head=shipped.trained.head,
        unknown_features=material.unknown_features,
        unknown_groups=np.array([catalog.photos[position].group for position in catalog.unknown]),
        max_error=config.answering.max_error,
        seed=config.training.seed,
        fold_embeddings=shipped.fold_embeddings,
    )


def _gather_evidence(
    material: Material,
    rotation: Rotation,
    split: Split,
    validated: CrossValidation,
    trained: Trained,
    answers: Answers,
    config: TrainConfig,
) -> Evidence:
    return Evidence(
        catalog=material.catalog,
        features=material.features,
        rotation=rotation,
        groups=material.groups,
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


def _find_rows(split: Split, part: Part) -> NDArray[np.int64]:
    return np.flatnonzero([own == part for own in split.parts])


def _make_training_set(material: Material, views: NDArray[np.float32] | None, config: TrainConfig) -> TrainingSet:
    catalog = material.catalog
    return TrainingSet(
        features=material.features,
        labels=catalog.labels,
        rows=np.arange(len(catalog.used)),
        num_classes=len(catalog.classes),
        views=views,
        balance=config.training.balance,
        parts=material.backbone.parts,
    )
