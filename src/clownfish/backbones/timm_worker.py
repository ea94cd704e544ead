"""Models of timm to ONNX graphs, and their weights for fine-tuning; needs PyTorch, so it runs in a helper process.

The graph has the form of the bundled ones: "image" uint8 in, "features" out, each mean over space by a node of its own,
so that whatever reads graphs (the maps of the report, the file of the model) need not know where they come from.
"""

import json
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import timm
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from clownfish.compute.worker import Message
from clownfish.errors import BackboneError
from clownfish.torch_networks.timm_network import (
    WEIGHT_PREFIX,
    SeenNetwork,
    check_name,
    create_network,
    load_weights,
)

MAX_DIFFERENCE = 1e-4
"""Between PyTorch and ONNX Runtime, relative to the largest feature of its part."""
_OPSET = 17
_NUM_PICTURES = 2
_MAX_BYTES = 1_900_000_000
"""An ONNX file cannot be larger than 2 GB."""
_NAME_OF_MEAN = "{}.mean4d"


def handle_request(request: Message) -> Message:
    """Do what is asked; runs in a helper process.

    Args:
        request: "task", one of `_TASKS`, and its arguments.

    Returns:
        The answer; "refused" with a sentence for the user, or "fault" with a traceback.
    """
    warnings.simplefilter("ignore")
    try:
        return _TASKS[request["task"]](request)
    except BackboneError as error:
        return {"refused": str(error)}
    except Exception:  # noqa: BLE001 (the traceback goes to the process that asked)
        return {"fault": traceback.format_exc()}


def _search(request: Message) -> Message:
    """Names with published weights that hold the text, whatever its case."""
    text = request["text"].lower()
    found = [name for name in timm.list_models(pretrained=True) if text in name.lower()]
    return {"models": [_describe_name(name) for name in found], "timm": timm.__version__}


def _describe(request: Message) -> Message:
    check_name(request["name"])
    return _describe_name(request["name"])


def _describe_name(name: str) -> Message:
    config = timm.get_pretrained_cfg(name)
    facts = {} if config is None else config.to_dict()
    return {
        "name": name,
        "input_size": list(facts.get("input_size") or ()),
        "licence": facts.get("license") or "",
        "hub": facts.get("hf_hub_id") or "",
        "hub_file": facts.get("hf_hub_filename") or "",
        "url": facts.get("url") or "",
    }


def _read(request: Message) -> Message:
    """The weights that a model starts from, by name; counters and indices too."""
    network = create_network(request["name"])
    load_weights(network, Path(request["weights"]))
    return {WEIGHT_PREFIX + name: tensor.numpy() for name, tensor in network.state_dict().items()}


def _convert(request: Message) -> Message:
    """The graph of a model with the weights of a file, or with those that fine-tuning has come to."""
    name, feature_set = request["name"], request["feature_set"]
    timm.layers.set_fused_attn(False)  # plain matrix products, which every version of ONNX has
    network = create_network(name)
    if "weights" in request:
        load_weights(network, Path(request["weights"]))
    else:
        tuned = {key: torch.from_numpy(own.copy()) for key, own in request.items() if key.startswith(WEIGHT_PREFIX)}
        network.load_state_dict({key.removeprefix(WEIGHT_PREFIX): own for key, own in tuned.items()})
    if 4 * sum(tensor.numel() for tensor in network.state_dict().values()) > _MAX_BYTES:
        raise BackboneError(
            f"The network timm:{name} has more than {_MAX_BYTES / 1e9:g} GB, too much for ONNX. Choose a smaller one."
        )
    seen = SeenNetwork(network, feature_set).eval()
    pictures = _make_pictures(seen.input_size)
    with torch.inference_mode():
        seen.examine(torch.from_numpy(pictures))
        expected = seen.compute_features(torch.from_numpy(pictures)).numpy()
    graph = _finish_graph(_export(seen, pictures), seen)
    difference = _compare(graph, pictures, expected, seen.parts)
    if not difference <= MAX_DIFFERENCE:
        raise BackboneError(
            f"The ONNX graph of timm:{name} differs from PyTorch by {difference:.2g} of its features' size, more than"
            f" the {MAX_DIFFERENCE:g} allowed, so it is not used. Choose another network, or --feature-set last_layer."
        )
    facts = {
        "parts": list(seen.parts),
        "input_size": seen.input_size,
        "num_parameters": _count_parameters(graph),
        "licence": _describe_name(name)["licence"],
        "difference": difference,
        "timm": timm.__version__,
        "torch": torch.__version__,
    }
    return {"facts": json.loads(json.dumps(facts)), "graph": np.frombuffer(graph.SerializeToString(), np.uint8)}


