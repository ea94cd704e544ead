"""The state after each epoch, and now and then inside one, on disk: tensors as safetensors, facts and checksum as JSON.

The JSON is written last and names the checksum of the tensors, so a checkpoint counts only when both are whole.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save

from clownfish.files import write_file

_NUM_KEPT = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What was read back."""

    state: Mapping[str, Any]
    """Tensors by name."""
    facts: Mapping[str, Any]
    """What JSON can hold."""
    num_damaged: int
    """Later checkpoints that were found, but damaged."""


def save_checkpoint(
    folder: Path, epoch: int, state: Mapping[str, Any], facts: Mapping[str, Any], *, step: int = 0
) -> None:
    """Write a checkpoint, from whatever device, and remove all but the last two.

    Args:
        folder: where.
        epoch: the last epoch that is done.
        state: tensors by name.
        facts: what JSON can hold.
        step: the last step of the next epoch that is done.

    Raises:
        OutputError: the disk is full or cannot be written; the checkpoints before it are as they were.
    """
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    name = f"epoch-{epoch:05}.step-{step:07}" if step else f"epoch-{epoch:05}"  # sorted as they come
    write_file(folder / f"{name}.safetensors", data)
    content = {**facts, "sha256": hashlib.sha256(data).hexdigest()}
    write_file(folder / f"{name}.json", json.dumps(content, indent=1).encode())
    for path in sorted(folder.glob("epoch-*.json"))[:-_NUM_KEPT]:
        with contextlib.suppress(OSError):
            path.unlink()
            path.with_suffix(".safetensors").unlink()


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint that is whole.

    Args:
        folder: where.

    Returns:
        The checkpoint; None if there is none.
    """
    for num_damaged, path in enumerate(sorted(folder.glob("epoch-*.json"), reverse=True)):
        try:
            facts = json.loads(path.read_bytes())
            data = path.with_suffix(".safetensors").read_bytes()
            is_whole = hashlib.sha256(data).hexdigest() == facts["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            is_whole = False
        if is_whole:
            return Checkpoint(state=load(data), facts=facts, num_damaged=num_damaged)
    return None
