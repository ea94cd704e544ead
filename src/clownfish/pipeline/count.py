"""`clownfish count`: how many photos of each class there are among new ones."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import ModelFileError, OutputError, PhotosError
from clownfish.evaluation.counts import Counts, estimate_counts
from clownfish.files import check_writable, format_table, write_file
from clownfish.photos.scan import scan_photos
from clownfish.prediction.batch import predict_photos
from clownfish.prediction.classifier import Classifier, load_classifier
from clownfish.progress import NoProgress, Progress

COLUMNS = ("label", "counted", "corrected", "low", "high", "note")


@dataclass(frozen=True, kw_only=True, slots=True)
class CountTable:
    """How many photos of each class there are."""

    classes: tuple[str, ...]
    counts: Counts
    """One number a class."""
    num_photos: int
    """All that were found."""
    num_unusable: int
    """Photos that cannot be read; they are in no count."""
    num_unlike: int
    """Photos unlike anything that the model was trained on; they are under no answer, but those that are probably of a
    class are in the corrected counts. Answers that the model is unsure of are counted, since the correction knows how
    often they are wrong."""
    unusable: tuple[str, ...] = field(repr=False)
    """The first few of them, with the reason."""

    def list_rows(self) -> list[list[object]]:
        """One row a class, the columns of `COLUMNS`; None where nothing can be said."""
        numbers = zip(
            self.classes, self.counts.corrected, self.counts.low, self.counts.high, self.counts.notes, strict=True
        )
        return [
            [label, int(counted), *(None if np.isnan(value) else int(value) for value in values), note]
            for (label, *values, note), counted in zip(numbers, self.counts.counted, strict=True)
        ]


def count_photos(
    model: Classifier | str | Path,
    place: str | Path,
    *,
    photos_folder: str | Path | None = None,
    out: Path | None = None,
    progress: Progress | None = None,
) -> CountTable:
    """Count the photos of each class, corrected for the model's confusions, with 95 % intervals.

    A photo of which the model is unsure is counted with its most probable class: the confusions were measured
    on such photos too, and leaving them out would take more from the classes that are hard to tell.

    Args:
        model: a classifier, a model file or a run folder.
        place: a photo, a folder of any depth, or a CSV with a column "file".
        photos_folder: what the CSV's file names are relative to; None for the CSV's own folder.
        out: the CSV to write; None to write nothing.
        progress: shows how far the work has come.

    Returns:
        The counts.

    Raises:
        PhotosError: the place does not exist, holds no photo, or the CSV cannot be used.
        ModelFileError: the model cannot be used, or does not hold its confusions.
        OutputError: the table exists or cannot be written.
    """
    classifier = model if isinstance(model, Classifier) else load_classifier(model)
    confusions = _read_confusions(classifier)
    if out is not None:
        check_writable(out)
        if out.exists():
            raise OutputError(f"{out} exists already. Give another name with --out.")
    photos = scan_photos(Path(place), photos_folder=Path(photos_folder) if photos_folder else None)
    first = next(photos, None)
    if first is None:
        raise PhotosError([f"There is no photo in {place}. Give a photo, a folder that holds some, or a CSV."])
    answers: Counter[int] = Counter()
    unusable: list[str] = []
    num_photos = num_unlike = 0
    with (progress or NoProgress()).show_stage("Classifying", None) as advance:
        for answer in predict_photos(classifier, chain([first], photos)):
            num_photos += 1
            if answer.probabilities is None:
                unusable.append(f"{answer.photo.file}: {answer.note}")
            elif answer.status == "unlike anything seen":
                num_unlike += 1
            else:
                answers[int(answer.probabilities.argmax())] += 1
            advance()
    counted = np.array([answers[number] for number in range(len(classifier.classes))], np.int64)
    table = CountTable(
        classes=classifier.classes,
        counts=estimate_counts(
            confusions.matrix, confusions.num_groups, counted, rejected=confusions.rejected, num_unlike=num_unlike
        ),
        num_photos=num_photos,
        num_unusable=len(unusable),
        num_unlike=num_unlike,
        unusable=tuple(unusable[:5]),
    )
    if out is not None:
        write_file(out, format_table(COLUMNS, table.list_rows()))
    return table


def describe_counts(table: CountTable) -> Sequence[str]:
    """Tell the counts in lines for the screen, most photos first."""
    width = max(len("class"), *(len(label) for label in table.classes))
    lines = [
        f"Photos {table.num_photos} = counted {int(table.counts.counted.sum())} + unlike anything seen"
        f" {table.num_unlike} + unusable {table.num_unusable}",
        *(f"  {text}" for text in table.unusable),
        "",
        f"{'class':<{width}}  answers  probably  95 % interval",
    ]
    for label, counted, corrected, low, high, note in sorted(table.list_rows(), key=lambda row: -int(str(row[1]))):
        interval = f"{low} to {high}" if corrected is not None else f"unknown: {note}"
        lines.append(f"{label:<{width}}  {counted:>7}  {'-' if corrected is None else corrected:>8}  {interval}")
    return [
        *lines,
        "",
        "Probably: the answers corrected for the confusions seen in cross-validation. That holds for photos taken like"
        " those the model was trained on, and of its classes; new sites, cameras or species are not in the interval.",
        *_describe_unlike(table),
    ]


def _describe_unlike(table: CountTable) -> Sequence[str]:
    """What became of photos without an answer, where there are any."""
    if not table.num_unlike:
        return []
    low, probably, high = table.counts.unlike
    return [
        f"Of the {table.num_unlike} photo{'s' * (table.num_unlike != 1)} unlike anything seen, about {probably}"
        f" ({low} to {high}) are of these classes, as far as cross-validation tells how many of each are called so:"
        " they are in the corrected counts, the others in none. Look at them and add those you can name."
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Confusions:
    """Out-of-fold answers of the model."""

    matrix: NDArray[np.int64]
    """Of photos that are not rejected, shape (num_classes, num_classes), rows true."""
    rejected: NDArray[np.int64]
    """Photos of each class that are unlike anything seen, shape (num_classes,)."""
    num_groups: NDArray[np.int64]
    """Of all photos of each class, shape (num_classes,)."""


def _read_confusions(classifier: Classifier) -> _Confusions:
    held = classifier.read_metadata("confusions")
    if held is None or (isinstance(held, dict) and "matrix" in held and "rejected" not in held):
        raise ModelFileError(
            f"{classifier.path} does not hold how often its classes are confused, which counting needs."
            " Train again with this version of clownfish."
        )
    num_classes = len(classifier.classes)
    try:
        matrix, rejected, num_groups = (np.array(held[key], np.int64) for key in ("matrix", "rejected", "num_groups"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(f"The metadata of {classifier.path} is damaged: {error}.") from error
    shapes_fit = matrix.shape == (num_classes, num_classes) and rejected.shape == num_groups.shape == (num_classes,)
    if not shapes_fit or min(matrix.min(), rejected.min()) < 0:
        raise ModelFileError(f"The metadata of {classifier.path} is damaged: its confusions do not fit its classes.")
    return _Confusions(matrix=matrix, rejected=rejected, num_groups=num_groups)
