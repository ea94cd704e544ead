from pathlib import Path

import numpy as np
import pytest

from clownfish.backbones import load_backbone
from clownfish.features.extract import make_session
from clownfish.features.maps import make_maps
from clownfish.images import Preprocessing
from pictures import draw_photo, write_photo


@pytest.mark.parametrize("feature_set", ["all_stages", "last_layer"])
@pytest.mark.usefixtures("no_helpers")
def test_map_and_the_part_without_a_place_add_up_to_the_score(feature_set: str, tmp_path: Path) -> None:
    backbone, preprocessing = load_backbone(feature_set=feature_set), Preprocessing(size=224)
    write_photo(tmp_path / "a.png", draw_photo(90, 60, seed=1))
    random = np.random.default_rng(2)
    directions, means = random.normal(size=(2, backbone.num_features)), random.random(backbone.num_features)
    maps = make_maps([str(tmp_path / "a.png"), str(tmp_path / "gone.png")], directions, means, backbone, preprocessing)
    found = maps[0]
    assert found is not None
    assert maps[1] is None
    features = make_session(backbone.onnx).run(["features"], {"image": found.pixels[None]})[0][0]
    assert found.placed + found.unplaced == pytest.approx(float(directions[0] @ (features - means)), rel=1e-4)
    assert found.values.mean() == pytest.approx(found.placed, rel=1e-3, abs=1e-3)
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
    (found,) = make_maps(
        [str(tmp_path / "spotted.png")], direction[None], of_plain.astype(np.float64), backbone, preprocessing
    )
    assert found is not None
    row, column = np.unravel_index(found.values.argmax(), found.values.shape)
    assert 0 <= row <= 12
    assert 16 <= column <= 27
