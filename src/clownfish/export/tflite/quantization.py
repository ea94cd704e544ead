"""Smaller files: weights in half precision, weights as 8-bit integers, or weights and activations as 8-bit integers.

Integers follow TFLite's rules (Jacob et al. 2018, arXiv 1712.05877): weights symmetric, with one scale an output
channel; activations with one scale and a zero point, from the smallest and largest values seen; a bias has the scale
of its input times that of its weights. Only convolutions and the additions between them are done in integers, and not
the first few. The means and deviations over space, the layer on top and the embedding stay in floats.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.export.rounding import Ranges, choose_steps, find_smallest_scales, round_weights
from clownfish.export.tflite.graph import Graph, Operation, Quantization, Tensor

_FIRST_INTEGER_REDUCTION = 8
"""Integers begin where the picture has shrunk to an eighth of its side."""
_CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}


def halve_weights(graph: Graph) -> Graph:
    """Keep float weights in half precision; they are made whole again when the file is loaded. Biases stay.

    Args:
        graph: the network.

    Returns:
        The same network with smaller constants.
    """
    halved = Graph(image=graph.image, outputs=graph.outputs)
    for name, tensor in graph.tensors.items():
        if tensor.data is None or tensor.data.dtype != np.float32 or tensor.data.ndim < 2:
            halved.tensors[name] = tensor
            continue
        half = shorten_numbers(tensor.data).astype(np.float16)
        source = halved.add_constant(f"{name}.half", half)
        halved.add_operation("DEQUANTIZE", (source,), name, replace(tensor, data=None))
    halved.operations += graph.operations
    return halved


def shorten_weights(graph: Graph) -> Graph:
    """Round float weights to half precision, but keep them as they are computed with. Biases stay.

    For web pages: there, making weights whole again would be done anew for every photo, and the file is packed anyway.

    Args:
        graph: the network.

    Returns:
        The same network with constants that can be packed to half of their size.
    """
    tensors = {
        name: replace(tensor, data=shorten_numbers(tensor.data))
        if tensor.data is not None and tensor.data.dtype == np.float32 and tensor.data.ndim >= 2
        else tensor
        for name, tensor in graph.tensors.items()
    }
    return Graph(graph.image, graph.outputs, tensors, list(graph.operations))


def shorten_numbers(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to half precision.

    Args:
        values: any shape.

    Returns:
        Floats of full length.
    """
    limit = np.finfo(np.float16).max
    return np.clip(values, -limit, limit).astype(np.float16).astype(np.float32)


def quantize_weights(graph: Graph) -> Graph:
    """Keep the weights of convolutions as integers, and compute them on activations that are rounded while running.

    Args:
        graph: the network.

    Returns:
        The same network with smaller weights.
    """
    quantized = Graph(graph.image, graph.outputs, dict(graph.tensors), list(graph.operations))
    integer = find_integer_outputs(graph)
    for operation in graph.operations:
        if operation.kind in _CHANNEL_AXIS and operation.output in integer:
            _round_weights(quantized, operation)
    return quantized


def quantize_activations(graph: Graph, ranges: Ranges) -> Graph:
    """Compute convolutions and the additions between them in integers.

    Args:
        graph: the network in floats.
        ranges: of every tensor of `list_rounded_tensors`, from photos like those to come.

    Returns:
        The network; its input is still uint8 and its outputs are still floats.
    """
    return _Quantizer(graph, ranges).run()


