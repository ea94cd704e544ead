"""The fits of fine-tuning: one a fold, and that of the network that is shipped; each goes through its ONNX graph."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import FineTuningError
from clownfish.evaluation.unknowns import FoldEmbedding, embed_fold
from clownfish.features.extract import extract_features, extract_from_pixels
from clownfish.pipeline.fine_tuning_choice import check_parity
from clownfish.pipeline.fine_tuning_folder import list_files
from clownfish.pipeline.fine_tuning_stage import Stage
from clownfish.pipeline.material import Material
from clownfish.progress import Advance, describe_epoch
from clownfish.records import Backbone, EpochRow
from clownfish.regression.scaling import fit_scaling
from clownfish.splits import make_folds, match_training
from clownfish.training.descent import count_iterations, weigh_classes
from clownfish.training.fine_tuning import Fit, Tuned, Tuner
from clownfish.training.selection import Trained, train_head

_INNER_FOLDS = 9
"""One of so many is taken from the photos of a fold's model, to choose its epoch."""

Build = Callable[[Mapping[str, NDArray[Any]]], Backbone]
"""Of a `backbones.tunable.Tunable`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OfFolds:
    """What the networks say that were tuned without a fold."""

    out_of_fold: NDArray[np.float64]
    """Shape (num_used, num_classes)."""
    embeddings: Sequence[FoldEmbedding]
    largest_difference: float
    """Between PyTorch and ONNX Runtime, over all photos."""
    notes: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptModel:
    """The tuned network in place of the frozen one."""

    material: Material
    """With the features of the tuned network."""
    trained: Trained
    out_of_fold: NDArray[np.float64]
    """Of networks tuned without the photo's fold, uncalibrated, shape (num_used, num_classes)."""
    fold_embeddings: Sequence[FoldEmbedding]


def plan_folds(stage: Stage) -> list[Fit]:
    """Plan one fit a fold; each learns from about as many photos as the shipped network.

    Args:
        stage: of the run.

    Returns:
        The fits.
    """
    catalog, folds = stage.material.catalog, stage.validation.folds
    names, groups, seed = catalog.label_names, catalog.groups, stage.config.training.seed
    fitted = match_training(names, groups, folds, stage.split.parts, seed=seed)
    fits = []
    for number in range(len(fitted)):
        rows = np.flatnonzero(fitted[number])
        inner = make_folds(
            [names[row] for row in rows], [groups[row] for row in rows], seed=seed, num_folds=_INNER_FOLDS
        )
        is_inner = (inner == 0) & (inner.max() > 0)
        train, validation = rows[~is_inner], rows[is_inner]
        head = train_head(replace(stage.photos, rows=train), validation, stage.config.training).head
        asked = np.flatnonzero(folds == number)
        fits.append(_make_fit(stage, f"fold-{number + 1}", head, train, validation, asked, number + 1))
    return fits


def _make_fit(
    stage: Stage,
    name: str,
    head: Any,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    asked: NDArray[np.int64],
    number: int,
) -> Fit:
    photos = stage.photos
    weights = np.ones(photos.num_classes)
    if photos.balance:
        weights = weigh_classes(photos.labels[train], photos.num_classes)
    return Fit(
        name=name,
        head=head,
        scaling=fit_scaling(photos.features, train, parts=photos.parts),
        labels=photos.labels,
        class_weights=weights.astype(np.float32),
        train=train,
        validation=validation,
        asked=asked,
        seed=int(np.random.SeedSequence([stage.config.training.seed, number]).generate_state(1)[0]),
        measure_training=number == 0,
    )


def tune_folds(
    tuner: Tuner, build: Build, folds: Sequence[Fit], stage: Stage, pixels: NDArray[np.uint8], device: str
) -> OfFolds:
    """Name every photo by a network tuned without its fold.

    Args:
        tuner: carries the fits out.
        build: tensors to a backbone.
        folds: of `plan_folds`.
        stage: of the run.
        pixels: of all photos, shape (num_used, size, size, 3).
        device: what computes, for the screen.

    Returns:
        What they say.

    Raises:
        FineTuningError: a fit cannot be carried to its end.
        BackboneError: its network cannot be written as a graph.
        ModelFileError: PyTorch and ONNX Runtime disagree on a photo.
    """
    out_of_fold = np.empty((len(pixels), stage.photos.num_classes))
    embeddings: list[FoldEmbedding] = []
    notes: list[str] = []
    largest = 0.0
    with stage.progress.show_stage(f"Tuning folds ({device})", tuner.epochs * len(folds)) as advance:
        for number, fit in enumerate(folds, start=1):
            tuned = _run_fit(tuner, fit, stage, advance, f"fold {number} of {len(folds)}, ")
            backbone = build(tuned.tensors)
            seen = np.sort(np.concatenate([fit.train, fit.validation]))
            features = extract_from_pixels(pixels, np.union1d(seen, fit.asked), backbone)
            out_of_fold[fit.asked] = tuned.head.predict_rows(features, fit.asked)
            largest = max(largest, check_parity(tuned.probabilities, out_of_fold[fit.asked]))
            embeddings.append(embed_fold(features, fit.labels, seen, fit.asked, parts=backbone.parts))
            notes += tuned.notes
    return OfFolds(
        out_of_fold=out_of_fold,
        embeddings=embeddings,
        largest_difference=largest,
        notes=list(dict.fromkeys(notes)),
    )


