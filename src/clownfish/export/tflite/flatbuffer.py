"""From tensors and operations to the bytes of a TFLite file."""

import hashlib
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from clownfish.export.tflite.graph import Graph, Operation, Tensor

METADATA_NAME = b"TFLITE_METADATA"
_SCHEMA_VERSION = 3
_ALIGNMENT = 16
_OPTIONS = {
    "ADD": "AddOptions",
    "CAST": "CastOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "QUANTIZE": "QuantizeOptions",
    "RESHAPE": "ReshapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
}
"""Operators without an entry have no options."""
_VERSIONS = {
    ("ADD", "int8"): 2,
    ("CONV_2D", "int8"): 3,
    ("DEPTHWISE_CONV_2D", "int8"): 3,
    ("DEQUANTIZE", "float16"): 3,
    ("DEQUANTIZE", "int8"): 2,
    ("QUANTIZE", "uint8"): 2,
}
"""By operator and type of its first input; version 1 where there is no entry."""
_HYBRID_VERSIONS = {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 6}
"""Float input, integer weights with one scale a channel."""
_TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32", "int8": "INT8", "uint8": "UINT8"}


class _Builder(flatbuffers.Builder):  # type: ignore[misc]  # the package has no types
    """Puts arrays where the format asks for them, which the Python package does not, and equal ones only once.

    Zero points of 8 bytes a channel, nearly all the same, would be a tenth of a small file.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._known: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802 (flatbuffers' own name)
        key = (x.dtype.str, hashlib.sha256(x.tobytes()).digest())
        if key not in self._known:
            self.Prep(_ALIGNMENT, x.nbytes)
            self._known[key] = super().CreateNumpyVector(x)
        return self._known[key]


def serialise_graph(graph: Graph, metadata: bytes) -> bytes:
    """Write the file.

    Args:
        graph: the network.
        metadata: the content of the buffer TFLITE_METADATA.

    Returns:
        The flatbuffer, with the weights inside.
    """
    model = schema.ModelT()
    model.version = _SCHEMA_VERSION
    model.description = b"clownfish"
    model.buffers = [schema.BufferT()]  # number 0 stands for "no content"
    numbers = {name: number for number, name in enumerate(graph.tensors)}
    codes: dict[tuple[str, int], int] = {}
    subgraph = schema.SubGraphT()
    subgraph.name = b"main"
    subgraph.tensors = [_make_tensor(name, tensor, model) for name, tensor in graph.tensors.items()]
    subgraph.inputs = [numbers[graph.image]]
    subgraph.outputs = [numbers[name] for name in graph.outputs]
    subgraph.operators = [_make_operator(operation, graph, numbers, codes) for operation in graph.operations]
    model.subgraphs = [subgraph]
    model.operatorCodes = [_make_code(kind, version) for kind, version in codes]
    model.signatureDefs = [_make_signature(graph, numbers)]
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, _add_buffer(model, np.frombuffer(metadata, np.uint8))
    model.metadata = [entry]
    size = sum(tensor.data.nbytes for tensor in graph.tensors.values() if tensor.data is not None)
    builder = _Builder(size + len(metadata) + (1 << 18))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _add_buffer(model: Any, data: NDArray[Any]) -> int:
    buffer = schema.BufferT()
    buffer.data = data.reshape(-1).view(np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _make_tensor(name: str, tensor: Tensor, model: Any) -> Any:
    made = schema.TensorT()
    made.name = name.encode()
    made.shape = np.array(tensor.shape, np.int32)
    made.type = getattr(schema.TensorType, _TYPES[np.dtype(tensor.dtype).name])
    made.buffer = 0 if tensor.data is None else _add_buffer(model, tensor.data)
    if tensor.quantization is not None:
        scales = tensor.quantization.scales
        parameters = schema.QuantizationParametersT()
        parameters.scale = scales.astype(np.float32)
        parameters.zeroPoint = np.full(len(scales), tensor.quantization.zero_point, np.int64)
        parameters.quantizedDimension = tensor.quantization.axis
        made.quantization = parameters
    return made


def _make_operator(
    operation: Operation, graph: Graph, numbers: dict[str, int], codes: dict[tuple[str, int], int]
) -> Any:
    first, *others = (np.dtype(graph.tensors[name].dtype).name for name in operation.inputs if name)
    version = _VERSIONS.get((operation.kind, first), 1)
    if first == "float32" and others[:1] == ["int8"]:
        version = _HYBRID_VERSIONS[operation.kind]
    made = schema.OperatorT()
    made.opcodeIndex = codes.setdefault((operation.kind, version), len(codes))
    made.inputs = [numbers[name] if name else -1 for name in operation.inputs]
    made.outputs = [numbers[operation.output]]
    kind = _OPTIONS.get(operation.kind)
    if kind is not None:
        made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        made.builtinOptions = getattr(schema, f"{kind}T")()
        for name, value in operation.options.items():
            setattr(made.builtinOptions, name, value)
    return made


def _make_code(kind: str, version: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode = code.builtinCode  # what runtimes before 2020 read; ours are all below 127
    code.version = version
    return code


def _make_signature(graph: Graph, numbers: dict[str, int]) -> Any:
    def name_tensor(name: str) -> Any:
        named = schema.TensorMapT()
        named.name, named.tensorIndex = name.encode(), numbers[name]
        return named

    signature = schema.SignatureDefT()
    signature.signatureKey = b"serving_default"
    signature.inputs = [name_tensor(graph.image)]
    signature.outputs = [name_tensor(name) for name in graph.outputs]
    return signature
