"""How many epochs a time limit allows."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clownfish.files import write_file
from clownfish.pipeline.fine_tuning_stage import Stage
from clownfish.training.descent import count_iterations
from clownfish.training.fine_tuning import Fit, Tuner
from clownfish.training.fine_tuning_options import parse_time_limit


def fit_into_time(tuner: Tuner, folds: Sequence[Fit], stage: Stage, folder: Path, started: float) -> list[str]:
    """Take as many epochs as the time limit allows, all fits together; a run that goes on keeps to its number.

    Args:
        tuner: its number of epochs is set.
        folds: the fits of the folds; the shipped network takes as long as one of them.
        stage: of the run.
        folder: of the checkpoints, where the number is kept.
        started: when the work began, of `time.perf_counter`.

    Returns:
        A sentence for the user, if there are fewer epochs than asked for.

    Raises:
        FineTuningError: the helper process fails.
    """
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
