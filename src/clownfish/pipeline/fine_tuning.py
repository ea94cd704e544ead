"""Fine-tuning in a run: tried on the folds of cross-validation first, kept only if it is better there.

Every photo is named by a network that was tuned without its fold, as it was by a frozen one: that compares the two on
the same photos, each unseen by both, and it is what calibration and the other rules of answering are fitted on. Only if
the tuned ones are better, the network that is shipped is tuned on the training photos. Test photos have no say.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.backbones.tunable import check_tunable, open_tunable
from clownfish.config import TrainConfig
from clownfish.errors import BackboneError, ConfigError, FineTuningError
from clownfish.features.cache import find_cache_folder
from clownfish.pipeline.fine_tuning_choice import choose
from clownfish.pipeline.fine_tuning_fits import KeptModel, plan_folds, tune_folds, tune_shipped
from clownfish.pipeline.fine_tuning_folder import find_folder, load_pixels, lock, remove_stale
from clownfish.pipeline.fine_tuning_search import find_learning_rate, search_fine_tuning
from clownfish.pipeline.fine_tuning_stage import Stage
from clownfish.pipeline.fine_tuning_time import fit_into_time
from clownfish.pipeline.search import Searched
from clownfish.training.fine_tuning import Fit, Network, Tuner
from clownfish.training.fine_tuning_helper import TuningHelper


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuning:
    """What came of it."""

    metrics: dict[str, Any]
    """"fine_tuning" of metrics.json."""
    messages: Sequence[str]
    folder: Path
    """Of the checkpoints; for `remove_checkpoints` once the run is written."""
    kept: KeptModel | None
    """None if the frozen network stays."""
    searched: Searched = field(default_factory=Searched)
    """What was looked for before."""


def check_options(config: TrainConfig) -> None:
    """Find out before anything else what fine-tuning cannot do.

    Args:
        config: of the run.

    Raises:
        ConfigError: options do not go together.
        MissingExtraError: it needs an extra that is not installed.
        FineTuningError: the process that fine-tunes does not start.
    """
    if config.search.tune and config.fine_tuning.time_limit:
        raise ConfigError(
            "--time-limit says how long fine-tuning may take, and --tune would take longer. Leave one of the two out."
        )
    features, options = config.features, config.fine_tuning
    check_tunable(features.backbone, feature_set=features.feature_set, is_whole=options.first_stage == 0)
    if options.device not in ("auto", "cpu"):  # which are always there
        with TuningHelper() as helper:
            helper.find_device(options.device)


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
    folder = find_folder(stage)
    remove_stale(folder.parent)
    with lock(folder):
        try:
            return _fine_tune(stage, folder)
        except (FineTuningError, BackboneError) as error:
            reason = f"Fine-tuning failed: {str(error).removesuffix('.')}. Kept the frozen network."
            return FineTuning(metrics={"kept": False, "reason": reason}, messages=[reason], folder=folder, kept=None)


def _fine_tune(stage: Stage, folder: Path) -> FineTuning:
    started = time.perf_counter()
    config, options = stage.config, stage.config.fine_tuning
    pixels = load_pixels(stage, folder)
    tunable = open_tunable(
        stage.material.backbone, weights=config.features.weights or None, cache_folder=find_cache_folder()
    )
    tuner = Tuner(
        folder,
        Network(tensors=tunable.tensors, layout=tunable.layout),
        options,
        batch_size=config.training.batch_size,
        dropout_rate=config.training.dropout_rate,
        patience=config.training.patience,
        seed=config.training.seed,
    )
    with tuner:
        device = tuner.find_device()
        if options.first_stage:
            with stage.progress.show_stage("Frozen stages", len(pixels)) as advance:
                tuner.cache_activations(len(pixels), on_photo=advance)
        folds = plan_folds(stage)
        searched, is_searched = _search(tuner, folds[0], stage, folder)
        stage = replace(stage, config=stage.config.change(searched.options))
        options = tuner.options = stage.config.fine_tuning
        notes = fit_into_time(tuner, folds, stage, folder, started)
        of_folds = tune_folds(tuner, tunable.build, folds, stage, pixels, device.kind)
        chosen = (stage.parts != "test") & ~is_searched
        metrics, sentence = choose(
            stage.material.catalog.labels[chosen],
            stage.material.groups[chosen],
            stage.validation.out_of_fold[chosen],
            of_folds.out_of_fold[chosen],
        )
        num_stages = None if tunable.num_stages is None else options.fine_tune_stages
        metrics |= {"epochs": tuner.epochs, "stages": num_stages}
        metrics |= {"device": device.kind, "precision": device.precision}
        metrics["largest_parity_difference"] = of_folds.largest_difference
        notes += [] if device.kind == "cpu" else [f"Fine-tuned on {device.name} ({device.kind}), {device.precision}."]
        messages = [sentence, *searched.messages, *notes, *of_folds.notes]
        tuning = FineTuning(metrics=metrics, messages=messages, folder=folder, kept=None, searched=searched)
        if not metrics["kept"]:
            return tuning
        kept, difference, shipped_notes = tune_shipped(tuner, tunable.build, stage, pixels, of_folds, device.kind)
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
