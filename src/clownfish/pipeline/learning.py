"""What comes after the photos are seen: the model, how good it is, and what else can be found out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import Helpers
from clownfish.config import TrainConfig
from clownfish.evaluation.orientation import Turned
from clownfish.pipeline.answering import Answers, AnswersProblem, fit_answers
from clownfish.pipeline.cross_validation import CrossValidation, validate_model
from clownfish.pipeline.examination import AUDITS, MAX_AXES, Evidence, examine
from clownfish.pipeline.log import RunLog
from clownfish.pipeline.material import Material
from clownfish.pipeline.photo_examination import examine_photos
from clownfish.pipeline.run_files import TrainingOutcome
from clownfish.progress import Progress
from clownfish.records import Part
from clownfish.regression.rotation import Rotation, rotate_features
from clownfish.splits import Split
from clownfish.training.descent import TrainingSet
from clownfish.training.selection import Trained, train_head


def learn(
    name: str,
    material: Material,
    split: Split,
    config: TrainConfig,
    load_turned: Callable[[], Turned | None],
    log: RunLog,
    progress: Progress,
    helpers: Helpers,
) -> TrainingOutcome:
    """Train a model, measure it, and find out what else can be known.

    Args:
        name: of the run.
        material: the photos as the network sees them.
        split: of the photos.
        config: every option.
        load_turned: gives some of the photos upside down, see `photo_examination.turn_photos`.
        log: of the run.
        progress: shows how far the work has come.
        helpers: helper processes that are there already.

    Returns:
        All that the files of the run are made from.

    Raises:
        ConfigError: the hyperparameters make training diverge.
    """
    views = None
    if config.features.augment:
        with log.time_stage("views"):
            views = material.extract_views(helpers, progress)
    with log.time_stage("train"), progress.show_stage("Training", config.training.epochs) as advance:
        photos = _make_training_set(material, views, config)
        training = replace(photos, rows=_find_rows(split, "train"))
        trained = train_head(training, _find_rows(split, "validation"), config.training, on_epoch=advance)
    with log.time_stage("cross-validate"):
        validated = validate_model(photos, material.catalog, split, config, progress)
    with log.time_stage("answers"):
        answers = fit_answers(_pose_answers(material, split, validated, trained, config))
        trained = replace(trained, head=answers.head)
    with log.time_stage("examine"), progress.show_stage("Examining", len(AUDITS) + 1) as advance:
        rotation = rotate_features(material.features, parts=material.backbone.parts, max_axes=MAX_AXES)
        evidence = _gather_evidence(material, rotation, split, validated, trained, answers, config)
        of_training = examine(evidence, on_audit=advance)
        of_photos = examine_photos(
            material,
            rotation,
            validated.folds,
            load_turned=load_turned,
            seed=config.training.seed,
            fast=config.examination.fast,
        )
        advance()
    return TrainingOutcome(
        name=name,
        config=config,
        material=material,
        split=split,
        trained=trained,
        cross_validation=validated,
        answers=answers,
        examination=of_photos.join(of_training),
    )


def _pose_answers(
    material: Material, split: Split, validated: CrossValidation, trained: Trained, config: TrainConfig
) -> AnswersProblem:
    catalog = material.catalog
    return AnswersProblem(
        classes=catalog.classes,
        features=material.features,
        feature_parts=material.backbone.parts,
        labels=catalog.labels,
        groups=np.array(catalog.groups),
        folds=validated.folds,
        parts=np.array(split.parts),
        out_of_fold=validated.out_of_fold,
        head=trained.head,
        unknown_features=material.unknown_features,
        unknown_groups=np.array([catalog.photos[position].group for position in catalog.unknown]),
        max_error=config.answering.max_error,
        seed=config.training.seed,
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
