"""`clownfish train --tune`: options of the layer on top are tried on photos that are not for testing."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.config import TrainConfig
from clownfish.errors import ConfigError
from clownfish.evaluation.search_luck import SearchLuck, estimate_luck
from clownfish.files import format_table
from clownfish.pipeline.log import RunLog
from clownfish.pipeline.material import Material
from clownfish.progress import Progress, describe_epoch
from clownfish.splits import Split, make_folds
from clownfish.training.cross_validation import cross_validate
from clownfish.training.descent import TrainingSet, measure_answers
from clownfish.training.search import LAYER_RANGES, Range, Search


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One set of options and what it has come to."""

    options: Mapping[str, Any]
    probabilities: NDArray[np.float64] | None
    """Of photos that were not learned from, shape (num_photos, num_classes); None if it failed or was given up."""
    status: str = "finished"
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Searched:
    """What a search has found."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """To go on with, by their plain names; those at the start are left out."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Keys of metrics.json."""
    messages: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)

    def join(self, other: "Searched") -> "Searched":
        """Put what a later search has found behind this."""
        return Searched(
            options={**self.options, **other.options},
            metrics={**self.metrics, **other.metrics},
            messages=[*self.messages, *other.messages],
            files={**self.files, **other.files},
        )


def search_layer(
    photos: TrainingSet, material: Material, split: Split, config: TrainConfig, log: RunLog, progress: Progress
) -> Searched:
    """Look for options of the layer on top, by grouped cross-validation of all photos but those for testing.

    Args:
        photos: all used photos.
        material: their labels and groups.
        split: of them.
        config: where the search starts.
        log: of the run.
        progress: shows how far the work has come.

    Returns:
        What was found.

    Raises:
        ConfigError: all photos but those for testing are one group, or no trial could be finished.
    """
    catalog, seed = material.catalog, config.training.seed
    rows = np.flatnonzero([part != "test" for part in split.parts])
    names, groups = [catalog.label_names[row] for row in rows], [catalog.groups[row] for row in rows]
    if len(set(groups)) < 2:
        raise ConfigError(
            "--tune needs at least two groups of photos besides those for testing, and there is one. Give other groups,"
            " or leave out --tune."
        )
    folds = np.full(len(split.parts), -1, np.int64)
    folds[rows] = make_folds(names, groups, seed=seed)
    labels, numbers = catalog.labels[rows], material.groups[rows]
    search = Search(LAYER_RANGES, config.flatten(), seed=seed)
    trials: list[Trial] = []
    with progress.show_stage("Trying options", config.search.tune) as advance:
        for number in range(1, config.search.tune + 1):
            started = time.perf_counter()
            options = search.ask()
            training = replace(config.training, **options)
            try:
                answers = cross_validate(replace(photos, rows=rows), folds, training)
            except ConfigError:  # these diverge, others need not
                answers, status = None, "failed"
            else:
                status = "finished"
            trial = Trial(options=options, probabilities=answers, status=status, seconds=time.perf_counter() - started)
            trials.append(trial)
            search.tell(note_trial(trial, number, labels, log))
            advance(describe_trial(trial, labels))
    if not any(trial.probabilities is not None for trial in trials):
        raise ConfigError("None of the trials of --tune could be finished. Try the defaults, 0.01 and 0.2.")
    return conclude(trials, LAYER_RANGES, labels, numbers, seed=seed)


def note_trial(trial: Trial, number: int, labels: NDArray[np.int64], log: RunLog) -> float | None:
    """Write a trial to the log of the run.

    Args:
        trial: which.
        number: counted from 1.
        labels: class of each photo, shape (num_photos,).
        log: of the run.

    Returns:
        Its mean cross-entropy; None if it has no answers.
    """
    if trial.probabilities is None:
        log.add("trial", fit="trials", step=number, status=trial.status, **trial.options)
        return None
    loss, accuracy = measure_answers(trial.probabilities, labels)
    facts = {"validation_loss": float(loss.mean()), "validation_accuracy": float(accuracy.mean())}
    log.add("trial", fit="trials", step=number, **facts, **trial.options)
    return float(loss.mean())


