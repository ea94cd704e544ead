"""Photos a second while fine-tuning EfficientNet-Lite0, against a plain PyTorch loop. Needs the extra and timm.

Each variant runs in a process of its own, in turn, on made photos; see README.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

VARIANTS = {
    "plain": "a plain loop (timm, eager, NCHW, default malloc), tensors ready",
    "ready": "clownfish, the whole network, tensors ready",
    "whole": "clownfish, the whole network, photos augmented on the fly",
    "last": "clownfish, the last two stages from cached activations",
}
NUM_CLASSES = 10
SIZE = 224
FIRST_STAGE = 5
LEARNING_RATE = 1e-4
STRIDES = (1, 2, 2, 2, 1, 2, 1)


def main() -> None:
    """Run every variant, or the one that is named, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="How often each variant is measured.")
    parser.add_argument("--steps", type=int, default=12, help="Steps that are measured, after two that are not.")
    parser.add_argument("--batch-size", type=int, default=32, help="Photos a step.")
    parser.add_argument("--variant", choices=VARIANTS, help="Measure one, and print JSON.")
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(options.variant, options.steps, options.batch_size)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for _ in range(options.rounds):
        for name, rounds in found.items():
            rounds.append(run_variant(name, options.steps, options.batch_size))
    print("| variant | photos/s | x plain | photos a CPU second | x plain | peak MB |\n|---|---|---|---|---|---|")
    for name, rounds in found.items():
        print(f"| {VARIANTS[name]} | " + " | ".join(summarise(rounds, found["plain"])) + " |")


def summarise(rounds: list[dict[str, float]], plain: list[dict[str, float]]) -> list[str]:
    cells = []
    for key in ("wall", "cpu"):
        ratios = [own[key] / other[key] for own, other in zip(rounds, plain, strict=True)]  # of the same round
        cells += [f"{statistics.median(own[key] for own in rounds):.1f}", f"{statistics.median(ratios):.2f}"]
    return [*cells, f"{statistics.median(own['peak'] for own in rounds):.0f}"]


def run_variant(name: str, num_steps: int, batch_size: int) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__)), "--variant", name]
    command += ["--steps", str(num_steps), "--batch-size", str(batch_size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(name: str, num_steps: int, batch_size: int) -> dict[str, float]:
    import resource

    pixels = np.random.default_rng(0).integers(0, 256, (batch_size * 4, SIZE, SIZE, 3), dtype=np.uint8)
    step = make_plain_loop(pixels) if name == "plain" else make_tuner(name, pixels, batch_size)
    step(2 * batch_size)  # the first are slow
    started, started_cpu = time.perf_counter(), time.process_time()
    step(num_steps * batch_size)
    wall, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": num_steps * batch_size / wall, "cpu": num_steps * batch_size / cpu, "peak": peak}


def make_plain_loop(pixels: np.ndarray) -> Any:
    import timm
    import torch

    model = timm.create_model("tf_efficientnet_lite0", num_classes=NUM_CLASSES).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1
    labels = torch.arange(len(images)) % NUM_CLASSES
    batch_size = len(images) // 4

    def step(num_photos: int) -> None:
        for number in range(num_photos // batch_size):
            rows = slice(number % 4 * batch_size, (number % 4 + 1) * batch_size)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()

    return step


class Ready:
    """Batches that are there already."""

    def __init__(self, batch: tuple[Any, ...]) -> None:
        self._batch = batch

    def load(self, rows: np.ndarray, epoch: int | None) -> tuple[Any, ...]:
        return tuple(values[: len(rows)] for values in self._batch)


def make_tuner(name: str, pixels: np.ndarray, batch_size: int) -> Any:
    import torch

    from clownfish.backbones import BACKBONES, read_tensors
    from clownfish.training.finetune import worker
    from clownfish.training.finetune.augmentation import Augmenter
    from clownfish.training.finetune.batches import PhotoSource
    from clownfish.training.finetune.device import choose_device
    from clownfish.training.finetune.efficientnet_lite import EfficientNetLite
    from clownfish.training.finetune.optimisation import Recipe, Targets, Tuner

    worker._prepare_process()
    weights = {key: torch.from_numpy(own) for key, own in read_tensors("efficientnet_lite0").items() if own.ndim}
    network = EfficientNetLite(blocks_per_stage=BACKBONES["efficientnet_lite0"].blocks_per_stage, strides=STRIDES)
    first_stage = FIRST_STAGE if name == "last" else 0
    source: Any = PhotoSource(pixels, Augmenter(SIZE, flip=True, seed=0))
    if name == "ready":
        source = Ready((torch.from_numpy(pixels),))
    if name == "last":
        with torch.inference_mode():
            front = network.run_front(weights, torch.from_numpy(pixels[:batch_size]), FIRST_STAGE)
        source = Ready(tuple(values.clone() for values in front))
    num_features = 1280 + 2 * sum((16, 24, 40, 80, 112, 192, 320))
    weights |= {
        "head.weight": torch.zeros(num_features, NUM_CLASSES),
        "head.bias": torch.zeros(NUM_CLASSES),
        "head.mean": torch.zeros(num_features),
        "head.inverse_deviation": torch.ones(num_features),
    }
    recipe = Recipe(
        epochs=100,
        batch_size=batch_size,
        learning_rate=LEARNING_RATE,
        optimizer="adamw",
        momentum=0.9,
        warmup_steps=20,
        depth_decay=0.8,
        weight_decay=0.02,
        dropout_rate=0.2,
        label_smoothing=0.0,
        mixup=0.0,
        mix=1.0,
        first_stage=first_stage,
        seed=0,
    )
    targets = Targets(labels=np.arange(len(pixels)) % NUM_CLASSES, class_weights=np.ones(NUM_CLASSES, np.float32))
    tuner = Tuner(weights, network, recipe, source, targets, choose_device("cpu"))
    return lambda num_photos: tuner.run_epoch(1, np.resize(np.arange(len(pixels)), num_photos))


if __name__ == "__main__":
    main()
