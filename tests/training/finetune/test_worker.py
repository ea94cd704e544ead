"""Epochs, checkpoints and interruptions, in this process; see `tests/training/test_fine_tuning.py` for the helper."""

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clownfish.errors import OutputError
from clownfish.training.fine_tuning import Tuner
from clownfish.training.fine_tuning_options import FineTuningOptions
from tiny_network import make_fit, make_network, read_history, write_photos

torch = pytest.importorskip("torch", reason="fine-tuning needs the extra 'finetune'")

from clownfish.training.finetune import checkpoints, worker  # noqa: E402

EPOCHS = 4


@pytest.fixture(autouse=True)
def leave_process_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The allocator and the threads of the tests stay as they are."""
    monkeypatch.setattr(worker, "_is_prepared", [True])
    worker._open_fits.clear()
    yield
    worker._open_fits.clear()


def ask(task: str, folder: Path, **further: Any) -> dict[str, Any]:
    answer = worker.handle_request({"task": task, "folder": str(folder), **further})
    assert "fault" not in answer, answer["fault"]
    return answer


def plan(folder: Path, *, fit: Any = None, **options: Any) -> Path:
    """Write photos and plan as the parent does; returns the folder of the fit."""
    options = {"fine_tune_epochs": EPOCHS, "fine_tune_learning_rate": 0.01, "warmup_steps": 2, **options}
    tuner = Tuner(
        write_photos(folder),
        make_network(),
        FineTuningOptions(**options),
        batch_size=5,
        dropout_rate=0.2,
        patience=50,
        seed=1,
    )
    chosen = tuner.options
    if chosen.first_stage:
        request = {
            "first_stage": chosen.first_stage,
            "layout": make_network().layout,
            "flip": True,
            "seed": 1,
            "device": "cpu",
        }
        ask("cache", folder, **request, num_variants=3, start=0, end=10)
        ask("cache", folder, **request, num_variants=3, start=10, end=99)
    return tuner._write_plan(fit or make_fit(measure_training=True))


def run_to_end(folder: Path, *, forget: Callable[[], None] = lambda: None) -> dict[str, Any]:
    answer = ask("advance", folder, look=True)
    while not answer["done"]:
        forget()
        answer = ask("advance", folder)
    return ask("finish", folder)


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)  # to the last bit


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fine_tune_optimizer": "sgd", "mixup": 0.0, "label_smoothing": 0.0, "fine_tune_mix": 1.0},
        {"fine_tune_stages": 2},
    ],
    ids=["adamw with mixup", "plain sgd", "last stages"],
)
def test_interrupted_after_every_epoch_gives_the_same_bits(tmp_path: Path, options: dict[str, Any]) -> None:
    straight = plan(tmp_path / "straight", **options)
    expected = run_to_end(straight)
    broken = plan(tmp_path / "broken", **options)
    found = run_to_end(broken, forget=worker._open_fits.clear)  # as a new process would start
    assert_same(found, expected)
    assert read_history(broken) == read_history(straight)


@pytest.mark.parametrize("stages", [7, 2])
def test_interrupted_inside_an_epoch_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: int
) -> None:
    expected = run_to_end(plan(tmp_path / "straight", fine_tune_stages=stages))
    monkeypatch.setattr(worker, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    folder = plan(tmp_path / "interrupted", fine_tune_stages=stages)
    step, num_steps = worker.Tuner._set_rates, 0

    def interrupt(tuner: Any, *args: Any) -> None:
        nonlocal num_steps
        num_steps += 1
        if num_steps % 3 == 0:
            raise KeyboardInterrupt
        step(tuner, *args)

    monkeypatch.setattr(worker.Tuner, "_set_rates", interrupt)
    num_interrupted = 0
    while True:
        try:
            found = run_to_end(folder)
            break
        except KeyboardInterrupt:
            num_interrupted += 1
            worker._open_fits.clear()
    assert num_interrupted > EPOCHS
    assert_same(found, expected)
    rows = [read_history(tmp_path / name / "fit") for name in ("interrupted", "straight")]
    assert rows[0] == rows[1]


def test_fine_tuning_learns(tmp_path: Path) -> None:
    folder = plan(tmp_path, fine_tune_epochs=20, mixup=0.0, label_smoothing=0.0, fine_tune_mix=1.0)
    found = run_to_end(folder)
    history = read_history(folder)
    assert history[-1]["train_loss"] < 0.75 * history[0]["train_loss"]
    assert (found["probabilities"].argmax(axis=1) == np.arange(20, 24) % 2).mean() >= 0.75
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1)


def test_the_weights_go_as_far_as_asked(tmp_path: Path) -> None:
    ends = {
        mix: run_to_end(plan(tmp_path / str(mix), fine_tune_mix=mix, fit=make_fit(validation=np.empty(0, np.int64))))
        for mix in (0.5, 1.0)
    }
    start = np.load(tmp_path / "0.5" / "start.npz")
    for name in ("_conv_stem.weight", "_blocks.7._bn2.bias"):
        middle = (start[f"start/{name}"] + ends[1.0][f"tuned/{name}"]) / 2
        np.testing.assert_allclose(ends[0.5][f"tuned/{name}"], middle, atol=1e-6)
        assert not np.array_equal(start[f"start/{name}"], ends[1.0][f"tuned/{name}"])


def test_only_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    folder = plan(tmp_path)
    run_to_end(folder)
    assert sorted(path.name for path in folder.glob("epoch-*")) == [
        "epoch-00003.json",
        "epoch-00003.safetensors",
        "epoch-00004.json",
        "epoch-00004.safetensors",
    ]


@pytest.mark.parametrize("name", ["epoch-00003.safetensors", "epoch-00003.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "removed"])
def test_a_damaged_checkpoint_is_passed_over_and_changes_nothing(tmp_path: Path, name: str, damage: str) -> None:
    expected = run_to_end(plan(tmp_path / "straight"))
    folder = plan(tmp_path / "broken")
    for _ in range(3):
        ask("advance", folder)
    worker._open_fits.clear()
    path = folder / name
    data = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else data[:99] + bytes([data[99] ^ 1]) + data[100:])
    answer = ask("advance", folder, look=True)
    assert len(answer["history"]) == 2
    if not (damage == "removed" and name.endswith("json")):
        assert answer["note"] == "A damaged checkpoint was passed over; fine-tuning went on from epoch 2."
    assert_same(run_to_end(folder), expected)


def test_a_full_disk_costs_the_checkpoint_but_not_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run_to_end(plan(tmp_path / "straight"))
    folder = plan(tmp_path / "full")
    ask("advance", folder)

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("clownfish.files.os.fsync", refuse)
        answer = ask("advance", folder)
    assert "No checkpoint could be written, so an interruption would lose an epoch or more" in answer["note"]
    assert "No space left on device" in answer["note"]
    assert not list(folder.glob(".partial-*"))
    assert json.loads(max(folder.glob("epoch-*.json")).read_bytes())["history"][-1]["epoch"] == 1
    assert_same(run_to_end(folder), expected)


def test_a_loss_that_is_no_number_is_reported_and_not_stored(tmp_path: Path) -> None:
    folder = plan(
        tmp_path, fine_tune_optimizer="sgd", fine_tune_learning_rate=10.0, warmup_steps=0, fine_tune_epochs=50
    )
    answers = [ask("advance", folder)]
    while not answers[-1].get("diverged"):
        answers.append(ask("advance", folder))
    num_stored = len(list(folder.glob("epoch-*.json")))
    assert num_stored == min(len(answers) - 1, 2)


def test_without_validation_photos_the_last_epoch_is_kept(tmp_path: Path) -> None:
    folder = plan(tmp_path, fit=make_fit(validation=np.empty(0, np.int64)))
    assert run_to_end(folder)["best_epoch"] == EPOCHS
    assert "validation_loss" not in read_history(folder)[0]


def test_a_fit_stops_when_validation_photos_speak_against_going_on(tmp_path: Path) -> None:
    wrong = make_fit().labels.copy()
    wrong[16:20] = 1 - wrong[16:20]  # what is learned makes these worse and worse
    folder = plan(tmp_path, fit=make_fit(labels=wrong), fine_tune_epochs=40)
    facts = json.loads((folder / "plan.json").read_bytes())
    (folder / "plan.json").write_text(json.dumps({**facts, "patience": 2}))
    found = run_to_end(folder)
    num_epochs = len(read_history(folder))
    assert num_epochs < 40
    assert num_epochs - found["best_epoch"] == 2


def test_measuring_the_speed_leaves_no_trace(tmp_path: Path) -> None:
    expected = run_to_end(plan(tmp_path / "straight"))
    folder = plan(tmp_path / "measured")
    answer = ask("measure", folder)
    assert answer["step_seconds"] > 0
    assert answer["photo_seconds"] > 0
    assert_same(run_to_end(folder), expected)


def test_activations_are_cached_for_every_photo(tmp_path: Path) -> None:
    plan(tmp_path, fine_tune_stages=2)
    activations = np.load(tmp_path / "activations.npy")
    assert activations.shape[:2] == (24, 3)
    assert (np.abs(activations).reshape(24, 3, -1).sum(axis=2) > 0).all()


def test_too_little_disk_for_activations_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=10))
    tuner = Tuner(
        write_photos(tmp_path),
        make_network(),
        FineTuningOptions(fine_tune_stages=2),
        batch_size=5,
        dropout_rate=0.2,
        patience=50,
        seed=1,
    )
    monkeypatch.setattr(tuner._helper, "_send", worker.handle_request)
    with pytest.raises(OutputError, match=r"GB are needed, and less is free. Choose another place with --model-dir"):
        tuner.cache_activations(24)


def test_what_goes_wrong_unexpectedly_comes_back_as_text(tmp_path: Path) -> None:
    answer = worker.handle_request({"task": "advance", "folder": str(tmp_path / "nothing")})
    assert "FileNotFoundError" in answer["fault"]


def test_memory_of_a_graphics_card_that_runs_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(worker, "choose_device", run_out)
    assert worker.handle_request({"task": "device", "wanted": "auto"}) == {"exhausted": True}


def test_the_device_is_told_or_why_it_cannot_be_used() -> None:
    found = worker.handle_request({"task": "device", "wanted": "cpu"})
    assert (found["device"], found["name"]) == ("cpu", "processor")
    assert found["precision"] in ("bfloat16", "float32")
    if not torch.cuda.is_available():
        answer = worker.handle_request({"task": "device", "wanted": "cuda"})
        assert answer["unavailable"].startswith("--device cuda cannot be used: PyTorch ")


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="auto is not the CPU here")
def test_a_checkpoint_of_one_choice_of_device_is_gone_on_from_with_another(tmp_path: Path) -> None:
    expected = run_to_end(plan(tmp_path / "straight", device="cpu"))
    folder = plan(tmp_path / "moved", device="cpu")
    ask("advance", folder)
    worker._open_fits.clear()
    facts = json.loads((folder / "plan.json").read_bytes())
    (folder / "plan.json").write_text(json.dumps({**facts, "device": "auto"}))
    assert_same(run_to_end(folder), expected)


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoints.load_checkpoint(tmp_path) is None
    shutil.rmtree(tmp_path)
