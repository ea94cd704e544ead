"""Which device is chosen, and that a step leaves nothing on another one; there is no graphics card here."""

from typing import Any

import numpy as np
import pytest

from clownfish.errors import ConfigError
from tiny_network import NUM_FEATURES, make_network, make_pixels

torch = pytest.importorskip("torch", reason="fine-tuning needs the extra 'finetune'")

from clownfish.training.finetune import device  # noqa: E402
from clownfish.training.finetune.augmentation import Augmenter  # noqa: E402
from clownfish.training.finetune.batches import PhotoSource, load_batches  # noqa: E402
from clownfish.training.finetune.device import Device, choose_device  # noqa: E402
from clownfish.training.finetune.network import open_network  # noqa: E402
from clownfish.training.finetune.optimisation import Recipe, Targets, Tuner  # noqa: E402


@pytest.mark.parametrize(
    ("working", "chosen"), [(("cuda", "mps", "cpu"), "cuda"), (("mps", "cpu"), "mps"), (("cpu",), "cpu")]
)
def test_auto_takes_the_quickest_that_works(
    working: tuple[str, ...], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_find_fault", lambda kind: None if kind in working else "broken")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert choose_device("auto").kind == chosen


@pytest.mark.parametrize(("is_quick", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_cuda_learns_in_16_bits_if_the_card_can_and_classifies_in_whole_32(
    is_quick: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def ask(*, including_emulation: bool) -> bool:
        asked.append(including_emulation)
        return is_quick

    monkeypatch.setattr(device, "_find_fault", lambda _: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", ask)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert choose_device("cuda") == Device(kind="cuda", name="Card", precision=precision)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert asked == [False]


def test_apples_graphics_processor_learns_in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_find_fault", lambda _: None)
    found = choose_device("mps")
    assert (found.kind, found.precision) == ("mps", "float32")
    with found.autocast():
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(("is_quick", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_the_processor_learns_in_what_it_multiplies_quickly(
    is_quick: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_quick_bfloat16", lambda: is_quick)
    found = choose_device("cpu")
    assert found.precision == precision
    with found.autocast():
        assert torch.is_autocast_enabled("cpu") == is_quick


def refuse(kind: str) -> str:
    with pytest.raises(ConfigError) as caught:
        choose_device(kind)
    return str(caught.value)


def test_what_cuda_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    end = ". Leave it out, or use --device cpu; fine-tuning is slower then."
    monkeypatch.setattr(torch, "__version__", "2.99")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert refuse("cuda") == (
        "--device cuda cannot be used: PyTorch 2.99 was built without CUDA; https://pytorch.org has builds with it"
        + end
    )
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert refuse("cuda") == (
        "--device cuda cannot be used: PyTorch 2.99, built for CUDA 13.0, finds no NVIDIA card with a driver for it;"
        " nvidia-smi tells whether there is one" + end
    )

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no kernel image is available\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", fail)
    assert refuse("cuda") == (
        "--device cuda cannot be used: it is there, but does not compute (no kernel image is available)" + end
    )


def test_what_mps_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert "finds no graphics processor of Apple, which Macs with Apple silicon have. Leave it out" in refuse("mps")


def make_recipe() -> Recipe:
    return Recipe(
        epochs=1,
        batch_size=4,
        learning_rate=0.01,
        optimizer="adamw",
        momentum=0.9,
        warmup_steps=0,
        depth_decay=0.8,
        weight_decay=0.02,
        dropout_rate=0.2,
        label_smoothing=0.05,
        mixup=0.4,
        mix=0.5,
        first_stage=0,
        seed=1,
    )


def make_head(num_features: int) -> dict[str, Any]:
    return {
        "head.weight": torch.zeros(num_features, 2),
        "head.bias": torch.zeros(2),
        "head.mean": torch.zeros(num_features),
        "head.inverse_deviation": torch.ones(num_features),
    }


def start_tiny() -> tuple[dict[str, Any], dict[str, Any]]:
    network = make_network()
    weights = {name: torch.from_numpy(own) for name, own in network.tensors.items()}
    return weights | make_head(NUM_FEATURES), dict(network.layout)


def start_timm() -> tuple[dict[str, Any], dict[str, Any]]:
    pytest.importorskip("timm", reason="models of timm need the extra 'finetune'")
    from clownfish.torch_networks.timm_network import WEIGHT_PREFIX, SeenNetwork, create_network

    network = create_network("test_vit")
    seen = SeenNetwork(network, "all_stages")
    with torch.no_grad():
        seen.examine(torch.zeros((1, seen.input_size, seen.input_size, 3), dtype=torch.uint8))
    weights = {WEIGHT_PREFIX + name: own.clone() for name, own in network.state_dict().items()}
    return weights | make_head(sum(seen.parts)), {"kind": "timm", "name": "test_vit", "feature_set": "all_stages"}


@pytest.mark.parametrize(("start", "size"), [(start_tiny, 33), (start_timm, 160)])
def test_a_step_uses_tensors_of_the_device_alone(start: Any, size: int) -> None:
    """PyTorch refuses to mix tensors without memory with those of the CPU."""
    nowhere = Device(kind="meta", name="nowhere", precision="float32")
    weights, layout = start()
    pixels = make_pixels(4) if size == 33 else np.zeros((4, size, size, 3), np.uint8)
    source = PhotoSource(pixels, Augmenter(size, flip=True, seed=1))
    targets = Targets(labels=np.array([0, 1, 0, 1]), class_weights=np.ones(2, np.float32))
    tuner = Tuner(weights, open_network(layout, nowhere), make_recipe(), source, targets, nowhere)
    (batch,) = load_batches(source, np.arange(4), 4, 1, nowhere)
    labels = nowhere.place(torch.from_numpy(targets.labels[batch.rows]))
    loss, logits = tuner._compute_loss(batch.inputs, labels, torch.Generator().manual_seed(1))
    loss.backward()
    tuner._optimizer.step()
    assert logits.device.type == "meta"
    state = tuner.export_state()
    tuner.import_state(state)
    assert len(state) > 3
    for name, own in state.items():
        assert own.device.type == ("cpu" if name.startswith("optimizer/step/") else "meta"), name
