"""What a run has come to so far, for TensorBoard or MLflow, while it lasts.

Both are extras, imported here only once they are asked for. A log that cannot be written is a note, never the end of
the training. MLflow would tell its makers how it is used; that is switched off, since nothing here talks to the network
unasked.
"""

import contextlib
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from clownfish.config import LoggingOptions
from clownfish.errors import MissingExtraError, OutputError
from clownfish.files import find_free_folder

DEFAULT_FOLDER = Path("runs") / "logs"
EPOCH_EVENT = "epoch of training"
_FIT_EVENTS = {EPOCH_EVENT, "epoch of fine-tuning", "trial", "learning rate tried"}
"""Events of the run's log whose numbers are shown; they have "fit" and "step" or "epoch"."""
_MODULES = {"tensorboard": ("tensorboardX",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}
_NAMES = {"tensorboard": "TensorBoard", "mlflow": "MLflow"}
_TAGS = {
    "train_loss": "loss/training",
    "shown_loss": "loss/shown",
    "validation_loss": "loss/validation",
    "train_accuracy": "accuracy/training",
    "shown_accuracy": "accuracy/shown",
    "validation_accuracy": "accuracy/validation",
}
_RESULTS = ("train", "validation", "test", "cross_validated")
_MAX_LETTERS = 500


class _Writer(Protocol):
    """One kind of log."""

    def write_options(self, options: Mapping[str, Any]) -> None: ...

    def write_numbers(self, fit: str, step: int, numbers: Mapping[str, float]) -> None: ...

    def write_results(self, options: Mapping[str, Any], results: Mapping[str, float]) -> None: ...

    def close(self, status: str) -> None: ...


class _NoWriter:
    """Nobody watches."""

    def write_options(self, options: Mapping[str, Any]) -> None:
        pass

    def write_numbers(self, fit: str, step: int, numbers: Mapping[str, float]) -> None:
        pass

    def write_results(self, options: Mapping[str, Any], results: Mapping[str, float]) -> None:
        pass

    def close(self, status: str) -> None:
        pass


@dataclass(kw_only=True, slots=True)
class LiveLog:
    """Passes on what is worth watching."""

    writer: _Writer = field(default_factory=_NoWriter)
    options: Mapping[str, Any]
    """Of the run, by their plain names."""
    warning: str = ""
    """Why the log ends early."""

    def start(self) -> None:
        """Write the options."""
        self.writer.write_options(self.options)

    def note(self, event: str, facts: Mapping[str, Any]) -> None:
        """Pass on an event of the run's log, if it has numbers of an epoch or a trial.

        Args:
            event: what happened.
            facts: its numbers, with "fit" and "epoch" or "step".
        """
        if event in _FIT_EVENTS:
            step = facts["epoch"] if "epoch" in facts else facts["step"]
            numbers = {name: value for name, value in facts.items() if name not in ("epoch", "step")}
            with self._keep_going() as writer:
                writer.write_numbers(str(facts["fit"]), step, _select_numbers(numbers))

    def note_results(self, metrics: Mapping[str, Any]) -> None:
        """Pass on how good the model is.

        Args:
            metrics: as in metrics.json.
        """
        results = {
            f"{part}_{name}": value
            for part in _RESULTS
            for name, value in (
                ("accuracy", metrics[part]["accuracy"]["value"]),
                ("cross_entropy", metrics[part]["cross_entropy"]),
            )
        }
        with self._keep_going() as writer:
            writer.write_results(self.options, _select_numbers(results))

    def close(self, status: str) -> None:
        """End the log.

        Args:
            status: FINISHED, FAILED or KILLED.
        """
        with self._keep_going() as writer:
            writer.close(status)

    @contextlib.contextmanager
    def _keep_going(self) -> Iterator[_Writer]:
        try:
            yield self.writer
        except Exception as error:  # noqa: BLE001 (whatever fails in a log, the training is worth more)
            self.writer = _NoWriter()
            self.warning = f"Logging stopped before the end: {_describe(error)}. The run itself is complete."


def check_log(options: LoggingOptions) -> None:
    """Find out early whether the log that is asked for can be written.

    Args:
        options: of the run.

    Raises:
        MissingExtraError: the extra is not installed.
    """
    if any(find_spec(name) is None for name in _MODULES.get(options.log, ())):
        raise MissingExtraError(f"--log {options.log}", options.log)


@contextlib.contextmanager
def open_live_log(options: LoggingOptions, name: str, settings: Mapping[str, Any]) -> Iterator[LiveLog]:
    """Open the log that is asked for, while the context lasts.

    Args:
        options: which and where.
        name: of the run.
        settings: every option of the run, by its plain name.

    Yields:
        The log.

    Raises:
        OutputError: the log cannot be started.
    """
    live = LiveLog(options=settings)
    if options.log:
        try:
            live.writer = _TensorBoard(options, name) if options.log == "tensorboard" else _Mlflow(options, name)
            live.start()
        except Exception as error:
            raise OutputError(
                f"The log for {_NAMES[options.log]} cannot be started ({find_place(options)}): {_describe(error)}."
                " Choose another place with --log-dir, or leave out --log."
            ) from error
    status = "FAILED"
    try:
        yield live
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        live.close(status)


def find_place(options: LoggingOptions) -> str:
    """Tell where the log is written.

    Args:
        options: which and where.

    Returns:
        For TensorBoard a folder; for MLflow the address of its store.
    """
    folder = Path(options.log_dir) if options.log_dir else DEFAULT_FOLDER
    if options.log != "mlflow":
        return str(folder)
    address = "" if options.log_dir else os.environ.get("MLFLOW_TRACKING_URI", "")
    return address or f"sqlite:///{(folder / 'mlflow.db').as_posix()}"


def describe_watching(options: LoggingOptions) -> str:
    """Say how to watch the log.

    Args:
        options: which and where.

    Returns:
        One line; "" without a log.
    """
    if not options.log:
        return ""
    place = find_place(options)
    if options.log == "tensorboard":
        return f"Watch the training: tensorboard --logdir {place}"
    if place.startswith("sqlite"):
        return f"Watch the training: mlflow ui --backend-store-uri {place}"
    return f"Watch the training: MLflow at {place}, experiment clownfish"


class _TensorBoard:
    """One folder a fit, so that the curves of folds lie over each other."""

    def __init__(self, options: LoggingOptions, name: str) -> None:
        from tensorboardX import SummaryWriter

        folder = Path(find_place(options)) / name
        self._folder = find_free_folder(folder) if folder.exists() else folder
        self._folder.mkdir(parents=True)
        self._make = SummaryWriter
        self._writers: dict[str, Any] = {}

    def write_options(self, options: Mapping[str, Any]) -> None:
        rows = "\n".join(f"| {name} | {value} |" for name, value in options.items() if value != "")
        self._open("").add_text("options", f"| option | value |\n|---|---|\n{rows}")
        self._open("").flush()

    def write_numbers(self, fit: str, step: int, numbers: Mapping[str, float]) -> None:
        writer = self._open(fit)
        for name, value in numbers.items():
            writer.add_scalar(_TAGS.get(name, name), value, step)
        writer.flush()

    def write_results(self, options: Mapping[str, Any], results: Mapping[str, float]) -> None:
        shown = {name: value for name, value in options.items() if isinstance(value, bool | int | float | str)}
        self._open("").add_hparams(shown, {f"result/{name}": value for name, value in results.items()}, name="result")

    def close(self, status: str) -> None:
        for writer in self._writers.values():
            writer.close()

    def _open(self, fit: str) -> Any:
        if fit not in self._writers:
            self._writers[fit] = self._make(str(self._folder / fit))
        return self._writers[fit]


class _Mlflow:
    """One run of the experiment "clownfish"; numbers of a fold have its name in front."""

    def __init__(self, options: LoggingOptions, name: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        place = find_place(options)
        if place.startswith("sqlite:///"):
            Path(place.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient

        for library in ("mlflow", "alembic"):  # its own import sets levels too
            logging.getLogger(library).setLevel(logging.WARNING)
        self._client = MlflowClient(tracking_uri=place)
        found = self._client.get_experiment_by_name("clownfish")
        experiment = found.experiment_id if found else self._client.create_experiment("clownfish")
        self._run = self._client.create_run(experiment, run_name=name).info.run_id

    def write_options(self, options: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        shown = [Param(name, str(value)[:_MAX_LETTERS]) for name, value in options.items() if value != ""]
        self._client.log_batch(self._run, params=shown)

    def write_numbers(self, fit: str, step: int, numbers: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        prefix = f"{fit}/" if fit else ""
        own = [Metric(prefix + name, value, now, step) for name, value in numbers.items()]
        self._client.log_batch(self._run, metrics=own)

    def write_results(self, options: Mapping[str, Any], results: Mapping[str, float]) -> None:
        self.write_numbers("", 0, results)

    def close(self, status: str) -> None:
        self._client.set_terminated(self._run, status=status)


def _select_numbers(facts: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in facts.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _describe(error: Exception) -> str:
    """One line of it, without its full stop."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:_MAX_LETTERS].rstrip(".")
