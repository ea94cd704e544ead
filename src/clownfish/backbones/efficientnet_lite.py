"""EfficientNet-Lite as an ONNX graph, straight from Google's ImageNet weights.

The architecture is that of Tan & Le (2019), "EfficientNet", in the Lite variant (no squeeze and
excitation, ReLU6 for swish, stem and head not widened): a stem, seven stages of inverted residual
blocks, a head of 1,280 channels. Widths are read off the weights; only kernel strides and the
number of blocks a stage are stated here.

The feature vector follows Head2Toe (Evci et al. 2022, arXiv 2201.03529): the pooled last layer, and
for each stage the mean and the standard deviation over space of every channel.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_BATCH_NORM_EPSILON = 1e-3
STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Of the first block of each stage."""
_OPSET = 17
_IR_VERSION = 8


class _Graph:
    """Collects nodes and weights, and hands out names."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.tensors = tensors
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add_weight(self, name: str, values: NDArray[Any]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add_node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def add_convolution(self, source: str, output: str, convolution: str, norm: str, stride: int = 1) -> str:
        """Convolution with its batch normalisation folded in: w' = w g / s, b' = b - m g / s."""
        kernel = self.tensors[f"{convolution}.weight"]  # (channels out, channels in / groups, side, side)
        deviation = np.sqrt(self.tensors[f"{norm}.running_var"].astype(np.float64) + _BATCH_NORM_EPSILON)
        scale = self.tensors[f"{norm}.weight"] / deviation
        bias = self.tensors[f"{norm}.bias"] - self.tensors[f"{norm}.running_mean"] * scale
        is_depthwise = "depthwise" in convolution
        return self.add_node(
            "Conv",
            [
                source,
                self.add_weight(f"{output}.weight", (kernel * scale[:, None, None, None]).astype(np.float32)),
                self.add_weight(f"{output}.bias", bias.astype(np.float32)),
            ],
            output,
            kernel_shape=kernel.shape[2:],
            strides=[stride, stride],
            group=kernel.shape[0] if is_depthwise else 1,
            auto_pad="SAME_UPPER",  # TensorFlow's "SAME", which the weights were trained with
        )

    def add_relu6(self, source: str) -> str:
        return self.add_node("Clip", [source, "zero", "six"], f"{source}.relu6")

    def add_block(self, source: str, index: int, stride: int) -> str:
        """Inverted residual: widen (1x1), filter (depthwise), narrow (1x1), add the input."""
        prefix, value = f"_blocks.{index}", source
        if f"{prefix}._expand_conv.weight" in self.tensors:
            value = self.add_relu6(
                self.add_convolution(value, f"block{index}.expand", f"{prefix}._expand_conv", f"{prefix}._bn0")
            )
        value = self.add_relu6(
            self.add_convolution(
                value, f"block{index}.depthwise", f"{prefix}._depthwise_conv", f"{prefix}._bn1", stride
            )
        )
        value = self.add_convolution(value, f"block{index}.project", f"{prefix}._project_conv", f"{prefix}._bn2")
        expand = self.tensors.get(f"{prefix}._expand_conv.weight", self.tensors[f"{prefix}._depthwise_conv.weight"])
        num_channels_in = expand.shape[1] if expand.shape[1] > 1 else expand.shape[0]
        if stride == 1 and num_channels_in == self.tensors[f"{prefix}._project_conv.weight"].shape[0]:
            value = self.add_node("Add", [value, source], f"block{index}.add")
        return value

    def add_statistics(self, source: str, name: str) -> list[str]:
        """Mean and standard deviation over space, each of shape (batch, channels)."""
        mean = self.add_node("GlobalAveragePool", [source], f"{name}.mean4d")
        difference = self.add_node("Sub", [source, mean], f"{name}.difference")
        square = self.add_node("Mul", [difference, difference], f"{name}.square")
        variance = self.add_node("GlobalAveragePool", [square], f"{name}.variance4d")
        deviation = self.add_node("Sqrt", [variance], f"{name}.deviation4d")
        return [
            self.add_node("Flatten", [mean], f"{name}.mean"),
            self.add_node("Flatten", [deviation], f"{name}.deviation"),
        ]


def build_onnx(
    tensors: Mapping[str, NDArray[Any]], *, input_size: int, blocks_per_stage: tuple[int, ...], feature_set: str
) -> tuple[bytes, tuple[int, ...]]:
    """Turn a state dict into an ONNX graph from pixels to features.

    Args:
        tensors: the weights by their PyTorch names.
        input_size: side of the square input, pixels.
        blocks_per_stage: number of blocks of each of the seven stages.
        feature_set: "all_stages" (last layer, and mean and deviation of every stage) or "last_layer".

    Returns:
        The serialised model ("image" uint8 (batch, input_size, input_size, 3) to "features" float32
        (batch, num_features)) and the number of features in each part of the vector.
    """
    graph = _Graph(tensors)
    graph.add_weight("zero", np.array(0.0, np.float32))
    graph.add_weight("six", np.array(6.0, np.float32))
    graph.add_weight("pixel_scale", np.array(1 / 127.5, np.float32))
    graph.add_weight("pixel_offset", np.array(1.0, np.float32))
    value = graph.add_node("Cast", ["image"], "image.float", to=TensorProto.FLOAT)
    value = graph.add_node("Mul", [value, "pixel_scale"], "image.scaled")
    value = graph.add_node("Sub", [value, "pixel_offset"], "image.normalised")
    value = graph.add_node("Transpose", [value], "image.channels_first", perm=[0, 3, 1, 2])
    value = graph.add_relu6(graph.add_convolution(value, "stem", "_conv_stem", "_bn0", stride=2))

    parts: list[str] = []
    index = 0
    for stage, (num_blocks, stage_stride) in enumerate(zip(blocks_per_stage, STAGE_STRIDES, strict=True), start=1):
        for position in range(num_blocks):
            value = graph.add_block(value, index, stage_stride if position == 0 else 1)
            index += 1
        if feature_set == "all_stages":
            parts += graph.add_statistics(value, f"stage{stage}")

    value = graph.add_relu6(graph.add_convolution(value, "head", "_conv_head", "_bn1"))
    value = graph.add_node("GlobalAveragePool", [value], "last_layer4d")
    parts.insert(0, graph.add_node("Flatten", [value], "last_layer"))
    graph.add_node("Concat", parts, "features", axis=1)

    part_sizes = _count_features(tensors, blocks_per_stage, feature_set)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet_lite",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", input_size, input_size, 3])],
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", sum(part_sizes)])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="clownfish",
    )
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True), part_sizes


def _count_features(
    tensors: Mapping[str, NDArray[Any]], blocks_per_stage: tuple[int, ...], feature_set: str
) -> tuple[int, ...]:
    """The last layer, then mean and deviation of every stage."""
    parts = [int(tensors["_conv_head.weight"].shape[0])]
    if feature_set == "all_stages":
        for index in np.cumsum(blocks_per_stage) - 1:
            parts += 2 * [int(tensors[f"_blocks.{index}._project_conv.weight"].shape[0])]
    return tuple(parts)
