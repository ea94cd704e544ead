"""What comes after the photos are seen: the model, how good it is, and what else can be found out."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import Helpers, run_in_background
from clownfish.config import TrainConfig
from clownfish.evaluation.orientation import Turned
from clownfish.evaluation.unknowns import FoldEmbedding
from clownfish.pipeline.answering import Answers, AnswersProblem, fit_answers
from clownfish.pipeline.chart_drawer import ChartDrawer
from clownfish.pipeline.cross_validation import CrossValidation, validate_model
from clownfish.pipeline.examination import AUDITS, MAX_AXES, Evidence, Examination, examine
from clownfish.pipeline.fine_tuning import FineTuning, fine_tune
from clownfish.pipeline.fine_tuning_stage import Stage
from clownfish.pipeline.live_log import EPOCH_EVENT
from clownfish.pipeline.log import RunLog
from clownfish.pipeline.material import Material
from clownfish.pipeline.photo_examination import examine_photos, turn_photos
from clownfish.pipeline.run_files import TrainingOutcome
from clownfish.pipeline.search import Searched, search_layer
from clownfish.progress import Progress, describe_epoch
from clownfish.records import EpochRow, Part
from clownfish.regression.rotation import Rotation, rotate_features
from clownfish.report.drawing import list_answering, list_curves
from clownfish.splits import Split
from clownfish.training.descent import TrainingSet
from clownfish.training.selection import Trained, train_head


def learn(
    name: str,
    material: Material,
    split: Split,
    config: TrainConfig,
    log: RunLog,
    progress: Progress,
    helpers: Helpers,
    drawer: ChartDrawer,
) -> tuple[TrainingOutcome, Path | None]:
    """Train a model, measure it, and find out what else can be known.

    Args:
        name: of the run.
        material: the photos as the network sees them.
        split: of the photos.
        config: every option.
        log: of the run.
        progress: shows how far the work has come.
        helpers: helper processes that are there already.
        drawer: begins with the charts that are known early.

    Returns:
        All that the files of the run are made from; and the folder with the checkpoints of fine-tuning, to be removed
        once those files are written.

    Raises:
        ConfigError: the hyperparameters make training diverge.
        OutputError: the checkpoints of fine-tuning cannot be written.
        ModelFileError: PyTorch and ONNX Runtime disagree on a photo.
    """
    views = None
    if config.features.augment:
        with log.time_stage("views"):
            views = material.extract_views(helpers, progress)
    # photos are turned upside down by the core that is idle meanwhile
    with run_in_background(partial(_turn_photos, material, config, helpers)) as load_turned:
        photos = _make_training_set(material, views, config)
        searched = Searched()
        if config.search.tune and not config.fine_tuning.fine_tune:
            with log.time_stage("tune"):
                searched = search_layer(photos, material, split, config, log, progress)
            config = config.change({**searched.options, "tune": 0})
        stage = _train_frozen(photos, material, split, config, log=log, progress=progress, helpers=helpers)
        drawer.draw_ahead(list_curves(stage.trained.history, stage.trained.best_epoch))
        tuning = None
        if config.fine_tuning.fine_tune:
            with log.time_stage("fine-tune"):
                tuning = fine_tune(stage)
        shipped = _choose_shipped(stage, tuning)
        with log.time_stage("answers"):
            answers = fit_answers(_pose_answers(shipped, split, config))
        drawer.draw_ahead(list_answering(answers.metrics))
        with log.time_stage("examine"):
            examination = _examine(stage, tuning, searched, answers, load_turned)
    outcome = TrainingOutcome(
        name=name,
        config=_note_found(config, tuning),
        material=shipped.material,
        split=split,
        trained=replace(shipped.trained, head=answers.head),
        cross_validation=shipped.validated,
        answers=answers,
        examination=examination,
    )
    return outcome, None if tuning is None else tuning.folder


def _turn_photos(material: Material, config: TrainConfig, helpers: Helpers, check: Callable[[], None]) -> Turned | None:
    if config.examination.fast:
        return None
    return turn_photos(material, seed=config.training.seed, helpers=helpers, on_photo=check)


def _train_frozen(
    photos: TrainingSet,
    material: Material,
    split: Split,
    config: TrainConfig,
    *,
    log: RunLog,
    progress: Progress,
    helpers: Helpers,
) -> Stage:
    """Train the layer on top of the frozen network, and cross-validate it."""
    with log.time_stage("train"), progress.show_stage("Training", config.training.epochs) as advance:
        training = replace(photos, rows=_find_rows(split, "train"))

        def show_epoch(row: EpochRow) -> None:
            advance(describe_epoch(row.validation_loss, row.validation_accuracy))

        trained = train_head(training, _find_rows(split, "validation"), config.training, on_epoch=show_epoch)
        for row in trained.history:
            log.add(EPOCH_EVENT, fit="layer", **asdict(row))
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


def _note_found(config: TrainConfig, tuning: FineTuning | None) -> TrainConfig:
    """What a time limit or a search has come to, so that the run can be repeated to the same numbers elsewhere."""
    if tuning is None:
        return config
    if config.search.tune or config.search.find_learning_rate:
        config = config.change({**tuning.searched.options, "tune": 0, "find_learning_rate": False})
    if not config.fine_tuning.time_limit or "epochs" not in tuning.metrics:
        return config
    return config.change({"fine_tune_epochs": tuning.metrics["epochs"], "time_limit": ""})


def _choose_shipped(stage: Stage, tuning: FineTuning | None) -> _Shipped:
    if tuning is None or tuning.kept is None:
        return _Shipped(material=stage.material, trained=stage.trained, validated=stage.validation)
    kept = tuning.kept
    # what other ways of dividing the photos would claim is known of the frozen network only, so it is left out
    own = replace(stage.validation, out_of_fold=kept.out_of_fold, of_random_folds=None, of_seen_groups=None)
    return _Shipped(material=kept.material, trained=kept.trained, validated=own, fold_embeddings=kept.fold_embeddings)


def _examine(
    stage: Stage,
    tuning: FineTuning | None,
    searched: Searched,
    answers: Answers,
    load_turned: Callable[[], Turned | None],
) -> Examination:
    """Photos are always looked at with the frozen network, which none of them has changed."""
    material, config = stage.material, stage.config
    with stage.progress.show_stage("Examining", len(AUDITS) + 1) as advance:
        rotation = rotate_features(material.features, parts=material.backbone.parts, max_axes=MAX_AXES)
        evidence = _gather_evidence(material, rotation, stage.split, stage.validation, stage.trained, answers, config)
        evidence = replace(evidence, is_tuned=tuning is not None and tuning.kept is not None)
        of_training = examine(evidence, on_audit=advance)
        of_photos = examine_photos(
            material,
            rotation,
            stage.validation.folds,
            load_turned=load_turned,
            seed=config.training.seed,
            fast=config.examination.fast,
        )
        advance()
    examination = of_photos.join(of_training)
    if tuning is not None:
        searched = replace(tuning.searched, messages=())  # they are among its messages
        of_tuning = Examination(metrics={"fine_tuning": tuning.metrics}, messages=tuning.messages)
        examination = of_tuning.join(examination)
    return Examination(metrics=searched.metrics, messages=searched.messages, files=searched.files).join(examination)


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
