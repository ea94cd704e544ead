"""Is a photo like those the model knows? One number from three, all simple enough for a phone.

near: -log of the largest calibrated probability; large where no class fits.
distance: to the nearest class mean in the whitened space (Mahalanobis on normalised features; Mueller & Hein 2025,
arXiv 2505.18032).
norm: length of the standardised features; very large for things that are no such photos at all.

Each becomes a surprise, -log of the share of known photos that score as high, continued beyond the largest known
score along an exponential tail. The statistic is near_weight * near + (1 - near_weight) * (distance + norm) / 2; that
is a weighted form of Fisher's way to combine p-values. docs/decisions/0011-unknown-species.md has what was compared.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class SurpriseTable:
    """From a score to -log of the share of known photos with at least that score."""

    scores: NDArray[np.float64]
    """Ascending, shape (num_knots,)."""
    surprises: NDArray[np.float64]
    """Ascending, shape (num_knots,); between two knots a straight line."""
    slope: float
    """Beyond the last knot, per unit of the score."""

    def apply(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look up scores.

        Args:
            scores: any shape.

        Returns:
            Surprises of the same shape.
        """
        beyond = np.maximum(scores - self.scores[-1], 0.0) * self.slope
        result: NDArray[np.float64] = np.interp(scores, self.scores, self.surprises) + beyond
        return result

    def to_json(self) -> dict[str, Any]:
        """Turn into lists, for the model file."""
        return {"scores": self.scores.tolist(), "surprises": self.surprises.tolist(), "slope": self.slope}


@dataclass(frozen=True, kw_only=True, slots=True)
class NoveltyRule:
    """When a photo counts as unlike anything seen."""

    class_means: NDArray[np.float64]
    """Of the embedding without its last number, shape (num_classes, num_axes)."""
    near: SurpriseTable
    distance: SurpriseTable
    norm: SurpriseTable
    near_weight: float
    """Share of `near` in the statistic, 0 to 1."""
    threshold: float
    """A statistic above it is unlike anything seen; infinite where that cannot be known."""

    def measure(
        self, probabilities: NDArray[np.floating[Any]], embeddings: NDArray[np.floating[Any]]
    ) -> NDArray[np.float64]:
        """Compute the statistic.

        Args:
            probabilities: calibrated, shape (num_photos, num_classes).
            embeddings: as the model's output "embedding", shape (num_photos, num_axes + 1).

        Returns:
            Shape (num_photos,); the larger, the less like what is known.
        """
        scores = compute_scores(probabilities, embeddings, self.class_means)
        tables = (self.near, self.distance, self.norm)
        near, distance, norm = (table.apply(own) for table, own in zip(tables, scores, strict=True))
        return self.near_weight * near + (1 - self.near_weight) * (distance + norm) / 2

    def to_json(self) -> dict[str, Any]:
        """Turn into lists, for the model file."""
        return {
            "class_means": self.class_means.tolist(),
            **{name: getattr(self, name).to_json() for name in ("near", "distance", "norm")},
            "near_weight": self.near_weight,
            "threshold": self.threshold if np.isfinite(self.threshold) else None,
        }


def compute_scores(
    probabilities: NDArray[np.floating[Any]], embeddings: NDArray[np.floating[Any]], class_means: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute the three scores of each photo.

    Args:
        probabilities: calibrated, shape (num_photos, num_classes).
        embeddings: shape (num_photos, num_axes + 1).
        class_means: shape (num_classes, num_axes).

    Returns:
        near, distance and norm, each of shape (num_photos,).
    """
    points = embeddings[:, :-1].astype(np.float64)
    squares = (points**2).sum(axis=1)[:, None] - 2 * points @ class_means.T + (class_means**2).sum(axis=1)
    distance: NDArray[np.float64] = np.sqrt(np.maximum(squares.min(axis=1), 0.0))
    near = -np.log(np.maximum(probabilities.max(axis=1).astype(np.float64), _SMALLEST_PROBABILITY))
    return near, distance, embeddings[:, -1].astype(np.float64)


def read_novelty_rule(content: dict[str, Any]) -> NoveltyRule:
    """Turn `NoveltyRule.to_json` back.

    Args:
        content: the lists.

    Returns:
        The rule.
    """

    def read_table(name: str) -> SurpriseTable:
        table = content[name]
        scores, surprises = (np.array(table[key], np.float64) for key in ("scores", "surprises"))
        return SurpriseTable(scores=scores, surprises=surprises, slope=float(table["slope"]))

    threshold = content["threshold"]
    return NoveltyRule(
        class_means=np.array(content["class_means"], np.float64),
        near=read_table("near"),
        distance=read_table("distance"),
        norm=read_table("norm"),
        near_weight=float(content["near_weight"]),
        threshold=float("inf") if threshold is None else float(threshold),
    )
