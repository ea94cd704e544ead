"""Options, and the helper process as it is driven from here."""

import importlib.util
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from clownfish.compute import WorkerFailure
from clownfish.errors import ConfigError, FineTuningError, MissingExtraError, OutputError
from clownfish.training import fine_tuning_helper
from clownfish.training.fine_tuning import Tuned, Tuner
from clownfish.training.fine_tuning_helper import check_extra
from clownfish.training.fine_tuning_options import FineTuningOptions, parse_time_limit
from tiny_network import make_fit, make_network, read_history, write_photos

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="fine-tuning needs the extra 'finetune'"
)


def make_tuner(folder: Path, **options: Any) -> Tuner:
    options = {"fine_tune_epochs": 3, "fine_tune_learning_rate": 0.01, "warmup_steps": 2, **options}
    return Tuner(
        write_photos(folder),
        make_network(),
        FineTuningOptions(**options),
        batch_size=5,
        dropout_rate=0.2,
        patience=50,
        seed=1,
    )


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("fine_tune_stages", 0, "from 1 to 7"),
        ("fine_tune_stages", 8, "from 1 to 7"),
        ("fine_tune_epochs", 0, "from 1 to 10,000"),
        ("fine_tune_learning_rate", 0.0, "from 0.000000001 to 10"),
        ("fine_tune_momentum", 1.0, "from 0 to 0.999"),
        ("fine_tune_mix", 0.0, "from 0.01 to 1"),
        ("warmup_steps", -1, "from 0 to 1,000,000"),
        ("label_smoothing", 1.0, "from 0 to 0.9"),
        ("mixup", -0.1, "from 0 to 10"),
    ],
)
def test_an_option_out_of_range_is_refused(option: str, value: float, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FineTuningOptions(**{option: value})
    assert str(caught.value) == f"{option} is {value}; it must be {words}."


def test_an_unknown_optimizer_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"There is no fine_tune_optimizer 'lion'. Choose one of: adamw, sgd."):
        FineTuningOptions(fine_tune_optimizer="lion")


def test_an_unknown_device_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"There is no device 'gpu'. Choose one of: auto, cpu, cuda, mps."):
        FineTuningOptions(device="gpu")


@pytest.mark.parametrize(
    ("text", "seconds"), [("", None), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("20", 1200), (" 2 m ", 120)]
)
def test_a_time_limit_is_read(text: str, seconds: float | None) -> None:
    assert parse_time_limit(text) == seconds


@pytest.mark.parametrize("text", ["0", "soon", "10 days", "-3m", "1h30m"])
def test_a_time_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="it must be a duration such as 90s, 10m or 1h"):
        FineTuningOptions(time_limit=text)


@pytest.mark.parametrize("missing", ["torch", "torchvision", "safetensors"])
def test_without_the_extra_the_message_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuning_helper, "find_spec", lambda name: None if name == missing else True)
    with pytest.raises(MissingExtraError) as caught:
        check_extra()
    assert str(caught.value) == "Fine-tuning needs the extra 'finetune'. Install it: pip install 'clownfish[finetune]'"


def test_a_process_that_dies_twice_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = make_tuner(tmp_path)
    monkeypatch.setattr(
        tuner._helper, "_send", lambda request: WorkerFailure("the decoder crashed on it (exit code -9)")
    )
    with pytest.raises(FineTuningError, match=r"ended twice \(.*exit code -9.*\).*smaller --batch-size"):
        tuner.run(make_fit())


def test_divergence_is_reported_with_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = make_tuner(tmp_path, fine_tune_learning_rate=3.0)
    answers = iter([{"history": [], "done": False, "note": ""}, {"diverged": True}])
    monkeypatch.setattr(tuner._helper, "_send", lambda request: next(answers))
    with pytest.raises(FineTuningError, match="diverged with a learning rate of 3; try a smaller"):
        tuner.run(make_fit())


