"""`--log`: what is passed on to whoever watches, and that a log is never the end of a training."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import clownfish
from clownfish.config import LoggingOptions, TrainConfig
from clownfish.errors import ConfigError, OutputError
from clownfish.pipeline import live_log
from clownfish.pipeline.live_log import LiveLog, describe_watching, find_place, open_live_log
from runs import RUN_FILES, Cli, read_metrics

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboardX") is None, reason="needs the extra 'tensorboard'"
)
needs_mlflow = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs the extra 'mlflow'")
PART = {"accuracy": {"value": 0.9, "low": None, "high": None}, "cross_entropy": 0.3}
METRICS = dict.fromkeys(("train", "validation", "test", "cross_validated"), PART)


class Notebook:
    """Keeps what it is given, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails, self.pages = fails, []

    def write_options(self, options: Mapping[str, Any]) -> None:
        self.pages.append(options)

    def write_numbers(self, fit: str, step: int, numbers: Mapping[str, float]) -> None:
        if self.fails:
            raise OSError("No space left on device.\nsecond line")
        self.pages.append((fit, step, dict(numbers)))

    def write_results(self, options: Mapping[str, Any], results: Mapping[str, float]) -> None:
        self.pages.append(dict(results))

    def close(self, status: str) -> None:
        self.pages.append(status)


def test_numbers_of_epochs_and_trials_are_passed_on() -> None:
    notebook = Notebook()
    live = LiveLog(writer=notebook, options={})
    epoch = {"epoch": 3, "train_loss": 0.5, "validation_loss": None, "train_accuracy": float("nan")}
    live.note("epoch of training", {"fit": "layer", **epoch})
    live.note("trial", {"fit": "trials", "step": 2, "validation_loss": 0.4, "status": "finished", "epochs": 7})
    live.note("stage started", {"stage": "train"})
    assert notebook.pages == [
        ("layer", 3, {"train_loss": 0.5}),
        ("trials", 2, {"validation_loss": 0.4, "epochs": 7.0}),
    ]


def test_a_log_that_fails_is_a_note_and_not_the_end() -> None:
    live = LiveLog(writer=Notebook(fails=True), options={})
    for epoch in (1, 2):
        live.note("epoch of training", {"fit": "layer", "epoch": epoch, "train_loss": 0.5})
    live.note_results(METRICS)
    live.close("FINISHED")
    assert live.warning == ("Logging stopped before the end: No space left on device. The run itself is complete.")


def test_without_a_log_nothing_happens() -> None:
    with open_live_log(LoggingOptions(), "run-1", {}) as live:
        live.note("epoch of training", {"fit": "layer", "epoch": 1, "train_loss": 0.5})
        live.note_results(METRICS)
    assert live.warning == ""
    assert describe_watching(LoggingOptions()) == ""


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_the_log_ends_as_the_run_does(
    error: BaseException | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = Notebook()
    monkeypatch.setattr(live_log, "_TensorBoard", lambda *_: notebook)
    try:
        with open_live_log(LoggingOptions(log="tensorboard"), "run-1", {"epochs": 3}):
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    assert notebook.pages == [{"epochs": 3}, status]


def test_a_log_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(live_log, "_Mlflow", refuse)
    options = LoggingOptions(log="mlflow", log_dir="/far/away")
    with (
        pytest.raises(
            OutputError,
            match=r"The log for MLflow cannot be started \(sqlite:////far/away/mlflow.db\): .*Permission denied. Choose"
            " another place with --log-dir, or leave out --log",
        ),
        open_live_log(options, "run-1", {}),
    ):
        pass


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_without_the_extra_the_command_says_what_to_install(
    kind: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clownfish.pipeline.live_log.find_spec", lambda name: None)
    result = cli("train", "photos", "--log", kind)
    assert result.code == 2
    assert f"--log {kind} needs the extra '{kind}'. Install it: pip install 'clownfish[{kind}]'" in result.err
    assert not Path("runs").exists()


def test_another_kind_of_log_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"There is no log 'wandb'. Choose one of: tensorboard, mlflow."):
        TrainConfig().change({"log": "wandb"})


def test_the_place_of_the_log_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert describe_watching(LoggingOptions(log="tensorboard", log_dir="x")) == (
        "Watch the training: tensorboard --logdir x"
    )
    assert describe_watching(LoggingOptions(log="mlflow")) == (
        "Watch the training: mlflow ui --backend-store-uri sqlite:///runs/logs/mlflow.db"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org:5000")
    assert find_place(LoggingOptions(log="mlflow", log_dir="x")) == "sqlite:///x/mlflow.db"
    assert describe_watching(LoggingOptions(log="mlflow")) == (
        "Watch the training: MLflow at http://example.org:5000, experiment clownfish"
    )


@needs_tensorboard
@pytest.mark.usefixtures("shared_cache")
def test_tensorboard_gets_epochs_options_and_results(cli: Cli, insects: Path) -> None:
    Path("runs/logs/insects-1").mkdir(parents=True)  # of a run that was interrupted
    result = cli("train", insects, "--fast", "--epochs", 2, "--log", "tensorboard")
    assert result.code == 0
    assert result.out.startswith(f"Watch the training: tensorboard --logdir {Path('runs/logs')}\n")
    names = {path.relative_to("runs/logs").parent.as_posix() for path in Path("runs/logs").rglob("events.*")}
    assert names == {f"insects-1-1{part}" for part in ("", "/layer", "/result")}
    content = next(Path("runs/logs/insects-1-1/layer").iterdir()).read_bytes()
    for tag in (b"loss/training", b"loss/validation", b"accuracy/training", b"accuracy/validation"):
        assert content.count(tag) == 2
    assert {path.name for path in Path("runs/insects-1").iterdir()} == RUN_FILES


@needs_mlflow
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("shared_cache", "no_helpers")
def test_mlflow_gets_epochs_options_and_results(insects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    run = clownfish.train(
        insects, out=tmp_path / "run", fast=True, epochs=2, log="mlflow", log_dir=tmp_path / "logs", quiet=True
    )
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'logs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("clownfish")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "run"
    assert found.info.status == "FINISHED"
    assert found.data.params["epochs"] == "2"
    assert (
        found.data.metrics["cross_validated_accuracy"] == read_metrics(run.path)["cross_validated"]["accuracy"]["value"]
    )
    assert [point.step for point in client.get_metric_history(found.info.run_id, "layer/train_loss")] == [1, 2]
