"""A model of timm as a function of its weights: pixels to features, as its ONNX graph computes them.

The model classifies all the while: statistics of batch normalisation stay as they are, and nothing is dropped. Scales
and shifts of normalisation learn.
"""

from functools import partial
from typing import Any

import torch
from timm.models import group_parameters
from torch.func import functional_call

from clownfish.torch_networks.timm_network import WEIGHT_PREFIX, SeenNetwork, create_network
from clownfish.training.finetune.device import Device
from clownfish.training.finetune.network import HEAD_NAMES, Weights

_MAX_DEPTH = 9
"""Rates fall with depth as they do in EfficientNet-Lite; a network of forty blocks is no deeper in that sense."""
_FEW_CHANNELS = 16
_CACHE = "attention_bias_cache"
"""Where some transformers of timm keep a table that follows from a weight, for as long as they classify."""


class TimmNetwork:
    """Fine-tuned as a whole: all but the filters that each see one channel, as in `EfficientNetLite`."""

    def __init__(self, name: str, feature_set: str, device: Device) -> None:
        """Make the model.

        Args:
            name: without the prefix "timm:".
            feature_set: "all_stages" or "last_layer".
            device: where the tensors will be.

        Raises:
            BackboneError: it does not tell its stages.
        """
        seen = SeenNetwork(create_network(name), feature_set).eval()
        with torch.no_grad():
            seen.find_stages(torch.zeros((1, seen.input_size, seen.input_size, 3), dtype=torch.uint8))
        _avoid_fault(seen)
        self._network = seen.network
        self._features = _Features(device.place(seen))  # with tables that are no weights
        self._caches = [getattr(module, _CACHE) for module in seen.modules() if hasattr(module, _CACHE)]

    def list_trained(self, weights: Weights, first_stage: int) -> dict[str, int]:
        """Name what learns, and how deep it lies, by timm's own groups of layers.

        Args:
            weights: all tensors.
            first_stage: 0, since there is no cutting these networks.

        Returns:
            Name to depth: 0 for the layer on top, from 1 for the last group to at most 9 for the first.
        """
        assert first_stage == 0
        names = [name for name, _ in self._network.named_parameters()]
        try:
            groups = group_parameters(self._network, self._network.group_matcher(coarse=True), reverse=True)
        except (AttributeError, AssertionError):  # a few tell no groups; parameters stand in order of depth
            groups = {name: position for position, name in enumerate(names)}
        last = max(groups.values())
        width = max((last + 1) / _MAX_DEPTH, 1.0)
        depths = {name: 1 + int((last - groups[name]) / width) for name in names}
        return dict.fromkeys(HEAD_NAMES, 0) | {
            WEIGHT_PREFIX + name: depth for name, depth in depths.items() if name not in self._list_depthwise()
        }

    def compute_features(self, weights: Weights, inputs: tuple[Any, ...], first_stage: int) -> Any:
        """Run the model.

        Args:
            weights: all tensors.
            inputs: pixels alone, from 0 to 255, shape (batch, size, size, 3).
            first_stage: 0.

        Returns:
            Shape (batch, num_features): the last layer, then mean and deviation of every stage.
        """
        assert first_stage == 0
        for cache in self._caches:  # of other weights
            cache.clear()
        own = {f"seen.{name}": tensor for name, tensor in weights.items() if name.startswith(WEIGHT_PREFIX)}
        return functional_call(self._features, own, inputs)

    def _list_depthwise(self) -> set[str]:
        """Few of the weights, but much of the time: oneDNN has no quick way for their gradient."""
        return {
            f"{name}.weight"
            for name, module in self._network.named_modules()
            if isinstance(module, torch.nn.Conv2d) and 1 < module.groups == module.in_channels
        }


def _avoid_fault(network: Any) -> None:
    """Let 1 x 1 convolutions with steps and few inputs take every so manieth place first, which gives the same.

    oneDNN 3.x writes beyond the gradient of such a kernel if channels are last in memory, and the process dies.
    """
    for module in network.modules():
        if type(module) is torch.nn.Conv2d and module.kernel_size == (1, 1) and module.in_channels < _FEW_CHANNELS:
            module.register_forward_pre_hook(partial(_take_every, step=module.stride))
            module.stride = (1, 1)


def _take_every(_: Any, inputs: tuple[Any, ...], *, step: tuple[int, int]) -> Any:
    return inputs[0][:, :, :: step[0], :: step[1]]


class _Features(torch.nn.Module):  # type: ignore[misc] # torch is not looked into
    """Calls what is to be called with other weights."""

    def __init__(self, seen: SeenNetwork) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, image: Any) -> Any:
        return self.seen.compute_features(image)
