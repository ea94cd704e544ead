"""Fine-tuning a model of timm in a run, with random weights: what is refused early, and a whole run that is killed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

import clownfish
from clownfish.backbones import timm_models
from clownfish.config import TrainConfig
from clownfish.errors import BackboneError, ConfigError, MissingExtraError
from clownfish.pipeline.fine_tuning import check_options
from pictures import draw_photo, write_photo
from runs import RUN_FILES, kill_in_second_fold, read_metrics, read_table

needs_timm = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "timm")),
    reason="fine-tuning models of timm needs the extra 'finetune'",
)
MODEL = "timm:test_resnet"


def test_stages_of_a_model_of_timm_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_models, "find_spec", lambda _: True)
    options = {"fine_tune": True, "backbone": "resnet50", "fine_tune_stages": 2}
    with pytest.raises(ConfigError) as caught:
        check_options(TrainConfig().change(options))
    assert str(caught.value) == (
        "--fine-tune-stages lets only the last stages of a bundled network (efficientnet_lite0, efficientnet_lite1,"
        " efficientnet_lite2) learn, but the backbone is resnet50, which is fine-tuned as a whole. Leave out"
        " --fine-tune-stages, or choose one of these."
    )
    check_options(TrainConfig().change({**options, "fine_tune_stages": 7, "feature_set": "last_layer"}))


def test_without_timm_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_models, "find_spec", lambda name: None if name == "timm" else True)
    with pytest.raises(MissingExtraError) as caught:
        check_options(TrainConfig().change({"fine_tune": True, "backbone": MODEL}))
    assert str(caught.value) == (
        "Fine-tuning timm:test_resnet needs the extra 'finetune'. Install it: pip install 'clownfish[finetune]'"
    )


SCRIPT = """
import sys
import clownfish
from clownfish.evaluation.paired import PairedTest
from clownfish.pipeline import fine_tuning_choice


def compare(*_):
    facts = {"num_photos": 1, "num_groups": 1, "only_first": 0, "only_second": 1}
    return PairedTest(**facts, difference=0.1, low=0.01, high=0.2, p_value=0.1)


fine_tuning_choice.compare_paired = compare
photos, weights, out, work = sys.argv[1:]
clownfish.train(photos, backbone="timm:test_resnet", weights=weights, out=out, model_dir=work, quiet=True, **OPTIONS)
"""
"""A run of which the tuned network is kept."""
OPTIONS: dict[str, Any] = {"fine_tune": True, "fine_tune_epochs": 2, "batch_size": 8, "fast": True}


def write_photos(root: Path) -> Path:
    for number in range(12):
        for label, channel in (("perch", 0), ("trout", 2)):
            pixels = draw_photo(48, 48, seed=2 * number + (channel > 0)).astype(int)
            pixels[..., channel] += 60
            write_photo(root / label / f"{number:02}.jpg", pixels.clip(0, 255).astype("uint8"))
    return root


def write_weights(folder: Path) -> Path:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = folder / "model.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


def start(photos: Path, weights: Path, out: Path, work: Path) -> "subprocess.Popen[bytes]":
    script = SCRIPT.replace("OPTIONS", repr(OPTIONS))
    return subprocess.Popen([sys.executable, "-c", script, *map(str, (photos, weights, out, work))])


@needs_timm
@pytest.mark.slow
def test_a_killed_run_comes_to_the_same_network_and_its_file_predicts(tmp_path: Path) -> None:
    photos, weights = write_photos(tmp_path / "photos"), write_weights(tmp_path)
    assert start(photos, weights, tmp_path / "straight", tmp_path / "first").wait() == 0
    process = start(photos, weights, tmp_path / "killed", tmp_path / "second")
    kill_in_second_fold(process, tmp_path / "second", patience=900)
    assert not (tmp_path / "killed").exists()
    assert start(photos, weights, tmp_path / "killed", tmp_path / "second").wait() == 0
    metrics = read_metrics(tmp_path / "killed")
    assert metrics == read_metrics(tmp_path / "straight")
    for name in ("predictions.csv", "cross_validated.csv", "history.csv"):
        rows = [read_table(tmp_path / run / name) for run in ("killed", "straight")]
        assert [{**row, "seconds": ""} for row in rows[0]] == [{**row, "seconds": ""} for row in rows[1]]
    assert {path.name for path in (tmp_path / "killed").iterdir()} == RUN_FILES
    assert metrics["fine_tuning"]["kept"]
    assert metrics["fine_tuning"]["stages"] is None
    assert metrics["fine_tuning"]["largest_parity_difference"] <= 1e-4
    model = onnx.load(tmp_path / "killed" / "model.onnx")
    (text,) = (entry.value for entry in model.metadata_props if entry.key == "backbone")
    assert json.loads(text)["name"] == MODEL
    assert json.loads(text)["licence"].endswith("for the published weights; the file given may differ")
    classifier = clownfish.load(tmp_path / "killed" / "model.onnx")
    for row in read_table(tmp_path / "killed" / "predictions.csv"):  # what is evaluated is what is shipped
        found = classifier.predict(photos / row["file"])
        assert found.probabilities["perch"] == pytest.approx(float(row["perch"]), abs=2e-5)
    report = (tmp_path / "killed" / "report.html").read_text(encoding="utf-8")
    assert "from there the whole network and the layer were fine-tuned" in report


@needs_timm
@pytest.mark.slow
@pytest.mark.usefixtures("no_helpers")
def test_a_network_that_cannot_be_written_leaves_the_frozen_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise BackboneError("The ONNX graph differs.")

    monkeypatch.setattr("clownfish.backbones.tunable.convert_tuned", refuse)
    photos, weights = write_photos(tmp_path / "photos"), write_weights(tmp_path)
    options = {**OPTIONS, "fine_tune_epochs": 1}
    run = clownfish.train(photos, backbone=MODEL, weights=str(weights), out=tmp_path / "run", quiet=True, **options)
    assert run.metrics["fine_tuning"] == {
        "kept": False,
        "reason": "Fine-tuning failed: The ONNX graph differs. Kept the frozen network.",
    }