def describe_trial(trial: Trial, labels: NDArray[np.int64]) -> str:
    """Tell how a trial went, to stand behind a bar."""
    if trial.probabilities is None:
        return trial.status
    loss, right = measure_answers(trial.probabilities, labels)
    return describe_epoch(float(loss.mean()), float(right.mean()))


def conclude(
    trials: Sequence[Trial], ranges: Sequence[Range], labels: NDArray[np.int64], groups: NDArray[np.int64], *, seed: int
) -> Searched:
    """Choose a trial, and say how much of its score is luck.

    Args:
        trials: the first has the options at the start; at least one is finished.
        ranges: of the options that were tried.
        labels: class of each photo, shape (num_photos,).
        groups: number of each photo's group, shape (num_photos,).
        seed: decides draws.

    Returns:
        What was found; the options at the start stay unless others are better beyond luck.
    """
    finished = [trial for trial in trials if trial.probabilities is not None]
    measured = [measure_answers(trial.probabilities, labels) for trial in finished if trial.probabilities is not None]
    losses, right = np.array([own[0] for own in measured]), np.array([own[1] for own in measured])
    luck = estimate_luck(losses, right, groups, seed=seed)
    has_start = finished[0] is trials[0]
    takes_best = luck.is_better or not has_start
    taken = finished[luck.best] if takes_best else trials[0]
    options = {name: value for name, value in taken.options.items() if value != trials[0].options[name]}
    sentence = describe_search(luck, len(trials), len(labels), options, has_start=has_start)
    scores = {id(trial): (own[0].mean(), own[1].mean()) for trial, own in zip(finished, measured, strict=True)}
    rows = [
        [
            number,
            trial.status,
            trial is taken,
            *(scores.get(id(trial), (None, None))),
            *(trial.options[own.name] for own in ranges),
            trial.seconds,
        ]
        for number, trial in enumerate(trials, start=1)
    ]
    header = ["trial", "status", "taken", "cross_entropy", "accuracy", *(own.name for own in ranges), "seconds"]
    metrics = {
        "num_trials": len(trials),
        "num_photos": len(labels),
        "num_groups": len(np.unique(groups)),
        "is_better": takes_best,
        "best_accuracy": luck.accuracy,
        "start_accuracy": luck.start_accuracy if has_start else None,
        "luck": luck.luck,
        "options": options,
        "reason": sentence,
    }
    return Searched(
        options=options,
        metrics={"tuning": metrics},
        messages=[sentence],
        files={"tuning.csv": format_table(header, rows)},
    )


def describe_search(
    luck: SearchLuck, num_trials: int, num_photos: int, options: Mapping[str, Any], *, has_start: bool = True
) -> str:
    """Say what a search has found, and how much of it is luck.

    Args:
        luck: of the search.
        num_trials: how many there were.
        num_photos: that they were measured on.
        options: what is changed.
        has_start: the first trial could be finished.

    Returns:
        Two sentences.
    """
    if has_start and luck.best == 0:
        return (
            f"None of {num_trials} trials has a lower cross-entropy than the options at the start, which name"
            f" {100 * luck.start_accuracy:.1f} % of {num_photos:,} photos right that were not learned from; they were"
            " kept."
        )
    start = f" (the options at the start: {100 * luck.start_accuracy:.1f} %)" if has_start else ""
    found = (
        f"The best of {num_trials} trials names {100 * luck.accuracy:.1f} % of {num_photos:,} photos right that it had"
        f" not learned from{start}; about {100 * luck.luck:.1f} points of that are luck of the search."
    )
    if has_start and not luck.is_better:
        return f"{found} Without the luck it would be no better, so the options at the start were kept."
    changed = ", ".join(f"{name} {value:.3g}" for name, value in options.items())
    return (
        f"{found} Taken: {changed}. The cross-validated numbers hold some of this luck, since they are about the same"
        " photos; the test photos had no say."
    )
