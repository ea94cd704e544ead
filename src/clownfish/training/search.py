"""Which set of options to try next: Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS 24)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from clownfish.errors import MissingExtraError


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Values of an option that may be tried; widened to hold the one at the start."""

    name: str
    low: float
    high: float
    is_logarithmic: bool = False
    """Small values as finely as large ones."""


LAYER_RANGES = (
    Range(name="learning_rate", low=1e-3, high=0.1, is_logarithmic=True),
    Range(name="momentum", low=0.5, high=0.95),
    Range(name="dropout_rate", low=0.0, high=0.6),
    Range(name="batch_size", low=8, high=128, is_logarithmic=True),
    Range(name="epochs", low=5, high=60, is_logarithmic=True),
)
"""Of the layer on top. Its weight decay, and how many of the epochs count, are chosen in each training anyway."""
FINE_TUNING_RANGES = (
    Range(name="fine_tune_learning_rate", low=3e-5, high=1e-3, is_logarithmic=True),
    Range(name="fine_tune_mix", low=0.25, high=1.0),
    Range(name="mixup", low=0.0, high=0.8),
    Range(name="label_smoothing", low=0.0, high=0.2),
)


def check_search() -> None:
    """Find out early whether a search is possible.

    Raises:
        MissingExtraError: the extra is not installed.
    """
    if find_spec("optuna") is None:
        raise MissingExtraError("--tune", "tune")


class Search:
    """Proposes one set of options after another; the first is the one at the start."""

    def __init__(self, ranges: Sequence[Range], start: Mapping[str, Any], *, seed: int) -> None:
        """Begin.

        Args:
            ranges: what may be tried.
            start: values of the same options at the start, by name; whole numbers stay whole.
            seed: decides the proposals.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._ranges = ranges
        self._start = {own.name: start[own.name] for own in ranges}
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed % 2**32))
        self._study.enqueue_trial(self._start)
        self._fail = optuna.trial.TrialState.FAIL
        self._trial: Any = None

    def ask(self) -> dict[str, Any]:
        """Propose values of all options, by name."""
        self._trial = self._study.ask()
        return {own.name: self._suggest(own) for own in self._ranges}

    def tell(self, loss: float | None) -> None:
        """Say what the last proposal has come to.

        Args:
            loss: the lower the better; None if it failed.
        """
        if loss is None:
            self._study.tell(self._trial, state=self._fail)
        else:
            self._study.tell(self._trial, loss)

    def _suggest(self, own: Range) -> Any:
        start = self._start[own.name]
        if isinstance(start, int):
            low, high = min(int(own.low), start), max(int(own.high), start)
            return self._trial.suggest_int(own.name, low, high, log=own.is_logarithmic)
        low, high = min(own.low, start), max(own.high, start)
        value = self._trial.suggest_float(own.name, low, high, log=own.is_logarithmic)
        return value if value == start else float(f"{value:.3g}")  # no more digits than mean something
