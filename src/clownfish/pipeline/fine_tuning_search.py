"""Before fine-tuning: which learning rate and which options, by photos that are not for testing."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.config import TrainConfig
from clownfish.errors import FineTuningError
from clownfish.files import format_table, write_file
from clownfish.pipeline.log import RunLog
from clownfish.pipeline.search import Searched, Trial, conclude, describe_trial, note_trial
from clownfish.progress import Progress
from clownfish.training.fine_tuning import Fit, Tuner
from clownfish.training.learning_rates import judge_range_test
from clownfish.training.search import FINE_TUNING_RANGES, Search

_MIN_COMPARED = 4
"""Trials before one may be given up."""


def find_learning_rate(tuner: Tuner, fit: Fit, config: TrainConfig, log: RunLog, progress: Progress) -> Searched:
    """Measure which learning rate training photos suggest; no weights of a fit are changed.

    Args:
        tuner: carries it out.
        fit: whose training photos are shown.
        config: of the run.
        log: of the run.
        progress: shows that it is under way.

    Returns:
        The rate, if there is a clear one, and learning_rates.csv.

    Raises:
        FineTuningError: the helper process fails.
    """
    with progress.show_stage("Learning rate", None):
        test = judge_range_test(*tuner.sweep_rates(fit))
    points = list(zip(test.rates.tolist(), test.losses.tolist(), test.smoothed.tolist(), strict=True))
    for step, (rate, loss, smoothed) in enumerate(points, start=1):
        log.add("learning rate tried", fit="range-test", step=step, rate=rate, shown_loss=loss, smoothed=smoothed)
    given = config.fine_tuning.fine_tune_learning_rate
    files = {"learning_rates.csv": format_table(["learning_rate", "loss", "smoothed_loss"], points)}
    if test.suggestion is None:
        message = f"No learning rate stands out in the range test, so {given:g} was kept; see learning_rates.csv."
        return Searched(messages=[message], files=files)
    message = (
        f"The range test suggests a learning rate of {test.suggestion:g}, which was taken instead of {given:g}; see"
        " learning_rates.csv."
    )
    return Searched(options={"fine_tune_learning_rate": test.suggestion}, messages=[message], files=files)


def search_fine_tuning(
    tuner: Tuner,
    fit: Fit,
    groups: NDArray[np.int64],
    config: TrainConfig,
    folder: Path,
    log: RunLog,
    progress: Progress,
) -> Searched:
    """Try options of fine-tuning, each on the fit's training photos, measured on its validation photos.

    A finished trial is kept on disk, so that an interrupted search goes on. A trial that is worse after an epoch
    than half of those before it is given up (median rule of Golovin et al. 2017, KDD, Google Vizier, section 3.2.2).

    Args:
        tuner: carries the fits out.
        fit: which photos.
        groups: number of each photo's group, shape (num_photos,).
        config: where the search starts.
        folder: of the checkpoints.
        log: of the run.
        progress: shows how far the work has come.

    Returns:
        What was found.

    Raises:
        FineTuningError: no trial could be finished.
    """
    seed, labels = config.training.seed, fit.labels[fit.validation]
    search = Search(FINE_TUNING_RANGES, config.flatten(), seed=seed)
    trials: list[Trial] = []
    losses: list[list[float]] = []
    with progress.show_stage("Trying options", config.search.tune) as advance:
        for number in range(1, config.search.tune + 1):
            options = search.ask()
            path = folder / f"trial-{number:04}.json"
            if not path.exists():
                tuner.options = replace(config.fine_tuning, **options)
                facts = _run_trial(tuner, replace(fit, name=path.stem, asked=fit.validation), losses)
                write_file(path, json.dumps(facts).encode())
                shutil.rmtree(folder / path.stem, ignore_errors=True)
            facts = json.loads(path.read_bytes())
            answers = None if facts["probabilities"] is None else np.array(facts["probabilities"])
            trial = Trial(options=options, probabilities=answers, status=facts["status"], seconds=facts["seconds"])
            trials.append(trial)
            losses.append(facts["losses"])
            loss = note_trial(trial, number, labels, log)
            search.tell(loss if loss is not None else _find_last(facts["losses"]))
            advance(describe_trial(trial, labels))
    tuner.options = config.fine_tuning
    if not any(trial.probabilities is not None for trial in trials):
        raise FineTuningError("none of the trials of --tune could be finished")
    return conclude(trials, FINE_TUNING_RANGES, labels, groups[fit.validation], seed=seed)


class _GivenUpError(Exception):
    """The trial is worse than half of those before it."""


def _run_trial(tuner: Tuner, fit: Fit, earlier: Sequence[Sequence[float]]) -> dict[str, Any]:
    started = time.perf_counter()
    losses: list[float] = []

    def judge_epoch(row: Mapping[str, Any]) -> None:
        losses.append(row["validation_loss"])
        others = [own[len(losses) - 1] for own in earlier if len(own) >= len(losses)]
        if len(losses) < tuner.epochs and len(others) >= _MIN_COMPARED and losses[-1] > np.median(others):
            raise _GivenUpError

    status, answers = "finished", None
    try:
        answers = tuner.run(fit, on_epoch=judge_epoch).probabilities.tolist()
    except _GivenUpError:
        status = "given up"
    except FineTuningError:  # it diverged; others need not
        status = "failed"
    return {
        "status": status,
        "losses": losses,
        "probabilities": answers,
        "seconds": time.perf_counter() - started,
    }


def _find_last(losses: Sequence[float]) -> float | None:
    return losses[-1] if losses else None
