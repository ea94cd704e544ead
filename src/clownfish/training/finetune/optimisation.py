"""The steps of fine-tuning: rates by depth, warm-up and cosine, averaged weights; an epoch at a time.

Every draw (order, variants, dropout, mixing) follows from the seed and the epoch alone, and the state between two
epochs is a dictionary of tensors. So an epoch that starts from a stored state does exactly what it would have done
without the interruption.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from clownfish.training.finetune.batches import Source, load_batches
from clownfish.training.finetune.device import Device
from clownfish.training.finetune.network import Network, arrange, compute_logits

_EVALUATION_BATCH = 32
_BETAS_OF_ADAM = 0.999


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How to fine-tune; see `training.fine_tuning.FineTuningOptions`."""

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str
    momentum: float
    warmup_steps: int
    depth_decay: float
    """Each stage further down learns with its rate times this."""
    weight_decay: float
    dropout_rate: float
    label_smoothing: float
    mixup: float
    mix: float
    """Share of the way from the start to the averaged weights that is gone at last."""
    first_stage: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """What is to be learned."""

    labels: NDArray[np.int64]
    """Class of every photo, shape (num_photos,)."""
    class_weights: NDArray[np.float32]
    """How much a photo of each class counts, shape (num_classes,)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochState:
    """How far an epoch has come, beside the weights."""

    num_steps: int = 0
    loss_sum: float = 0.0
    num_right: int = 0
    num_seen: int = 0
    generator: Any = None
    """State of the generator of dropout and mixing."""


class DivergedError(Exception):
    """The loss is no number any more."""


class Tuner:
    """A network under way."""

    def __init__(
        self,
        weights: Mapping[str, Any],
        network: Network,
        recipe: Recipe,
        source: Source,
        targets: Targets,
        device: Device,
    ) -> None:
        """Start from weights.

        Args:
            weights: all tensors by name, with the layer on top.
            network: what is computed with them.
            recipe: how to go on.
            source: of batches; of activations where the recipe's first stage is not 0.
            targets: classes of the photos.
            device: that computes.
        """
        self.network, self.recipe, self._source, self._device = network, recipe, source, device
        self._labels = torch.from_numpy(targets.labels)
        self._class_weights = device.place(torch.from_numpy(targets.class_weights))
        self._depths = network.list_trained(weights, recipe.first_stage)
        self.weights = {name: device.place(arrange(tensor)) for name, tensor in weights.items()}
        for name in self._depths:
            self.weights[name] = self.weights[name].clone().requires_grad_()
        self._start = {name: self.weights[name].detach().clone() for name in self._depths}
        self.average = {name: tensor.clone() for name, tensor in self._start.items()}
        self._optimizer = self._make_optimizer()

    def run_epoch(
        self,
        epoch: int,
        rows: NDArray[np.int64],
        *,
        max_steps: int | None = None,
        after: EpochState | None = None,
        on_step: Callable[[EpochState], None] = lambda _: None,
    ) -> tuple[float, float]:
        """Take the steps of one epoch.

        Args:
            epoch: counted from 1.
            rows: numbers of the training photos.
            max_steps: stop early, to measure the speed.
            after: where to go on, if part of the epoch is done; the weights have to be those of then.
            on_step: called after each step.

        Returns:
            Mean loss and accuracy over the training photos, as they were when each was shown.

        Raises:
            DivergedError: the loss is no number any more.
        """
        recipe = self.recipe
        order = np.random.default_rng([recipe.seed, epoch]).permutation(rows)
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
        num_iterations = -(-len(rows) // recipe.batch_size)
        keep = 1 - 1 / max(num_iterations, 10)  # averages over about one epoch
        state = after or EpochState()
        if after is not None:
            generator.set_state(after.generator)
        shown = order if max_steps is None else order[: max_steps * recipe.batch_size]
        batches = load_batches(
            self._source, shown[state.num_steps * recipe.batch_size :], recipe.batch_size, epoch, self._device
        )
        for iteration, batch in enumerate(batches, start=state.num_steps):
            self._set_rates((epoch - 1) * num_iterations + iteration, recipe.epochs * num_iterations)
            labels = self._device.place(self._labels[batch.rows])
            loss, logits = self._compute_loss(batch.inputs, labels, generator)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise DivergedError
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            with torch.no_grad():
                for name, average in self.average.items():
                    average.lerp_(self.weights[name].detach(), 1 - keep)
            state = EpochState(
                num_steps=iteration + 1,
                loss_sum=state.loss_sum + value * len(labels),
                num_right=state.num_right + int((logits.detach().argmax(dim=1) == labels).sum()),
                num_seen=state.num_seen + len(labels),
                generator=generator.get_state(),
            )
            on_step(state)
        return state.loss_sum / state.num_seen, state.num_right / state.num_seen

    def sweep_rates(self, rows: NDArray[np.int64], rates: NDArray[np.float64]) -> list[float]:
        """Take one step with each learning rate, after which this network is of no more use.

        Args:
            rows: numbers of the training photos; they are shown again and again.
            rates: of the layer on top, one a step, shape (num_steps,).

        Returns:
            The loss of each batch before its step; fewer once it is no number any more.
        """
        recipe, losses = self.recipe, []
        random = np.random.default_rng([recipe.seed, 0])
        num = len(rates) * recipe.batch_size
        shown = np.concatenate([random.permutation(rows) for _ in range(-(-num // len(rows)))])[:num]
        generator = torch.Generator().manual_seed(recipe.seed)
        batches = load_batches(self._source, shown, recipe.batch_size, 1, self._device)
        for rate, batch in zip(rates, batches, strict=True):
            labels = self._device.place(self._labels[batch.rows])
            loss, _ = self._compute_loss(batch.inputs, labels, generator)
            if not math.isfinite(float(loss.detach())):
                break
            losses.append(float(loss.detach()))
            for group in self._optimizer.param_groups:
                group["lr"] = float(rate) * group["share"]
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
        return losses

    def mix_weights(self) -> dict[str, Any]:
        """Mix the averaged weights with those at the start (Wortsman et al. 2022, arXiv 2109.01903, equation 1)."""
        with torch.no_grad():
            share = self.recipe.mix
            return {name: torch.lerp(start, self.average[name], share) for name, start in self._start.items()}

    def predict(
        self, rows: NDArray[np.int64], source: Source | None = None, tuned: Mapping[str, Any] | None = None
    ) -> NDArray[np.float64]:
        """Classify photos as they are.

        Args:
            rows: numbers of the photos.
            source: of the photos; None for that of the training.
            tuned: the weights that have learned; None for the mixed ones as they stand.

        Returns:
            Probabilities, shape (len(rows), num_classes).
        """
        weights = {**self.weights, **(tuned or self.mix_weights())}
        found = [np.empty((0, weights["head.bias"].shape[0]))]
        with torch.inference_mode():
            for batch in load_batches(source or self._source, rows, _EVALUATION_BATCH, None, self._device):
                logits = compute_logits(weights, self._run(weights, batch.inputs))
                found.append(torch.softmax(logits.cpu().double(), dim=1).numpy())
        return np.concatenate(found)

    def export_state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, as tensors by name."""
        state = {f"weights/{name}": self.weights[name].detach() for name in self._depths}
        state |= {f"average/{name}": average for name, average in self.average.items()}
        for name in self._depths:
            for key, value in self._optimizer.state.get(self.weights[name], {}).items():
                if value is not None:
                    state[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
        return state

    def import_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `export_state` returned."""
        with torch.no_grad():
            for name in self._depths:
                self.weights[name].copy_(state[f"weights/{name}"])
                self.average[name].copy_(state[f"average/{name}"])
        for key, value in state.items():
            kind, _, rest = key.partition("/")
            if kind == "optimizer":
                entry, _, name = rest.partition("/")
                own = arrange(value.clone())
                # optimisers count their steps on the CPU
                self._optimizer.state[self.weights[name]][entry] = own if entry == "step" else self._device.place(own)

    def _make_optimizer(self) -> Any:
        recipe = self.recipe
        by_depth: dict[tuple[int, bool], list[Any]] = {}
        for name, depth in self._depths.items():
            by_depth.setdefault((depth, self.weights[name].ndim > 1), []).append(self.weights[name])
        groups = [
            {
                "params": tensors,
                "share": recipe.depth_decay**depth,
                # scales, shifts and biases are not drawn to zero
                "weight_decay": recipe.weight_decay if is_matrix else 0.0,
            }
            for (depth, is_matrix), tensors in sorted(by_depth.items(), key=lambda item: item[0])
        ]
        if recipe.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, _BETAS_OF_ADAM))

    def _set_rates(self, step: int, num_steps: int) -> None:
        warmup = min(self.recipe.warmup_steps, num_steps // 2)
        if step < warmup:
            factor = (step + 1) / (warmup + 1)
        else:
            factor = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(num_steps - warmup, 1)))
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * group["share"] * factor

    def _run(self, weights: Mapping[str, Any], inputs: tuple[Any, ...]) -> Any:
        return self.network.compute_features(weights, inputs, self.recipe.first_stage)

    def _compute_loss(self, inputs: tuple[Any, ...], labels: Any, generator: Any) -> tuple[Any, Any]:
        """Cross-entropy; with mixing, of weighted means of two photos (Zhang et al. 2018, mixup)."""
        recipe, share, partner = self.recipe, 1.0, None
        if recipe.mixup:
            beta = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
            share = float(beta.beta(recipe.mixup, recipe.mixup))
            partner = self._device.place(torch.randperm(len(labels), generator=generator))
            inputs = tuple(torch.lerp(values[partner].float(), values.float(), share) for values in inputs)
        with self._device.autocast():
            features = self._run(self.weights, inputs)
        kept = None
        if recipe.dropout_rate:
            kept = torch.rand(features.shape, generator=generator) >= recipe.dropout_rate
            kept = self._device.place(kept.float() / (1 - recipe.dropout_rate))
        logits = compute_logits(self.weights, features, kept=kept)
        loss = self._compute_cross_entropy(logits, labels)
        if partner is not None:
            loss = share * loss + (1 - share) * self._compute_cross_entropy(logits, labels[partner])
        return loss, logits

    def _compute_cross_entropy(self, logits: Any, labels: Any) -> Any:
        smoothing = self.recipe.label_smoothing
        return functional.cross_entropy(logits, labels, weight=self._class_weights, label_smoothing=smoothing)
