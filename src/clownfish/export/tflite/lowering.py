"""From an ONNX graph of the bundled family to TFLite operations.

ONNX keeps the channels of a picture in front, TFLite behind; so weights are turned, and the transpose after the
normalisation falls away. A ReLU6 becomes part of the convolution before it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from clownfish.errors import ModelFileError
from clownfish.export.tflite.graph import Graph, Tensor

_SAME, _RELU6 = 0, 3  # of TFLite's enumerations Padding and ActivationFunctionType
_FLOAT32, _UINT8 = 0, 3  # of TensorType
_CHANNELS_LAST = [0, 3, 1, 2]


def lower_model(model: bytes) -> Graph:
    """Turn a `model.onnx` into TFLite operations.

    Args:
        model: the serialised ONNX model: "image" uint8 (batch, size, size, 3) to its outputs.

    Returns:
        The network, for a batch of one that can be enlarged.

    Raises:
        ModelFileError: the graph holds something that is not known here.
    """
    return _Lowering(onnx.load_from_string(model).graph).lower()


class _Lowering:
    """Walks the nodes in order."""

    def __init__(self, source: onnx.GraphProto) -> None:
        self._source = source
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.initializer}
        self._uses = Counter(name for node in source.node for name in node.input)
        self._renamed: dict[str, str] = {}
        """ONNX name to ours, where a node falls away."""
        (image,) = source.input
        size = tuple(dimension.dim_value or 1 for dimension in image.type.tensor_type.shape.dim)
        self.graph = Graph(image=image.name, outputs=tuple(output.name for output in source.output))
        self.graph.tensors[image.name] = Tensor(shape=size, dtype=np.uint8)
        self._ways: dict[str, Callable[[onnx.NodeProto, dict[str, Any]], object]] = {
            "Cast": self._lower_cast,
            "Transpose": self._lower_transpose,
            "Conv": self._lower_convolution,
            "Clip": self._lower_clip,
            "GlobalAveragePool": self._lower_mean,
            "Flatten": self._lower_flatten,
            "Concat": self._lower_concatenation,
            "Gemm": self._lower_layer,
            "MatMul": self._lower_layer,
            "ReduceL2": self._lower_length,
            "Softmax": self._lower_softmax,
            "Sqrt": self._lower_root,
            **dict.fromkeys(("Add", "Sub", "Mul", "Div"), self._lower_arithmetic),
        }

    def lower(self) -> Graph:
        for node in self._source.node:
            if node.op_type not in self._ways:
                raise _refuse(f"the operation {node.op_type} ({node.name})")
            options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
            self._ways[node.op_type](node, options)
        return self.graph

    def _find(self, name: str) -> str:
        """Our name of a tensor; a constant is added when it is first asked for."""
        name = self._renamed.get(name, name)
        if name not in self.graph.tensors:
            self.graph.add_constant(name, self._constants[name])
        return name

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.graph.tensors[name].shape

    def _add(self, kind: str, inputs: tuple[str, ...], output: str, shape: tuple[int, ...], **options: Any) -> str:
        return self.graph.add_operation(kind, inputs, output, Tensor(shape=shape), **options)

    def _add_integers(self, name: str, *values: int) -> str:
        return self.graph.add_constant(name, np.array(values, np.int32))

    def _lower_cast(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        source = self._find(node.input[0])
        self._add("CAST", (source,), node.output[0], self._shape(source), inDataType=_UINT8, outDataType=_FLOAT32)

    def _lower_transpose(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        if list(options["perm"]) != _CHANNELS_LAST:
            raise _refuse(f"a transpose by {list(options['perm'])} ({node.name})")
        self._renamed[node.output[0]] = self._find(node.input[0])

    def _lower_convolution(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        source, weights, bias = self._find(node.input[0]), self._constants[node.input[1]], self._find(node.input[2])
        batch, height, width, num_channels = self._shape(source)
        is_depthwise = options["group"] == num_channels > 1
        if options.get("auto_pad") != b"SAME_UPPER" or (options["group"] != 1 and not is_depthwise):
            raise _refuse(f"a convolution with other padding or groups ({node.name})")
        # (out, in / groups, height, width) to (out, height, width, in), or to (1, height, width, out)
        turned = weights.transpose((1, 2, 3, 0) if is_depthwise else (0, 2, 3, 1))
        output, activation = self._absorb_relu6(node.output[0])
        vertical, horizontal = options["strides"]
        self._add(
            "DEPTHWISE_CONV_2D" if is_depthwise else "CONV_2D",
            (source, self.graph.add_constant(node.input[1], turned), bias),
            output,
            (batch, -(-height // vertical), -(-width // horizontal), len(weights)),
            padding=_SAME,
            strideW=horizontal,
            strideH=vertical,
            fusedActivationFunction=activation,
            **({"depthMultiplier": 1} if is_depthwise else {}),
        )

    def _absorb_relu6(self, name: str) -> tuple[str, int]:
        """Name of the result, and which activation the convolution gets."""
        users = [node for node in self._source.node if name in node.input]
        if len(users) != 1 or users[0].op_type != "Clip":
            return name, 0
        bounds = [self._constants[bound].item() for bound in users[0].input[1:]]
        if bounds != [0.0, 6.0]:
            raise _refuse(f"a limit to {bounds} ({users[0].name})")
        return users[0].output[0], _RELU6

    def _lower_clip(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        if node.output[0] not in self.graph.tensors:
            raise _refuse(f"a limit that follows no convolution ({node.name})")

    def _lower_mean(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        source = self._find(node.input[0])
        batch, *_, num_channels = self._shape(source)
        axes = self._add_integers("axes.space", 1, 2)
        self._add("MEAN", (source, axes), node.output[0], (batch, 1, 1, num_channels), keepDims=True)

    def _lower_flatten(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        source = self._find(node.input[0])
        batch, *_, num_channels = self._shape(source)
        shape = self._add_integers(f"{node.output[0]}.shape", -1, num_channels)
        self._add("RESHAPE", (source, shape), node.output[0], (batch, num_channels), newShape=[-1, num_channels])

    def _lower_concatenation(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        sources = tuple(self._find(name) for name in node.input)
        width = sum(self._shape(source)[1] for source in sources)
        self._add("CONCATENATION", sources, node.output[0], (self._shape(sources[0])[0], width), axis=1)

    def _lower_layer(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        if any(value != plain[name] for name, value in options.items()):
            raise _refuse(f"a matrix product with factors ({node.name})")
        source, weights = self._find(node.input[0]), self._constants[node.input[1]]
        inputs: tuple[str, ...] = (source, self.graph.add_constant(node.input[1], weights.T))
        inputs += tuple(self._find(name) for name in node.input[2:]) or ("",)
        self._add("FULLY_CONNECTED", inputs, node.output[0], (self._shape(source)[0], weights.shape[1]))

    def _lower_length(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        source, output = self._find(node.input[0]), node.output[0]
        batch = self._shape(source)[0]
        squares = self._add("MUL", (source, source), f"{output}.squares", self._shape(source))
        sums = self._add(
            "SUM", (squares, self._add_integers("axes.features", 1)), f"{output}.sum", (batch, 1), keepDims=True
        )
        self._add("SQRT", (sums,), output, (batch, 1))

    def _lower_softmax(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        source = self._find(node.input[0])
        self._add("SOFTMAX", (source,), node.output[0], self._shape(source), beta=1.0)

    def _lower_root(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        source = self._find(node.input[0])
        self._add("SQRT", (source,), node.output[0], self._shape(source))

    def _lower_arithmetic(self, node: onnx.NodeProto, options: dict[str, Any]) -> None:
        sources = tuple(self._find(name) for name in node.input)
        shape: tuple[int, ...] = np.broadcast_shapes(*(self._shape(source) for source in sources))
        self._add(node.op_type.upper(), sources, node.output[0], shape)


def _refuse(what: str) -> ModelFileError:
    return ModelFileError(
        f"The network holds {what}, which the TensorFlow Lite writer does not know. It knows the networks of"
        " 'clownfish backbones'. Train with one of these, or use model.onnx itself: ONNX Runtime runs on phones, too."
    )
