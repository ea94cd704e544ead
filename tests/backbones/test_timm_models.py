"""Models of timm from this side: names, the cache folder, the hub's folder, and what is said when it fails."""

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clownfish.backbones import load_backbone, timm_models
from clownfish.backbones.hub_files import find_hub_file
from clownfish.backbones.timm_models import resolve_name, search_models
from clownfish.compute import Message, Outcome, WorkerFailure
from clownfish.errors import BackboneError, MissingExtraError, WorkerError
from clownfish.records import Backbone

GRAPH = b"a graph"
PUBLISHED = {"name": "resnet18", "input_size": [3, 224, 224], "licence": "apache-2.0"}
PUBLISHED |= {"hub": "timm/resnet18.a1_in1k", "hub_file": "", "url": ""}


class Process:
    """Stands for the process with PyTorch; remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.published: Message = PUBLISHED

    def answer(self, request: Message) -> Message:
        self.requests.append(request)
        if request["task"] == "search":
            return {"models": [PUBLISHED, {**PUBLISHED, "name": "odd", "input_size": [], "licence": ""}]}
        if request["task"] == "describe":
            return self.published
        facts = {"parts": [4, 2, 2], "input_size": 32, "num_parameters": 9, "licence": "", "timm": "1.0"}
        return {"facts": facts, "graph": np.frombuffer(GRAPH, np.uint8)}


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    fake = Process()
    monkeypatch.setattr(timm_models, "_ask", fake.answer)
    monkeypatch.setattr(timm_models, "find_spec", lambda _: True)
    monkeypatch.setattr(timm_models, "_find_version", lambda: "1.0")
    return fake


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"weights")
    return path


def load(tmp_path: Path, weights: Path | None, name: str = "timm:resnet18") -> Backbone:
    return load_backbone(name, weights=weights, cache_folder=tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("timm:resnet18", "timm:resnet18"),
        ("timm:resnet18.a1_in1k", "timm:resnet18.a1_in1k"),
        ("mobilenetv2", "timm:mobilenetv2_100"),
        ("resnet50", "timm:resnet50"),
        ("efficientnet_lite0", None),
        ("timm:", None),
        ("timm:../../etc", None),
        ("resnet18", None),
    ],
)
def test_names_of_timm_have_a_prefix_or_are_known(name: str, resolved: str | None) -> None:
    assert resolve_name(name) == resolved


def test_graph_is_made_once_and_kept(process: Process, weights: Path, tmp_path: Path) -> None:
    first, again = load(tmp_path, weights), load(tmp_path, weights)
    assert [request["task"] for request in process.requests] == ["convert"]
    assert first == again
    assert (first.onnx, first.hash) == (GRAPH, hashlib.sha256(GRAPH).hexdigest())
    assert (first.name, first.parts, first.input_size) == ("timm:resnet18", (4, 2, 2), 32)
    assert first.weights_hash == hashlib.sha256(b"weights").hexdigest()
    assert first.licence == "unknown: see the model's page"
    weights.write_bytes(b"others")
    load(tmp_path, weights)
    assert len(process.requests) == 2


def test_a_damaged_graph_is_made_again(process: Process, weights: Path, tmp_path: Path) -> None:
    load(tmp_path, weights)
    (graph,) = (tmp_path / "cache").rglob("*.onnx")
    graph.write_bytes(b"damaged")
    assert load(tmp_path, weights).onnx == GRAPH
    assert len(process.requests) == 2


def test_kept_graph_needs_no_extra(
    process: Process, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load(tmp_path, weights)
    monkeypatch.setattr(timm_models, "find_spec", lambda _: None)
    monkeypatch.setattr(timm_models, "_find_version", lambda: None)
    assert load(tmp_path, weights) == made


def test_a_new_version_of_timm_makes_its_own(
    process: Process, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tmp_path, weights)
    monkeypatch.setattr(timm_models, "_find_version", lambda: "2.0")
    load(tmp_path, weights)
    assert len(process.requests) == 2


def test_without_the_extra_it_is_named(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_models, "find_spec", lambda _: None)
    monkeypatch.setattr(timm_models, "_find_version", lambda: None)
    for given in (weights, None):
        with pytest.raises(MissingExtraError, match=r"The backbone timm:resnet50 needs the extra 'finetune'"):
            load(tmp_path, given, "resnet50")
    with pytest.raises(MissingExtraError, match=r"Searching timm's models needs the extra 'finetune'"):
        search_models("clip")


def test_weights_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError) as caught:
        load(tmp_path, tmp_path / "gone.pth")
    assert str(caught.value).startswith(f"The weights file {tmp_path / 'gone.pth'} cannot be read: ")


@pytest.mark.usefixtures("process")
def test_weights_that_are_not_here_are_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(BackboneError) as caught:
        load(tmp_path, None)
    assert str(caught.value) == (
        "The weights of timm:resnet18 are not on this computer, and clownfish downloads nothing. Fetch"
        " model.safetensors from https://huggingface.co/timm/resnet18.a1_in1k and give it with --weights FILE, or run"
        " once, with internet: hf download timm/resnet18.a1_in1k model.safetensors"
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://example.org/a.pth", "Fetch https://example.org/a.pth and give it with --weights FILE."),
        ("", "timm knows of none; give a file of your own with --weights FILE."),
    ],
)
def test_weights_that_are_not_on_the_hub(url: str, words: str, process: Process, tmp_path: Path) -> None:
    process.published = {**PUBLISHED, "hub": "", "url": url}
    with pytest.raises(BackboneError) as caught:
        load(tmp_path, None)
    assert str(caught.value).endswith(f"and clownfish downloads nothing. {words}")


@pytest.mark.usefixtures("process")
def test_weights_are_found_where_the_hub_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "hub" / "models--timm--resnet18.a1_in1k"
    for revision, file in (("aaa", "model.safetensors"), ("bbb", "pytorch_model.bin"), ("bbb", "other.bin")):
        (folder / "snapshots" / revision).mkdir(parents=True, exist_ok=True)
        (folder / "snapshots" / revision / file).write_bytes(revision.encode())
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    repository = "timm/resnet18.a1_in1k"
    assert find_hub_file(repository) == folder / "snapshots" / "aaa" / "model.safetensors"
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("bbb\n")
    assert find_hub_file(repository) == folder / "snapshots" / "bbb" / "pytorch_model.bin"
    assert find_hub_file(repository, "other.bin") == folder / "snapshots" / "bbb" / "other.bin"
    found = load(tmp_path, None)
    assert found.weights_hash == hashlib.sha256(b"bbb").hexdigest()
    monkeypatch.setattr(timm_models, "_find_version", lambda: None)
    monkeypatch.setattr(timm_models, "_ask", None)
    assert load(tmp_path, None) == found  # what timm said is kept
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert find_hub_file(repository) is None


@pytest.mark.usefixtures("process")
def test_search_tells_what_timm_knows() -> None:
    first, odd = search_models("res")
    assert (first.name, first.input_size, first.licence) == ("timm:resnet18", 224, "apache-2.0")
    assert (odd.name, odd.input_size, odd.licence) == ("timm:odd", 0, "unknown: see the model's page")


def test_search_on_the_command_line(cli: Any, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = json.loads(cli("backbones", "--search", "res", "--json").out)
    assert rows[0]["weights"] == "https://huggingface.co/timm/resnet18.a1_in1k"
    assert cli("backbones", "--search", "res").out.split("\n")[0].startswith("timm:resnet18   224 px  apache-2.0")
    monkeypatch.setattr(process, "answer", None)
    monkeypatch.setattr(timm_models, "_ask", lambda _: {"models": []})
    assert cli("backbones", "--search", "xyz").out == (
        "timm has no model with published weights whose name holds 'xyz'. Try a shorter part of a name."
        " For weights that timm does not list, such as BioCLIP's, name the architecture and give the file:"
        " --backbone timm:vit_base_patch16_clip_224 --weights FILE.\n"
    )


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ({"refused": "It is too large."}, BackboneError, "It is too large."),
        ({"fault": "Traceback"}, RuntimeError, "in the process that reads timm's models:\nTraceback"),
        (
            WorkerFailure("exit code -9"),
            BackboneError,
            "The process that reads timm's models ended (exit code -9); memory may have run out. Choose a smaller"
            " network.",
        ),
        (
            WorkerError("no"),
            BackboneError,
            "The process that reads timm's models does not start; find out why with: python -c 'import torch, timm,"
            " safetensors'",
        ),
    ],
)
def test_a_process_that_fails_is_told(
    answer: Any, kind: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(items: list[Message], *, finish: Any, **_: object) -> Iterator[Outcome[Any]]:
        if isinstance(answer, WorkerError):
            raise answer
        yield Outcome(0, finish(items[0], answer))

    monkeypatch.setattr(timm_models, "run_in_workers", run)
    monkeypatch.setattr(timm_models, "find_spec", lambda _: True)
    with pytest.raises(kind) as caught:
        search_models("res")
    assert str(caught.value) == words


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs the extra 'finetune'")
def test_the_process_answers() -> None:
    assert "timm:test_resnet.r160_in1k" in [model.name for model in search_models("TEST_RESNET")]
