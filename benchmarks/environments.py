"""An environment of its own for each peer, made once and used again."""

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from results import report_progress

WORK_FOLDER = Path(__file__).parent / ".work"
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
"""Where PyTorch's project keeps builds without CUDA; PyPI's for Linux bring several GB of it along."""


def choose_torch_arguments() -> str:
    """What pip is given to install PyTorch without CUDA on this system."""
    source = f" --index-url {CPU_BUILDS}" if sys.platform == "linux" else ""
    return f"torch torchvision{source}"


def prepare_environment(name: str, requirements: Sequence[str], torch_arguments: str) -> Path:
    """Make an environment, or find the one made before.

    Args:
        name: of the environment.
        requirements: packages beside PyTorch.
        torch_arguments: what pip is given to install PyTorch, which comes first.

    Returns:
        The environment's Python.
    """
    folder = WORK_FOLDER / name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    asked = json.dumps({"requirements": list(requirements), "torch": torch_arguments})
    stamp = folder / "installed.json"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == asked:
        return python
    report_progress(f"Making the environment {folder} (once) ...")
    venv.create(folder, clear=True, with_pip=True)
    _install(python, torch_arguments.split())
    # what follows must not replace the build just chosen
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(_list_torch(python)), encoding="utf-8")
    _install(python, [*requirements, "--constraint", str(constraints)])
    stamp.write_text(asked, encoding="utf-8")
    return python


def _install(python: Path, arguments: Sequence[str]) -> None:
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *arguments], check=True)


def _list_torch(python: Path) -> list[str]:
    listing = subprocess.run(
        [str(python), "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    )
    return [line for line in listing.stdout.splitlines() if line.startswith(("torch==", "torchvision=="))]
