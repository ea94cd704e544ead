from pathlib import Path

import numpy as np
import onnx
import pytest

from clownfish.backbones import load_backbone
from clownfish.export.calibration import measure_ranges
from clownfish.export.model_file import ModelDescription, build_model
from clownfish.export.onnx_file import ONNX_PRECISIONS, OnnxPrecision, build_reduced_onnx
from clownfish.export.tflite.lowering import lower_model
from clownfish.export.tflite.quantization import list_rounded_tensors
from clownfish.images import Preprocessing
from clownfish.prediction.classifier import Classifier
from clownfish.records import Head
from pictures import draw_pattern

CLASSES = ("ant", "bee", "cicada")


@pytest.fixture(scope="module")
def model() -> bytes:
    backbone = load_backbone()
    weights = np.random.default_rng(0).normal(0, 0.06, (backbone.num_features, len(CLASSES)))
    head = Head(weights=weights.astype(np.float32), bias=np.zeros(len(CLASSES), np.float32))
    description = ModelDescription(
        classes=CLASSES, preprocessing=Preprocessing(size=224), created="2026-01-02", version="0.1.0"
    )
    return build_model(backbone, head, description)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([draw_pattern(224, 224, seed=7 * number) for number in range(3)])


@pytest.mark.parametrize(("precision", "largest_share"), [("float16", 0.55), ("int8", 0.35)])
def test_reduced_model_is_small_close_and_ours(
    model: bytes, pictures: np.ndarray, precision: OnnxPrecision, largest_share: float
) -> None:
    assert precision in ONNX_PRECISIONS
    ranges = measure_ranges(model, list_rounded_tensors(lower_model(model)), pictures)
    data = build_reduced_onnx(model, precision, {"precision": precision}, ranges=ranges)
    assert data == build_reduced_onnx(model, precision, {"precision": precision}, ranges=ranges)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    assert len(data) <= largest_share * len(model)
    before, after = Classifier(Path("before"), model), Classifier(Path("after"), data)
    assert (after.classes, after.preprocessing) == (before.classes, before.preprocessing)
    assert after.read_metadata("precision") == precision
    assert np.abs(after.run_network(pictures) - before.run_network(pictures)).max() <= 0.1
    assert before.run_network(pictures).std() > 0.02


def test_ranges_hold_what_the_network_computes(model: bytes, pictures: np.ndarray) -> None:
    names = list_rounded_tensors(lower_model(model))
    assert (names[0], len(names)) == ("block3.expand.relu6", 48)
    ranges = measure_ranges(model, names, pictures)
    assert all(0 <= low <= high <= 6 for name, (low, high) in ranges.items() if name.endswith("relu6"))
    one = measure_ranges(model, names, pictures[:1])
    assert all(ranges[name][0] <= one[name][0] <= one[name][1] <= ranges[name][1] for name in names)
