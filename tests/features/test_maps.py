import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from clownfish.backbones import load_backbone
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import make_session
from clownfish.features.maps import make_maps
from clownfish.images import Preprocessing
from clownfish.records import Photo
from pictures import draw_photo, write_photo


def take_photo(path: Path) -> Photo:
    return Photo(
        file=path.name,
        path=str(path),
        label="a",
        columns={},
        content_hash=hashlib.sha256(path.name.encode()).hexdigest(),
        group="1",
        width=90,
        height=60,
        status="used",
        note="",
    )


@pytest.mark.parametrize("feature_set", ["all_stages", "last_layer"])
@pytest.mark.usefixtures("no_helpers")
def test_map_and_the_part_without_a_place_add_up_to_the_score(feature_set: str, tmp_path: Path) -> None:
    backbone, preprocessing = load_backbone(feature_set=feature_set), Preprocessing(size=224)
    write_photo(tmp_path / "a.png", draw_photo(90, 60, seed=1))
    random = np.random.default_rng(2)
    directions, means = random.normal(size=(2, backbone.num_features)), random.random(backbone.num_features)
    photos, cache = [take_photo(tmp_path / name) for name in ("a.png", "gone.png")], FeatureCache()
    maps = make_maps(photos, directions, means, backbone, preprocessing, cache)
    found = maps[0]
    assert found is not None
    assert maps[1] is None
    features = make_session(backbone.onnx).run(["features"], {"image": found.pixels[None]})[0][0]
    assert found.placed + found.unplaced == pytest.approx(float(directions[0] @ (features - means)), rel=1e-4)
    assert found.values.mean() == pytest.approx(found.placed, rel=1e-3, abs=1e-3)
    (tmp_path / "a.png").unlink()  # the cache knows what the network saw
    again = make_maps(photos[:1], directions[:1], means, backbone, preprocessing, cache)[0]
    assert again is not None
    np.testing.assert_array_equal(again.values, found.values)
    assert (found.unplaced == pytest.approx(0, abs=1e-9)) == (feature_set == "last_layer")


@pytest.mark.usefixtures("no_helpers")
def test_map_shows_the_place_that_differs(tmp_path: Path) -> None:
    backbone, preprocessing = load_backbone(), Preprocessing(size=224)
    plain = np.full((224, 224, 3), 128, np.uint8)
    spotted = plain.copy()
    spotted[20:80, 150:210] = draw_photo(60, 60, seed=3)
    for name, pixels in (("plain", plain), ("spotted", spotted)):
        write_photo(tmp_path / f"{name}.png", pixels)
    session = make_session(backbone.onnx)
    of_plain, of_spotted = (session.run(["features"], {"image": each[None]})[0][0] for each in (plain, spotted))
    direction = (of_spotted - of_plain).astype(np.float64)
    photo, cache = take_photo(tmp_path / "spotted.png"), FeatureCache()
    (found,) = make_maps([photo], direction[None], of_plain.astype(np.float64), backbone, preprocessing, cache)
    assert found is not None
    row, column = np.unravel_index(found.values.argmax(), found.values.shape)
    assert 0 <= row <= 12
    assert 16 <= column <= 27


@pytest.mark.usefixtures("no_helpers")
def test_last_layer_that_is_no_mean_belongs_to_no_place(tmp_path: Path) -> None:
    bundled, preprocessing = load_backbone(), Preprocessing(size=224)
    model = onnx.load_from_string(bundled.onnx)
    (flatten,) = (node for node in model.graph.node if node.output[0] == "last_layer")
    flatten.op_type = "Squeeze"
    flatten.input.append("places")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3]), "places"))
    backbone = replace(bundled, onnx=model.SerializeToString())
    write_photo(tmp_path / "a.png", draw_photo(90, 60, seed=1))
    directions, means = np.ones((1, backbone.num_features)), np.zeros(backbone.num_features)
    photos, cache = [take_photo(tmp_path / "a.png")], FeatureCache()
    (whole,) = make_maps(photos, directions, means, bundled, preprocessing, cache)
    (found,) = make_maps(photos, directions, means, backbone, preprocessing, cache)
    assert whole is not None and found is not None
    assert found.placed < whole.placed
    assert found.placed + found.unplaced == pytest.approx(whole.placed + whole.unplaced, rel=1e-4)
