"""`clownfish export --to torch`: the network for PyTorch, as a safetensors file that timm's `create_model` loads.

`model.onnx` holds each convolution with its batch normalisation folded in, w' = w g / s and b' = b - m g / s with
s = sqrt(v + epsilon). Here they come apart again, with the mean m and the variance v of the original weights, so that
the network can be trained further. The layer on top reads means and deviations of every stage, for which timm's
networks have no place. It is kept in the file's metadata, where it does not keep timm from loading the file.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from clownfish.errors import ModelFileError
from clownfish.files import compute_seal

_BLOCKS_PER_STAGE = {
    "efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
    "efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1),
    "efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1),
}
_EPSILON = 1e-3
_SMALL = 1e-6
_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
_HEAD = {"head.weight": "classifier.weight", "head.bias": "classifier.bias"}
"""Entries of the metadata, and what `model.onnx` calls them."""
_UNSEALED = "?" * 64


@dataclass(frozen=True, slots=True)
class _Layer:
    """A convolution with its batch normalisation, by its names."""

    onnx: str
    """In `model.onnx`."""
    convolution: str
    """In timm's networks."""
    norm: str
    original_convolution: str
    """In the files of the original weights."""
    original_norm: str


def build_torch(
    model: bytes, properties: Mapping[str, Any], backbone: str, original: Mapping[str, NDArray[Any]] | None
) -> bytes:
    """Write a safetensors file.

    Args:
        model: the content of `model.onnx`.
        properties: of the model; all go into the metadata, what is no text as JSON.
        backbone: name of the network.
        original: the pre-trained weights by their names; None where they are not installed, and then the normalisation
            stays folded in.

    Returns:
        The file's content: tensors with timm's names, float32 and, for timm's counters, int64.

    Raises:
        ModelFileError: the network is none of those that timm has.
    """
    weights = _read_weights(model)
    tensors: dict[str, NDArray[Any]] = {}
    for layer in _list_layers(backbone):
        try:
            kernel, bias = weights[f"{layer.onnx}.weight"], weights[f"{layer.onnx}.bias"]
        except KeyError as error:
            raise _refuse(backbone) from error
        unfolded = _unfold(kernel, bias, None if original is None else _find_original(original, layer))
        tensors[f"{layer.convolution}.weight"] = unfolded[0]
        tensors |= {f"{layer.norm}.{part}": values for part, values in zip(_NORM_PARTS, unfolded[1:], strict=True)}
        tensors[f"{layer.norm}.num_batches_tracked"] = np.array(0, np.int64)
    facts = {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in properties.items()}
    facts |= {name: base64.b64encode(weights[key].tobytes()).decode() for name, key in _HEAD.items()}
    return _format_safetensors(tensors, {**facts, "timm": f"tf_{backbone}", "format": "pt"})


