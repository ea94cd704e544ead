"""The ONNX graphs give the numbers that PyTorch gives with the same weights; see make_goldens.py."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clownfish.backbones import BACKBONES, load_backbone
from clownfish.features.extract import make_session
from pictures import draw_pattern

GOLDENS: dict[str, Any] = json.loads(Path(__file__).with_name("goldens.json").read_text())


def run_backbone(name: str, pixels: NDArray[np.uint8], feature_set: str = "all_stages") -> NDArray[np.float32]:
    session = make_session(load_backbone(name, feature_set=feature_set).onnx)
    features: NDArray[np.float32] = session.run(["features"], {"image": pixels})[0]
    return features


@pytest.mark.parametrize("name", BACKBONES)
def test_graph_gives_the_numbers_of_pytorch(name: str) -> None:
    golden, size = GOLDENS[name], BACKBONES[name].input_size
    features = run_backbone(name, draw_pattern(size, size)[None])[0].astype(np.float64)
    assert len(features) == golden["num_features"]
    assert np.abs(features[:: GOLDENS["step"]] - golden["values"]).max() < 1e-4
    assert features.sum() == pytest.approx(golden["sum"], rel=1e-5, abs=1e-3)
    assert np.square(features).sum() == pytest.approx(golden["sum_of_squares"], rel=1e-5)
    assert features[:1280].sum() == pytest.approx(golden["sum_of_last_layer"], rel=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_last_layer_is_the_start_of_all_stages(name: str) -> None:
    size = BACKBONES[name].input_size
    image = draw_pattern(size, size, seed=1)[None]
    alone = run_backbone(name, image, "last_layer")
    assert np.allclose(alone, run_backbone(name, image)[:, :1280], atol=1e-5)


def test_photo_has_the_same_features_in_any_batch() -> None:
    images = np.stack([draw_pattern(224, 224, seed=seed) for seed in range(3)])
    together = run_backbone("efficientnet_lite0", images)
    for image, features in zip(images, together, strict=True):
        assert np.allclose(run_backbone("efficientnet_lite0", image[None])[0], features, atol=1e-4)


def test_uniform_pictures_give_finite_features() -> None:
    for level in (0, 127, 255):
        features = run_backbone("efficientnet_lite0", np.full((1, 224, 224, 3), level, np.uint8))
        assert np.isfinite(features).all()
