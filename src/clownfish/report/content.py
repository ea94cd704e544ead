"""What a report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clownfish.records import EpochRow


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportPhoto:
    """One photo as the report shows it."""

    file: str
    """Path relative to the photo folder."""
    label: str
    """The class that the user says it shows."""
    predicted: str
    """The most probable class."""
    probability: float
    """Of the predicted class, 0 to 1."""
    correct: bool
    preview: bytes
    """JPEG, longest side at most 160 pixels; b"" if unavailable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportContent:
    """Everything that a report says."""

    name: str
    """Of the run."""
    created: str
    """Date and time in ISO 8601."""
    metrics: Mapping[str, Any]
    """What metrics.json holds, schema 1."""
    history: Sequence[EpochRow]
    best_epoch: int
    """The epoch whose model was kept."""
    messages: Sequence[str]
    """Warnings and notes for the user, one sentence each."""
    test_photos: Sequence[ReportPhoto]
    """Test photos, up to 100."""
    wrong_photos: Sequence[ReportPhoto]
    """Wrongly predicted validation and test photos, most confident first, up to 100."""
    example_photos: Sequence[ReportPhoto]
    """Training photos with their labels, up to 25."""
    unusable: Sequence[tuple[str, str]]
    """File and reason of each photo that could not be used."""
    options: Mapping[str, Any]
    """Every option as used."""
    model: Mapping[str, Any]
    """Facts about the network: backbone, input_size, num_features, num_parameters (of the backbone),
    num_trained_parameters, weight_decay, licence; any of them may be missing."""
