"""`clownfish export --to tflite`: the whole way from `model.onnx` to a TensorFlow Lite file."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from clownfish.errors import MissingExtraError
from clownfish.export.rounding import Ranges
from clownfish.export.tflite.graph import Graph
from clownfish.export.tflite.lowering import lower_model
from clownfish.export.tflite.maps import find_map_sources
from clownfish.export.tflite.quantization import (
    halve_weights,
    quantize_activations,
    quantize_weights,
    shorten_weights,
)

Precision = Literal["float32", "float16", "dynamic", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
WEB_PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
"""Not "dynamic", for which a browser takes many times as long."""


def build_tflite(
    model: bytes,
    facts: Mapping[str, Any],
    precision: Precision,
    *,
    score_threshold: float | None = None,
    ranges: Ranges | None = None,
    for_web: bool = False,
) -> bytes:
    """Write a model as TensorFlow Lite, with its labels and all that clownfish knows inside.

    Args:
        model: the content of `model.onnx`.
        facts: its properties by name; "labels", "backbone" and "clownfish.version" are needed.
        precision: float32; float16 weights; "dynamic", 8-bit weights; or int8, 8-bit weights and activations.
        score_threshold: largest probability from which on a photo is answered; None to answer always.
        ranges: for int8, of every tensor of `list_rounded_tensors`, from photos like those to come.
        for_web: keep rounded float weights in full length, and give out what lies over space before the means of the
            features, too, as `find_map_sources` finds it.

    Returns:
        The file: "image" uint8 (1, size, size, 3) to "probabilities" and, where the model has it, "embedding", both
        float32.

    Raises:
        MissingExtraError: the extra is not installed.
        ModelFileError: the network holds something that the writer does not know.
    """
    check_extra()
    from clownfish.export.tflite.flatbuffer import serialise_graph
    from clownfish.export.tflite.metadata import append_files, make_standard_metadata

    graph = lower_model(model)
    standard = make_standard_metadata(
        facts["labels"],
        version=facts["clownfish.version"],
        licence=facts["backbone"]["licence"],
        score_threshold=score_threshold,
        outputs=graph.outputs,
    )
    graph = _reduce(graph, precision, ranges or {}, shorten_weights if for_web else halve_weights)
    if for_web:
        graph.outputs += tuple(source.name for source in find_map_sources(graph))
    return append_files(serialise_graph(graph, standard), facts["labels"], {**facts, "precision": precision})


def check_extra() -> None:
    """Find out early whether TensorFlow Lite files can be written and checked.

    Raises:
        MissingExtraError: the extra is not installed.
    """
    if not is_installed():
        raise MissingExtraError("TensorFlow Lite", "tflite")


def is_installed() -> bool:
    """Tell whether the extra is there."""
    try:
        import ai_edge_litert.interpreter  # noqa: F401
        import flatbuffers  # noqa: F401
    except ImportError:
        return False
    return True


def _reduce(graph: Graph, precision: Precision, ranges: Ranges, halve: Callable[[Graph], Graph]) -> Graph:
    if precision == "float32":
        return graph
    if precision == "dynamic":
        graph = quantize_weights(graph)
    if precision == "int8":
        graph = quantize_activations(graph, ranges)
    return halve(graph)