def rebuild_onnx(model: bytes, data: bytes, backbone: str) -> bytes:
    """Put what a safetensors file holds into `model.onnx` in place of its own weights, to see whether it is the same.

    Args:
        model: the content of `model.onnx`.
        data: of `build_torch`.
        backbone: name of the network.

    Returns:
        The model with the weights, the labels and the preparation of photos of the file, sealed anew.
    """
    tensors, facts = _parse_safetensors(data)
    weights: dict[str, NDArray[Any]] = {}
    for layer in _list_layers(backbone):
        norm = [tensors[f"{layer.norm}.{part}"].astype(np.float64) for part in _NORM_PARTS]
        scale = norm[0] / np.sqrt(norm[3] + _EPSILON)
        weights[f"{layer.onnx}.weight"] = tensors[f"{layer.convolution}.weight"] * scale[:, None, None, None]
        weights[f"{layer.onnx}.bias"] = norm[1] - norm[2] * scale
    for name, key in _HEAD.items():
        weights[key] = np.frombuffer(base64.b64decode(facts[name]), "<f4")
    rebuilt = onnx.load_from_string(model)
    for tensor in rebuilt.graph.initializer:
        if tensor.name in weights:
            values = weights[tensor.name].reshape(tuple(tensor.dims)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    held = {entry.key: entry.value for entry in rebuilt.metadata_props}
    told = {name: facts[name] for name in held if name in facts}
    helper.set_model_props(rebuilt, {**held, **told, "seal": _UNSEALED})
    sealed: bytes = rebuilt.SerializeToString(deterministic=True)
    return sealed.replace(_UNSEALED.encode(), compute_seal(sealed, _UNSEALED, held["created"]).encode())


def _list_layers(backbone: str) -> Iterator[_Layer]:
    """All layers of a network, in timm's order."""
    if backbone not in _BLOCKS_PER_STAGE:
        raise _refuse(backbone)
    yield _Layer("stem", "conv_stem", "bn1", "_conv_stem", "_bn0")
    index = 0
    for stage, num_blocks in enumerate(_BLOCKS_PER_STAGE[backbone]):
        for position in range(num_blocks):
            ours, theirs, source = f"block{index}", f"blocks.{stage}.{position}", f"_blocks.{index}"
            names = (("depthwise", "conv_dw"), ("project", "conv_pw"))  # the first stage does not widen
            if stage:
                names = (("expand", "conv_pw"), ("depthwise", "conv_dw"), ("project", "conv_pwl"))  # type: ignore[assignment]
            for number, (name, convolution) in enumerate(names, start=1):
                original_norm = f"{source}._bn{number - (1 if stage else 0)}"
                yield _Layer(
                    f"{ours}.{name}",
                    f"{theirs}.{convolution}",
                    f"{theirs}.bn{number}",
                    f"{source}._{name}_conv",
                    original_norm,
                )
            index += 1
    yield _Layer("head", "conv_head", "bn2", "_conv_head", "_bn1")


def _find_original(original: Mapping[str, NDArray[Any]], layer: _Layer) -> list[NDArray[Any]]:
    norm = [original[f"{layer.original_norm}.{part}"] for part in _NORM_PARTS]
    return [original[f"{layer.original_convolution}.weight"], *norm]


def _unfold(
    kernel: NDArray[Any], bias: NDArray[Any], original: list[NDArray[Any]] | None
) -> tuple[NDArray[np.float32], ...]:
    """Take a convolution and its normalisation apart: kernel, weight g, bias b, mean m, variance v."""
    num_channels = len(bias)
    if original is None:
        ones = np.ones(num_channels, np.float32)
        return kernel, ones, bias, np.zeros(num_channels, np.float32), ones - np.float32(_EPSILON)
    own_kernel, gain, own_bias, mean, variance = (values.astype(np.float64) for values in original)
    deviation = np.sqrt(variance + _EPSILON)
    scale = gain / deviation
    folded = (own_kernel * scale[:, None, None, None]).astype(np.float32)
    if np.array_equal(folded, kernel) and np.array_equal((own_bias - mean * scale).astype(np.float32), bias):
        return tuple(original)  # not fine-tuned: exactly the original
    gain = np.where(np.abs(scale) > _SMALL, gain, deviation)  # a channel that was switched off has no way back
    scale = gain / deviation
    parts = (kernel / scale[:, None, None, None], gain, bias + mean * scale, mean, variance)
    return tuple(part.astype(np.float32) for part in parts)


def _read_weights(model: bytes) -> dict[str, NDArray[Any]]:
    graph = onnx.load_from_string(model).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _format_safetensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Eight bytes for the length of the header, the header as JSON, then the numbers, little-endian.

    Source:
        The safetensors format, https://github.com/huggingface/safetensors.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    pieces, start = [], 0
    for name, values in tensors.items():
        kind, stored = ("I64", "<i8") if values.dtype == np.int64 else ("F32", "<f4")
        piece = np.ascontiguousarray(values, stored).tobytes()
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [start, start + len(piece)]}
        pieces.append(piece)
        start += len(piece)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(pieces)


def _parse_safetensors(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    facts = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        kind = "<i8" if entry["dtype"] == "I64" else "<f4"
        tensors[name] = np.frombuffer(data[end + start : end + stop], kind).reshape(entry["shape"])
    return tensors, facts


def _refuse(backbone: str) -> ModelFileError:
    return ModelFileError(
        f"The network {backbone!r} is none that can be written for timm. Those are: {', '.join(_BLOCKS_PER_STAGE)}."
    )
