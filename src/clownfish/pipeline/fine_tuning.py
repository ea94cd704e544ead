"""Fine-tuning in a run: tried on the folds of cross-validation first, kept only if it is better there.

Every photo is named by a network that was tuned without its fold, as it was by a frozen one: that compares the two on
the same photos, each unseen by both, and it is what calibration and the other rules of answering are fitted on. Only if
the tuned ones are better, the network that is shipped is tuned on the training photos. Test photos have no say.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.backbones import BACKBONES, build_backbone, read_tensors
from clownfish.compute import Helpers
from clownfish.config import TrainConfig
from clownfish.errors import ConfigError, FineTuningError
from clownfish.evaluation.unknowns import FoldEmbedding, embed_fold
from clownfish.features.cache import find_cache_folder
from clownfish.features.extract import extract_features, extract_from_pixels, write_pixels
from clownfish.files import write_file
from clownfish.pipeline.cross_validation import CrossValidation
from clownfish.pipeline.fine_tuning_choice import check_parity, choose
from clownfish.pipeline.fine_tuning_folder import lock, remove_stale
from clownfish.pipeline.fine_tuning_search import find_learning_rate, search_fine_tuning
from clownfish.pipeline.log import RunLog
from clownfish.pipeline.material import Material
from clownfish.pipeline.search import Searched
from clownfish.progress import Advance, Progress, describe_epoch
from clownfish.records import Backbone, EpochRow, Photo, PhotoFile
from clownfish.regression.scaling import fit_scaling
from clownfish.splits import Split, make_folds, match_training
from clownfish.training.descent import TrainingSet, count_iterations, weigh_classes
from clownfish.training.fine_tuning import Fit, Network, Tuned, Tuner, parse_time_limit
from clownfish.training.selection import Trained, train_head

_INNER_FOLDS = 9
"""One of so many is taken from the photos of a fold's model, to choose its epoch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuning:
    """What came of it."""

    metrics: dict[str, Any]
    """"fine_tuning" of metrics.json."""
    messages: Sequence[str]
    folder: Path
    """Of the checkpoints; for `remove_checkpoints` once the run is written."""
    kept: "KeptModel | None"
    """None if the frozen network stays."""
    searched: Searched = field(default_factory=Searched)
    """What was looked for before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptModel:
    """The tuned network in place of the frozen one."""

    material: Material
    """With the features of the tuned network."""
    trained: Trained
    out_of_fold: NDArray[np.float64]
    """Of networks tuned without the photo's fold, uncalibrated, shape (num_used, num_classes)."""
    fold_embeddings: Sequence[FoldEmbedding]


