"""`--tune`: what is tried, on which photos, what is said, and that the run can be repeated without it."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clownfish
from clownfish.config import TrainConfig, read_config
from clownfish.errors import ConfigError
from clownfish.evaluation.search_luck import SearchLuck
from clownfish.pipeline import search
from clownfish.pipeline.fine_tuning import check_options
from clownfish.pipeline.search import Trial, conclude, describe_search
from clownfish.training.search import LAYER_RANGES
from runs import RUN_FILES, Cli, read_metrics, read_table, write_classes, write_table

needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs the extra 'tune'")
START = {"learning_rate": 0.01, "momentum": 0.9, "dropout_rate": 0.2, "batch_size": 32, "epochs": 20}
LABELS = np.zeros(50, np.int64)


def make_trial(share: float, **changes: Any) -> Trial:
    """A trial that is right about the first photos."""
    right = np.arange(50) < 50 * share
    probabilities = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    return Trial(options={**START, **changes}, probabilities=probabilities)


def test_a_better_trial_is_taken_and_the_luck_is_told() -> None:
    trials = [make_trial(0.6), make_trial(0.7, epochs=9), make_trial(0.9, learning_rate=0.05, epochs=40)]
    found = conclude(trials, LAYER_RANGES, LABELS, np.arange(50), seed=1)
    assert found.options == {"learning_rate": 0.05, "epochs": 40}
    assert found.messages == [
        "The best of 3 trials names 90.0 % of 50 photos right that it had not learned from (the options at the start:"
        " 60.0 %); about 0.0 points of that are luck of the search. Taken: learning_rate 0.05, epochs 40. The"
        " cross-validated numbers hold some of this luck, since they are about the same photos; the test photos had no"
        " say."
    ]
    assert found.metrics["tuning"]["is_better"]
    rows = found.files["tuning.csv"].decode().splitlines()
    assert rows[0] == (
        "trial,status,taken,cross_entropy,accuracy,learning_rate,momentum,dropout_rate,batch_size,epochs,seconds"
    )
    assert [row.split(",")[2] for row in rows[1:]] == ["false", "false", "true"]


def test_the_options_at_the_start_stay_where_none_is_better() -> None:
    failed = Trial(options={**START, "epochs": 5}, probabilities=None, status="failed")
    found = conclude([make_trial(0.8), make_trial(0.8, epochs=9), failed], LAYER_RANGES, LABELS, LABELS, seed=1)
    assert found.options == {}
    assert found.messages == [
        "None of 3 trials has a lower cross-entropy than the options at the start, which name 80.0 % of 50 photos right"
        " that were not learned from; they were kept."
    ]
    assert found.files["tuning.csv"].decode().splitlines()[3].startswith("3,failed,false,,,0.01,")


def test_where_the_start_fails_the_best_of_the_others_is_taken() -> None:
    failed = Trial(options=START, probabilities=None, status="failed")
    found = conclude([failed, make_trial(0.5, epochs=9)], LAYER_RANGES, LABELS, np.arange(50), seed=1)
    assert found.options == {"epochs": 9}
    assert "options at the start" not in found.messages[0]


def test_what_is_better_by_luck_alone_is_not_taken() -> None:
    luck = SearchLuck(best=4, is_better=False, accuracy=0.94, start_accuracy=0.93, luck=0.012)
    assert describe_search(luck, 20, 1252, {}) == (
        "The best of 20 trials names 94.0 % of 1,252 photos right that it had not learned from (the options at the"
        " start: 93.0 %); about 1.2 points of that are luck of the search. Without the luck it would be no better, so"
        " the options at the start were kept."
    )


@needs_optuna
@pytest.mark.usefixtures("shared_cache", "no_helpers")
def test_a_run_with_a_search_has_its_table_and_can_be_repeated_without(
    insects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    original = search.cross_validate

    def note(photos: Any, *args: Any) -> Any:
        seen.append(photos.rows)
        return original(photos, *args)

    monkeypatch.setattr(search, "cross_validate", note)
    run = clownfish.train(insects, out=tmp_path / "run", tune=3, epochs=3, fast=True, quiet=True)
    assert {path.name for path in run.path.iterdir()} == RUN_FILES | {"tuning.csv"}
    rows = read_table(run.path / "tuning.csv")
    assert [row["trial"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["learning_rate"] == "0.01"
    assert sum(row["taken"] == "true" for row in rows) == 1
    tuning = run.metrics["tuning"]
    assert tuning["reason"] in run.metrics["messages"]
    tested = {row["file"] for row in read_table(run.path / "predictions.csv") if row["split"] == "test"}
    used = [row["file"] for row in read_table(run.path / "cross_validated.csv")]
    assert tested
    assert not tested & {used[row] for rows in seen for row in rows}
    config = read_config(run.path / "config.toml")
    assert config.search.tune == 0
    assert tuning["options"].items() <= config.flatten().items()
    again = clownfish.train(config=run.path / "config.toml", out=tmp_path / "again", quiet=True)
    ours, theirs = read_metrics(run.path), read_metrics(again.path)
    assert ours["test"] == theirs["test"]
    assert ours["cross_validated"] == theirs["cross_validated"]


@needs_optuna
def test_trials_that_all_fail_are_an_error(cli: Cli, insects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConfigError("Training diverged")

    monkeypatch.setattr(search, "cross_validate", fail)
    result = cli("train", insects, "--tune", 2, "--fast")
    assert result.code == 2
    assert "None of the trials of --tune could be finished. Try the defaults, 0.01 and 0.2." in result.err


@needs_optuna
def test_one_group_besides_the_test_cannot_be_searched(cli: Cli) -> None:
    write_classes(Path("photos"), {"ant": 6, "bee": 6})
    rows = [
        {"file": f"photos/{label}/{number:02}.png", "label": label, "part": part, "site": part}
        for label in ("ant", "bee")
        for number in range(6)
        for part in ["test" if number < 2 else "train"]
    ]
    write_table(Path("photos.csv"), rows)
    result = cli("train", "photos.csv", "--split-column", "part", "--group-by", "site", "--tune", 2, "--fast")
    assert result.code == 2
    assert "--tune needs at least two groups of photos besides those for testing, and there is one." in result.err


def test_without_the_extra_the_command_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clownfish.training.search.find_spec", lambda name: None)
    result = cli("train", "photos", "--tune", 20)
    assert result.code == 2
    assert "--tune needs the extra 'tune'. Install it: pip install 'clownfish[tune]'" in result.err


def test_a_learning_rate_is_found_for_fine_tuning_only(cli: Cli) -> None:
    result = cli("train", "photos", "--find-learning-rate")
    assert result.code == 2
    assert "--find-learning-rate is for fine-tuning. Add --fine-tune, or leave it out." in result.err


def test_a_search_within_a_time_limit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--tune would take longer. Leave one of the two out"):
        check_options(TrainConfig().change({"tune": 3, "time_limit": "5m"}))


@pytest.mark.parametrize("number", [1, -1, 1001])
def test_a_search_of_one_trial_is_refused(number: int) -> None:
    with pytest.raises(ConfigError, match=rf"tune is {number}; it must be from 2 to 1,000, the number of trials, or 0"):
        TrainConfig().change({"tune": number})
