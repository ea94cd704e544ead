"""Where in the network the features still have places: what a map of the places that speak for a class is made of."""

from dataclasses import dataclass

from clownfish.export.tflite.graph import Graph, Operation

FEATURES = "features"
"""Name of the tensor with all features of a photo."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MapSource:
    """A tensor whose mean over space is a part of the features."""

    name: str
    start: int
    """Where the part begins among the features."""
    num_channels: int
    side: int
    """Places along each side."""


def find_map_sources(graph: Graph) -> list[MapSource]:
    """Find the tensors whose means over space are features.

    Args:
        graph: the network, of any precision.

    Returns:
        In the order of the features; none if the features are not made in this way.
    """
    makers = {operation.output: operation for operation in graph.operations}
    if FEATURES not in makers:
        return []
    joined = makers[FEATURES]
    parts = joined.inputs if joined.kind == "CONCATENATION" else (FEATURES,)
    sources, start = [], 0
    for part in parts:
        width = graph.tensors[part].shape[1]
        name = _find_source(part, makers)
        if name:
            side = graph.tensors[name].shape[1]
            sources.append(MapSource(name=name, start=start, num_channels=width, side=side))
        start += width
    return sources


def _find_source(part: str, makers: dict[str, Operation]) -> str:
    """The other parts are deviations, which belong to no place."""
    for kind in ("RESHAPE", "MEAN"):
        if part not in makers or makers[part].kind != kind:
            return ""
        part = makers[part].inputs[0]
    return part
