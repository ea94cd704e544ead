"""timm's smallest models, with random weights, as what fine-tuning runs."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="models of timm need the extra 'finetune'")
timm = pytest.importorskip("timm", reason="models of timm need the extra 'finetune'")

from clownfish.backbones.timm_worker import handle_request  # noqa: E402
from clownfish.features.extract import make_session  # noqa: E402
from clownfish.torch_networks.timm_network import WEIGHT_PREFIX, create_network  # noqa: E402
from clownfish.training.finetune.device import choose_device  # noqa: E402
from clownfish.training.finetune.network import CutNetwork, open_network  # noqa: E402
from clownfish.training.finetune.timm_network import TimmNetwork  # noqa: E402
from pictures import draw_pattern  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def make_weights(name: str) -> dict[str, Any]:
    torch.manual_seed(0)
    return {WEIGHT_PREFIX + key: own.clone() for key, own in create_network(name).state_dict().items()}


def make_network(name: str, feature_set: str = "all_stages") -> TimmNetwork:
    network = open_network({"kind": "timm", "name": name, "feature_set": feature_set}, choose_device("cpu"))
    assert isinstance(network, TimmNetwork)
    assert not isinstance(network, CutNetwork)
    return network


@pytest.mark.parametrize(
    ("name", "feature_set"),
    [
        ("test_resnet", "all_stages"),
        ("test_resnet", "last_layer"),
        ("test_efficientnet", "all_stages"),
        ("test_vit", "all_stages"),
        ("test_convnext", "all_stages"),
    ],
)
def test_features_of_tuned_weights_are_those_of_their_onnx_graph(name: str, feature_set: str) -> None:
    network, weights = make_network(name, feature_set), make_weights(name)
    for key in network.list_trained(weights, 0):
        if key in weights:
            weights[key] = weights[key] * 1.1 + 0.01
    arrays = {key: own.numpy() for key, own in weights.items()}
    answer = handle_request({"task": "convert", "name": name, "feature_set": feature_set, **arrays})
    assert "refused" not in answer and "fault" not in answer, answer
    size = answer["facts"]["input_size"]
    pixels = np.stack([draw_pattern(size, size)] * 2)
    with torch.no_grad():
        found = network.compute_features(weights, (torch.from_numpy(pixels),), 0).numpy()
    wanted = make_session(answer["graph"].tobytes()).run(["features"], {"image": pixels})[0]
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


def test_what_learns_is_listed_by_depth_and_holds_neither_statistics_nor_depthwise_filters() -> None:
    weights = make_weights("test_efficientnet")
    depths = make_network("test_efficientnet").list_trained(weights, 0)
    assert depths["head.weight"] == 0
    assert depths["network.conv_head.weight"] == 1
    assert depths["network.conv_stem.weight"] == max(depths.values())
    assert not any("running" in name or "num_batches" in name for name in depths)
    left = {name for name, own in weights.items() if own.ndim == 4 and name not in depths}
    assert left == {name for name in weights if name.endswith("conv_dw.weight")}
    assert any(name.endswith("bn1.bias") for name in depths)  # shifts of normalisation learn


def test_a_deep_network_has_no_more_than_nine_depths() -> None:
    depths = make_network("test_vit_relpos").list_trained({}, 0)
    assert set(depths.values()) == set(range(10))


def test_where_timm_tells_no_groups_the_order_of_parameters_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network("test_resnet")
    names = [WEIGHT_PREFIX + name for name, _ in create_network("test_resnet").named_parameters()]
    monkeypatch.delattr(timm.models.ResNet, "group_matcher")
    depths = network.list_trained({}, 0)
    assert (depths[names[-1]], depths[names[0]]) == (1, 9)
    assert [depths[name] for name in names] == sorted((depths[name] for name in names), reverse=True)


def test_what_a_transformer_keeps_of_earlier_weights_is_forgotten() -> None:
    network, weights = make_network("levit_128s"), make_weights("levit_128s")
    pixels = (torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8),)
    weights |= {name: torch.ones_like(own) for name, own in weights.items() if name.endswith("bn.weight")}  # some are 0
    (biased, *_) = (name for name in weights if name.endswith("attention_biases"))
    with torch.no_grad():
        before = network.compute_features(weights, pixels, 0)
        weights[biased] = torch.randn(weights[biased].shape)
        after = network.compute_features(weights, pixels, 0)
    assert not torch.equal(before, after)


def test_a_convolution_that_onednn_gets_wrong_gives_the_same_in_another_way() -> None:
    torch.manual_seed(0)
    name = "repvgg_a0"
    network, weights = make_network(name), make_weights(name)
    model = create_network(name)
    model.load_state_dict({key.removeprefix(WEIGHT_PREFIX): own for key, own in weights.items()})
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    config = model.pretrained_cfg
    scaled = (pixels.permute(0, 3, 1, 2) / 255 - torch.tensor(config["mean"]).reshape(1, 3, 1, 1)) / torch.tensor(
        config["std"]
    ).reshape(1, 3, 1, 1)
    stem = WEIGHT_PREFIX + "stem.conv_1x1.conv.weight"
    weights[stem].requires_grad_()
    found = network.compute_features(weights, (pixels,), 0)
    with torch.no_grad():
        torch.testing.assert_close(found[:, : model.num_features], model(scaled), rtol=1e-4, atol=1e-5)
    found.sum().backward()  # ended the process
    assert torch.isfinite(weights[stem].grad).all()
