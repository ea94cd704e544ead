"""`clownfish predict`: a trained model on new photos, into a table or the format of a field tool."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from clownfish.errors import ConfigError, PhotosError, UnusablePhotoError
from clownfish.photos.scan import scan_photos
from clownfish.prediction.batch import predict_photos
from clownfish.prediction.classifier import Classifier, Prediction, load_classifier
from clownfish.prediction.table import TableSummary, write_predictions
from clownfish.progress import NoProgress, Progress
from clownfish.records import PhotoFile

if TYPE_CHECKING:
    from clownfish.prediction.study import Study

OUTPUTS = {
    "csv": "predictions.csv",
    "json": "predictions.json",
    "timelapse": "timelapse.json",
    "camtrap-dp": "camtrap-dp",
}
"""What is written without another name, by format."""


def predict_table(
    model: Classifier | str | Path,
    place: str | Path,
    out: str | Path | None = None,
    *,
    kind: str = "csv",
    study: str | Path | None = None,
    photos_folder: str | Path | None = None,
    overwrite: bool = False,
    max_error: str | float | None = None,
    on_row: Callable[[Sequence[str]], None] = lambda _: None,
    progress: Progress | None = None,
) -> TableSummary:
    """Classify a photo, a folder of photos or those listed in a CSV, and write what is said about each.

    Args:
        model: a classifier, a model file or a run folder.
        place: a photo, a folder of any depth, or a CSV with a column "file".
        out: the file to write, for "camtrap-dp" the folder; None for the name in `OUTPUTS`. Interrupted work is
            continued.
        kind: "csv", "json", "timelapse" or "camtrap-dp".
        study: for "camtrap-dp", a folder with deployments.csv and datapackage.json; None for the others.
        photos_folder: what the CSV's file names are relative to; None for the CSV's own folder.
        overwrite: replace an existing table.
        max_error: share of wrong answers to accept, such as "5%"; None for what the model was trained with.
        on_row: called with the cells of each row.
        progress: shows how far the work has come.

    Returns:
        What was written.

    Raises:
        PhotosError: the place does not exist, holds no photo, or the CSV or the study cannot be used.
        ModelFileError: the model cannot be used.
        OutputError: the file exists or cannot be written.
        ConfigError: the share makes no sense, or there is no such format.
    """
    path = Path(out or OUTPUTS.get(kind, ""))
    _check_choice(kind, study)
    classifier = _load(model, max_error)

    def find_photos() -> Iterator[PhotoFile]:
        return scan_photos(Path(place), photos_folder=Path(photos_folder) if photos_folder else None)

    photos = find_photos()
    first = next(photos, None)  # before any file is made
    if first is None:
        raise PhotosError([f"There is no photo in {place}. Give a photo, a folder that holds some, or a CSV."])
    write = _choose_writer(kind, None if study is None else Path(study), find_photos, classifier)
    with (progress or NoProgress()).show_stage("Classifying", None) as advance:

        def handle_row(cells: Sequence[str]) -> None:
            on_row(cells)
            advance()

        return write(classifier, chain([first], photos), path, overwrite=overwrite, on_row=handle_row)


def _check_choice(kind: str, study: str | Path | None) -> None:
    if kind not in OUTPUTS:
        raise ConfigError(f"There is no format {kind!r}. Choose one of: {', '.join(OUTPUTS)}.")
    if kind == "camtrap-dp" and study is None:
        raise ConfigError(
            "Camtrap DP holds where and when each camera stood and who did the study, which photos do not tell. Give"
            " a folder with deployments.csv and datapackage.json with --study."
        )
    if kind != "camtrap-dp" and study is not None:
        raise ConfigError(
            f"--format {kind} has no place for a study. Leave --study out, or choose --format camtrap-dp."
        )


def _choose_writer(
    kind: str, study: Path | None, find_photos: Callable[[], Iterator[PhotoFile]], classifier: Classifier
) -> Callable[..., TableSummary]:
    """Further formats are imported only for those who want them: one photo is to be answered fast."""
    if kind == "csv":
        return write_predictions
    from clownfish.prediction.field_files import write_document, write_package

    if study is None:
        return partial(write_document, kind=kind)
    from clownfish.prediction.study import fold_name, read_study
    from clownfish.report.names import find_binomials, write_binomial

    read = read_study(study)
    _check_deployments(read, find_photos(), study)
    names = {name: write_binomial(name) for name in find_binomials(classifier.classes)}
    taxa = read.name_taxa()
    names |= {name: taxa[fold_name(name)] for name in classifier.classes if fold_name(name) in taxa}
    return partial(write_package, study=read, scientific_names=names)


def _check_deployments(study: "Study", photos: Iterator[PhotoFile], folder: Path) -> None:
    """Before hours of work, not after."""
    num_homeless, named = 0, []
    for photo in photos:
        if study.find_deployment(photo.file, photo.columns) is None:
            num_homeless += 1
            named += [photo.file] if num_homeless <= 3 else []
    if num_homeless:
        raise PhotosError(
            [
                f"{num_homeless} photos belong to no deployment, such as {', '.join(named)}. Put the photos of each"
                f" into a folder that is called like its deploymentID in {folder / 'deployments.csv'}"
                f" ({', '.join(list(study.deployments)[:3])}), or give a CSV with the columns file,deploymentID."
            ]
        )


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
