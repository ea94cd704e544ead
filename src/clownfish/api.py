"""The verbs for Python: the same names and options as on the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clownfish.config import TrainConfig, read_config
from clownfish.pipeline.audit import Audit, audit_photos
from clownfish.pipeline.compare import Comparison, compare_runs
from clownfish.pipeline.count import CountTable, count_photos
from clownfish.pipeline.evaluate import Evaluation, evaluate_classifier
from clownfish.pipeline.predict import predict_table
from clownfish.pipeline.report import render_run_report
from clownfish.pipeline.run import Run
from clownfish.pipeline.train import train_classifier
from clownfish.prediction.classifier import Classifier
from clownfish.prediction.table import TableSummary
from clownfish.progress import BarProgress, NoProgress, Progress

if TYPE_CHECKING:
    from clownfish.pipeline.export import Export

_PATHS = ("place", "folder", "weights", "corrections", "model_dir", "log_dir")


def train(
    photos: str | Path | None = None,
    *,
    out: str | Path | None = None,
    config: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Train a classifier on labelled photos and measure how good it is.

    Args:
        photos: a folder with one folder a class, or a CSV with the columns file,label.
        out: the run folder to make; None for a fresh one in `runs`.
        config: the config.toml of an earlier run, to repeat it; `options` change it.
        quiet: show no progress bars.
        **options: any option of the command line by its name in config.toml, such as epochs=10,
            group_by="site", split="70/15/15".

    Returns:
        The run: `path`, `metrics`, `report`, `classifier`.

    Raises:
        ClownfishError: the photos, an option or the run folder has to be corrected; the message says how.
    """
    base = TrainConfig() if config is None else read_config(Path(config))
    if photos is not None:
        options["place"] = photos
    for name in _PATHS:
        if options.get(name):
            options[name] = str(Path(options[name]).resolve())  # so that the run can be repeated from anywhere
    if "split" in options:
        options["shares"] = options.pop("split")
    return train_classifier(
        base.change(options), out=None if out is None else Path(out), progress=_choose_progress(quiet)
    )


def predict(
    model: Classifier | str | Path,
    photos: str | Path,
    out: str | Path | None = None,
    *,
    format: str = "csv",
    study: str | Path | None = None,
    photos_folder: str | Path | None = None,
    overwrite: bool = False,
    max_error: str | float | None = None,
    quiet: bool = False,
) -> TableSummary:
    """Classify many photos into a table or the format of a field tool; for a single one, see `Classifier.predict`.

    Args:
        model: a classifier, a model file or a run folder.
        photos: a photo, a folder of any depth, or a CSV with a column "file".
        out: the file to write, for "camtrap-dp" the folder; None for predictions.csv, predictions.json,
            timelapse.json or camtrap-dp. Interrupted work is continued.
        format: "csv", "json", "timelapse" or "camtrap-dp".
        study: for "camtrap-dp", a folder with deployments.csv and datapackage.json.
        photos_folder: what the CSV's file names are relative to; None for the CSV's own folder.
        overwrite: replace an existing table.
        max_error: share of wrong answers to accept, such as "5%"; None for what the model was trained with.
        quiet: show no progress bar.

    Returns:
        How many photos, how many unusable, unsure or unlike anything seen, how many of each label.

    Raises:
        ClownfishError: the model, the photos or the table has to be corrected; the message says how.
    """
    return predict_table(
        model,
        photos,
        out,
        kind=format,
        study=study,
        photos_folder=photos_folder,
        overwrite=overwrite,
        max_error=max_error,
        progress=_choose_progress(quiet),
    )


