"""Any model of timm as a backbone: found by name, written as an ONNX graph once, and kept.

Nothing here imports PyTorch. The helper process that does is started only where the graph is not yet in the cache
folder. Nothing is downloaded either: weights come from a file that the user names, or lie where the Hugging Face hub
keeps what was fetched before.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clownfish.backbones.hub_files import HUB_FILES, find_hub_file
from clownfish.compute import Message, WorkerFailure, run_in_workers
from clownfish.errors import BackboneError, MissingExtraError, WorkerError
from clownfish.files import write_file
from clownfish.records import Backbone

PREFIX = "timm:"
PLAIN_NAMES: Mapping[str, str] = {"mobilenetv2": "timm:mobilenetv2_100", "resnet50": "timm:resnet50"}
"""Names that need no prefix."""
UNKNOWN_LICENCE = "unknown: see the model's page"
_FUNCTION = "clownfish.backbones.timm_worker:handle_request"
_MODULES = ("torch", "timm", "safetensors")
_SECONDS = 3600.0
_FORMAT = 1
"""Of the graphs in the cache folder; one more when they are made in another way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimmModel:
    """What timm knows of a model."""

    name: str
    """As given to --backbone."""
    input_size: int
    """Side of the square input, pixels; 0 where timm does not tell."""
    licence: str
    hub: str
    """Name of the repository on the Hugging Face hub; "" where there is none."""
    hub_file: str
    """The weights in that repository; "" for the usual names."""
    url: str
    """Where the weights are, if not on the hub."""

    def find_weights(self) -> Path | None:
        """Look for the weights among what the hub's own tools have fetched; None if they are not there."""
        return find_hub_file(self.hub, self.hub_file) if self.hub else None


def resolve_name(name: str) -> str | None:
    """Take a name apart.

    Args:
        name: as given to --backbone.

    Returns:
        With the prefix "timm:"; None if this is no model of timm.
    """
    name = PLAIN_NAMES.get(name, name)
    return name if re.fullmatch(re.escape(PREFIX) + r"[A-Za-z0-9_]+(\.[A-Za-z0-9_.-]+)?", name) else None


def search_models(text: str) -> list[TimmModel]:
    """List the models with published weights whose name holds a text.

    Args:
        text: part of a name, in any case.

    Returns:
        The models, in timm's order.

    Raises:
        MissingExtraError: the extra is not installed.
        BackboneError: the helper process fails.
    """
    check_extra("Searching timm's models")
    answer = _ask({"task": "search", "text": text})
    return [_read_model(facts) for facts in answer["models"]]


def load_timm_backbone(name: str, *, feature_set: str, weights: str | Path | None, cache_folder: Path) -> Backbone:
    """Read a model's graph from the cache folder, or make it.

    Args:
        name: of a `TimmModel`.
        feature_set: "all_stages" or "last_layer".
        weights: a .safetensors file or a .pth with a state dict; None for what the hub's tools have fetched.
        cache_folder: where graphs are kept.

    Returns:
        The backbone, ready to run.

    Raises:
        MissingExtraError: the graph has to be made, and the extra is not installed.
        BackboneError: timm has no such model, its weights are missing or do not fit, or PyTorch and ONNX Runtime
            disagree.
    """
    is_published = weights is None
    path = _find_published(name, cache_folder) if weights is None else Path(weights)
    try:
        with path.open("rb") as file:
            weights_hash = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BackboneError(f"The weights file {path} cannot be read: {error.strerror or error}.") from error
    key = hashlib.sha256(json.dumps([_FORMAT, name, feature_set, weights_hash]).encode()).hexdigest()[:32]
    folder = cache_folder / "backbones" / key
    found = _read_kept(folder, _find_version())
    if found is None:
        check_extra(f"The backbone {name}")
        request = {"task": "convert", "name": name.removeprefix(PREFIX), "feature_set": feature_set}
        answer = _ask({**request, "weights": str(path.resolve())})
        graph = answer["graph"].tobytes()
        facts = {**answer["facts"], "name": name, "sha256": hashlib.sha256(graph).hexdigest()}
        write_file(folder / f"{facts['timm']}.onnx", graph)
        write_file(folder / f"{facts['timm']}.json", json.dumps(facts, indent=1).encode())
        found = facts, graph
    facts, graph = found
    return Backbone(
        name=name,
        input_size=facts["input_size"],
        parts=tuple(facts["parts"]),
        num_parameters=facts["num_parameters"],
        feature_set=feature_set,
        onnx=graph,
        hash=facts["sha256"],
        licence=_describe_licence(facts["licence"], is_published=is_published),
        weights_hash=weights_hash,
    )


def read_timm_weights(name: str, *, weights: str | Path | None, cache_folder: Path) -> dict[str, NDArray[Any]]:
    """Read what fine-tuning starts from.

    Args:
        name: of a `TimmModel`.
        weights: as for `load_timm_backbone`.
        cache_folder: where it is kept what timm knows of names.

    Returns:
        Every tensor of the model without its classifier, by names that only `convert_tuned` needs to understand.

    Raises:
        MissingExtraError: the extra is not installed.
        BackboneError: timm has no such model, or its weights are missing or do not fit.
    """
    check_extra(f"The backbone {name}")
    path = _find_published(name, cache_folder) if weights is None else Path(weights)
    return _ask({"task": "read", "name": name.removeprefix(PREFIX), "weights": str(path.resolve())})


