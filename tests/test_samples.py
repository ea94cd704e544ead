"""The sample code of docs/howto/apps.md: what an app would run, without clownfish, gives the answers of clownfish."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import clownfish
from clownfish.export import tflite_file
from clownfish.pipeline.run import Run

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "apps.md"
NODE_MODULES = os.environ.get("NODE_PATH", "")
pytestmark = pytest.mark.usefixtures("no_helpers")


def read_block(language: str, page: Path = PAGE) -> str:
    """The block of a page that says it has a test of its own."""
    pattern = rf"^```{language} [^\n]*has a test of its own[^\n]*\n(.*?)^```"
    found = re.search(pattern, page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def photo(digits: Path, tmp_path: Path) -> Path:
    """Larger than the network's input, as photos are."""
    with Image.open(digits / "digit_3" / "000.png") as small:
        small.convert("RGB").resize((640, 480)).save(tmp_path / "new.jpg", quality=95)
    return tmp_path / "new.jpg"


@pytest.mark.skipif(not tflite_file.is_installed(), reason="needs the extra 'tflite'")
def test_python_sample_answers_like_clownfish(
    digits_run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photo.parent)
    clownfish.export_model(digits_run.path, "tflite", out="model.tflite", quiet=True)
    capfd.readouterr()
    exec(compile(read_block("python"), str(PAGE), "exec"), {})
    label, probability, status = capfd.readouterr().out.splitlines()[-1].split()
    expected = clownfish.load("model.tflite").predict(photo)
    assert label == expected.label
    assert float(probability) == pytest.approx(expected.probability, abs=0.01)
    assert (status == "unsure") == (expected.probability < (digits_run.metrics["answering"]["threshold"] or 2))


def test_timm_computes_the_same_from_the_exported_weights(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="needs torch, timm and safetensors")
    timm = pytest.importorskip("timm", reason="needs torch, timm and safetensors")
    pytest.importorskip("safetensors", reason="needs torch, timm and safetensors")
    exported = clownfish.export_model(digits_run.path, "torch", out=tmp_path / "model.safetensors", quiet=True)
    block = read_block("python", PAGE.with_name("pytorch.md"))
    block = block.replace("runs/photos-1/model.safetensors", str(exported.path))
    names: dict[str, Any] = {"__name__": "sample"}
    exec(compile(block, "pytorch.md", "exec"), names)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)
    with torch.no_grad():
        found = names["classifier"](torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(found, digits_run.classifier.run_network(pixels), atol=1e-4)
    assert names["classifier"].labels == list(digits_run.classifier.classes)
    trained = timm.create_model("tf_efficientnet_lite0", num_classes=0, checkpoint_path=str(exported.path)).train()
    assert float(trained.bn1.running_var.std()) > 0  # the original statistics, not ones that are folded away


@pytest.mark.skipif(
    not (shutil.which("node") and (Path(NODE_MODULES) / "onnxruntime-web").is_dir()),
    reason="needs Node, and NODE_PATH with onnxruntime-web",
)
def test_javascript_sample_answers_like_clownfish(digits_run: Run, photo: Path, tmp_path: Path) -> None:
    classifier = clownfish.load(digits_run.path)
    clownfish.export_model(digits_run.path, "saved-labels", out=tmp_path / "labels.txt", quiet=True)
    size = classifier.preprocessing.size
    with Image.open(photo) as picture:
        pixels = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
    (tmp_path / "pixels").write_bytes(pixels.tobytes())
    script = f"""{read_block("javascript")}
const ort = require("onnxruntime-web");
const fs = require("fs");
ort.env.wasm.numThreads = 1;
const labels = fs.readFileSync("labels.txt", "utf8").trimEnd().split("\\n");
const rgb = new Uint8Array(fs.readFileSync("pixels"));
classify(ort, new Uint8Array(fs.readFileSync({json.dumps(str(digits_run.path / "model.onnx"))})), labels, rgb, {size})
  .then((answer) => console.log(JSON.stringify(answer)));
"""
    (tmp_path / "sample.js").write_text(script, encoding="utf-8")
    done = subprocess.run(
        ["node", "sample.js"],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    expected = classifier.rank(classifier.predict_pixels(pixels))
    assert answer["label"] == expected.label
    assert answer["probability"] == pytest.approx(expected.probability, abs=1e-4)