def tune_shipped(
    tuner: Tuner, build: Build, stage: Stage, pixels: NDArray[np.uint8], of_folds: OfFolds, device: str
) -> tuple[KeptModel, float, Sequence[str]]:
    """Tune on the training photos; validation photos choose the epoch.

    Args:
        tuner: carries the fit out.
        build: tensors to a backbone.
        stage: of the run.
        pixels: of all photos, shape (num_used, size, size, 3).
        of_folds: what is said of every photo by networks that had not seen it.
        device: what computes, for the screen.

    Returns:
        The model, the largest difference between PyTorch and ONNX Runtime, and what the user should know.

    Raises:
        FineTuningError: the fit cannot be carried to its end.
        BackboneError: its network cannot be written as a graph.
        ModelFileError: PyTorch and ONNX Runtime disagree on a photo.
    """
    train, validation = np.flatnonzero(stage.parts == "train"), np.flatnonzero(stage.parts == "validation")
    asked = np.flatnonzero(stage.parts != "train")
    fit = _make_fit(stage, "shipped", stage.trained.head, train, validation, asked, 0)
    with stage.progress.show_stage(f"Tuning ({device})", tuner.epochs) as advance:
        tuned = _run_fit(tuner, fit, stage, advance, "")
    backbone = build(tuned.tensors)
    features = extract_from_pixels(pixels, np.arange(len(pixels)), backbone)
    difference = check_parity(tuned.probabilities, tuned.head.predict_rows(features, asked))
    material = replace(stage.material, backbone=backbone, features=features)
    trained = replace(
        stage.trained,
        head=tuned.head,
        history=tuple(_read_row(row) for row in tuned.history),
        best_epoch=tuned.best_epoch,
        lowest_loss_epoch=tuned.lowest_epoch,
        learning_rate=stage.config.fine_tuning.fine_tune_learning_rate,
        iterations_per_epoch=count_iterations(len(train), stage.config.training.batch_size),
        num_trained_parameters=tuned.num_trained_parameters,
    )
    kept = KeptModel(
        material=replace(material, unknown_features=_extract_unknown(material, stage)),
        trained=trained,
        out_of_fold=of_folds.out_of_fold,
        fold_embeddings=of_folds.embeddings,
    )
    return kept, difference, tuned.notes


def _run_fit(tuner: Tuner, fit: Fit, stage: Stage, advance: Advance, name: str) -> Tuned:
    def note_epoch(row: Mapping[str, Any]) -> None:
        stage.log.add("epoch of fine-tuning", fit=fit.name, **row)
        shown = describe_epoch(row["shown_loss"], row["shown_accuracy"])
        advance(name + (describe_epoch(row.get("validation_loss"), row.get("validation_accuracy")) or shown))

    tuned = tuner.run(fit, on_epoch=note_epoch)
    for _ in range(tuner.epochs - len(tuned.history)):  # it stopped early
        advance()
    return tuned


def _read_row(row: Mapping[str, Any]) -> EpochRow:
    return EpochRow(
        epoch=row["epoch"],
        train_loss=row["train_loss"],
        validation_loss=row.get("validation_loss"),
        train_accuracy=row["train_accuracy"],
        validation_accuracy=row.get("validation_accuracy"),
        seconds=row["seconds"],
    )


def _extract_unknown(material: Material, stage: Stage) -> NDArray[np.float32]:
    """Features of the photos of other things, by the tuned network."""
    positions = material.catalog.unknown.tolist()
    if not positions:
        return material.unknown_features[:0]
    photos = [material.catalog.photos[position] for position in positions]
    inspections, features = extract_features(
        list_files(photos), material.backbone, material.preprocessing, material.cache, helpers=stage.helpers
    )
    if not all(inspection.usable for inspection in inspections):
        raise FineTuningError("photos of other things could be read at first and cannot be read any more")
    return features
