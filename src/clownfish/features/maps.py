"""Where in a photo the features that speak for a class come from.

The head is linear in the mean over space of each channel, of the last layer and of every stage. So the part of a score
that comes from these means is a sum over places, and the map of its terms is exact (class activation maps; Zhou et al.
2016, Learning deep features for discriminative localization, CVPR, equation 2, here for all stages at once). The other
part comes from the standard deviation of each channel over space, which belongs to no place; and from the last layer of
networks that make it in another way than by a mean.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clownfish.compute import Helpers, Message, WorkerFailure, run_in_workers
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import make_session
from clownfish.images import Preprocessing, decode_file
from clownfish.records import Backbone, Photo, PhotoMap

if TYPE_CHECKING:
    import onnxruntime

_SIDE = 28
"""Places along each side of a map."""


def make_maps(
    photos: Sequence[Photo],
    directions: NDArray[np.float64],
    mean_features: NDArray[np.float64],
    backbone: Backbone,
    preprocessing: Preprocessing,
    cache: FeatureCache,
    *,
    helpers: Helpers | None = None,
) -> list[PhotoMap | None]:
    """Find out where in photos a score comes from.

    Args:
        photos: which ones.
        directions: for each photo, the weights of the score, such as those of one class minus those of another: shape
            (num_photos, num_features).
        mean_features: what a photo is compared with, shape (num_features,).
        backbone: the network.
        preprocessing: how photos become the network's input.
        cache: where what the network saw is kept between runs.
        helpers: helper processes that are there already.

    Returns:
        One map a photo; None for a photo that cannot be read any more.
    """
    session, sources = _make_map_session(backbone)
    of_means = list(sources)
    maps: list[PhotoMap | None] = []
    for pixels, direction in zip(_load_inputs(photos, preprocessing, cache, helpers), directions, strict=True):
        if pixels is None:
            maps.append(None)
            continue
        found = session.run(["features", *sources.values()], {"image": pixels[None]})
        maps.append(_add_parts(pixels, found[0][0], found[1:], direction, mean_features, backbone.parts, of_means))
    return maps


def _load_inputs(
    photos: Sequence[Photo], preprocessing: Preprocessing, cache: FeatureCache, helpers: Helpers | None
) -> list[NDArray[np.uint8] | None]:
    """What the network saw of each photo: from the cache, else decoded again; None if that fails."""
    key = preprocessing.make_key()
    inputs = [cache.get_input(photo.content_hash, key) for photo in photos]
    missing = [position for position, pixels in enumerate(inputs) if pixels is None]

    def finish(_: Message, answer: Message | WorkerFailure) -> NDArray[np.uint8] | None:
        return None if isinstance(answer, WorkerFailure) else answer.get("pixels")

    shape = {"size": preprocessing.size, "resize": preprocessing.resize}
    requests = [{"path": photos[position].path, **shape} for position in missing]
    function = "clownfish.features.maps:decode_reply"
    with closing(run_in_workers(requests, function=function, finish=finish, helpers=helpers)) as outcomes:
        for outcome in outcomes:
            position = missing[outcome.index]
            inputs[position] = outcome.result
            if outcome.result is not None:
                cache.put_input(photos[position].content_hash, key, outcome.result)
    cache.flush()
    return inputs


def decode_reply(request: Message) -> Message:
    """Decode one photo; runs in a helper process.

    Args:
        request: "path", "size" and "resize".

    Returns:
        "pixels", the network's input; nothing if the photo cannot be read.
    """
    preprocessing = Preprocessing(size=request["size"], resize=request["resize"])
    decoded = decode_file(Path(request["path"]), preprocessing)
    return {"pixels": decoded["pixels"]} if "pixels" in decoded else {}


def _make_map_session(backbone: Backbone) -> tuple["onnxruntime.InferenceSession", dict[int, str]]:
    """The network with the maps before each mean as further outputs, and their names by the number of the part."""
    import onnx

    model = onnx.load_from_string(backbone.onnx)
    makers = {node.output[0]: node for node in model.graph.node}
    sources = {}
    for number, part in enumerate(makers["features"].input):
        pooled = makers.get(makers[part].input[0])
        # else it is a standard deviation, or a last layer that is no mean, as those of transformers
        if makers[part].op_type == "Flatten" and pooled is not None and pooled.op_type == "GlobalAveragePool":
            sources[number] = pooled.input[0]
    model.graph.output.extend([onnx.ValueInfoProto(name=name) for name in dict.fromkeys(sources.values())])
    return make_session(model.SerializeToString()), sources


def _add_parts(
    pixels: NDArray[np.uint8],
    features: NDArray[np.float32],
    maps: Sequence[NDArray[np.float32]],
    direction: NDArray[np.float64],
    mean_features: NDArray[np.float64],
    parts: Sequence[int],
    of_means: Sequence[int],
) -> PhotoMap:
    """Add up sum over channels of weight times (value - mean), place by place, for the parts that are means."""
    terms = direction * (features - mean_features)
    ends = np.cumsum(parts)
    starts = [int(end) - size for end, size in zip(ends, parts, strict=True)]
    total, placed = np.zeros((_SIDE, _SIDE)), 0.0
    for part, values in zip(of_means, maps, strict=True):
        rows = slice(starts[part], starts[part] + parts[part])
        weights = direction[rows]
        plane = np.tensordot(weights, values[0].astype(np.float64), axes=1) - weights @ mean_features[rows]
        kind = Image.Resampling.BOX if len(plane) > _SIDE else Image.Resampling.BILINEAR
        scaled = np.asarray(Image.fromarray(plane.astype(np.float32)).resize((_SIDE, _SIDE), kind), np.float64)
        total += scaled + (plane.mean() - scaled.mean())  # smoothing must not change the sum
        placed += float(terms[rows].sum())
    return PhotoMap(pixels=pixels, values=total, placed=placed, unplaced=float(terms.sum()) - placed)
