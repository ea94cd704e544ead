"""timm's smallest models, with random weights, as ONNX graphs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="models of timm need the extra 'finetune'")
timm = pytest.importorskip("timm", reason="models of timm need the extra 'finetune'")
safetensors = pytest.importorskip("safetensors.torch", reason="models of timm need the extra 'finetune'")

from clownfish.backbones import timm_worker  # noqa: E402
from clownfish.backbones.timm_worker import handle_request  # noqa: E402
from clownfish.export.model_file import ModelDescription, build_model  # noqa: E402
from clownfish.features.extract import make_session  # noqa: E402
from clownfish.features.maps import _make_map_session  # noqa: E402
from clownfish.images import Preprocessing  # noqa: E402
from clownfish.records import Backbone, Head  # noqa: E402
from pictures import draw_pattern  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MODEL = "test_resnet"


def make_state(name: str = MODEL) -> dict[str, Any]:
    torch.manual_seed(0)
    return {key: own.clone().contiguous() for key, own in timm.create_model(name).state_dict().items()}


def write_weights(folder: Path, name: str = MODEL, state: Mapping[str, Any] | None = None) -> Path:
    path = folder / f"{name}.safetensors"
    safetensors.save_file(dict(make_state(name) if state is None else state), path)
    return path


def convert(path: Path, name: str = MODEL, feature_set: str = "all_stages") -> dict[str, Any]:
    return handle_request({"task": "convert", "name": name, "feature_set": feature_set, "weights": str(path)})


def make_backbone(answer: Mapping[str, Any]) -> Backbone:
    facts = answer["facts"]
    return Backbone(
        name=MODEL,
        input_size=facts["input_size"],
        parts=tuple(facts["parts"]),
        num_parameters=facts["num_parameters"],
        feature_set="all_stages",
        onnx=answer["graph"].tobytes(),
        hash="0",
        licence="x",
        weights_hash="0",
    )


@pytest.mark.parametrize(
    ("name", "num_parts", "num_mapped"),
    [("test_resnet", 11, 6), ("test_efficientnet", 11, 6), ("test_convnext", 9, 4), ("test_vit", 13, 6)],
)
def test_graph_gives_what_pytorch_gives(name: str, num_parts: int, num_mapped: int, tmp_path: Path) -> None:
    answer = convert(write_weights(tmp_path, name), name)
    assert "refused" not in answer and "fault" not in answer, answer
    backbone = make_backbone(answer)
    assert len(backbone.parts) == num_parts
    pixels = draw_pattern(backbone.input_size, backbone.input_size)
    features = make_session(backbone.onnx).run(["features"], {"image": pixels[None]})[0]
    assert features.shape == (1, backbone.num_features)
    network = timm.create_model(name, num_classes=0).eval()
    network.load_state_dict({key: own for key, own in make_state(name).items() if key in network.state_dict()})
    config = network.pretrained_cfg
    scaled = (pixels / 255 - config["mean"]) / config["std"]
    with torch.inference_mode():
        wanted = network(torch.tensor(scaled, dtype=torch.float32).permute(2, 0, 1)[None])[0].numpy()
    np.testing.assert_allclose(features[0, : backbone.parts[0]], wanted, rtol=1e-3, atol=1e-4)
    assert len(_make_map_session(backbone)[1]) == num_mapped  # a mean is a node that the maps of the report find


def test_last_layer_alone(tmp_path: Path) -> None:
    path = write_weights(tmp_path)
    whole, last = make_backbone(convert(path)), make_backbone(convert(path, feature_set="last_layer"))
    assert last.parts == whole.parts[:1]


def test_model_file_holds_the_whole_network(tmp_path: Path) -> None:
    backbone = make_backbone(convert(write_weights(tmp_path)))
    head = Head(weights=np.ones((backbone.num_features, 2), np.float32), bias=np.zeros(2, np.float32))
    description = ModelDescription(
        classes=["a", "b"], preprocessing=Preprocessing(size=backbone.input_size), created="2026", version="1"
    )
    model = onnx.load_from_string(build_model(backbone, head, description))
    assert model.graph.output[0].name == "probabilities"


def test_a_pth_is_read_as_tensors_only(tmp_path: Path) -> None:
    wrapped = {"state_dict": {f"module.{key}": own for key, own in make_state().items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "a.pth")
    assert convert(tmp_path / "a.pth")["facts"]["difference"] < 1e-4
    torch.save(timm.create_model(MODEL), tmp_path / "whole.pth")  # a whole module could run code
    assert "cannot be read as tensors" in convert(tmp_path / "whole.pth")["refused"]
    torch.save({"a": "text"}, tmp_path / "text.pth")
    assert convert(tmp_path / "text.pth")["refused"] == (
        f"The weights file {tmp_path / 'text.pth'} holds no state dict. Needed is a .safetensors file, or a .pth that"
        " holds a state dict and nothing else."
    )
    (tmp_path / "b.safetensors").write_bytes(b"nonsense")
    refused = convert(tmp_path / "b.safetensors")["refused"]
    assert refused.startswith(f"The weights file {tmp_path / 'b.safetensors'} cannot be read as tensors (")
    assert refused.endswith("Needed is a .safetensors file, or a .pth that holds a state dict and nothing else.")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    state = make_state()
    state["conv1.0.weight" if "conv1.0.weight" in state else "conv1.weight"] = torch.zeros(2, 2)
    refused = convert(write_weights(tmp_path, state=state))["refused"]
    assert "has the shape (2, 2), and (" in refused
    assert refused.endswith(
        "Give the weights of this very network with --weights, or choose the --backbone that they belong to."
    )
    refused = convert(write_weights(tmp_path, state={"a": torch.zeros(1)}))["refused"]
    assert "tensors are missing, such as " in refused


def test_unknown_names_are_refused_with_near_ones(tmp_path: Path) -> None:
    refused = convert(tmp_path / "x", "test_resnett")["refused"]
    assert refused == (
        f"timm {timm.__version__} has no model 'test_resnett'. Did you mean"
        f"{refused.split('Did you mean')[1].split('?')[0]}? To find one: clownfish backbones --search TEXT"
    )
    assert "timm:test_resnet" in refused
    assert "timm:test_resnet.r160_in1k" in convert(tmp_path / "x", "test_resnet.r160")["refused"]


def test_search_and_description_say_where_weights_are() -> None:
    (found,) = handle_request({"task": "search", "text": "Test_ResNet"})["models"]
    assert found == handle_request({"task": "describe", "name": "test_resnet.r160_in1k"})
    assert found["hub"] == "timm/test_resnet.r160_in1k"
    assert found["input_size"][0] == 3


def test_a_graph_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_weights(tmp_path)
    monkeypatch.setattr(timm_worker, "MAX_DIFFERENCE", -1.0)
    assert "differs from PyTorch by" in convert(path)["refused"]


def test_a_network_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_worker, "_MAX_BYTES", 1000)
    assert convert(write_weights(tmp_path))["refused"] == (
        "The network timm:test_resnet has more than 1e-06 GB, too much for ONNX. Choose a smaller one."
    )


def test_what_onnx_lacks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("No operator xyz.\nDetails")

    monkeypatch.setattr(torch.onnx, "export", fail)
    assert convert(write_weights(tmp_path))["refused"] == (
        "PyTorch cannot write timm:test_resnet as an ONNX graph: No operator xyz. Choose another network."
    )


@pytest.mark.parametrize("how", ["absent", "failing", "flat"])
def test_a_network_without_stages_is_refused(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NotImplementedError

    found: Any = {"failing": fail, "flat": lambda *_, **__: (None, [torch.zeros(1, 2, 3)])}.get(how)
    if found is None:
        monkeypatch.delattr(timm.models.ResNet, "forward_intermediates")
    else:
        monkeypatch.setattr(timm.models.ResNet, "forward_intermediates", found)
    path = write_weights(tmp_path)
    assert convert(path)["refused"] == (
        "The network timm:test_resnet does not tell what its stages see, which the features of all stages are made of."
        " Use --feature-set last_layer, or choose another network."
    )
    assert "facts" in convert(path, feature_set="last_layer")


def test_a_network_for_other_pictures_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def make(*given: object, **options: object) -> Any:
        network = create(*given, **options)
        network.pretrained_cfg = {**network.pretrained_cfg, "input_size": (3, 96, 128)}
        return network

    path = write_weights(tmp_path)
    monkeypatch.setattr(timm, "create_model", make)
    assert convert(path)["refused"] == (
        "The network timm:test_resnet takes pictures of 128 x 96 pixels with 3 channels; those of clownfish are square"
        " and have three. Choose another network."
    )


def test_a_fault_comes_back_as_its_traceback() -> None:
    assert "KeyError: 'nonsense'" in handle_request({"task": "nonsense"})["fault"]
