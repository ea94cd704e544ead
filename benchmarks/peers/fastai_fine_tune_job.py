"""The peer fastai, fine-tuned: `fine_tune` with its defaults, for as many epochs as fit into the time given.

It gets the photos, the split, the weights and the cores of clownfish. Speed is measured first on a learner that is
thrown away; at least one epoch is run, even where that takes longer than the time given.
"""

import argparse
import copy
import csv
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch  # type: ignore[import-not-found,unused-ignore]
from backbone import BATCH_SIZE, IMAGE_SIZE, PIXEL_DEVIATION, PIXEL_MEAN
from fastai.vision.all import (  # type: ignore[import-not-found,unused-ignore]
    CategoryBlock,
    ColReader,
    DataBlock,
    ImageBlock,
    Normalize,
    Resize,
    ResizeMethod,
    accuracy,
    set_seed,
    vision_learner,
)
from fastai_job import load_body

_NUM_MEASURED = 4
Row = dict[str, str]


def main() -> None:
    """Train, test, and print one line of JSON."""
    started = time.perf_counter()
    options = read_options()
    torch.set_num_threads(options.threads)
    set_seed(options.seed)
    with options.photos.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    learner = make_learner([row for row in rows if row["part"] != "test"])
    test = [row for row in rows if row["part"] == "test"]
    with learner.no_bar(), learner.no_logging():
        frozen_seconds, seconds = measure_epochs(learner)
        left = options.seconds - (time.perf_counter() - started) - frozen_seconds
        epochs = max(1, int(left / seconds))
        learner.fine_tune(epochs)
        loader = learner.dls.test_dl(test, with_labels=True)
        probabilities, labels = learner.get_preds(dl=loader)
    report = {
        "accuracy": float(accuracy(probabilities, labels)),
        "num_test": len(test),
        "epochs": epochs,
        "versions": {name: version(name) for name in ("fastai", "torch", "timm")},
    }
    print(json.dumps(report))


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path, help="CSV with path, label and part (train, validation or test)")
    parser.add_argument("--seconds", type=float, required=True, help="how long all of it may take")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def make_learner(rows: list[Row]) -> Any:
    """Make fastai's learner with the pre-trained weights in its body."""
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_x=ColReader("path"),
        get_y=ColReader("label"),
        splitter=split_rows,
        item_tfms=Resize(IMAGE_SIZE, method=ResizeMethod.Squish),
        batch_tfms=Normalize.from_stats(PIXEL_MEAN, PIXEL_DEVIATION),
    )
    num_train = sum(row["part"] == "train" for row in rows)
    loaders = block.dataloaders(rows, bs=min(BATCH_SIZE, num_train))  # the last batch is dropped if it is not full
    learner = vision_learner(loaders, "tf_efficientnet_lite0", pretrained=False, metrics=accuracy)
    load_body(learner.model[0].model)
    learner.freeze()
    return learner


def split_rows(rows: list[Row]) -> tuple[list[int], list[int]]:
    """Positions of the training and of the validation photos."""
    parts = [row["part"] for row in rows]
    return (
        [place for place, part in enumerate(parts) if part == "train"],
        [place for place, part in enumerate(parts) if part == "validation"],
    )


def measure_epochs(learner: Any) -> tuple[float, float]:
    """Seconds of an epoch while the body is frozen, and of one while it is not; the learner stays as it was."""
    trial = copy.deepcopy(learner.model)
    groups = list(trial[0].parameters())
    found = []
    num_steps = len(learner.dls.train)
    for is_frozen in (True, False):
        for parameter in groups:
            parameter.requires_grad_(not is_frozen)
        for module in trial.modules():  # fastai's freezing leaves batch normalisation trainable
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.requires_grad_(True)
                module.bias.requires_grad_(True)
        started, done = time.perf_counter(), 0
        for inputs, labels in learner.dls.train:
            learner.loss_func(trial(inputs), labels).backward()
            done += 1
            if done == _NUM_MEASURED:
                break
        step = (time.perf_counter() - started) / done
        # the validation photos only go forward, a third of the work
        found.append(step * (num_steps + len(learner.dls.valid) / 3))
    return found[0], found[1]


if __name__ == "__main__":
    main()
