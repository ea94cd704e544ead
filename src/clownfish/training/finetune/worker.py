"""What the helper process does: one epoch of one fit a request.

The requests are small and the state lies on disk after each, so the helper may die at any moment, and another one goes
on. Fine-tuning has a process of its own for a second reason: the C allocator is set so that PyTorch need not ask the
system for memory at every operation, which would surprise whatever else runs in the user's process.
"""

import ctypes
import json
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from clownfish.compute import count_cores
from clownfish.compute.worker import Message
from clownfish.errors import ConfigError, OutputError
from clownfish.training.descent import measure_answers
from clownfish.training.finetune.augmentation import Augmenter
from clownfish.training.finetune.batches import ActivationSource, PhotoSource, Source, load_batches
from clownfish.training.finetune.checkpoints import load_checkpoint, save_checkpoint
from clownfish.training.finetune.device import Device, choose_device
from clownfish.training.finetune.network import CutNetwork, arrange, open_network
from clownfish.training.finetune.optimisation import DivergedError, EpochState, Recipe, Targets, Tuner
from clownfish.training.selection import compute_band

_NUM_MEASURED_STEPS = 6
_FRONT_BATCH = 32
SECONDS_BETWEEN_CHECKPOINTS = 600.0
"""Inside an epoch, so that an interruption costs no more of a long one."""
_COUNTS = ("num_steps", "loss_sum", "num_right", "num_seen")


def handle_request(request: Message) -> Message:
    """Do what is asked; runs in a helper process.

    Args:
        request: "task", one of `_TASKS`, and what it needs.

    Returns:
        The answer of the task; "refused" if a file cannot be written, "exhausted" if the memory of a graphics card
            ran out, "fault" with a traceback if something unexpected happened.
    """
    _prepare_process()
    try:
        return _TASKS[request["task"]](request)
    except OutputError as error:
        return {"refused": str(error)}
    except torch.OutOfMemoryError:
        return {"exhausted": True}
    except Exception:  # noqa: BLE001 (the traceback goes to the process that asked)
        return {"fault": traceback.format_exc()}