@dataclass(frozen=True, kw_only=True, slots=True)
class _OfFolds:
    """What the networks say that were tuned without a fold."""

    out_of_fold: NDArray[np.float64]
    """Shape (num_used, num_classes)."""
    embeddings: Sequence[FoldEmbedding]
    largest_difference: float
    """Between PyTorch and ONNX Runtime, over all photos."""
    notes: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What a run has come to before fine-tuning."""

    config: TrainConfig
    material: Material
    split: Split
    photos: TrainingSet
    """All used photos."""
    trained: Trained
    validation: CrossValidation
    log: RunLog
    progress: Progress
    helpers: Helpers

    @property
    def parts(self) -> NDArray[np.str_]:
        """Train, validation or test, shape (num_used,)."""
        return np.array(self.split.parts)

    @property
    def used(self) -> list[Photo]:
        """The photos."""
        return [self.material.catalog.photos[position] for position in self.material.catalog.used]


def check_options(config: TrainConfig) -> None:
    """Find out before anything else what fine-tuning cannot do.

    Args:
        config: of the run.

    Raises:
        ConfigError: options do not go together.
    """
    if config.search.tune and config.fine_tuning.time_limit:
        raise ConfigError(
            "--time-limit says how long fine-tuning may take, and --tune would take longer. Leave one of the two out."
        )
    if config.features.feature_set != "all_stages":
        raise ConfigError(
            f"--fine-tune starts from the features of all stages, but --feature-set is {config.features.feature_set}."
            " Leave one of the two out."
        )


def fine_tune(stage: Stage) -> FineTuning:
    """Try fine-tuning on the folds, and tune the network that is shipped if that is better.

    Args:
        stage: of the run.

    Returns:
        What came of it; the frozen network stays if fine-tuning fails.

    Raises:
        OutputError: the folder of the checkpoints cannot be written, or another run uses it.
        ModelFileError: PyTorch and ONNX Runtime disagree on a photo.
    """
    folder = _find_folder(stage)
    remove_stale(folder.parent)
    with lock(folder):
        try:
            return _fine_tune(stage, folder)
        except FineTuningError as error:
            reason = f"Fine-tuning failed: {error}. Kept the frozen network."
            return FineTuning(metrics={"kept": False, "reason": reason}, messages=[reason], folder=folder, kept=None)


def _fine_tune(stage: Stage, folder: Path) -> FineTuning:
    started = time.perf_counter()
    config, options = stage.config, stage.config.fine_tuning
    pixels = _write_pixels(stage, folder)
    name = stage.material.backbone.name
    network = Network(
        tensors=read_tensors(name, weights=config.features.weights or None),
        blocks_per_stage=BACKBONES[name].blocks_per_stage,
        strides=_list_strides(),
    )
    tuner = Tuner(
        folder,
        network,
        options,
        batch_size=config.training.batch_size,
        dropout_rate=config.training.dropout_rate,
        patience=config.training.patience,
        seed=config.training.seed,
    )
    with tuner:
        if options.first_stage:
            with stage.progress.show_stage("Frozen stages", len(pixels)) as advance:
                tuner.cache_activations(len(pixels), on_photo=advance)
        folds = _plan_folds(stage)
        searched, is_searched = _search(tuner, folds[0], stage, folder)
        stage = replace(stage, config=stage.config.change(searched.options))
        options = tuner.options = stage.config.fine_tuning
        notes = _fit_into_time(tuner, folds, stage, folder, started)
        of_folds = _tune_folds(tuner, folds, stage, pixels)
        chosen = (stage.parts != "test") & ~is_searched
        metrics, sentence = choose(
            stage.material.catalog.labels[chosen],
            stage.material.groups[chosen],
            stage.validation.out_of_fold[chosen],
            of_folds.out_of_fold[chosen],
        )
        metrics |= {"epochs": tuner.epochs, "stages": options.fine_tune_stages}
        metrics["largest_parity_difference"] = of_folds.largest_difference
        messages = [sentence, *searched.messages, *notes, *of_folds.notes]
        tuning = FineTuning(metrics=metrics, messages=messages, folder=folder, kept=None, searched=searched)
        if not metrics["kept"]:
            return tuning
        kept, difference, shipped_notes = _tune_shipped(tuner, stage, pixels)
    kept = replace(kept, out_of_fold=of_folds.out_of_fold, fold_embeddings=of_folds.embeddings)
    metrics["largest_parity_difference"] = max(difference, of_folds.largest_difference)
    return replace(tuning, messages=[*messages, *shipped_notes], kept=kept)


def _search(tuner: Tuner, fit: Fit, stage: Stage, folder: Path) -> tuple[Searched, NDArray[np.bool_]]:
    """Look for a learning rate and other options first, if asked to; and which photos had a say in that.

    The photos of the first fold do: its fit learns, and others of them measure. They are not those that fold is asked
    about, but other folds are, so they are left out where frozen and tuned are compared.
    """
    config, log, progress = stage.config, stage.log, stage.progress
    searched, is_searched = Searched(), np.zeros(len(stage.parts), np.bool_)
    if config.search.find_learning_rate:
        searched = find_learning_rate(tuner, replace(fit, name="range-test"), config, log, progress)
        config = config.change(searched.options)
    if config.search.tune and len(fit.validation):
        is_searched[fit.validation] = True
        fit = replace(fit, measure_training=False)
        tried = search_fine_tuning(tuner, fit, stage.material.groups, config, folder, log, progress)
        searched = searched.join(tried)
    return searched, is_searched


def _plan_folds(stage: Stage) -> list[Fit]:
    """One fit a fold; each learns from about as many photos as the shipped network."""
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


def _tune_folds(tuner: Tuner, folds: Sequence[Fit], stage: Stage, pixels: NDArray[np.uint8]) -> _OfFolds:
    """Name every photo by a network tuned without its fold."""
    out_of_fold = np.empty((len(pixels), stage.photos.num_classes))
    embeddings: list[FoldEmbedding] = []
    notes: list[str] = []
    largest = 0.0
    with stage.progress.show_stage("Tuning folds", tuner.epochs * len(folds)) as advance:
        for number, fit in enumerate(folds, start=1):
            tuned = _run_fit(tuner, fit, stage, advance, f"fold {number} of {len(folds)}, ")
            backbone = _build(stage, tuned)
            seen = np.sort(np.concatenate([fit.train, fit.validation]))
            features = extract_from_pixels(pixels, np.union1d(seen, fit.asked), backbone)
            out_of_fold[fit.asked] = tuned.head.predict_rows(features, fit.asked)
            largest = max(largest, check_parity(tuned.probabilities, out_of_fold[fit.asked]))
            embeddings.append(embed_fold(features, fit.labels, seen, fit.asked, parts=backbone.parts))
            notes += tuned.notes
    return _OfFolds(
        out_of_fold=out_of_fold,
        embeddings=embeddings,
        largest_difference=largest,
        notes=list(dict.fromkeys(notes)),
    )


def _tune_shipped(tuner: Tuner, stage: Stage, pixels: NDArray[np.uint8]) -> tuple[KeptModel, float, Sequence[str]]:
    """Tune on the training photos; validation photos choose the epoch."""
    train, validation = np.flatnonzero(stage.parts == "train"), np.flatnonzero(stage.parts == "validation")
    asked = np.flatnonzero(stage.parts != "train")
    fit = _make_fit(stage, "shipped", stage.trained.head, train, validation, asked, 0)
    with stage.progress.show_stage("Tuning", tuner.epochs) as advance:
        tuned = _run_fit(tuner, fit, stage, advance, "")
    backbone = _build(stage, tuned)
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
        out_of_fold=np.empty(0),
        fold_embeddings=(),
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


def _fit_into_time(tuner: Tuner, folds: Sequence[Fit], stage: Stage, folder: Path, started: float) -> list[str]:
    """Take as many epochs as the time limit allows, all fits together; a run that goes on keeps to its number."""
    limit, mark = parse_time_limit(stage.config.fine_tuning.time_limit), folder / "epochs.json"
    if limit is None:
        return []
    if mark.exists():
        tuner.epochs = int(json.loads(mark.read_bytes())["epochs"])
    else:
        step_seconds, photo_seconds = tuner.measure(folds[0])
        num_steps = sum(count_iterations(len(fit.train), stage.config.training.batch_size) for fit in folds)
        num_shown = sum(len(fit.validation) for fit in folds)
        share = 1 + 1 / len(folds)  # the shipped network learns from as many photos as that of a fold
        num_measured = (stage.parts == "train").sum()  # and names these after each epoch
        of_epoch = share * (num_steps * step_seconds + num_shown * photo_seconds) + num_measured * photo_seconds
        # the ONNX graph of each fold names all photos once
        fixed = share * len(folds) * len(stage.parts) * photo_seconds + time.perf_counter() - started
        tuner.epochs = int(np.clip((limit - fixed) / of_epoch, 1, tuner.epochs))
        write_file(mark, json.dumps({"epochs": tuner.epochs, "seconds_of_epoch": of_epoch}).encode())
    asked = stage.config.fine_tuning.fine_tune_epochs
    if tuner.epochs == asked:
        return []
    return [f"--time-limit {stage.config.fine_tuning.time_limit} allowed {tuner.epochs} of {asked} epochs."]


def _build(stage: Stage, tuned: Tuned) -> Backbone:
    frozen = stage.material.backbone
    return build_backbone(frozen.name, tuned.tensors, feature_set=frozen.feature_set)


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
        _list_files(photos), material.backbone, material.preprocessing, material.cache, helpers=stage.helpers
    )
    if not all(inspection.usable for inspection in inspections):
        raise FineTuningError("photos of other things could be read at first and cannot be read any more")
    return features


def _write_pixels(stage: Stage, folder: Path) -> NDArray[np.uint8]:
    """What the network sees of every photo, in a file that the helper maps to memory."""
    path, mark = folder / "pixels.npy", folder / "pixels.json"
    if not mark.exists():
        photos, preprocessing = _list_files(stage.used), stage.material.preprocessing
        with stage.progress.show_stage("Reading photos", len(photos)) as advance:
            failed = write_pixels(photos, preprocessing, path, helpers=stage.helpers, on_photo=advance)
        if failed:
            raise FineTuningError(f"{photos[failed[0]].file} could be read at first and cannot be read any more")
        write_file(mark, b"{}")
    pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return pixels


def _list_files(photos: Sequence[Photo]) -> list[PhotoFile]:
    return [PhotoFile(file=photo.file, path=photo.path, label=photo.label) for photo in photos]


def _list_strides() -> tuple[int, ...]:
    from clownfish.backbones.efficientnet_lite import STAGE_STRIDES  # imports onnx

    return STAGE_STRIDES


def _find_folder(stage: Stage) -> Path:
    """A folder for exactly this work, so that the same command finds it again."""
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