def evaluate(
    model: Classifier | str | Path,
    photos: str | Path,
    *,
    photos_folder: str | Path | None = None,
    group_by: str = "",
    group_regex: str = "",
    out: str | Path | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Compare a model's answers with known labels.

    Args:
        model: a classifier, a model file or a run folder.
        photos: a folder with one folder a class, or a CSV with the columns file,label.
        photos_folder: what the CSV's file names are relative to; None for the CSV's own folder.
        group_by: a column of the CSV whose equal values belong together, or "folder" for folders inside the classes.
        group_regex: a regular expression; photos whose file names match it in the same way belong together.
        out: a folder to make, for metrics.json and predictions.csv; None to write nothing.
        quiet: show no progress bar.

    Returns:
        The numbers and messages.

    Raises:
        ClownfishError: the model, the photos or the folder has to be corrected; the message says how.
    """
    return evaluate_classifier(
        model,
        photos,
        photos_folder=photos_folder,
        group_by=group_by,
        group_regex=group_regex,
        out=None if out is None else Path(out),
        progress=_choose_progress(quiet),
    )


def audit(
    photos: str | Path,
    *,
    out: str | Path | None = None,
    fast: bool = False,
    quiet: bool = False,
    **options: Any,
) -> Audit:
    """Look for copies, shortcuts, wrong labels and odd photos, without training a model.

    Args:
        photos: a folder with one folder a class, or a CSV with the columns file,label.
        out: a folder to make, for audit.json, tables and a page with pictures; None to write nothing.
        fast: skip what is slow.
        quiet: show no progress bars.
        **options: as for `train`, where they concern the photos, such as group_by="site".

    Returns:
        Numbers and messages.

    Raises:
        ClownfishError: the photos, an option or the folder has to be corrected; the message says how.
    """
    options["place"] = photos
    for name in _PATHS:
        if options.get(name):
            options[name] = str(Path(options[name]).resolve())
    return audit_photos(
        TrainConfig().change(options),
        out=None if out is None else Path(out),
        fast=fast,
        progress=_choose_progress(quiet),
    )


def count(
    model: Classifier | str | Path,
    photos: str | Path,
    *,
    photos_folder: str | Path | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> CountTable:
    """Count the photos of each class, corrected for the model's confusions, with 95 % intervals.

    Args:
        model: a classifier, a model file or a run folder.
        photos: a photo, a folder of any depth, or a CSV with a column "file".
        photos_folder: what the CSV's file names are relative to; None for the CSV's own folder.
        out: the CSV to write; None to write nothing.
        quiet: show no progress bar.

    Returns:
        The counts.

    Raises:
        ClownfishError: the model, the photos or the table has to be corrected; the message says how.
    """
    return count_photos(
        model,
        photos,
        photos_folder=photos_folder,
        out=None if out is None else Path(out),
        progress=_choose_progress(quiet),
    )


def export_model(
    model: str | Path,
    to: str,
    *,
    quantize: str | None = None,
    photos: str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    force: bool = False,
    folder: bool = False,
    quiet: bool = False,
) -> "Export":
    """Write a model in another form, and certify that it gives the same answers.

    Args:
        model: a `model.onnx`, or the run folder that holds one.
        to: "tflite" for phones, "web" for a page that any browser opens, "onnx" for a smaller one, "torch" for timm, or
            "saved-labels" for a list of the labels.
        quantize: "float32", "float16", "dynamic" or "int8"; None for float32 as TensorFlow Lite and for timm, and int8
            otherwise.
        photos: labelled photos to check on; None for those of the run that the model was not trained on.
        out: the file to write; None for a name beside the model.
        overwrite: replace an existing file.
        force: write the file even if it disagrees; it is then marked as not certified.
        folder: for "web": a folder that installs as an app, instead of one file.
        quiet: show no progress bar.

    Returns:
        Where the file and the certificate are, and what was found.

    Raises:
        ClownfishError: see `pipeline.export.export_classifier`.
    """
    from clownfish.pipeline.export import export_classifier  # onnx takes time to import, and train starts without it

    return export_classifier(
        model,
        to,
        precision=quantize,
        photos=photos,
        out=out,
        overwrite=overwrite,
        force=force,
        folder=folder,
        progress=_choose_progress(quiet),
    )


def render_report(run: Run | str | Path, *, out: str | Path | None = None) -> Path:
    """Render the report of a finished run again; the photos are not needed.

    Args:
        run: a run, or its folder.
        out: the HTML file to write; None to replace the folder's report.html.

    Returns:
        The file.

    Raises:
        ClownfishError: see `pipeline.report.render_run_report`.
    """
    return render_run_report(run.path if isinstance(run, Run) else run, out=out)


def compare(*runs: Run | str | Path, out: str | Path | None = None) -> Comparison:
    """Compare runs on the photos that they share, and say which differences are real.

    Args:
        *runs: two or more runs, or their folders.
        out: an HTML file to write; None to write nothing.

    Returns:
        The runs, each two of them compared, and messages.

    Raises:
        ClownfishError: see `pipeline.compare.compare_runs`.
    """
    return compare_runs([run.path if isinstance(run, Run) else run for run in runs], out=out)


def _choose_progress(quiet: bool) -> Progress:
    return NoProgress() if quiet else BarProgress()
