"""Models of timm to ONNX graphs; the only code here that needs PyTorch, run in a helper process.

The graph has the form of the bundled ones: "image" uint8 in, "features" out, each mean over space by a node of its own,
so that whatever reads graphs (the maps of the report, the file of the model) need not know where they come from.
"""

import difflib
import json
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping
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

MAX_DIFFERENCE = 1e-4
"""Between PyTorch and ONNX Runtime, relative to the largest feature of its part."""
_OPSET = 17
_MAX_STAGES = 6
"""A network that tells more (one a block, as transformers do) is asked for the ends of its four quarters."""
_NUM_PICTURES = 2
_MAX_BYTES = 1_900_000_000
"""An ONNX file cannot be larger than 2 GB."""
_NAME_OF_MEAN = "{}.mean4d"


def handle_request(request: Message) -> Message:
    """Do what is asked; runs in a helper process.

    Args:
        request: "task", one of "search", "describe" and "convert", and its arguments.

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
    _check_name(request["name"])
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


def _convert(request: Message) -> Message:
    name, feature_set = request["name"], request["feature_set"]
    _check_name(name)
    timm.layers.set_fused_attn(False)  # plain matrix products, which every version of ONNX has
    network = timm.create_model(name, pretrained=False, num_classes=0, exportable=True, scriptable=False).eval()
    _load_weights(network, Path(request["weights"]))
    if 4 * sum(tensor.numel() for tensor in network.state_dict().values()) > _MAX_BYTES:
        raise BackboneError(
            f"The network timm:{name} has more than {_MAX_BYTES / 1e9:g} GB, too much for ONNX. Choose a smaller one."
        )
    seen = _Seen(network, feature_set).eval()
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


_TASKS: dict[str, Callable[[Message], Message]] = {"search": _search, "describe": _describe, "convert": _convert}


def _check_name(name: str) -> None:
    architecture, _, tag = name.partition(".")
    names = timm.list_models()
    if architecture in names:
        tags = [own for own in timm.list_models(pretrained=True) if own.partition(".")[0] == architecture]
        if not tag or name in tags:
            return
        names = tags or [architecture]
    near = difflib.get_close_matches(name, [*names, *timm.list_models(pretrained=True)], n=3)
    hint = f" Did you mean {' or '.join(f'timm:{own}' for own in near)}?" if near else ""
    raise BackboneError(
        f"timm {timm.__version__} has no model {name!r}.{hint} To find one: clownfish backbones --search TEXT"
    )


def _load_weights(network: Any, path: Path) -> None:
    """Fill the network; every tensor that it has must come from the file."""
    state = _read_state(path)
    own = network.state_dict()
    if not own.keys() <= state.keys():  # a file of the original authors, which timm knows how to rename
        module = __import__(type(network).__module__, fromlist=["checkpoint_filter_fn"])
        rename = getattr(module, "checkpoint_filter_fn", None)
        try:
            state = dict(rename(state, network)) if rename else state
        except Exception:  # noqa: BLE001 (a file of another network can upset it in any way; the check below says so)
            state = dict(state)
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    if missing:
        raise BackboneError(
            f"The weights file {path} does not fit: {len(missing)} of {len(own)} tensors are missing, such as"
            f" {missing[0]!r}. Give the weights of this very network with --weights, or choose the --backbone that they"
            " belong to."
        )
    for name, tensor in own.items():
        if name in state and state[name].shape != tensor.shape:
            raise BackboneError(
                f"The weights file {path} does not fit: {name!r} has the shape {tuple(state[name].shape)}, and"
                f" {tuple(tensor.shape)} is needed. Give the weights of this very network with --weights, or choose the"
                " --backbone that they belong to."
            )
    network.load_state_dict({name: state[name] for name in own if name in state}, strict=False)


def _read_state(path: Path) -> Mapping[str, Any]:
    """Tensors by name; nothing else is ever unpickled."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise nearly anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackboneError(
            f"The weights file {path} cannot be read as tensors ({reason}). Needed is a .safetensors file, or a .pth"
            " that holds a state dict and nothing else."
        ) from error
    for key in ("state_dict_ema", "state_dict", "model_ema", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
            break
    if not isinstance(state, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise BackboneError(
            f"The weights file {path} holds no state dict. Needed is a .safetensors file, or a .pth that holds a state"
            " dict and nothing else."
        )
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


class _Seen(torch.nn.Module):  # type: ignore[misc] # torch is not looked into
    """The network from pixels to what features are made of: the last layer, and the map of every stage."""

    def __init__(self, network: Any, feature_set: str) -> None:
        super().__init__()
        config = network.pretrained_cfg
        self.name = f"timm:{config.get('architecture', '')}"
        channels, height, width = config["input_size"]
        if channels != 3 or height != width:
            raise BackboneError(
                f"The network {self.name} takes pictures of {width} x {height} pixels with {channels} channels; those"
                " of clownfish are square and have three. Choose another network."
            )
        self.network, self.input_size, self.has_stages = network, int(height), feature_set == "all_stages"
        self.register_buffer("mean", 255 * torch.tensor(config["mean"]).reshape(1, 3, 1, 1))
        self.register_buffer("deviation", 255 * torch.tensor(config["std"]).reshape(1, 3, 1, 1))
        self.stages: list[int] = []
        self.is_mean = False
        self.parts: tuple[int, ...] = ()

    def examine(self, image: Any) -> None:
        """Find out how many stages it tells, and whether its last layer is the mean of a map."""
        if self.has_stages:
            if not hasattr(self.network, "forward_intermediates"):
                raise self._refuse()
            try:
                _, found = self.network.forward_intermediates(self._normalise(image), output_fmt="NCHW")
            except (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
                raise self._refuse() from error
            if not found or any(values.ndim != 4 for values in found):
                raise self._refuse()
            num = len(found)
            self.stages = list(range(num)) if num <= _MAX_STAGES else [num * part // 4 - 1 for part in (1, 2, 3, 4)]
        final = self.network.forward_features(self._normalise(image))
        pooled = self.network.forward_head(final, pre_logits=True)
        self.is_mean = (
            getattr(final, "ndim", 0) == 4
            and tuple(final.shape[:2]) == tuple(pooled.shape)
            and torch.allclose(final.mean((2, 3)), pooled, rtol=1e-5, atol=1e-6)
        )
        last, *maps = self(image)
        self.parts = (last.shape[1], *(values.shape[1] for values in maps for _ in range(2)))

    def forward(self, image: Any) -> tuple[Any, ...]:
        """Map (batch, size, size, 3) to the last layer or its map, then the maps of the stages."""
        values = self._normalise(image)
        maps: list[Any] = []
        if self.stages:
            final, maps = self.network.forward_intermediates(values, indices=self.stages, output_fmt="NCHW")
        else:
            final = self.network.forward_features(values)
        last = final if self.is_mean else self.network.forward_head(final, pre_logits=True)
        return (last, *maps)

    def compute_features(self, image: Any) -> Any:
        """What the finished graph has to give, shape (batch, num_features)."""
        last, *maps = self(image)
        parts = [last.mean((2, 3)) if self.is_mean else last]
        for values in maps:
            parts += [values.mean((2, 3)), values.flatten(2).std(2, unbiased=False)]
        return torch.cat(parts, 1)

    def _normalise(self, image: Any) -> Any:
        return (image.permute(0, 3, 1, 2).float() - self.mean) / self.deviation

    def _refuse(self) -> BackboneError:
        return BackboneError(
            f"The network {self.name} does not tell what its stages see, which the features of all stages are made of."
            " Use --feature-set last_layer, or choose another network."
        )


def _export(seen: _Seen, pictures: NDArray[np.uint8]) -> onnx.ModelProto:
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


def _finish_graph(model: onnx.ModelProto, seen: _Seen) -> onnx.ModelProto:
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
