from typing import Any

import numpy as np
import onnxruntime
import pytest

from clownfish.backbones import BACKBONES, build_backbone, read_tensors
from clownfish.backbones.efficientnet_lite import STAGE_STRIDES, build_onnx
from tiny_network import BLOCKS_PER_STAGE, make_network, make_pixels

torch = pytest.importorskip("torch", reason="fine-tuning needs the extra 'finetune'")

from clownfish.training.finetune.efficientnet_lite import EfficientNetLite  # noqa: E402
from clownfish.training.finetune.network import compute_logits  # noqa: E402

NETWORK = EfficientNetLite(blocks_per_stage=BLOCKS_PER_STAGE, strides=STAGE_STRIDES)


def run_onnx(graph: bytes, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["features"], {"image": pixels})[0])


def to_torch(arrays: Any) -> dict[str, Any]:
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


@pytest.mark.parametrize("size", [32, 33, 47])
def test_features_are_those_of_the_onnx_graph_whatever_the_size(size: int) -> None:
    network = make_network()
    pixels = np.random.default_rng(2).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    graph, _ = build_onnx(network.tensors, input_size=size, blocks_per_stage=BLOCKS_PER_STAGE, feature_set="all_stages")
    weights = to_torch(network.tensors)
    found = NETWORK.compute_features(weights, (torch.from_numpy(pixels),), 0)
    np.testing.assert_allclose(found.numpy(), run_onnx(graph, pixels), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("end", range(8))
def test_cutting_the_network_at_a_stage_changes_nothing(end: int) -> None:
    weights = to_torch(make_network().tensors)
    pixels = torch.from_numpy(make_pixels(2))
    whole = NETWORK.compute_features(weights, (pixels,), 0)
    cut = NETWORK.compute_features(weights, NETWORK.run_front(weights, pixels, end), end)
    assert torch.equal(cut, whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_features_of_every_backbone_are_those_of_its_onnx_graph(name: str) -> None:
    tensors, entry = read_tensors(name), BACKBONES[name]
    pixels = np.random.default_rng(3).integers(0, 256, (1, entry.input_size, entry.input_size, 3), dtype=np.uint8)
    weights = to_torch({key: values for key, values in tensors.items() if values.ndim})
    network = EfficientNetLite(blocks_per_stage=entry.blocks_per_stage, strides=STAGE_STRIDES)
    with torch.inference_mode():
        found = network.compute_features(weights, (torch.from_numpy(pixels),), 0)
    np.testing.assert_allclose(
        found.numpy(), run_onnx(build_backbone(name, tensors).onnx, pixels), atol=2e-4, rtol=1e-3
    )


def test_a_feature_without_variation_has_a_gradient() -> None:
    weights = to_torch(make_network().tensors)
    weights["_conv_stem.weight"].requires_grad_()
    pixels = torch.full((1, 33, 33, 3), 128, dtype=torch.uint8)
    NETWORK.compute_features(weights, (pixels,), 0).sum().backward()
    assert torch.isfinite(weights["_conv_stem.weight"].grad).all()


def test_logits_are_linear_in_standardised_features() -> None:
    weights = {
        "head.mean": torch.tensor([1.0, 2.0]),
        "head.inverse_deviation": torch.tensor([2.0, 0.0]),
        "head.weight": torch.tensor([[1.0, -1.0], [5.0, 5.0]]),
        "head.bias": torch.tensor([0.5, 0.0]),
    }
    assert compute_logits(weights, torch.tensor([[3.0, 9.0]])).tolist() == [[4.5, -4.0]]


def test_what_learns_is_listed_by_depth_and_holds_no_statistics() -> None:
    weights = make_network().tensors
    last = NETWORK.list_trained(weights, 6)
    assert last["head.weight"] == 0
    assert last["_conv_head.weight"] == 1
    assert last["_blocks.7._expand_conv.weight"] == 2
    assert not any(name.startswith(("_conv_stem", "_blocks.6.")) for name in last)
    whole = NETWORK.list_trained(weights, 0)
    assert whole["_conv_stem.weight"] == 9
    assert not any("running" in name for name in whole)