def test_an_extra_that_cannot_be_imported_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuning_helper, "_FUNCTION", "clownfish.nothing.of_this_name:handle_request")
    with (
        make_tuner(tmp_path) as tuner,
        pytest.raises(
            FineTuningError, match=r"does not start; find out why with: python -c 'import torch, torchvision"
        ),
    ):
        tuner.run(make_fit())


def test_what_the_helper_cannot_write_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = make_tuner(tmp_path)
    monkeypatch.setattr(tuner._helper, "_send", lambda request: {"refused": "Cannot write x: no space"})
    with pytest.raises(OutputError, match="Cannot write x: no space"):
        tuner.run(make_fit())


def test_a_device_that_cannot_be_used_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = make_tuner(tmp_path, device="cuda")
    monkeypatch.setattr(tuner._helper, "_send", lambda _: {"unavailable": "--device cuda cannot be used: why."})
    with pytest.raises(ConfigError, match="--device cuda cannot be used: why."):
        tuner.find_device()


def test_memory_of_a_graphics_card_that_runs_out_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = make_tuner(tmp_path)
    monkeypatch.setattr(tuner._helper, "_send", lambda _: {"exhausted": True})
    with pytest.raises(FineTuningError, match="the memory of the graphics card ran out; try a smaller --batch-size"):
        tuner.run(make_fit())


def test_a_fault_in_the_helper_is_raised_with_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = make_tuner(tmp_path)
    monkeypatch.setattr(tuner._helper, "_send", lambda request: {"fault": "Traceback: ZeroDivisionError"})
    with pytest.raises(RuntimeError, match="in the process that fine-tunes:\nTraceback: ZeroDivisionError"):
        tuner.run(make_fit())


def assert_same(found: Tuned, expected: Tuned) -> None:
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(found.head.weights, expected.head.weights)
    for name, values in expected.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], values, err_msg=name)


@needs_torch
@pytest.mark.slow
def test_a_killed_helper_is_replaced_and_the_numbers_are_the_same(tmp_path: Path) -> None:
    with make_tuner(tmp_path / "straight") as tuner:
        expected = tuner.run(make_fit())

    def kill_helpers_soon() -> None:
        folder = tmp_path / "killed" / "fit"
        while not (folder / "epoch-00001.json").exists():
            time.sleep(0.01)
        for child in psutil.Process().children():
            child.kill()

    killer = threading.Thread(target=kill_helpers_soon, daemon=True)
    killer.start()
    with make_tuner(tmp_path / "killed") as tuner:
        found = tuner.run(make_fit())
    killer.join()
    assert_same(found, expected)
    assert read_history(tmp_path / "killed" / "fit") == read_history(tmp_path / "straight" / "fit")


@needs_torch
@pytest.mark.slow
def test_the_weights_that_come_back_give_pytorchs_answers_through_onnx(tmp_path: Path) -> None:
    import onnxruntime

    from clownfish.backbones.efficientnet_lite import build_onnx
    from tiny_network import BLOCKS_PER_STAGE, SIZE, make_pixels

    rows: list[int] = []
    with make_tuner(tmp_path, fine_tune_stages=2) as tuner:
        tuner.cache_activations(24)
        found = tuner.run(make_fit(), on_epoch=lambda row: rows.append(row["epoch"]))
    graph, _ = build_onnx(found.tensors, input_size=SIZE, blocks_per_stage=BLOCKS_PER_STAGE, feature_set="all_stages")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    features = session.run(["features"], {"image": make_pixels()[20:]})[0]
    np.testing.assert_allclose(found.head.predict_probabilities(features), found.probabilities, atol=1e-5)
    assert rows == [1, 2, 3]
    before = make_network().tensors
    changed = {name for name, values in found.tensors.items() if not np.array_equal(values, before[name])}
    assert changed
    assert all(name.startswith(("_blocks.6", "_blocks.7", "_conv_head", "_bn1")) for name in changed)
    assert not any("running" in name for name in changed)
