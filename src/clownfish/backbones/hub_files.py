"""Weights that the tools of the Hugging Face hub have fetched; nothing is fetched here."""

import os
from pathlib import Path

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""The usual names of weights in a repository, the better one first."""


def find_hub_file(repository: str, file: str = "") -> Path | None:
    """Look for a file where the tools of the Hugging Face hub keep what they fetched.

    Args:
        repository: such as timm/resnet18.a1_in1k.
        file: its name there; "" for the usual names of weights.

    Returns:
        Its path, of the revision that "main" was when it was fetched, else of any; None if it was never fetched.
    """
    folder = _find_hub_folder() / f"models--{repository.replace('/', '--')}"
    revisions = sorted((folder / "snapshots").glob("*"))
    try:
        main = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        main = ""
    for revision in sorted(revisions, key=lambda one: one.name != main):
        for own in [file] if file else HUB_FILES:
            if (revision / own).is_file():
                return revision / own
    return None


def _find_hub_folder() -> Path:
    """As documented for huggingface_hub: HF_HUB_CACHE, HF_HOME or XDG_CACHE_HOME set it."""
    if chosen := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(chosen).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"
