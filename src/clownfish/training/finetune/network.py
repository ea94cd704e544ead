"""What fine-tuning asks of a network, whichever it is, and the layer on top of it.

A network is a function of a dictionary of tensors. Those that learn, their averages and those of the best epoch can so
take each other's places without a copy.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch

from clownfish.training.finetune.device import Device

Weights = Mapping[str, Any]
"""Tensors by name; the layer on top by the names of `HEAD_NAMES`."""
HEAD_NAMES = ("head.weight", "head.bias")
"""Of the layer on standardised features: shapes (num_features, num_classes) and (num_classes,)."""


class Network(Protocol):
    """Pixels to features."""

    def list_trained(self, weights: Weights, first_stage: int) -> dict[str, int]:
        """Name what learns, and how deep it lies: 0 for the layer on top, more for what is further down."""
        ...

    def compute_features(self, weights: Weights, inputs: tuple[Any, ...], first_stage: int) -> Any:
        """Map pixels, shape (batch, size, size, 3), to features, shape (batch, num_features)."""
        ...


@runtime_checkable
class CutNetwork(Network, Protocol):
    """One whose lower stages can be run once, so that `compute_features` goes on from what they gave."""

    def run_front(self, weights: Weights, pixels: Any, end: int) -> tuple[Any, Any]:
        """Map pixels to the activations after so many stages, and the features of these."""
        ...


def open_network(layout: Mapping[str, Any], device: Device) -> Network:
    """Choose the network.

    Args:
        layout: of `backbones.tunable.Tunable`.
        device: where the tensors will be.

    Returns:
        The network.
    """
    own = {name: value for name, value in layout.items() if name != "kind"}
    if layout["kind"] == "timm":
        from clownfish.training.finetune.timm_network import TimmNetwork  # imports timm

        return TimmNetwork(**own, device=device)
    from clownfish.training.finetune.efficientnet_lite import EfficientNetLite

    return EfficientNetLite(**own)


def compute_logits(weights: Weights, features: Any, *, kept: Any = None) -> Any:
    """Apply the layer on top.

    Args:
        weights: its tensors.
        features: shape (batch, num_features).
        kept: factor for each standardised feature, of the same shape, for dropout; None to keep all.

    Returns:
        Shape (batch, num_classes).
    """
    standardised = (features.float() - weights["head.mean"]) * weights["head.inverse_deviation"]
    if kept is not None:
        standardised = standardised * kept
    return standardised @ weights["head.weight"] + weights["head.bias"]


def arrange(tensor: Any) -> Any:
    """Put the channels of a kernel last in memory, as those of the activations are: twice as fast on a CPU."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