class _Fit:
    """A fit under way: its plan, its network, and how it has gone."""

    def __init__(self, folder: Path) -> None:
        plan = json.loads((folder / "plan.json").read_bytes())
        self.arrays = {**_read_arrays(folder.parent / "start.npz"), **_read_arrays(folder / "plan.npz")}
        self.folder, self.plan = folder, plan
        self.recipe = Recipe(**plan["recipe"])
        source = _open_source(folder.parent, self.recipe, plan["flip"])
        targets = Targets(labels=self.arrays["labels"], class_weights=self.arrays["class_weights"])
        self._device = choose_device(plan["device"])
        network = open_network(plan["layout"], self._device)
        self.tuner = Tuner(_read_weights(self.arrays), network, self.recipe, source, targets, self._device)
        self.history: list[dict[str, Any]] = []
        self.best_epoch, self.lowest_epoch = 0, 0
        self.lowest_loss = self.limit = float("inf")
        self.best = self.tuner.mix_weights()
        self.note = ""
        self.within: EpochState | None = None
        self._saved = time.perf_counter()
        self._resume()

    @property
    def is_done(self) -> bool:
        num = len(self.history)
        return num >= self.recipe.epochs or num - self.best_epoch >= self.plan["patience"]

    def advance(self) -> None:
        """Run the next epoch, and store what it has come to."""
        started = time.perf_counter()
        epoch = len(self.history) + 1
        rows, validation = self.arrays["train"], self.arrays["validation"]
        shown_loss, shown_accuracy = self.tuner.run_epoch(epoch, rows, after=self.within, on_step=self._save_within)
        self.within = None
        row: dict[str, Any] = {"epoch": epoch, "shown_loss": shown_loss, "shown_accuracy": shown_accuracy}
        if self.plan["measure_training"]:
            losses, accuracy = self._measure(rows)
            row |= {"train_loss": float(losses.mean()), "train_accuracy": accuracy}
        losses, accuracy = self._measure(validation)
        if len(validation):
            row |= {"validation_loss": float(losses.mean()), "validation_accuracy": accuracy}
            if losses.mean() < self.lowest_loss:
                self.lowest_loss, self.limit = float(losses.mean()), compute_band(losses)
                self.lowest_epoch = epoch
        if not len(validation) or losses.mean() <= self.limit:
            self.best_epoch = epoch
            self.best = self.tuner.mix_weights()
        self.history.append({**row, "seconds": time.perf_counter() - started})
        self._save()

    def _measure(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
        labels = self.arrays["labels"][rows]
        probabilities = self.tuner.predict(rows)
        if not np.isfinite(probabilities).all():
            raise DivergedError
        losses, right = measure_answers(probabilities, labels)
        return losses, float(right.mean()) if len(rows) else 0.0

    def _save_within(self, within: EpochState) -> None:
        """Long epochs are not lost as a whole."""
        if time.perf_counter() - self._saved >= SECONDS_BETWEEN_CHECKPOINTS:
            self._save(within)

    def _save(self, within: EpochState | None = None) -> None:
        facts: dict[str, Any] = {
            "history": self.history,
            "best_epoch": self.best_epoch,
            "lowest_epoch": self.lowest_epoch,
            "lowest_loss": self.lowest_loss,
            "limit": self.limit,
        }
        state = {**self.tuner.export_state(), **{f"best/{name}": tensor for name, tensor in self.best.items()}}
        if within is not None:
            facts["within"] = {name: getattr(within, name) for name in _COUNTS}
            state["within/generator"] = within.generator
        try:
            save_checkpoint(self.folder, len(self.history), state, facts, step=within.num_steps if within else 0)
        except OutputError as error:  # the work itself goes on
            self.note = f"No checkpoint could be written, so an interruption would lose an epoch or more: {error}"
        self._saved = time.perf_counter()

    def _resume(self) -> None:
        found = load_checkpoint(self.folder)
        if found is None:
            return
        self.tuner.import_state(found.state)
        self.best = {name: self._device.place(arrange(found.state[f"best/{name}"])) for name in self.tuner.average}
        self.history = list(found.facts["history"])
        if "within" in found.facts:
            self.within = EpochState(**found.facts["within"], generator=found.state["within/generator"])
        self.best_epoch, self.lowest_epoch = found.facts["best_epoch"], found.facts["lowest_epoch"]
        self.lowest_loss, self.limit = found.facts["lowest_loss"], found.facts["limit"]
        if found.num_damaged:
            self.note = f"A damaged checkpoint was passed over; fine-tuning went on from epoch {len(self.history)}."


_open_fits: dict[str, _Fit] = {}
"""The latest fit only, so that its state need not be read back for every epoch."""


def _advance(request: Message) -> Message:
    folder = Path(request["folder"])
    fit = _find_fit(folder)
    if not fit.is_done and not request.get("look"):
        try:
            fit.advance()
        except DivergedError:
            return {"diverged": True}
    return {"history": fit.history, "done": fit.is_done, "note": fit.note}


def _finish(request: Message) -> Message:
    """Hand over the weights of the best epoch, and what they say of the photos asked for."""
    fit = _find_fit(Path(request["folder"]))
    # from pixels through the whole network, even where it learned from cached activations
    photos = _open_photos(fit.folder.parent, fit.recipe, fit.plan["flip"])
    probabilities = fit.tuner.predict(fit.arrays["asked"], photos, fit.best)
    _open_fits.clear()
    tuned = {f"tuned/{name}": tensor.cpu().contiguous().numpy() for name, tensor in fit.best.items()}
    return {"probabilities": probabilities, "best_epoch": fit.best_epoch, "lowest_epoch": fit.lowest_epoch, **tuned}


def _measure_speed(request: Message) -> Message:
    """Seconds a step takes, and seconds to classify a photo; the state of the fit is not touched."""
    fit = _Fit(Path(request["folder"]))
    rows = np.resize(fit.arrays["train"], _NUM_MEASURED_STEPS * fit.recipe.batch_size)
    fit.tuner.run_epoch(1, rows, max_steps=2)  # the first are slow
    started = time.perf_counter()
    fit.tuner.run_epoch(1, rows)
    step = (time.perf_counter() - started) / _NUM_MEASURED_STEPS
    started = time.perf_counter()
    fit.tuner.predict(rows)
    return {"step_seconds": step, "photo_seconds": (time.perf_counter() - started) / len(rows)}


def _sweep_rates(request: Message) -> Message:
    """Losses at growing learning rates, by a network of its own; the state of the fit is not touched."""
    fit = _Fit(Path(request["folder"]))
    return {"losses": fit.tuner.sweep_rates(fit.arrays["train"], np.array(request["rates"]))}


def _cache_activations(request: Message) -> Message:
    """Run the stages that do not learn once, on each photo and on variants of it."""
    folder, first_stage = Path(request["folder"]), request["first_stage"]
    device = choose_device(request["device"])
    network = open_network(request["layout"], device)
    assert isinstance(network, CutNetwork)
    start = _read_weights(_read_arrays(folder / "start.npz"))
    weights = {name: device.place(arrange(tensor)) for name, tensor in start.items()}
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    size = pixels.shape[1]
    source = PhotoSource(pixels, Augmenter(size, flip=request["flip"], seed=request["seed"]))
    rows = np.arange(request["start"], min(request["end"], len(pixels)))
    first_activations, first_features = _open_activations(folder, weights, network, device, request, pixels)
    for variant in range(request["num_variants"]):
        with torch.inference_mode():
            for batch in load_batches(source, rows, _FRONT_BATCH, variant or None, device):
                activations, features = network.run_front(weights, batch.inputs[0], first_stage)
                first_activations[batch.rows, variant] = activations.permute(0, 2, 3, 1).half().cpu().numpy()
                first_features[batch.rows, variant] = features.cpu().numpy()
    first_activations.flush()
    first_features.flush()
    return {}


def _open_activations(
    folder: Path,
    weights: dict[str, Any],
    network: CutNetwork,
    device: Device,
    request: Message,
    pixels: NDArray[np.uint8],
) -> tuple[Any, Any]:
    """The two files, as long as they have to be; made if this is the first request."""
    paths = folder / "activations.npy", folder / "front-features.npy"
    if request["start"] == 0:
        with torch.inference_mode():
            activations, features = network.run_front(
                weights, device.place(torch.from_numpy(np.array(pixels[:1]))), request["first_stage"]
            )
        _, channels, height, width = activations.shape
        outer = (len(pixels), request["num_variants"])
        needed = 2 * activations.numel() * outer[0] * outer[1]
        if shutil.disk_usage(folder).free < needed:
            raise OutputError(
                f"Cannot write {paths[0]}: {needed / 1e9:.1f} GB are needed, and less is free. Choose another place"
                " with --model-dir."
            )
        open_memmap(paths[0], "w+", np.float16, (*outer, height, width, channels)).flush()
        open_memmap(paths[1], "w+", np.float32, (*outer, features.shape[1])).flush()
    return open_memmap(paths[0], "r+"), open_memmap(paths[1], "r+")


def _find_device(request: Message) -> Message:
    """The device that would be used, or why the one that is wanted cannot be."""
    try:
        device = choose_device(request["wanted"])
    except ConfigError as error:
        return {"unavailable": str(error)}
    return {"device": device.kind, "name": device.name, "precision": device.precision}


_TASKS: dict[str, Callable[[Message], Message]] = {
    "device": _find_device,
    "advance": _advance,
    "finish": _finish,
    "measure": _measure_speed,
    "cache": _cache_activations,
    "sweep": _sweep_rates,
}


def _find_fit(folder: Path) -> _Fit:
    if str(folder) not in _open_fits:
        _open_fits.clear()
        _open_fits[str(folder)] = _Fit(folder)
    return _open_fits[str(folder)]


def _open_source(folder: Path, recipe: Recipe, flip: bool) -> Source:
    if recipe.first_stage:
        return ActivationSource(
            np.load(folder / "activations.npy", mmap_mode="r"),
            np.load(folder / "front-features.npy", mmap_mode="r"),
            recipe.seed,
        )
    return _open_photos(folder, recipe, flip)


def _open_photos(folder: Path, recipe: Recipe, flip: bool) -> Source:
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    return PhotoSource(pixels, Augmenter(pixels.shape[1], flip=flip, seed=recipe.seed))


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as arrays:
        return dict(arrays)


def _read_weights(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    own = {name.removeprefix("start/"): values for name, values in arrays.items() if name.startswith("start/")}
    return {name: torch.from_numpy(values) for name, values in own.items()}


_is_prepared: list[bool] = []


def _prepare_process() -> None:
    """Keep freed memory in the process (glibc), and use the cores that it may use."""
    if _is_prepared:
        return
    _is_prepared.append(True)
    torch.set_num_threads(count_cores())  # helpers are started with one thread, since most work side by side
    if sys.platform != "linux":
        return
    try:
        library = ctypes.CDLL("libc.so.6")
        # M_MMAP_MAX 0: no mapping of its own for a large block; M_TRIM_THRESHOLD: give nothing back; M_TOP_PAD: 64 MiB
        for parameter, value in ((-4, 0), (-1, 2**31 - 1), (-2, 64 << 20)):
            library.mallopt(parameter, value)
    except (OSError, AttributeError):  # another C library, such as musl
        return
