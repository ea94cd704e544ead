"""Fine-tuning from this side: the plan of a fit, and what comes of it.

Nothing here imports PyTorch. The helper works one epoch a request, and its state lies on disk after each; so an
interrupted run goes on where it was, and the rest of this process is as quick and small as without fine-tuning.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import Message
from clownfish.errors import FineTuningError
from clownfish.files import write_file
from clownfish.records import Head
from clownfish.regression.scaling import Scaling
from clownfish.training.fine_tuning_helper import DeviceFacts, TuningHelper
from clownfish.training.fine_tuning_options import FineTuningOptions

_DEPTH_DECAY = 0.8
"""Each stage further down learns with this share of the rate above it."""
_WEIGHT_DECAY = 0.02
_HEAD_NAMES = ("head.weight", "head.bias")
_NUM_VARIANTS = 4
_CACHE_ROWS = 256
_SWEPT_RATES = (1e-6, 0.1)
_NUM_SWEPT = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What is fine-tuned, before."""

    tensors: Mapping[str, NDArray[Any]]
    """Those that the features depend on, by name."""
    layout: Mapping[str, Any]
    """What they do not tell, for `training.finetune.network.open_network`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """One fine-tuning: where it starts, and the photos that take part."""

    name: str
    """Of its folder, such as fold-1."""
    head: Head
    """Trained on the features of the frozen network."""
    scaling: Scaling
    """Of these features; the layer learns on standardised ones."""
    labels: NDArray[np.int64]
    """Of every photo, shape (num_photos,)."""
    class_weights: NDArray[np.float32]
    """How much a photo of each class counts, shape (num_classes,)."""
    train: NDArray[np.int64]
    """Numbers of the photos to learn from."""
    validation: NDArray[np.int64]
    """Numbers of the photos that choose the epoch; may be empty."""
    asked: NDArray[np.int64]
    """Numbers of the photos to classify at the end."""
    seed: int
    measure_training: bool = False
    """Classify the training photos after each epoch, which takes a third longer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """What a fit has come to."""

    tensors: Mapping[str, NDArray[Any]]
    """Of the whole network, by name."""
    head: Head
    """On raw features of this network."""
    history: Sequence[Mapping[str, Any]]
    """One entry an epoch."""
    best_epoch: int
    lowest_epoch: int | None
    probabilities: NDArray[np.float64]
    """PyTorch's answers to the photos asked for."""
    num_trained_parameters: int
    notes: Sequence[str]
    """What the user should know."""


