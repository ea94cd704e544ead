"""What fine-tuning needs of a backbone: its weights, what they do not tell of it, and the way back to a graph.

The one place that tells networks apart here; the process that fine-tunes has another, `training.finetune.network`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clownfish.backbones import BACKBONES, DEFAULT_FEATURE_SET, build_backbone, read_tensors
from clownfish.backbones.timm_models import PREFIX, check_extra, convert_tuned, read_timm_weights, resolve_name
from clownfish.errors import ConfigError
from clownfish.records import Backbone

_UNUSED = ("_fc.", "fc.")
"""How the names of the bundled networks' own classifiers begin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tunable:
    """A network that can be fine-tuned."""

    tensors: Mapping[str, NDArray[Any]]
    """Before, by name."""
    num_stages: int | None
    """How many stages it has; None for one that is fine-tuned as a whole."""
    layout: Mapping[str, Any]
    """What the tensors do not tell, for `training.finetune.network.open_network`; JSON can hold it."""
    build: Callable[[Mapping[str, NDArray[Any]]], Backbone]
    """From these tensors after fine-tuning, all of them, to a backbone."""


def check_tunable(name: str, *, feature_set: str, is_whole: bool) -> None:
    """Find out before anything else whether a backbone can be fine-tuned as it is asked for.

    Args:
        name: as given to --backbone.
        feature_set: "all_stages" or "last_layer".
        is_whole: every stage is to learn.

    Raises:
        ConfigError: it cannot.
        MissingExtraError: the extra is not installed.
    """
    if resolve_name(name) is not None:
        check_extra(f"Fine-tuning {name}")
        if not is_whole:
            raise ConfigError(
                f"--fine-tune-stages lets only the last stages of a bundled network ({', '.join(BACKBONES)}) learn, but"
                f" the backbone is {name}, which is fine-tuned as a whole. Leave out --fine-tune-stages, or choose one"
                " of these."
            )
    elif feature_set != DEFAULT_FEATURE_SET:
        raise ConfigError(
            f"--fine-tune starts from the features of all stages, but --feature-set is {feature_set}."
            " Leave one of the two out."
        )


def open_tunable(frozen: Backbone, *, weights: str | Path | None, cache_folder: Path) -> Tunable:
    """Read what fine-tuning starts from.

    Args:
        frozen: the backbone as pre-trained.
        weights: the file it was made from; None where its own package or the hub's tools have it.
        cache_folder: where graphs of timm's models are kept.

    Returns:
        The network.

    Raises:
        BackboneError: the weights are missing or changed.
        MissingExtraError: it is a model of timm, and the extra is not installed.
    """
    if resolve_name(frozen.name) is not None:
        return Tunable(
            tensors=read_timm_weights(frozen.name, weights=weights, cache_folder=cache_folder),
            num_stages=None,
            layout={"kind": "timm", "name": frozen.name.removeprefix(PREFIX), "feature_set": frozen.feature_set},
            build=partial(convert_tuned, frozen),
        )
    from clownfish.backbones.efficientnet_lite import STAGE_STRIDES  # imports onnx

    tensors = read_tensors(frozen.name, weights=weights)
    return Tunable(
        tensors={key: own for key, own in tensors.items() if own.ndim and not key.startswith(_UNUSED)},
        num_stages=len(STAGE_STRIDES),
        layout={
            "kind": "efficientnet_lite",
            "blocks_per_stage": list(BACKBONES[frozen.name].blocks_per_stage),
            "strides": list(STAGE_STRIDES),
        },
        build=lambda tuned: build_backbone(frozen.name, tuned, feature_set=frozen.feature_set),
    )
