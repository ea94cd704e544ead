"""Photos, or the activations that a frozen front of the network makes of them, to batches, one ahead of the step."""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from clownfish.training.finetune.augmentation import Augmenter
from clownfish.training.finetune.device import Device

_NUM_AHEAD = 3

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step works on."""

    rows: NDArray[np.int64]
    inputs: tuple[Any, ...]
    """Of `PhotoSource` the pixels; of `ActivationSource` the activations and the features of the front."""


class Source(Protocol):
    """Where batches come from."""

    def load(self, rows: NDArray[np.int64], epoch: int | None) -> tuple[Any, ...]:
        """Load photos: as they are for epoch None, else as variants of this epoch."""
        ...


class PhotoSource:
    """Pixels, varied anew in every epoch."""

    def __init__(self, pixels: NDArray[np.uint8], augmenter: Augmenter) -> None:
        """Take what is needed.

        Args:
            pixels: shape (num_photos, size, size, 3); may be a file mapped to memory.
            augmenter: draws the variants.
        """
        self._pixels, self._augmenter = pixels, augmenter

    def load(self, rows: NDArray[np.int64], epoch: int | None) -> tuple[Any, ...]:
        """Load photos, shape (len(rows), size, size, 3)."""
        if epoch is None:
            return (torch.from_numpy(self._pixels[rows]),)
        # one by one, so that every photo is varied on its own
        variants = [self._augmenter.draw(np.array(self._pixels[row]), epoch, row) for row in rows.tolist()]
        return (torch.stack(variants),)


class ActivationSource:
    """Activations of a few variants of each photo, computed once; each epoch draws one of them."""

    def __init__(self, activations: NDArray[np.float16], features: NDArray[np.float32], seed: int) -> None:
        """Take what is needed.

        Args:
            activations: shape (num_photos, num_variants, height, width, channels); the first variant is the photo.
            features: of the stages that were run, shape (num_photos, num_variants, num_features).
            seed: of the run.
        """
        self._activations, self._features, self._seed = activations, features, seed

    def load(self, rows: NDArray[np.int64], epoch: int | None) -> tuple[Any, ...]:
        """Load activations, shape (len(rows), channels, height, width), and features of the front."""
        variants = np.zeros(len(rows), np.int64)
        if epoch is not None:
            draws = np.random.default_rng([self._seed, epoch]).integers(
                0, self._activations.shape[1], len(self._activations)
            )
            variants = draws[rows]
        activations = torch.from_numpy(self._activations[rows, variants]).permute(0, 3, 1, 2).float()
        return activations, torch.from_numpy(self._features[rows, variants])


def load_batches(
    source: Source, rows: NDArray[np.int64], batch_size: int, epoch: int | None, device: Device
) -> Iterator[Batch]:
    """Load batches in order, ahead of the step that uses them.

    Args:
        source: where they come from.
        rows: numbers of the photos, in the order wanted.
        batch_size: photos a batch; the last may be smaller.
        epoch: for variants; None for photos as they are.
        device: that they are for.

    Yields:
        The batches, on the device.
    """
    chunks = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    with contextlib.closing(
        work_ahead(lambda own: Batch(own, device.send(source.load(own, epoch))), chunks)
    ) as batches:
        for batch in batches:
            yield Batch(batch.rows, device.receive(batch.inputs))


def work_ahead(
    function: Callable[[NDArray[np.int64]], Item], chunks: Sequence[NDArray[np.int64]]
) -> Generator[Item, None, None]:
    """Call a function on each chunk in one thread of its own, a few calls ahead.

    Args:
        function: what to call.
        chunks: its arguments.

    Yields:
        The results in order.
    """
    results: queue.Queue[Item | BaseException] = queue.Queue(_NUM_AHEAD)
    stopped = threading.Event()

    def put(result: Item | BaseException) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                results.put(result, timeout=0.1)
                return

    def work() -> None:
        torch.set_num_threads(1)  # of this thread only: the step has the cores
        try:
            for chunk in chunks:
                if stopped.is_set():
                    return
                put(function(chunk))
        except BaseException as error:  # noqa: BLE001 (the thread that waits for results raises it)
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        for _ in chunks:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stopped.set()
        thread.join()