def convert_tuned(frozen: Backbone, tensors: Mapping[str, NDArray[Any]]) -> Backbone:
    """Make the graph of a model that was fine-tuned; it is not kept.

    Args:
        frozen: the model before.
        tensors: every one of `read_timm_weights`, with what fine-tuning has made of it.

    Returns:
        The same backbone with a graph of its own; licence and weights are those that it started from.

    Raises:
        BackboneError: PyTorch and ONNX Runtime disagree.
    """
    request = {"task": "convert", "name": frozen.name.removeprefix(PREFIX), "feature_set": frozen.feature_set}
    graph = _ask({**request, **tensors})["graph"].tobytes()
    return replace(frozen, onnx=graph, hash=hashlib.sha256(graph).hexdigest())


def measure_graphs(cache_folder: Path) -> int:
    """Add up what the kept graphs take on the disk.

    Args:
        cache_folder: where they are kept.

    Returns:
        Bytes.
    """
    return sum(path.stat().st_size for path in (cache_folder / "backbones").rglob("*") if path.is_file())


def clear_graphs(cache_folder: Path) -> None:
    """Remove the kept graphs; the next run that needs one makes it anew.

    Args:
        cache_folder: where they are kept.
    """
    shutil.rmtree(cache_folder / "backbones", ignore_errors=True)


def _describe_licence(licence: str, *, is_published: bool) -> str:
    """A file that somebody gives may be the published one or their own, so both are said."""
    if not licence:
        return UNKNOWN_LICENCE
    return licence if is_published else f"{licence} for the published weights; the file given may differ"


def _find_published(name: str, cache_folder: Path) -> Path:
    """The weights that belong to a name, among those that the hub's tools have fetched."""
    model = _read_model(_describe(name, cache_folder))
    path = model.find_weights()
    if path is not None:
        return path
    if model.hub:
        file = model.hub_file or HUB_FILES[0]
        raise BackboneError(
            f"The weights of {name} are not on this computer, and clownfish downloads nothing. Fetch {file} from"
            f" https://huggingface.co/{model.hub} and give it with --weights FILE, or run once, with internet:"
            f" hf download {model.hub} {file}"
        )
    where = f"Fetch {model.url} and give it" if model.url else "timm knows of none; give a file of your own"
    raise BackboneError(
        f"The weights of {name} are not on this computer, and clownfish downloads nothing. {where} with --weights FILE."
    )


def _describe(name: str, cache_folder: Path) -> Message:
    """What timm knows of a name; kept, so that the next run need not start PyTorch to ask."""
    kept, timm = cache_folder / "backbones" / "names" / f"{name.removeprefix(PREFIX)}.json", _find_version()
    try:
        facts: Message = json.loads(kept.read_bytes())
        if timm in (None, facts["timm"]):
            return facts
    except (OSError, ValueError, KeyError, TypeError):
        pass
    check_extra(f"The backbone {name}")
    facts = _ask({"task": "describe", "name": name.removeprefix(PREFIX)})
    write_file(kept, json.dumps({**facts, "timm": timm}, indent=1).encode())
    return facts


def _read_kept(folder: Path, timm: str | None) -> tuple[dict[str, Any], bytes] | None:
    """A graph of this version of timm, or of any where timm is not installed; None if there is none, undamaged."""
    files = [folder / f"{timm}.json"] if timm else sorted(folder.glob("*.json"), reverse=True)
    for file in files:
        try:
            facts = json.loads(file.read_bytes())
            graph = file.with_suffix(".onnx").read_bytes() if timm is None else (folder / f"{timm}.onnx").read_bytes()
        except (OSError, ValueError):
            continue
        if hashlib.sha256(graph).hexdigest() == facts.get("sha256"):
            return facts, graph
    return None


def _find_version() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("timm")
    except PackageNotFoundError:
        return None


def _read_model(facts: Message) -> TimmModel:
    return TimmModel(
        name=PREFIX + facts["name"],
        input_size=facts["input_size"][-1] if facts["input_size"] else 0,
        licence=facts["licence"] or UNKNOWN_LICENCE,
        hub=facts["hub"],
        hub_file=facts["hub_file"],
        url=facts["url"],
    )


def check_extra(what: str) -> None:
    """Find out whether what turns models of timm into graphs is installed, without importing it.

    Args:
        what: is to be done, as the subject of a sentence.

    Raises:
        MissingExtraError: it is not.
    """
    if any(find_spec(name) is None for name in _MODULES):
        raise MissingExtraError(what, "finetune")


def _ask(request: Message) -> Message:
    def take(_: Message, answer: Message | WorkerFailure) -> Message | WorkerFailure:
        return answer

    work = run_in_workers(
        [request], function=_FUNCTION, finish=take, num_workers=1, timeout_seconds=_SECONDS, memory_bytes=0
    )
    try:
        with closing(work) as outcomes:
            answer = next(outcomes).result
    except WorkerError as error:
        raise BackboneError(
            "The process that reads timm's models does not start; find out why with: python -c 'import torch, timm,"
            " safetensors'"
        ) from error
    if isinstance(answer, WorkerFailure):
        raise BackboneError(
            f"The process that reads timm's models ended ({answer}); memory may have run out. Choose a smaller network."
        )
    if "refused" in answer:
        raise BackboneError(answer["refused"])
    if "fault" in answer:
        raise RuntimeError(f"in the process that reads timm's models:\n{answer['fault']}")
    return answer


__all__ = [
    "PLAIN_NAMES",
    "PREFIX",
    "UNKNOWN_LICENCE",
    "TimmModel",
    "check_extra",
    "convert_tuned",
    "load_timm_backbone",
    "read_timm_weights",
    "resolve_name",
    "search_models",
]
