"""Fine-tuning in a run: what is kept, what is said, and that nothing is lost."""

import importlib.util
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

import clownfish
from clownfish.backbones import tunable
from clownfish.config import TrainConfig, read_config
from clownfish.errors import ConfigError, FineTuningError, ModelFileError, OutputError
from clownfish.evaluation.paired import PairedTest
from clownfish.pipeline import fine_tuning_folder, fine_tuning_search
from clownfish.pipeline.fine_tuning import check_options
from clownfish.pipeline.fine_tuning_choice import check_parity, choose, describe_choice
from clownfish.pipeline.fine_tuning_folder import lock, remove_stale
from pictures import draw_photo, write_photo
from runs import RUN_FILES, Cli, kill_in_second_fold, make_command, read_metrics, read_table, run_command

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="fine-tuning needs the extra 'finetune'"
)


def make_test(low: float, high: float) -> PairedTest:
    return PairedTest(
        num_photos=1252,
        num_groups=600,
        only_first=10,
        only_second=20,
        difference=(low + high) / 2,
        low=low,
        high=high,
        p_value=0.1,
    )


def test_better_beyond_chance_is_kept() -> None:
    sentence = describe_choice(make_test(0.012, 0.05))
    assert sentence == "Fine-tuning was kept: +3.1 points (1.2 to 5.0) on 1,252 photos that neither had seen."


def test_what_may_be_chance_is_not_kept() -> None:
    sentence = describe_choice(make_test(-0.009, 0.017))
    assert sentence == (
        "Fine-tuning is not better: +0.4 points (-0.9 to 1.7) on 1,252 photos that neither had seen; kept the simpler"
        " model."
    )


def test_the_choice_counts_groups_and_tells_both_accuracies() -> None:
    labels = np.zeros(40, np.int64)
    wrong, right = np.array([0.4, 0.6]), np.array([0.6, 0.4])
    frozen = np.array([wrong] * 20 + [right] * 20)
    tuned = np.array([right] * 40)
    metrics, sentence = choose(labels, np.arange(40), frozen, tuned)
    assert metrics["kept"]
    assert (metrics["frozen_accuracy"], metrics["tuned_accuracy"]) == (0.5, 1.0)
    assert metrics["difference"]["value"] == 0.5
    assert sentence.startswith("Fine-tuning was kept: +50.0 points")
    assert not choose(labels, np.repeat([0, 1], 20), frozen, tuned)[0]["kept"]
    assert not choose(labels, np.arange(40), tuned, tuned)[0]["kept"]


def test_pytorch_and_onnx_may_differ_by_a_ten_thousandth() -> None:
    assert check_parity(np.array([[0.5, 0.5]]), np.array([[0.50005, 0.49995]])) == pytest.approx(5e-5)
    assert check_parity(np.empty((0, 2)), np.empty((0, 2))) == 0.0


@pytest.mark.parametrize("found", [0.5002, float("nan")])
def test_a_larger_difference_stops_the_run(found: float) -> None:
    with pytest.raises(ModelFileError, match=r"differs between PyTorch and ONNX by .* more than the 0.0001 allowed"):
        check_parity(np.array([[0.5, 0.5]]), np.array([[found, 0.5]]))


def test_features_of_the_last_layer_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--feature-set is last_layer. Leave one of the two out"):
        check_options(TrainConfig().change({"feature_set": "last_layer"}))


