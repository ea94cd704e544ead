"""A run with a model of timm; the process with PyTorch is stood in for by one that has its graph ready."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import clownfish
from clownfish.backbones import load_backbone, timm_models
from clownfish.compute import Message
from clownfish.errors import ModelFileError
from clownfish.pipeline.run import Run
from runs import Cli, write_classes

pytestmark = pytest.mark.usefixtures("no_helpers")


def convert(request: Message) -> Message:
    """The graph of a bundled network, with a last layer of which nobody knows that it is a mean."""
    assert (request["task"], request["name"]) == ("convert", "resnet18")
    bundled = load_backbone(feature_set=request["feature_set"])
    model = onnx.load_from_string(bundled.onnx)
    (flatten,) = (node for node in model.graph.node if node.output[0] == "last_layer")
    flatten.op_type = "Squeeze"
    flatten.input.append("places")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3]), "places"))
    facts = {"parts": list(bundled.parts), "input_size": 224, "num_parameters": 9, "licence": "cc-by-nc-4.0"}
    return {"facts": facts | {"timm": "1.0"}, "graph": np.frombuffer(model.SerializeToString(), np.uint8)}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(timm_models, "_ask", convert)
    monkeypatch.setattr(timm_models, "find_spec", lambda _: True)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    photos = write_classes(tmp_path / "photos", {"a": 12, "b": 12})
    options: dict[str, Any] = {"backbone": "timm:resnet18", "weights": str(weights), "fast": True}
    return clownfish.train(photos, out=tmp_path / "run", quiet=True, **options)


def test_run_tells_where_its_network_comes_from(run: Run, cli: Cli, tmp_path: Path) -> None:
    model = onnx.load(run.path / "model.onnx")
    (text,) = (entry.value for entry in model.metadata_props if entry.key == "backbone")
    facts = json.loads(text)
    assert facts["name"] == "timm:resnet18"
    assert facts["licence"] == "cc-by-nc-4.0 for the published weights; the file given may differ"
    assert facts["weights_sha256"].startswith("9a129038")
    report = (run.path / "report.html").read_text(encoding="utf-8")
    assert "the network timm:resnet18, with the weights of SHA-256 9a129038" in report
    assert "ImageNet" not in report
    assert "cc-by-nc-4.0" in report
    answered = cli("predict", run.path, next((tmp_path / "photos" / "a").iterdir()))
    assert answered.code == 0 and "%" in answered.out


def test_cache_counts_and_clears_the_graph(run: Run, cli: Cli) -> None:
    assert "Networks of timm, beside it: 1" in cli("cache").out
    assert json.loads(cli("cache", "--json").out)["backbone_bytes"] > 10e6
    assert "Networks of timm" not in cli("cache", "--clear").out
    assert (run.path / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("kind", "precision", "form"),
    [
        ("torch", None, "--to torch"),
        ("onnx", None, "--to onnx --quantize int8"),
    ],
)
def test_exports_for_bundled_networks_are_refused_early(kind: str, precision: str | None, form: str, run: Run) -> None:
    with pytest.raises(ModelFileError) as caught:
        clownfish.export_model(run.path, kind, quantize=precision, quiet=True)
    assert str(caught.value) == (
        f"{run.path / 'model.onnx'} was trained on timm:resnet18; {form} knows the bundled networks only"
        " (efficientnet_lite0, efficientnet_lite1, efficientnet_lite2). Train with one of these, use model.onnx itself,"
        " or make it smaller: --to onnx --quantize float16."
    )


def test_a_smaller_file_can_be_made(run: Run) -> None:
    assert clownfish.export_model(run.path, "onnx", quantize="float16", quiet=True).path.is_file()
