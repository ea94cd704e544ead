"""What a report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from clownfish.records import EpochRow

ExportState = Literal["unchanged", "changed", "elsewhere"]
"""Of an exported file: as it was checked, changed since, or not in the run folder."""


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
class ReportPair:
    """Two classes that are taken for each other, side by side."""

    first: str
    second: str
    first_photos: Sequence[ReportPhoto]
    """Photos of the first class that were named rightly, few."""
    second_photos: Sequence[ReportPhoto]
    confused_photos: Sequence[ReportPhoto]
    """Photos of either class that were taken for the other, few."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportMap:
    """Where in a photo the answer comes from."""

    photo: ReportPhoto
    rival: str
    """The class that the predicted one is compared with: the true one, or the second most probable."""
    picture: bytes
    """JPEG of the photo with the map on it."""
    placed: float
    """The part of the difference in score that the map shows."""
    unplaced: float
    """The part that belongs to no place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportChange:
    """A photo that an exported file names otherwise than the original."""

    photo: ReportPhoto
    """With the class and the probability that the exported file gives."""
    before: str
    """The class that the original gives."""
    before_probability: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportExport:
    """An exported file, with its certificate."""

    file: str
    state: ExportState
    failures: Sequence[str]
    """Why it is not certified; none if it is."""
    rows: Sequence[tuple[str, str]]
    """What each fact of the certificate is called, and its value."""
    changes: Sequence[ReportChange] = ()
    """Photos on which the two disagree, few."""
    num_changes: int = 0
    """All such photos."""


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
    pairs: Sequence[ReportPair] = ()
    """The classes that are confused most, few."""
    maps: Sequence[ReportMap] = ()
    """Where the model looks, few."""
    suspicious_photos: Sequence[ReportPhoto] = ()
    """Photos whose label looks wrong, likeliest first; `predicted` is the label that suits them better."""
    shortcut_photos: Mapping[str, ReportPhoto] = field(default_factory=dict)
    """By file name, the photos that the shortcuts in the metrics name as examples."""
    min_groups: int = 20
    """With fewer groups of photos, a range is all that can be said about the accuracy."""
    min_groups_of_class: int = 5
    """With fewer groups of a class, a range is all that can be said about it."""
    exports: Sequence[ReportExport] = ()
    """What was exported of the model."""