_TASKS: dict[str, Callable[[Message], Message]] = {
    "search": _search,
    "describe": _describe,
    "read": _read,
    "convert": _convert,
}


def _export(seen: SeenNetwork, pictures: NDArray[np.uint8]) -> onnx.ModelProto:
    names = ["last", *(f"stage{number}" for number in range(1, len(seen.stages) + 1))]
    with tempfile.TemporaryDirectory(prefix="clownfish-") as folder:
        path = Path(folder) / "graph.onnx"
        try:
            with torch.inference_mode():
                torch.onnx.export(
                    seen,
                    (torch.from_numpy(pictures),),
                    str(path),
                    input_names=["image"],
                    output_names=names,
                    opset_version=_OPSET,
                    dynamic_axes={name: {0: "batch"} for name in ("image", *names)},
                    dynamo=False,  # the other exporter needs a further package, and writes other graphs each version
                )
        except Exception as error:  # operations that ONNX lacks raise many things
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BackboneError(
                f"PyTorch cannot write {seen.name} as an ONNX graph: {reason} Choose another network."
            ) from error
        return onnx.load(path)


def _finish_graph(model: onnx.ModelProto, seen: SeenNetwork) -> onnx.ModelProto:
    """Add means and deviations, with the nodes and names of the bundled networks."""
    graph, parts = model.graph, []

    def add(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    parts.append("last")
    if seen.is_mean:
        parts = [add("Flatten", [add("GlobalAveragePool", ["last"], _NAME_OF_MEAN.format("last_layer"))], "last_layer")]
    for number in range(1, len(seen.stages) + 1):
        name = f"stage{number}"
        mean = add("GlobalAveragePool", [name], _NAME_OF_MEAN.format(name))
        difference = add("Sub", [name, mean], f"{name}.difference")
        square = add("Mul", [difference, difference], f"{name}.square")
        deviation = add("Sqrt", [add("GlobalAveragePool", [square], f"{name}.variance4d")], f"{name}.deviation4d")
        parts += [add("Flatten", [mean], f"{name}.mean"), add("Flatten", [deviation], f"{name}.deviation")]
    add("Concat", parts, "features", axis=1)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", sum(seen.parts)]))
    del graph.value_info[:]
    for node in graph.node:
        node.doc_string = ""  # may name files of this computer
    graph.name, model.producer_name, model.doc_string = "timm", "clownfish", ""
    onnx.checker.check_model(model)
    return model


def _compare(
    model: onnx.ModelProto, pictures: NDArray[np.uint8], expected: NDArray[np.float32], parts: tuple[int, ...]
) -> float:
    """Largest difference of a feature, over the largest of its stage; one picture at a time, as it will be.

    Mean and deviation of a stage count together: where a channel hardly varies, its deviation is rounding.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run(["features"], {"image": picture[None]})[0] for picture in pictures])
    if not np.isfinite(found).all():
        return float("inf")
    ends = np.cumsum([parts[0], *(mean + deviation for mean, deviation in zip(parts[1::2], parts[2::2], strict=True))])
    ends = ends[:-1]
    return max(
        float(np.abs(own - wanted).max() / max(np.abs(wanted).max(), 1e-12))
        for own, wanted in zip(np.split(found, ends, axis=1), np.split(expected, ends, axis=1), strict=True)
    )


def _count_parameters(model: onnx.ModelProto) -> int:
    """Weights and biases; single numbers and the mean and deviation of the pixels are none."""
    sizes = [int(np.prod(one.dims)) for one in model.graph.initializer if one.data_type == TensorProto.FLOAT]
    return sum(size for size in sizes if size > 3)


def _make_pictures(size: int) -> NDArray[np.uint8]:
    """Noise, coarse and fine, always the same; shape (num_pictures, size, size, 3)."""
    random = np.random.default_rng(0)
    pictures = []
    for number in range(_NUM_PICTURES):
        coarse = random.integers(0, 256, (8 << 2 * number, 8 << 2 * number, 3), dtype=np.uint8)
        repeat = -(-size // len(coarse))
        pictures.append(np.kron(coarse, np.ones((repeat, repeat, 1), np.uint8))[:size, :size])
    return np.stack(pictures)
