"""Smaller files: weights in half precision, weights as 8-bit integers, or weights and activations as 8-bit integers.

Integers follow TFLite's rules (Jacob et al. 2018, arXiv 1712.05877): weights symmetric, with one scale an output
channel; activations with one scale and a zero point, from the smallest and largest values seen; a bias has the scale
of its input times that of its weights. Only the convolutions and the additions between them are done in integers. The
means and deviations over space, the layer on top and the embedding stay in floats.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import ModelFileError
from clownfish.export.rounding import Ranges, choose_steps, find_smallest_scales, round_weights
from clownfish.export.tflite.graph import Graph, Operation, Quantization, Tensor

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
        limit = np.finfo(np.float16).max
        half = np.clip(tensor.data, -limit, limit).astype(np.float16)
        source = halved.add_constant(f"{name}.half", half)
        halved.add_operation("DEQUANTIZE", (source,), name, replace(tensor, data=None))
    halved.operations += graph.operations
    return halved


def quantize_weights(graph: Graph) -> Graph:
    """Keep the weights of convolutions as integers, and compute them on activations that are rounded while running.

    Args:
        graph: the network.

    Returns:
        The same network with smaller weights.
    """
    quantized = Graph(graph.image, graph.outputs, dict(graph.tensors), list(graph.operations))
    for operation in graph.operations:
        if operation.kind in _CHANNEL_AXIS:
            _round_weights(quantized, operation)
    return quantized


def quantize_activations(graph: Graph, ranges: Ranges) -> Graph:
    """Compute convolutions and the additions between them in integers.

    Args:
        graph: the network in floats.
        ranges: of the output of every convolution and addition, from photos like those to come.

    Returns:
        The network; its input is still uint8 and its outputs are still floats.

    Raises:
        ModelFileError: the pictures are not brought to floats by one factor and one offset.
    """
    return _Quantizer(graph, ranges).run()


class _Quantizer:
    def __init__(self, graph: Graph, ranges: Ranges) -> None:
        self._source = graph
        self._ranges = ranges
        constants = {name: tensor for name, tensor in graph.tensors.items() if tensor.data is not None}
        self.graph = Graph(image=graph.image, outputs=graph.outputs, tensors=constants)

    def run(self) -> Graph:
        shift = self._add_image()
        operations = self._source.operations[3:]
        self._shift_bias(operations[0], shift)
        for operation in operations:
            if _is_integer(operation, self._source):
                self._add_integer_operation(operation)
            else:
                inputs = tuple(self._find_float(name) for name in operation.inputs)
                self.graph.tensors[operation.output] = self._source.tensors[operation.output]
                self.graph.operations.append(replace(operation, inputs=inputs))
        used = {name for operation in self.graph.operations for name in (*operation.inputs, operation.output)}
        self.graph.tensors = {name: tensor for name, tensor in self.graph.tensors.items() if name in used}
        return self.graph

    def _add_image(self) -> float:
        """Read the bytes of the picture as the normalised values; returns what each of them lacks.

        The normalisation is scale * byte - offset, so that its zero lies between two bytes; the zero point is the
        upper one.
        """
        first = self._source.operations[:3]
        if [operation.kind for operation in first] != ["CAST", "MUL", "SUB"]:
            raise ModelFileError("The network does not begin as clownfish writes it, so it cannot be made of integers.")
        scale, offset = (_get_data(self._source, operation.inputs[1]).item() for operation in first[1:])
        zero_point = int(np.ceil(offset / scale - 1e-3))
        image = self._source.tensors[self._source.image]
        scales = np.array([scale], np.float32)
        self.graph.tensors[self._source.image] = replace(
            image, quantization=Quantization(scales=scales, zero_point=zero_point)
        )
        signed = Tensor(
            shape=image.shape, dtype=np.int8, quantization=Quantization(scales=scales, zero_point=zero_point - 128)
        )
        self.graph.add_operation("QUANTIZE", (self._source.image,), first[2].output, signed)
        return float(zero_point * scale - offset)

    def _shift_bias(self, stem: Operation, shift: float) -> None:
        """Add to the first bias what its picture lacks (away from the border, where less of it is seen)."""
        weights, bias = (_get_data(self.graph, name) for name in stem.inputs[1:])
        self.graph.add_constant(stem.inputs[2], (bias + shift * weights.sum(axis=(1, 2, 3))).astype(np.float32))

    def _add_integer_operation(self, operation: Operation) -> None:
        if operation.kind in _CHANNEL_AXIS:
            bias = _get_data(self.graph, operation.inputs[2])
            of_input = _get_quantization(self.graph, operation.inputs[0]).scales
            steps = of_input * _round_weights(self.graph, operation, find_smallest_scales(bias, of_input.item()))
            self.graph.add_constant(
                operation.inputs[2], np.rint(bias / steps).astype(np.int32), Quantization(scales=steps)
            )
        scale, zero_point = choose_steps(*self._ranges[operation.output], lowest=-128)
        quantization = Quantization(scales=np.array([scale], np.float32), zero_point=zero_point)
        source = self._source.tensors[operation.output]
        self.graph.tensors[operation.output] = replace(source, dtype=np.int8, quantization=quantization)
        self.graph.operations.append(operation)

    def _find_float(self, name: str) -> str:
        if not name or self.graph.tensors[name].dtype != np.int8:
            return name
        whole = f"{name}.float"
        if whole not in self.graph.tensors:
            self.graph.add_operation("DEQUANTIZE", (name,), whole, self._source.tensors[name])
        return whole


def _is_integer(operation: Operation, graph: Graph) -> bool:
    """Convolutions, and the additions of two pictures."""
    return operation.kind in _CHANNEL_AXIS or (
        operation.kind == "ADD" and all(len(graph.tensors[name].shape) == 4 for name in operation.inputs)
    )


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
