"""`clownfish predict`: a trained model on new photos, into a table."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from clownfish.errors import PhotosError, UnusablePhotoError
from clownfish.photos.scan import scan_photos
from clownfish.prediction.batch import predict_photos
from clownfish.prediction.classifier import Classifier, Prediction, load_classifier
from clownfish.prediction.table import TableSummary, write_predictions
from clownfish.progress import NoProgress, Progress
from clownfish.records import PhotoFile


def predict_table(
    model: Classifier | str | Path,
    place: str | Path,
    out: str | Path,
    *,
    photos_folder: str | Path | None = None,
    overwrite: bool = False,
    max_error: str | float | None = None,
    on_row: Callable[[Sequence[str]], None] = lambda _: None,
    progress: Progress | None = None,
) -> TableSummary:
    """Classify a photo, a folder of photos or those listed in a CSV, and write one row a photo.

    Args:
        model: a classifier, a model file or a run folder.
        place: a photo, a folder of any depth, or a CSV with a column "file".
        out: the CSV to write; an interrupted one is continued.
        photos_folder: what the CSV's file names are relative to; None for the CSV's own folder.
        overwrite: replace an existing table.
        max_error: share of wrong answers to accept, such as "5%"; None for what the model was trained with.
        on_row: called with the cells of each row.
        progress: shows how far the work has come.

    Returns:
        What the table holds.

    Raises:
        PhotosError: the place does not exist, holds no photo, or the CSV cannot be used.
        ModelFileError: the model cannot be used.
        OutputError: the table exists or cannot be written.
        ConfigError: the share makes no sense.
    """
    classifier = _load(model, max_error)
    photos = scan_photos(Path(place), photos_folder=Path(photos_folder) if photos_folder else None)
    first = next(photos, None)  # before any file is made
    if first is None:
        raise PhotosError([f"There is no photo in {place}. Give a photo, a folder that holds some, or a CSV."])
    with (progress or NoProgress()).show_stage("Classifying", None) as advance:

        def handle_row(cells: Sequence[str]) -> None:
            on_row(cells)
            advance()

        return write_predictions(classifier, chain([first], photos), Path(out), overwrite=overwrite, on_row=handle_row)


def _load(model: Classifier | str | Path, max_error: str | float | None) -> Classifier:
    if isinstance(model, Classifier):
        return model if max_error is None else model.change_budget(max_error)
    return load_classifier(model, max_error=max_error)


def predict_one(
    model: Classifier | str | Path, photo: str | Path, *, max_error: str | float | None = None
) -> Prediction:
    """Classify one photo file in a helper process, so that it is bounded in time and memory like many.

    Args:
        model: a classifier, a model file or a run folder.
        photo: the file.
        max_error: share of wrong answers to accept, such as "5%"; None for what the model was trained with.

    Returns:
        The answer.

    Raises:
        UnusablePhotoError: the photo cannot be read or decoded.
        ModelFileError: the model cannot be used.
        ConfigError: the share makes no sense.
    """
    classifier = _load(model, max_error)
    file = PhotoFile(file=str(photo), path=str(photo), label="")
    answer = next(predict_photos(classifier, [file]))
    if answer.answered is None:
        raise UnusablePhotoError(f"{photo}: {answer.note}")
    return classifier.rank(answer.answered)
