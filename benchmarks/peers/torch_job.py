"""The peer PyTorch: a careful loop of one's own, features once, then a linear layer on them.

Two variants: "default" is PyTorch as installed; "tuned" keeps glibc from returning memory between
layers and lays tensors out channels last, which together make the backbone several times faster.
"""

import ctypes
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch  # type: ignore[import-not-found,unused-ignore]
from backbone import (
    BATCH_SIZE,
    IMAGE_SIZE,
    PIXEL_DEVIATION,
    PIXEL_MEAN,
    Job,
    find_photos,
    load_backbone,
    read_job,
    split_photos,
)
from PIL import Image
from torch.utils.data import DataLoader  # type: ignore[import-not-found,unused-ignore]
from torchvision.transforms import functional  # type: ignore[import-not-found,unused-ignore]

LEARNING_RATE = 1e-3
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


class PhotoDataset:
    """Photos as tensors; what PyTorch's loader asks for."""

    def __init__(self, photos: list[Path]) -> None:
        self._photos = photos

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, position: int) -> Any:
        with Image.open(self._photos[position]) as image:
            pixels = image.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
        return functional.normalize(functional.to_tensor(pixels), PIXEL_MEAN, PIXEL_DEVIATION)


def main() -> None:
    """Compute features, train, test, and print one line of JSON."""
    job = read_job(("default", "tuned"))
    torch.manual_seed(job.seed)
    if job.variant == "tuned":
        keep_memory()
    parts = split_photos(find_photos(job.photos), job.seed)
    photos = [photo for part in parts for photo in part]
    features = compute_features(photos, job)
    names = [photo.relative_to(job.photos).parts[0] for photo in photos]
    classes = sorted(set(names))
    labels = torch.tensor([classes.index(name) for name in names])
    num_train, num_test = len(parts[0]), len(parts[2])
    layer = train_layer(features[:num_train], labels[:num_train], len(classes), job.epochs)
    with torch.inference_mode():
        correct = layer(features[-num_test:]).argmax(1) == labels[-num_test:]
    report = {
        "accuracy": float(correct.float().mean()),
        "num_test": num_test,
        "versions": {name: version(name) for name in ("torch", "timm")},
    }
    print(json.dumps(report))


def compute_features(photos: list[Path], job: Job) -> Any:
    """Run the backbone over all photos once; shape (num_photos, 1280)."""
    layout = torch.channels_last if job.variant == "tuned" else torch.contiguous_format
    backbone = load_backbone().to(memory_format=layout)
    loader = DataLoader(PhotoDataset(photos), batch_size=BATCH_SIZE, num_workers=job.threads)
    with torch.inference_mode():
        return torch.cat([backbone(batch.to(memory_format=layout)) for batch in loader])


def train_layer(features: Any, labels: Any, num_classes: int, epochs: int) -> Any:
    """Train a linear layer with Adam for so many epochs."""
    layer = torch.nn.Linear(features.shape[1], num_classes)
    optimizer = torch.optim.Adam(layer.parameters(), lr=LEARNING_RATE)
    features, labels = features.clone(), labels.clone()
    for _ in range(epochs):
        for chosen in torch.randperm(len(features)).split(BATCH_SIZE):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(features[chosen]), labels[chosen]).backward()
            optimizer.step()
    return layer


def keep_memory() -> None:
    """Tell glibc to keep freed memory: PyTorch otherwise spends most of its time on page faults."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(_M_TOP_PAD, 64 << 20)


if __name__ == "__main__":
    main()
