"""A model of timm as clownfish sees it: made by name, filled with weights from a file, from pixels to features."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch

from clownfish.errors import BackboneError
from clownfish.torch_networks.statistics import compute_statistics

_MAX_STAGES = 6
"""A network that tells more (one a block, as transformers do) is asked for the ends of its four quarters."""
WEIGHT_PREFIX = "network."
"""Before the names of a model's tensors: they are part of a `SeenNetwork`, and so never the names of anything else."""


def check_name(name: str) -> None:
    """Find out whether timm has a model.

    Args:
        name: without the prefix "timm:".

    Raises:
        BackboneError: it has none of this name.
    """
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


def create_network(name: str) -> Any:
    """Make a model without its classifier; what it holds is random.

    Args:
        name: without the prefix "timm:".

    Returns:
        The model as it classifies: statistics of normalisation stay, nothing is dropped.

    Raises:
        BackboneError: timm has none of this name.
    """
    check_name(name)
    return timm.create_model(name, pretrained=False, num_classes=0, exportable=True, scriptable=False).eval()


def load_weights(network: Any, path: Path) -> None:
    """Fill a model; every tensor that it has must come from the file.

    Args:
        network: of `create_network`.
        path: a .safetensors file, or a .pth with a state dict.

    Raises:
        BackboneError: the file cannot be read, or belongs to another model.
    """
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


class SeenNetwork(torch.nn.Module):  # type: ignore[misc] # torch is not looked into
    """The network from pixels to what features are made of: the last layer, and the map of every stage."""

    def __init__(self, network: Any, feature_set: str) -> None:
        """Take a model.

        Args:
            network: of `create_network`.
            feature_set: "all_stages" or "last_layer".

        Raises:
            BackboneError: it takes other pictures than those that there are here.
        """
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

    def find_stages(self, image: Any) -> None:
        """Find out which stages it tells; without them, features are those of the last layer.

        Args:
            image: any pictures, uint8, shape (batch, size, size, 3).

        Raises:
            BackboneError: features of all stages are wanted, and it tells none.
        """
        if not self.has_stages:
            return
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

    def examine(self, image: Any) -> None:
        """Find out which stages it tells, whether its last layer is the mean of a map, and how many features there are.

        Args:
            image: any pictures, uint8, shape (batch, size, size, 3).

        Raises:
            BackboneError: features of all stages are wanted, and it tells none.
        """
        self.find_stages(image)
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
        """Compute features; the finished graph has to give the same.

        Args:
            image: pixels from 0 to 255, shape (batch, size, size, 3).

        Returns:
            Shape (batch, num_features): the last layer, then mean and deviation of every stage, float32.
        """
        last, *maps = self(image)
        parts = [last.float().mean((2, 3)) if self.is_mean else last.float()]
        for values in maps:
            parts += compute_statistics(values)
        return torch.cat(parts, 1)

    def _normalise(self, image: Any) -> Any:
        return (image.permute(0, 3, 1, 2).float() - self.mean) / self.deviation

    def _refuse(self) -> BackboneError:
        return BackboneError(
            f"The network {self.name} does not tell what its stages see, which the features of all stages are made of."
            " Use --feature-set last_layer, or choose another network."
        )
