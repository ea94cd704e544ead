import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from clownfish.backbones import BACKBONES, load_backbone
from clownfish.backbones.state_dict import read_state_dict
from clownfish.errors import ModelFileError
from clownfish.export.torch_file import build_torch, rebuild_onnx
from clownfish.pipeline.run import Run


def read_header(data: bytes) -> dict[str, dict[str, object]]:
    header: dict[str, dict[str, object]] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header


def read_original(name: str) -> dict[str, np.ndarray]:
    path = BACKBONES[name].find_weights()
    assert path is not None
    return read_state_dict(path.read_bytes())


@pytest.fixture(scope="module")
def model(digits_run: Run) -> bytes:
    return (digits_run.path / "model.onnx").read_bytes()


def change_weights(model: bytes, seed: int) -> bytes:
    """As fine-tuning would."""
    random, changed = np.random.default_rng(seed), onnx.load_from_string(model)
    for tensor in changed.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 4:
            values = (values * random.normal(1, 0.1, values.shape)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return changed.SerializeToString()


def read_weights(model: bytes) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(model).graph.initializer}


@pytest.mark.parametrize("name", BACKBONES)
def test_tensors_are_the_original_ones_in_their_order(name: str, model: bytes) -> None:
    """The files of the original weights have the order of timm's networks."""
    backbone = load_backbone(name)
    held = onnx.load_from_string(backbone.onnx)
    own = onnx.load_from_string(model).graph.initializer
    held.graph.initializer.extend([tensor for tensor in own if tensor.name.startswith("classifier.")])
    original = read_original(name)
    header = read_header(build_torch(held.SerializeToString(), {}, name, original))
    assert header.pop("__metadata__")["timm"] == f"tf_{name}"
    expected = {key: values for key, values in original.items() if not key.startswith("_fc.")}
    assert [entry["shape"] for entry in header.values()] == [list(values.shape) for values in expected.values()]
    assert next(iter(header)) == "conv_stem.weight" and "blocks.1.0.conv_pwl.weight" in header
    data = build_torch(held.SerializeToString(), {}, name, original)
    start = 8 + int.from_bytes(data[:8], "little")
    for entry, values in zip(header.values(), expected.values(), strict=True):
        first, last = entry["data_offsets"]  # type: ignore[misc]
        if values.dtype == np.float32:
            np.testing.assert_array_equal(
                np.frombuffer(data[start + first : start + last], "<f4").reshape(values.shape),  # type: ignore[has-type]
                values,
            )


@pytest.mark.parametrize("has_original", [True, False])
@pytest.mark.parametrize("is_tuned", [True, False])
def test_what_is_taken_apart_folds_back_to_the_same(model: bytes, has_original: bool, is_tuned: bool) -> None:
    name = "efficientnet_lite0"
    tuned = change_weights(model, 1) if is_tuned else model
    data = build_torch(tuned, {"labels": ["a"]}, name, read_original(name) if has_original else None)
    # into a model with other weights, so that nothing can be right by accident
    rebuilt = read_weights(rebuild_onnx(change_weights(model, 2), data, name))
    for key, values in read_weights(tuned).items():
        np.testing.assert_allclose(rebuilt[key], values, rtol=1e-5, atol=1e-6)


def test_metadata_holds_what_the_model_knows(model: bytes, digits_run: Run) -> None:
    properties = digits_run.classifier.read_all_metadata()
    facts = read_header(build_torch(model, properties, "efficientnet_lite0", None))["__metadata__"]
    assert json.loads(str(facts["labels"])) == list(digits_run.classifier.classes)
    assert json.loads(str(facts["preprocessing"])) == {"size": 224, "resize": "stretch"}
    assert facts["created"] == properties["created"]


def test_other_networks_are_refused(model: bytes) -> None:
    message = r"The network 'resnet18' is none that can be written for timm\. Those are: efficientnet_lite0, efficient"
    with pytest.raises(ModelFileError, match=message):
        build_torch(model, {}, "resnet18", None)
    with pytest.raises(ModelFileError, match=r"The network 'efficientnet_lite1' is none that can be written"):
        build_torch(model, {}, "efficientnet_lite1", None)  # its blocks are missing