def find_integer_outputs(graph: Graph) -> set[str]:
    """Find what is computed in integers: convolutions, and the additions between them, but the first few.

    Where pictures are still large there are few weights, and what is rounded there disturbs everything behind it.

    Args:
        graph: the network.

    Returns:
        Names of results.
    """
    largest = -(-graph.tensors[graph.image].shape[1] // _FIRST_INTEGER_REDUCTION)
    found: set[str] = set()
    for operation in graph.operations:
        is_small = operation.kind in _CHANNEL_AXIS and graph.tensors[operation.output].shape[1] <= largest
        if is_small or (operation.kind == "ADD" and found.issuperset(operation.inputs)):
            found.add(operation.output)
    return found


def list_rounded_tensors(graph: Graph) -> list[str]:
    """List the tensors whose ranges `quantize_activations` needs.

    Args:
        graph: the network.

    Returns:
        Names, in the order of the network.
    """
    integer = find_integer_outputs(graph)
    read = {
        name
        for operation in graph.operations
        if operation.output in integer
        for name in operation.inputs
        if graph.tensors[name].data is None
    }
    return [operation.output for operation in graph.operations if operation.output in integer | read]


class _Quantizer:
    def __init__(self, graph: Graph, ranges: Ranges) -> None:
        self._source = graph
        self._ranges = ranges
        known = {name: tensor for name, tensor in graph.tensors.items() if tensor.data is not None}
        self.graph = Graph(graph.image, graph.outputs, {graph.image: graph.tensors[graph.image], **known})

    def run(self) -> Graph:
        integer = find_integer_outputs(self._source)
        for operation in self._source.operations:
            if operation.output in integer:
                self._add_integer_operation(operation)
            else:
                inputs = tuple(self._find_float(name) for name in operation.inputs)
                self.graph.tensors[operation.output] = self._source.tensors[operation.output]
                self.graph.operations.append(replace(operation, inputs=inputs))
        return self.graph

    def _add_integer_operation(self, operation: Operation) -> None:
        if operation.kind in _CHANNEL_AXIS:
            inputs: tuple[str, ...] = (self._find_integer(operation.inputs[0]), *operation.inputs[1:])
            bias = _get_data(self.graph, inputs[2])
            of_input = _get_quantization(self.graph, inputs[0]).scales
            steps = of_input * _round_weights(self.graph, operation, find_smallest_scales(bias, of_input.item()))
            self.graph.add_constant(inputs[2], np.rint(bias / steps).astype(np.int32), Quantization(scales=steps))
        else:
            inputs = tuple(self._find_integer(name) for name in operation.inputs)
        self.graph.tensors[operation.output] = self._round(operation.output)
        self.graph.operations.append(replace(operation, inputs=inputs))

    def _round(self, name: str) -> Tensor:
        scale, zero_point = choose_steps(*self._ranges[name], lowest=-128)
        quantization = Quantization(scales=np.array([scale], np.float32), zero_point=zero_point)
        return replace(self._source.tensors[name], dtype=np.int8, quantization=quantization)

    def _find_integer(self, name: str) -> str:
        if self.graph.tensors[name].dtype == np.int8:
            return name
        rounded = f"{name}.integers"
        if rounded not in self.graph.tensors:
            self.graph.add_operation("QUANTIZE", (name,), rounded, self._round(name))
        return rounded

    def _find_float(self, name: str) -> str:
        if not name or self.graph.tensors[name].dtype != np.int8:
            return name
        whole = f"{name}.float"
        if whole not in self.graph.tensors:
            self.graph.add_operation("DEQUANTIZE", (name,), whole, self._source.tensors[name])
        return whole


def _round_weights(
    graph: Graph, operation: Operation, smallest_scales: NDArray[np.float32] | float = 0.0
) -> NDArray[np.float32]:
    """Replace the weights of a convolution by integers; returns one scale a channel."""
    name, axis = operation.inputs[1], _CHANNEL_AXIS[operation.kind]
    rounded, scales = round_weights(_get_data(graph, name), axis, smallest_scales)
    graph.add_constant(name, rounded, Quantization(scales=scales, axis=axis))
    return scales


def _get_data(graph: Graph, name: str) -> NDArray[Any]:
    data = graph.tensors[name].data
    assert data is not None
    return data


def _get_quantization(graph: Graph, name: str) -> Quantization:
    quantization = graph.tensors[name].quantization
    assert quantization is not None
    return quantization