def test_a_device_that_is_not_there_is_refused_before_any_work(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = "--device cuda cannot be used: PyTorch finds none. Leave it out, or use --device cpu."
    helper = "clownfish.training.fine_tuning_helper"
    monkeypatch.setattr(f"{helper}.find_spec", lambda _: True)
    monkeypatch.setattr(f"{helper}.TuningHelper._send", lambda *_: {"unavailable": refused})
    result = cli(
        "train", "photos", "--fine-tune", "--device", "cuda"
    )  # there is no such folder, which is not found out
    assert result.code == 2
    assert refused in result.err


def test_a_second_run_of_the_same_work_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with (
        FileLock(tmp_path / "work.lock"),
        pytest.raises(OutputError, match="Another run fine-tunes the same photos"),
        lock(folder),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(OutputError, match=r"Permission denied. Choose another place with --model-dir"),
        lock(tmp_path / "work"),
    ):
        pass


def test_checkpoints_of_a_month_ago_are_removed_others_stay(tmp_path: Path) -> None:
    for name, days in (("old", 31), ("young", 29)):
        mark = tmp_path / name / "start.npz"
        mark.parent.mkdir()
        mark.touch()
        (tmp_path / f"{name}.lock").touch()
        os.utime(mark, times=(time.time() - days * 86400,) * 2)
    remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["young", "young.lock"]


def test_without_the_extra_the_command_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clownfish.training.fine_tuning_helper.find_spec", lambda name: None)
    write_hard_photos(Path("photos"))
    result = cli("train", "photos", "--fine-tune")
    assert result.code == 2
    assert "Fine-tuning needs the extra 'finetune'. Install it: pip install 'clownfish[finetune]'" in result.err
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


OPTIONS = {"fine_tune": True, "fine_tune_epochs": 2, "fine_tune_stages": 1, "batch_size": 8, "fast": True}


def write_hard_photos(root: Path) -> Path:
    """Blobs, a little redder in one class than in the other."""
    for number in range(24):
        for label, channel in (("perch", 0), ("trout", 2)):
            pixels = draw_photo(96, 72, seed=2 * number + (channel > 0)).astype(np.int64)
            pixels[..., channel] += 30
            write_photo(root / label / f"{number:02}.jpg", pixels.clip(0, 255).astype(np.uint8))
    return root


def always_better(*_: Any) -> PairedTest:
    return make_test(0.01, 0.05)


@needs_torch
@pytest.mark.slow
class TestRun:
    """Whole runs, on the last stage, since that is the quickest."""

    def test_a_kept_network_is_what_every_file_is_about(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("clownfish.pipeline.fine_tuning_choice.compare_paired", always_better)
        photos = write_hard_photos(tmp_path / "photos")
        run = clownfish.train(photos, out=tmp_path / "run", model_dir=str(tmp_path / "work"), quiet=True, **OPTIONS)
        assert {path.name for path in run.path.iterdir()} == RUN_FILES
        metrics = run.metrics
        assert metrics["fine_tuning"]["kept"]
        assert metrics["fine_tuning"]["reason"] in metrics["messages"]
        assert metrics["fine_tuning"]["largest_parity_difference"] <= 1e-4
        assert metrics["fine_tuning"]["device"] in ("cpu", "cuda", "mps")
        assert metrics["fine_tuning"]["precision"] in ("bfloat16", "float32")
        assert metrics["num_parameters"]["trained"] > metrics["num_parameters"]["total"] // 10
        assert metrics["learning_curve"] is None
        assert "hidden_classes" not in metrics
        assert "random_split" not in metrics["cross_validated"]
        rows = read_table(run.path / "predictions.csv")
        for row in rows:  # what is evaluated is what is shipped
            found = run.classifier.predict(photos / row["file"])
            assert found.probabilities["perch"] == pytest.approx(float(row["perch"]), abs=2e-5)
        assert [row["epoch"] for row in read_table(run.path / "history.csv")] == ["1", "2"]
        assert "fine-tuned" in (run.path / "report.html").read_text(encoding="utf-8")
        assert not list((tmp_path / "work").glob("*/*"))

    def test_an_interrupted_run_comes_to_the_same_numbers(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("clownfish.pipeline.fine_tuning_choice.compare_paired", always_better)
        photos = write_hard_photos(tmp_path / "photos")
        straight = clownfish.train(photos, out=tmp_path / "straight", quiet=True, **OPTIONS)
        build, num_built = tunable.build_backbone, 0

        def interrupt(*values: Any, **named: Any) -> Any:
            nonlocal num_built
            num_built += 1
            if num_built in (2, 5):
                raise KeyboardInterrupt
            return build(*values, **named)

        monkeypatch.setattr(tunable, "build_backbone", interrupt)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                clownfish.train(photos, out=tmp_path / "broken", quiet=True, **OPTIONS)
        assert not (tmp_path / "broken").exists()
        again = clownfish.train(photos, out=tmp_path / "broken", quiet=True, **OPTIONS)
        assert read_metrics(again.path) == read_metrics(straight.path)
        for name in ("predictions.csv", "cross_validated.csv"):
            assert (again.path / name).read_bytes() == (straight.path / name).read_bytes()

    def test_a_failure_leaves_the_frozen_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        photos = write_hard_photos(tmp_path / "photos")
        frozen = clownfish.train(photos, out=tmp_path / "frozen", fast=True, quiet=True)

        def fail(*_: Any, **__: Any) -> Any:
            raise FineTuningError("fine-tuning diverged with a learning rate of 9; try a smaller one")

        monkeypatch.setattr("clownfish.training.fine_tuning.Tuner.run", fail)
        options = {**OPTIONS, "batch_size": 32}
        run = clownfish.train(photos, out=tmp_path / "run", time_limit="1s", quiet=True, **options)
        assert run.metrics["fine_tuning"] == {
            "kept": False,
            "reason": "Fine-tuning failed: fine-tuning diverged with a learning rate of 9; try a smaller one. Kept the"
            " frozen network.",
        }
        assert read_table(run.path / "history.csv")[0].keys() == read_table(frozen.path / "history.csv")[0].keys()
        assert run.metrics["test"] == frozen.metrics["test"]
        assert run.metrics["cross_validated"] == frozen.metrics["cross_validated"]

    def test_a_photo_that_vanishes_meanwhile_leaves_the_frozen_network(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fine_tuning_folder, "write_pixels", lambda *_, **__: [3])
        photos = write_hard_photos(tmp_path / "photos")
        run = clownfish.train(photos, out=tmp_path / "run", quiet=True, **OPTIONS)
        assert run.metrics["fine_tuning"]["reason"] == (
            "Fine-tuning failed: perch/03.jpg could be read at first and cannot be read any more. Kept the frozen"
            " network."
        )

    @pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs the extra 'tune'")
    def test_a_search_goes_on_where_it_was_and_its_photos_do_not_judge(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        photos = write_hard_photos(tmp_path / "photos")
        options = {**OPTIONS, "fine_tune_epochs": 1, "model_dir": str(tmp_path / "work")}
        options |= {"tune": 3, "find_learning_rate": True}
        run_trial, num_begun = fine_tuning_search._run_trial, 0

        def interrupt(*values: Any) -> Any:
            nonlocal num_begun
            num_begun += 1
            if num_begun == 3:
                raise KeyboardInterrupt
            return run_trial(*values)

        monkeypatch.setattr(fine_tuning_search, "_run_trial", interrupt)
        with pytest.raises(KeyboardInterrupt):
            clownfish.train(photos, out=tmp_path / "run", quiet=True, **options)
        run = clownfish.train(photos, out=tmp_path / "run", quiet=True, **options)
        assert num_begun == 4  # the third anew
        assert {path.name for path in run.path.iterdir()} == RUN_FILES | {"tuning.csv", "learning_rates.csv"}
        tuning, tuned = run.metrics["tuning"], run.metrics["fine_tuning"]
        assert tuning["num_trials"] == 3
        tested = run.metrics["num_photos"]["test"]
        assert tuned["num_photos"] == 48 - tested - tuning["num_photos"]
        assert tuning["reason"] in run.metrics["messages"]
        assert any("range test" in message for message in run.metrics["messages"])
        config = read_config(run.path / "config.toml")
        assert not config.search.tune
        assert not config.search.find_learning_rate
        assert tuning["options"].items() <= config.flatten().items()
        assert not list((tmp_path / "work").glob("*/*"))

    def test_a_killed_command_comes_to_the_same_numbers(self, tmp_path: Path) -> None:
        photos = write_hard_photos(tmp_path / "photos")
        args = ["train", photos, "--fast", "--fine-tune", "--fine-tune-epochs", 1, "--fine-tune-stages", 1]
        straight = run_command(*args, "--out", tmp_path / "straight", "--model-dir", tmp_path / "first")
        assert straight.code == 0, straight.err
        process = subprocess.Popen(
            make_command(*args, "--out", tmp_path / "killed", "--model-dir", tmp_path / "second"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        kill_in_second_fold(process, tmp_path / "second", patience=120)
        assert not (tmp_path / "killed").exists()
        again = run_command(*args, "--out", tmp_path / "killed", "--model-dir", tmp_path / "second")
        assert again.code == 0, again.err
        assert read_metrics(tmp_path / "killed") == read_metrics(tmp_path / "straight")
