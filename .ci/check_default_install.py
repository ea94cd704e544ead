"""Prove what `pip install clownfish` alone is good for. Run by the Python of a fresh environment, in an empty folder.

Everything is run as a user would, as commands. Every attempt to reach the network is noted and refused.
"""

import csv
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

FRAMEWORKS = ("torch", "torchvision", "timm", "tensorflow", "keras", "jax", "flax", "fastai", "ray")
RUN_FILES = {"config.toml", "history.csv", "metrics.json", "model.onnx", "photos.csv", "predictions.csv", "report.html"}
EXTRA_MODULES = (
    "clownfish.export.tflite.",
    "clownfish.training.finetune.",
    "clownfish.torch_networks.",
    "clownfish.backbones.timm_worker",
)
"""Written with what an extra installs, and imported by nothing before that is known to be there."""
COMMAND = Path(sys.executable).parent / "clownfish"

# Python imports a module of this name at its start, in helper processes too.
REFUSE_NETWORK = """
import os, socket

def refuse(*args, **kwargs):
    with open(os.environ["ATTEMPTS"], "a", encoding="utf-8") as file:
        file.write(f"{args!r}\\n")
    raise OSError("the network was asked for, which the default install must never do")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
"""


def main() -> None:
    environment = refuse_network()
    check_no_framework()
    check_imports(environment)
    assert "Usage" in run(environment, "--help")
    assert "Everything that is needed is there." in run(environment, "doctor")
    draw_photos(Path("photos"))
    run(environment, "train", "photos", "--out", "run", "--quiet")
    check_run(Path("run"))
    run(environment, "predict", "run", "photos", "--out", "predictions.csv", "--quiet")
    check_predictions(Path("predictions.csv"))
    assert "red" in run(environment, "predict", "run", "photos/red/3.jpg").splitlines()[0]
    check_missing_extras(environment)
    attempts = Path(environment["ATTEMPTS"])
    assert not attempts.exists(), f"the network was asked for: {attempts.read_text(encoding='utf-8')}"
    print("the default install trains and predicts, offline, without a deep-learning framework")


def refuse_network() -> dict[str, str]:
    Path("guard").mkdir()
    Path("guard/sitecustomize.py").write_text(REFUSE_NETWORK, encoding="utf-8")
    here = Path.cwd()
    environment = {**os.environ, "PYTHONPATH": str(here / "guard"), "ATTEMPTS": str(here / "attempts.txt")}
    probe = "import socket; socket.create_connection(('127.0.0.1', 9))"
    subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, check=False)
    (here / "attempts.txt").unlink()  # fails if the guard does not stand
    return environment


def run(environment: dict[str, str], *arguments: str, expected_code: int = 0) -> str:
    done = subprocess.run([COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == expected_code, f"clownfish {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def check_no_framework() -> None:
    importable = [name for name in FRAMEWORKS if importlib.util.find_spec(name)]
    assert not importable, f"importable: {importable}"
    installed = {distribution.name.lower() for distribution in importlib.metadata.distributions()}
    assert not installed.intersection(FRAMEWORKS), f"installed: {installed.intersection(FRAMEWORKS)}"
    print(f"{len(installed)} packages, none of {', '.join(FRAMEWORKS)}")


def check_imports(environment: dict[str, str]) -> None:
    """Every module of the package imports without any extra, but for the folder of one; all come from the wheel."""
    program = (
        "import importlib, pkgutil, clownfish; assert 'site-packages' in clownfish.__file__, clownfish.__file__\n"
        "for module in pkgutil.walk_packages(clownfish.__path__, 'clownfish.'):\n"
        f"    if module.name == 'clownfish.__main__' or module.name.startswith({EXTRA_MODULES!r}): continue\n"
        "    importlib.import_module(module.name)\n"
        "for name in clownfish.__all__: getattr(clownfish, name)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], env=environment, check=True)


def draw_photos(root: Path) -> None:
    """Two classes that nobody can confuse: reddish and bluish blobs."""
    random = np.random.default_rng(0)
    for label, channel in (("red", 0), ("blue", 2)):
        (root / label).mkdir(parents=True)
        for number in range(15):
            blobs = random.integers(0, 160, (6, 8, 3), dtype=np.uint8)
            blobs[..., channel] += 95
            picture = Image.fromarray(blobs).resize((320, 240), Image.Resampling.BICUBIC)
            picture.save(root / label / f"{number}.jpg")


def check_run(folder: Path) -> None:
    missing = RUN_FILES - {path.name for path in folder.iterdir()}
    assert not missing, f"the run lacks {missing}"
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    accuracy = metrics["test"]["accuracy"]["value"]
    assert accuracy == 1.0, f"red and blue blobs are told apart in {accuracy:.0%} only"


def check_predictions(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30, f"{len(rows)} predictions for 30 photos"
    wrong = [row["file"] for row in rows if Path(row["file"]).parent.name not in row.values()]
    assert not wrong, f"wrong: {wrong}"


def check_missing_extras(environment: dict[str, str]) -> None:
    """What needs an extra says which, and how to install it."""
    assert importlib.util.find_spec("pi_heif") is None
    Path("phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    message = run(environment, "predict", "run", "phone.heic", expected_code=2)
    assert "pip install 'clownfish[heic]'" in message, message
    assert importlib.util.find_spec("ai_edge_litert") is None
    message = run(environment, "train", "photos", "--fine-tune", expected_code=2)
    assert "pip install 'clownfish[finetune]'" in message, message
    for form in ("tflite", "web"):
        message = run(environment, "export", "run", "--to", form, expected_code=2)
        assert "pip install 'clownfish[tflite]'" in message, message


if __name__ == "__main__":
    main()
