"""EfficientNet-Lite as a function of its weights: pixels, or activations of a stage, to features.

It mirrors `backbones.efficientnet_lite`, node by node and with the same names, so that tuned weights go back through
that builder to ONNX. Batch normalisation keeps its statistics: with mean m and deviation s fixed, it is a scale and a
shift of each channel, so it is folded into the convolution at every step. That is cheaper than normalising activations,
and its scale g and shift b still learn:

    norm(conv(x, w)) = conv(x, w g / s) + b - m g / s
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from clownfish.torch_networks.statistics import compute_statistics
from clownfish.training.finetune.network import HEAD_NAMES, Weights

_BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class EfficientNetLite:
    """What the weights do not tell of the network, and how they are used."""

    blocks_per_stage: Sequence[int]
    strides: Sequence[int]
    """Of the first block of each stage."""

    @property
    def num_stages(self) -> int:
        """How many stages there are."""
        return len(self.blocks_per_stage)

    def list_blocks(self, stage: int) -> list[tuple[int, int]]:
        """Number and stride of each block of a stage, which is counted from 0."""
        first = sum(self.blocks_per_stage[:stage])
        count = self.blocks_per_stage[stage]
        return [(first + position, self.strides[stage] if position == 0 else 1) for position in range(count)]

    def list_trained(self, weights: Weights, first_stage: int) -> dict[str, int]:
        """Name what learns, and how deep it lies.

        Depthwise filters and their normalisation stay: they are a fiftieth of the weights, and their gradient takes as
        long as all the rest of a step, because oneDNN has no quick way for it.

        Args:
            weights: all tensors.
            first_stage: the first stage that learns, counted from 0; with 0 the stem learns too.

        Returns:
            Name to depth: 0 for the layer on top, 1 for the last convolution, 2 for the last stage and so on.
        """
        depths = dict.fromkeys(HEAD_NAMES, 0) | dict.fromkeys(_name_convolution("_conv_head", "_bn1"), 1)
        for stage in range(first_stage, self.num_stages):
            for block, _ in self.list_blocks(stage):
                for convolution, norm in (("_expand_conv", "_bn0"), ("_project_conv", "_bn2")):
                    own = _name_convolution(f"_blocks.{block}.{convolution}", f"_blocks.{block}.{norm}")
                    depths |= {name: self.num_stages - stage + 1 for name in own if name in weights}
        if first_stage == 0:
            depths |= dict.fromkeys(_name_convolution("_conv_stem", "_bn0"), self.num_stages + 2)
        return depths

    def compute_features(self, weights: Weights, inputs: tuple[Any, ...], first_stage: int) -> Any:
        """Run the network from pixels, or from what `run_front` returned.

        Args:
            weights: all tensors.
            inputs: pixels alone, or activations and the features of the front.
            first_stage: how many stages have been run in the second case.

        Returns:
            Features, shape (batch, num_features): the last layer, then mean and deviation of every stage.
        """
        if len(inputs) == 1:
            return self.run_back(weights, *self.run_front(weights, inputs[0], 0), 0)
        activations, front_features = inputs
        return self.run_back(weights, activations, front_features, first_stage)

    def run_front(self, weights: Weights, pixels: Any, end: int) -> tuple[Any, Any]:
        """Run the network from pixels to the end of a stage.

        Args:
            weights: all tensors.
            pixels: uint8, shape (batch, size, size, 3).
            end: how many stages to run.

        Returns:
            Activations, shape (batch, channels, height, width), and the features of these stages, shape (batch,
                number).
        """
        scaled = pixels.permute(0, 3, 1, 2).to(weights["_conv_stem.weight"].dtype) / 127.5 - 1.0
        stem = functional.hardtanh_(_convolve(weights, scaled, "_conv_stem", "_bn0", stride=2), 0.0, 6.0)
        return self._run_stages(weights, stem, 0, end)

    def run_back(self, weights: Weights, activations: Any, front_features: Any, start: int) -> Any:
        """Run the network from the activations of a stage to features.

        Args:
            weights: all tensors.
            activations: what `run_front` returned.
            front_features: likewise.
            start: how many stages have been run.

        Returns:
            Features, shape (batch, num_features): the last layer, then mean and deviation of every stage.
        """
        value, statistics = self._run_stages(weights, activations, start, self.num_stages)
        value = functional.hardtanh_(_convolve(weights, value, "_conv_head", "_bn1"), 0.0, 6.0)
        return torch.cat([value.float().mean(dim=(2, 3)), front_features, statistics], dim=1)

    def _run_stages(self, weights: Weights, value: Any, start: int, end: int) -> tuple[Any, Any]:
        statistics = [value.new_empty((len(value), 0))]
        for stage in range(start, end):
            for block, stride in self.list_blocks(stage):
                value = _run_block(weights, value, f"_blocks.{block}", stride)
            statistics += compute_statistics(value)
        return value, torch.cat(statistics, dim=1)


def _name_convolution(convolution: str, norm: str) -> tuple[str, str, str]:
    return f"{convolution}.weight", f"{norm}.weight", f"{norm}.bias"


def _run_block(weights: Weights, source: Any, prefix: str, stride: int) -> Any:
    """Inverted residual: widen (1x1), filter (depthwise), narrow (1x1), add the input."""
    value = source
    if f"{prefix}._expand_conv.weight" in weights:
        value = _convolve(weights, value, f"{prefix}._expand_conv", f"{prefix}._bn0")
        value = functional.hardtanh_(value, 0.0, 6.0)
    value = _convolve(weights, value, f"{prefix}._depthwise_conv", f"{prefix}._bn1", stride=stride)
    value = functional.hardtanh_(value, 0.0, 6.0)
    value = _convolve(weights, value, f"{prefix}._project_conv", f"{prefix}._bn2")
    return value + source if stride == 1 and value.shape[1] == source.shape[1] else value


def _convolve(weights: Weights, source: Any, convolution: str, norm: str, stride: int = 1) -> Any:
    kernel = weights[f"{convolution}.weight"]
    scale = weights[f"{norm}.weight"] * torch.rsqrt(weights[f"{norm}.running_var"] + _BATCH_NORM_EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    groups = kernel.shape[0] if "depthwise" in convolution else 1
    source, padding = _pad(source, kernel.shape[-1], stride)
    folded = kernel * scale[:, None, None, None]
    if groups > 1 and stride > 1 and source.device.type == "cpu":  # oneDNN's gradient is ten times slower in bfloat16
        with torch.autocast(source.device.type, enabled=False):
            filtered = functional.conv2d(source.float(), folded, bias, stride=stride, padding=padding, groups=groups)
        return filtered.to(source.dtype)
    return functional.conv2d(source, folded, bias, stride=stride, padding=padding, groups=groups)


def _pad(source: Any, side: int, stride: int) -> tuple[Any, tuple[int, int]]:
    """TensorFlow's "SAME": as many outputs as inputs / stride, rounded up; an odd zero goes to the right and below."""
    heights = [max((-(-length // stride) - 1) * stride + side - length, 0) for length in source.shape[2:]]
    if all(total % 2 == 0 for total in heights):
        return source, (heights[0] // 2, heights[1] // 2)
    top, left = heights[0] // 2, heights[1] // 2
    return functional.pad(source, (left, heights[1] - left, top, heights[0] - top)), (0, 0)
