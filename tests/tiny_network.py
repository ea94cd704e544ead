"""A network of a few thousand weights in the form of EfficientNet-Lite, and photos that it can learn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.records import Head
from clownfish.regression.scaling import Scaling
from clownfish.training.fine_tuning import Fit, Network

BLOCKS_PER_STAGE = (1, 2, 1, 1, 1, 1, 1)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
_WIDTHS = (4, 4, 6, 6, 8, 8, 8)
_SIDES = (3, 3, 5, 3, 5, 5, 3)
NUM_FEATURES = 16 + 2 * sum(_WIDTHS)
SIZE = 33
NUM_PHOTOS = 24


def make_tensors(seed: int = 0) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(seed)
    tensors: dict[str, NDArray[Any]] = {}

    def add_convolution(convolution: str, norm: str, num_out: int, num_in: int, side: int) -> None:
        shape = (num_out, num_in, side, side)
        deviation = np.sqrt(2 / (num_in * side * side))
        tensors[f"{convolution}.weight"] = (random.standard_normal(shape) * deviation).astype(np.float32)
        tensors[f"{norm}.weight"] = random.uniform(0.8, 1.2, num_out).astype(np.float32)
        tensors[f"{norm}.bias"] = random.uniform(0.0, 0.3, num_out).astype(np.float32)
        tensors[f"{norm}.running_mean"] = random.uniform(-0.1, 0.1, num_out).astype(np.float32)
        tensors[f"{norm}.running_var"] = random.uniform(0.5, 1.5, num_out).astype(np.float32)
        tensors[f"{norm}.num_batches_tracked"] = np.array(7)

    add_convolution("_conv_stem", "_bn0", 4, 3, 3)
    width, block = 4, 0
    for stage, count in enumerate(BLOCKS_PER_STAGE):
        for _ in range(count):
            prefix = f"_blocks.{block}"
            wide = width
            if stage:
                wide = 2 * width
                add_convolution(f"{prefix}._expand_conv", f"{prefix}._bn0", wide, width, 1)
            add_convolution(f"{prefix}._depthwise_conv", f"{prefix}._bn1", wide, 1, _SIDES[stage])
            add_convolution(f"{prefix}._project_conv", f"{prefix}._bn2", _WIDTHS[stage], wide, 1)
            width, block = _WIDTHS[stage], block + 1
    add_convolution("_conv_head", "_bn1", 16, width, 1)
    tensors["_fc.weight"] = np.zeros((3, 16), np.float32)
    return tensors


def make_network(seed: int = 0) -> Network:
    tensors = {name: own for name, own in make_tensors(seed).items() if own.ndim and not name.startswith("_fc.")}
    layout = {"kind": "efficientnet_lite", "blocks_per_stage": list(BLOCKS_PER_STAGE), "strides": list(STRIDES)}
    return Network(tensors=tensors, layout=layout)


def make_pixels(num_photos: int = NUM_PHOTOS, seed: int = 0) -> NDArray[np.uint8]:
    """Photos 0, 2, 4 ... are reddish, the others bluish."""
    pixels = np.random.default_rng(seed).integers(0, 200, (num_photos, SIZE, SIZE, 3), dtype=np.uint8)
    pixels[::2, :, :, 0] += 40
    pixels[1::2, :, :, 2] += 40
    return pixels


def make_fit(name: str = "fit", **changes: Any) -> Fit:
    random = np.random.default_rng(1)
    rows = np.arange(NUM_PHOTOS)
    plan = {
        "name": name,
        "head": Head(
            weights=(random.standard_normal((NUM_FEATURES, 2)) * 0.1).astype(np.float32), bias=np.zeros(2, np.float32)
        ),
        "scaling": Scaling(
            random.uniform(0, 1, NUM_FEATURES).astype(np.float32),
            random.uniform(0.5, 2, NUM_FEATURES).astype(np.float32),
        ),
        "labels": rows % 2,
        "class_weights": np.ones(2, np.float32),
        "train": rows[:16],
        "validation": rows[16:20],
        "asked": rows[20:],
        "seed": 3,
    }
    return Fit(**{**plan, **changes})


def write_photos(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "pixels.npy", make_pixels())
    return folder


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Of the newest checkpoint, without what depends on the clock."""
    facts = json.loads(max(folder.glob("epoch-*.json")).read_bytes())
    return [{name: value for name, value in row.items() if name != "seconds"} for row in facts["history"]]