class Tuner:
    """Carries out fits in a helper process, in a folder that already holds `pixels.npy`."""

    def __init__(
        self,
        folder: Path,
        network: Network,
        options: FineTuningOptions,
        *,
        batch_size: int,
        dropout_rate: float,
        patience: int,
        seed: int,
    ) -> None:
        """Write where every fit starts.

        Args:
            folder: for the fits and their checkpoints.
            network: as pre-trained.
            options: how to fine-tune.
            batch_size: photos a step.
            dropout_rate: share of the features that is set to 0 in training.
            patience: a fit stops after so many epochs clearly worse than its best.
            seed: of every draw.
        """
        self._folder, self._network, self.options = folder, network, options
        self._batch_size, self._dropout_rate, self._patience, self._seed = batch_size, dropout_rate, patience, seed
        self.epochs = options.fine_tune_epochs
        self._helper = TuningHelper()
        write_file(folder / "start.npz", _pack({f"start/{name}": own for name, own in network.tensors.items()}))

    def __enter__(self) -> "Tuner":
        """Keep the helper while the context lasts."""
        self._helper.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        """End the helper."""
        self._helper.__exit__(*reason)

    def find_device(self) -> DeviceFacts:
        """Find out what computes.

        Returns:
            What is known of it.

        Raises:
            ConfigError: what is wanted is not there, or does not work.
            FineTuningError: the helper process fails.
        """
        return self._helper.find_device(self.options.device)

    def cache_activations(self, num_photos: int, *, on_photo: Callable[[], None] = lambda: None) -> None:
        """Run the stages that do not learn once, if there are any; after an interruption, anew.

        Args:
            num_photos: in pixels.npy.
            on_photo: called once for each photo that is done.

        Raises:
            FineTuningError: the helper process fails.
        """
        mark = self._folder / "activations.json"
        if not self.options.first_stage or mark.exists():
            return
        request = {
            "task": "cache",
            "folder": str(self._folder),
            "first_stage": self.options.first_stage,
            "layout": dict(self._network.layout),
            "flip": self.options.flip,
            "seed": self._seed,
            "num_variants": _NUM_VARIANTS,
            "device": self.options.device,
        }
        for start in range(0, num_photos, _CACHE_ROWS):
            self._helper.ask({**request, "start": start, "end": start + _CACHE_ROWS})
            for _ in range(min(_CACHE_ROWS, num_photos - start)):
                on_photo()
        write_file(mark, b"{}")

    def measure(self, fit: Fit) -> tuple[float, float]:
        """Measure seconds a step and seconds to classify a photo.

        Args:
            fit: a typical one.

        Returns:
            Both.

        Raises:
            FineTuningError: the helper process fails.
        """
        answer = self._helper.ask({"task": "measure", "folder": str(self._write_plan(fit))})
        return answer["step_seconds"], answer["photo_seconds"]

    def sweep_rates(self, fit: Fit) -> tuple[list[float], list[float]]:
        """Take steps with ever larger learning rates, from the weights at the start; the fit itself is not begun.

        Args:
            fit: whose training photos are shown.

        Returns:
            The rates, and the loss before the step with each; fewer losses where they were no numbers any more.

        Raises:
            FineTuningError: the helper process fails.
        """
        rates = np.geomspace(*_SWEPT_RATES, _NUM_SWEPT).tolist()
        answer = self._helper.ask({"task": "sweep", "folder": str(self._write_plan(fit)), "rates": rates})
        return rates, answer["losses"]

    def run(self, fit: Fit, *, on_epoch: Callable[[Mapping[str, Any]], None] = lambda _: None) -> Tuned:
        """Carry out a fit, or the rest of it.

        Args:
            fit: its plan.
            on_epoch: called with the numbers of each epoch that is done, those before an interruption too.

        Returns:
            The tuned network.

        Raises:
            FineTuningError: the loss became infinite, or the helper process fails.
        """
        folder = str(self._write_plan(fit))
        answer = self._helper.ask({"task": "advance", "folder": folder, "look": True})
        for row in answer["history"]:
            on_epoch(row)
        notes = [answer["note"]]
        while not answer["done"]:
            answer = self._helper.ask({"task": "advance", "folder": folder})
            if answer.get("diverged"):
                raise FineTuningError(
                    f"fine-tuning diverged with a learning rate of {self.options.fine_tune_learning_rate:g}; try a"
                    " smaller --fine-tune-learning-rate"
                )
            notes.append(answer["note"])
            on_epoch(answer["history"][-1])
        found = self._helper.ask({"task": "finish", "folder": folder})
        return self._collect(fit, found, answer["history"], [note for note in dict.fromkeys(notes) if note])

    def _collect(self, fit: Fit, found: Message, history: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> Tuned:
        tuned = {name.removeprefix("tuned/"): own for name, own in found.items() if name.startswith("tuned/")}
        weights = tuned["head.weight"].astype(np.float64) * fit.scaling.inverse_deviation[:, None]
        bias = tuned["head.bias"] - fit.scaling.mean @ weights
        own = {name: values for name, values in tuned.items() if name not in _HEAD_NAMES}
        return Tuned(
            tensors={**self._network.tensors, **own},
            head=Head(weights=weights.astype(np.float32), bias=bias.astype(np.float32)),
            history=history,
            best_epoch=found["best_epoch"],
            lowest_epoch=found["lowest_epoch"] or None,
            probabilities=found["probabilities"],
            num_trained_parameters=_count_parameters(tuned),
            notes=notes,
        )

    def _write_plan(self, fit: Fit) -> Path:
        folder, options = self._folder / fit.name, self.options
        recipe = {
            "epochs": self.epochs,
            "batch_size": self._batch_size,
            "learning_rate": options.fine_tune_learning_rate,
            "optimizer": options.fine_tune_optimizer,
            "momentum": options.fine_tune_momentum,
            "warmup_steps": options.warmup_steps,
            "depth_decay": _DEPTH_DECAY,
            "weight_decay": _WEIGHT_DECAY,
            "dropout_rate": self._dropout_rate,
            "label_smoothing": options.label_smoothing,
            "mixup": options.mixup,
            "mix": options.fine_tune_mix,
            "first_stage": options.first_stage,
            "seed": fit.seed,
        }
        plan = {
            "recipe": recipe,
            "layout": dict(self._network.layout),
            "device": options.device,
            "flip": options.flip,
            "patience": self._patience,
            "measure_training": fit.measure_training,
        }
        varies = fit.scaling.inverse_deviation > 0
        inverse = np.where(varies, fit.scaling.inverse_deviation, 1.0)[:, None]
        arrays: dict[str, NDArray[Any]] = {
            "start/head.weight": np.where(varies[:, None], fit.head.weights / inverse, 0.0).astype(np.float32),
            "start/head.bias": (fit.head.bias + fit.scaling.mean @ fit.head.weights).astype(np.float32),
            "start/head.mean": fit.scaling.mean,
            "start/head.inverse_deviation": fit.scaling.inverse_deviation,
            "labels": fit.labels,
            "class_weights": fit.class_weights,
            "train": fit.train,
            "validation": fit.validation,
            "asked": fit.asked,
        }
        write_file(folder / "plan.npz", _pack(arrays))
        write_file(folder / "plan.json", json.dumps(plan, indent=1).encode())
        return folder


def _count_parameters(tuned: Mapping[str, NDArray[Any]]) -> int:
    """As in the network that is written, where the scale of a normalisation is part of the kernel before it."""
    return sum(own.size for name, own in tuned.items() if own.ndim > 1 or name.endswith("bias"))


def _pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez(buffer, **named)
    return buffer.getvalue()
