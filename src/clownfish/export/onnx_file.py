"""`clownfish export --to onnx`: the same model with smaller weights, or with 8-bit integers inside."""

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from clownfish.export.rounding import Ranges, choose_steps, find_smallest_scales, round_weights
from clownfish.export.tflite.lowering import lower_model
from clownfish.export.tflite.quantization import find_integer_outputs
from clownfish.files import compute_seal

OnnxPrecision = Literal["float16", "int8"]
ONNX_PRECISIONS: tuple[OnnxPrecision, ...] = get_args(OnnxPrecision)
_UNSEALED = "?" * 64


def build_reduced_onnx(
    model: bytes, precision: OnnxPrecision, facts: Mapping[str, Any], *, ranges: Ranges | None = None
) -> bytes:
    """Make a smaller `model.onnx`.

    Args:
        model: the content of `model.onnx`.
        precision: float16 weights, made whole again when the file is loaded; or int8, 8-bit weights and activations.
        facts: further properties, each stored as JSON, such as "precision".
        ranges: for int8, of every tensor of `list_rounded_tensors`, from photos like those to come.

    Returns:
        The serialised model, sealed anew, with the inputs, outputs and properties of the original.
    """
    reduced = onnx.load_from_string(model)
    if precision == "int8":
        _Quantizer(reduced, find_integer_outputs(lower_model(model)), ranges or {}).run()
    _halve_weights(reduced)
    properties = {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}
    created = properties["created"]
    helper.set_model_props(
        reduced, {**properties, **{name: json.dumps(fact) for name, fact in facts.items()}, "seal": _UNSEALED}
    )
    data: bytes = reduced.SerializeToString(deterministic=True)
    return data.replace(_UNSEALED.encode(), compute_seal(data, _UNSEALED, created).encode())


def _halve_weights(whole: onnx.ModelProto) -> None:
    """Keep float weights in half precision; they are made whole again when the file is loaded. Biases stay."""
    limit = np.finfo(np.float16).max
    casts = []
    for tensor in whole.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2:  # biases stay
            continue
        name = tensor.name
        half = np.clip(values, -limit, limit).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=name, to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *whole.graph.node]
    del whole.graph.node[:]
    whole.graph.node.extend(nodes)


class _Quantizer:
    """Puts a pair of QuantizeLinear and DequantizeLinear behind every tensor that becomes integers.

    Runtimes join these pairs with the convolutions between them (the "QDQ" form). What is computed in
    integers is the same as in TensorFlow Lite files; all else reads what is made whole again.
    """

    def __init__(self, model: onnx.ModelProto, integer: set[str], ranges: Ranges) -> None:
        self._graph = model.graph
        self._integer = integer
        self._limited = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Clip"}
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._ranges = ranges
        self._scales: dict[str, float] = {}
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        for node in list(self._graph.node):
            result = self._limited.get(node.output[0], node.output[0])
            if node.op_type == "Conv" and result in self._integer:
                if node.input[0] not in self._scales:
                    self._add_pair(node.input[0])
                self._round_convolution(node)
            for position, name in enumerate(node.input):
                if name in self._scales:
                    node.input[position] = f"{name}.whole"
            self._nodes.append(node)
            if node.output[0] in self._integer:
                self._add_pair(node.output[0])
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _add_pair(self, name: str) -> None:
        scale, zero_point = choose_steps(*self._ranges[name], lowest=0)
        self._scales[name] = scale
        inputs = [
            self._add_weight(f"{name}.scale", np.array(scale, np.float32)),
            self._add_weight(f"{name}.zero_point", np.array(zero_point, np.uint8)),
        ]
        for kind, source, result in (
            ("QuantizeLinear", name, f"{name}.integers"),
            ("DequantizeLinear", f"{name}.integers", f"{name}.whole"),
        ):
            self._nodes.append(helper.make_node(kind, [source, *inputs], [result], name=result))

    def _round_convolution(self, node: onnx.NodeProto) -> None:
        input_scale = self._scales[node.input[0]]
        weights, bias = (numpy_helper.to_array(self._weights[name]) for name in node.input[1:])
        rounded, scales = round_weights(weights, 0, find_smallest_scales(bias, input_scale))
        steps = (input_scale * scales).astype(np.float32)
        for position, values, scale in ((1, rounded, scales), (2, np.rint(bias / steps).astype(np.int32), steps)):
            name = node.input[position]
            self._graph.initializer.remove(self._weights[name])
            # without a zero point, which is then 0
            inputs = [self._add_weight(f"{name}.integers", values), self._add_weight(f"{name}.scale", scale)]
            self._nodes.append(helper.make_node("DequantizeLinear", inputs, [name], name=name, axis=0))

    def _add_weight(self, name: str, values: NDArray[Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name
