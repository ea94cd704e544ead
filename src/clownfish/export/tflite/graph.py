"""A network as TFLite has it: tensors by name, and operations in the order they run. Pictures are channels last."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantization:
    """A real number is scale * (integer - zero_point)."""

    scales: NDArray[np.float32]
    """Shape (1,), or one a channel."""
    zero_point: int = 0
    axis: int = 0
    """Where the channels are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """A constant, or a value that is computed."""

    shape: tuple[int, ...]
    """For a batch of one."""
    dtype: DTypeLike = np.float32
    data: NDArray[Any] | None = None
    """None for a value that is computed."""
    quantization: Quantization | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One step."""

    kind: str
    """TFLite's name of the operator, such as CONV_2D."""
    inputs: tuple[str, ...]
    """Names of tensors; "" for one that is left out."""
    output: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """By the names of TFLite's schema."""


@dataclass(slots=True)
class Graph:
    """A network while it is being made."""

    image: str
    """Name of the input."""
    outputs: tuple[str, ...]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)

    def add_constant(self, name: str, data: NDArray[Any], quantization: Quantization | None = None) -> str:
        """Add a constant.

        Args:
            name: of the tensor.
            data: its content.
            quantization: for integers that stand for real numbers.

        Returns:
            The name.
        """
        data = np.ascontiguousarray(data)
        self.tensors[name] = Tensor(shape=data.shape, dtype=data.dtype, data=data, quantization=quantization)
        return name

    def add_operation(self, kind: str, inputs: tuple[str, ...], output: str, tensor: Tensor, **options: Any) -> str:
        """Add a step at the end.

        Args:
            kind: TFLite's name of the operator.
            inputs: names of tensors.
            output: name of the result.
            tensor: what the result is.
            **options: by the names of TFLite's schema.

        Returns:
            The name of the result.
        """
        self.tensors[output] = tensor
        self.operations.append(Operation(kind=kind, inputs=inputs, output=output, options=options))
        return output
