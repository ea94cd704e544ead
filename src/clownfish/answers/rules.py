"""All rules of a model together: from probabilities and embedding to a status and a set of possible classes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from clownfish.answers.budget import RiskCurve, parse_max_error, read_risk_curve
from clownfish.answers.novelty import NoveltyRule, read_novelty_rule

Status = Literal["ok", "unsure", "unlike anything seen"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRules:
    """What turns probabilities into an answer that may be used, or not."""

    max_error: float
    """Share of wrong answers that is accepted among those that are given."""
    curve: RiskCurve
    set_thresholds: NDArray[np.float64]
    """A class is possible if its probability is at least this, shape (num_classes,)."""
    novelty: NoveltyRule | None
    """None where nothing is known about unknown things."""

    @property
    def threshold(self) -> float:
        """Largest probability from which on a photo is answered; infinite if the budget cannot be kept."""
        found = self.curve.find_threshold(self.max_error)
        return float("inf") if found is None else found

    def change_budget(self, max_error: str | float) -> Self:
        """Accept another share of wrong answers.

        Args:
            max_error: such as "5%" or 0.05.

        Returns:
            Changed rules.

        Raises:
            ConfigError: it is not such a share.
        """
        return replace(self, max_error=parse_max_error(max_error))

    def decide(
        self, probabilities: NDArray[np.floating[Any]], embeddings: NDArray[np.floating[Any]] | None
    ) -> list[Status]:
        """Decide what to say about photos.

        Args:
            probabilities: calibrated, shape (num_photos, num_classes).
            embeddings: shape (num_photos, num_axes + 1); None where the model has none.

        Returns:
            One status a photo.
        """
        unsure = probabilities.max(axis=1) < self.threshold
        unlike = np.zeros(len(probabilities), np.bool_)
        if self.novelty is not None and embeddings is not None:
            unlike = self.novelty.measure(probabilities, embeddings) > self.novelty.threshold
        return [STATUSES[number] for number in np.where(unlike, 2, unsure.astype(np.int64))]

    def find_candidates(self, probabilities: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Find the possible classes; the most probable one always is.

        Args:
            probabilities: calibrated, shape (num_photos, num_classes).

        Returns:
            Shape (num_photos, num_classes).
        """
        candidates: NDArray[np.bool_] = probabilities >= self.set_thresholds
        candidates[np.arange(len(candidates)), probabilities.argmax(axis=1)] = True
        return candidates


def read_rules(read: Callable[[str], Any]) -> AnswerRules | None:
    """Read the rules of a model file.

    Args:
        read: from the name of a property to its content, or None; "answering", "prediction_sets" and "unknowns".

    Returns:
        The rules; None for a model without.

    Raises:
        KeyError, TypeError, ValueError: the properties are damaged.
    """
    answering, sets, unknowns = (read(name) for name in ("answering", "prediction_sets", "unknowns"))
    if answering is None or sets is None:
        return None
    return AnswerRules(
        max_error=float(answering["max_error"]),
        curve=read_risk_curve(answering["curve"]),
        set_thresholds=np.array(sets["thresholds"], np.float64),
        novelty=None if unknowns is None else read_novelty_rule(unknowns),
    )
