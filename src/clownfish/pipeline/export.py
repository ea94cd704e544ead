"""`clownfish export`: a trained model in another form, with a certificate that it says the same."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clownfish.backbones import BACKBONES
from clownfish.backbones.state_dict import read_state_dict
from clownfish.backbones.timm_models import PREFIX as TIMM_PREFIX
from clownfish.errors import (
    ClownfishError,
    ConfigError,
    ExportError,
    ModelFileError,
    OutputError,
    PhotosError,
    UnusablePhotoError,
)
from clownfish.export.calibration import measure_ranges
from clownfish.export.labels import format_labels
from clownfish.export.onnx_file import ONNX_PRECISIONS, OnnxPrecision, build_reduced_onnx
from clownfish.export.tflite.lowering import lower_model
from clownfish.export.tflite.quantization import list_rounded_tensors
from clownfish.export.tflite_file import PRECISIONS, WEB_PRECISIONS, Precision, build_tflite, check_extra
from clownfish.export.torch_file import build_torch, rebuild_onnx
from clownfish.files import check_free, check_writable, encode_text, write_file, write_folder
from clownfish.images import decode_photo, read_photo_file
from clownfish.photos.scan import scan_labelled_photos
from clownfish.pipeline.certificate import Certificate, certify, choose_bar
from clownfish.pipeline.report import render_run_report
from clownfish.pipeline.run_exports import CERTIFICATE_ENDING
from clownfish.pipeline.run_photos import RunPhoto, find_run_photos
from clownfish.pipeline.web import describe_runtime, make_web_files
from clownfish.prediction.classifier import Classifier, load_classifier
from clownfish.progress import NoProgress, Progress

FORMATS = ("tflite", "onnx", "web", "torch", "saved-labels")
_NUM_CALIBRATED = 200
_MAX_NAMED = 5
_UNCALIBRATED = {"tflite": "dynamic", "onnx": "float16", "web": "float16"}
_RUNTIMES = {"tflite": "ai-edge-litert", "web": "ai-edge-litert", "onnx": "onnxruntime", "torch": "onnxruntime"}
"""What the check is done with; for PyTorch by putting the weights of the file into `model.onnx`."""
_ENDINGS = {"torch": "safetensors"}
_WITHOUT_EXPORT = {
    "openvino": "OpenVINO reads model.onnx as it is. ",
    "coreml": "On iOS, TensorFlow Lite and ONNX Runtime run what clownfish writes. ",
}


@dataclass(frozen=True)
class Export:
    """An exported model."""

    path: Path
    """The file."""
    certificate: Path | None
    """The certificate beside it; None for a file of labels."""
    facts: dict[str, Any] = field(repr=False)
    """What the certificate holds."""
    report: Path | None = None
    """The report of the run, which shows the certificate now; None if the file lies elsewhere or there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Photos:
    training: list[RunPhoto]
    """To learn the ranges of the numbers inside the network from."""
    held_out: list[RunPhoto]
    """To check on."""
    source: str


def export_classifier(
    model: str | Path,
    kind: str,
    *,
    precision: str | None = None,
    photos: str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    force: bool = False,
    folder: bool = False,
    progress: Progress | None = None,
) -> Export:
    """Write a model in another form, unless it then says something else.

    Args:
        model: a `model.onnx`, or the run folder that holds one.
        kind: "tflite", "onnx", "web", "torch" or "saved-labels".
        precision: "float32" (not onnx), "float16", "dynamic" (tflite only) or "int8"; None for float32 as TensorFlow
            Lite and for PyTorch, and int8 otherwise.
        photos: labelled photos to check on, and for int8 some that the model was trained on; None for those of the run.
        out: the file to write; None for a name beside the model.
        overwrite: replace an existing file.
        force: write the file even if it disagrees; it is then marked as not certified.
        folder: for web: a folder that installs as an app, instead of one file.
        progress: shows how far the work has come.

    Returns:
        Where the file and the certificate are, and what was found.

    Raises:
        ConfigError: there is no such form or precision.
        ModelFileError: the model cannot be used.
        MissingExtraError: the extra is not installed.
        PhotosError: there are no photos to calibrate on.
        ExportError: the exported model disagrees with the original, or could not be checked.
        OutputError: the file exists or cannot be written.
    """
    precision = _check_choice(kind, precision, folder=folder)
    if kind in ("tflite", "web"):
        check_extra()
    classifier = load_classifier(model)
    if classifier.read_metadata("precision") is not None:
        raise ModelFileError(
            f"{classifier.path} was made by clownfish export already. Give the model.onnx that it was made of."
        )
    _check_network(classifier, kind, precision)
    out = None if out is None else Path(out)
    if folder:
        path = classifier.path.with_name("web") if out is None else out
        check_free(path)
    else:
        path = _choose_path(classifier.path, kind, precision, out, overwrite=overwrite)
    if kind == "saved-labels":
        write_file(path, format_labels(classifier.classes))
        return Export(path=path, certificate=None, facts={})
    chosen = _find_photos(classifier, photos, is_calibrated=precision == "int8")
    build = _prepare(classifier, kind, precision, chosen)
    data = build({"precision": precision})
    bar = choose_bar(precision)
    certificate = certify(
        classifier,
        _open(path, data, kind, classifier),
        chosen.held_out,
        bar,
        progress or NoProgress(),
        is_for_phones=kind == "tflite",
    )
    if certificate.failures:
        if not force:
            raise ExportError(_describe_failure(path, classifier, certificate, chosen.source))
        data = build({"precision": precision, "not_certified": list(certificate.failures)})
    files = {path.name: data}
    if kind == "web":
        files = make_web_files(classifier, data, certificate.facts, certificate.failures, is_folder=folder)
    facts = _describe(classifier, path, files, kind, precision, chosen.source, certificate)
    if kind == "web":
        facts["exported"] |= {"model_sha256": hashlib.sha256(data).hexdigest(), "page": describe_runtime()}
    beside = _write(path, files, facts, is_folder=folder)
    return Export(path=path, certificate=beside, facts=facts, report=_show_in_report(path, classifier.path.parent))


def _write(path: Path, files: Mapping[str, bytes], facts: dict[str, Any], *, is_folder: bool) -> Path:
    """Write the certificate and then the export, so that there is never a file without a certificate."""
    beside = path.with_name(path.name + CERTIFICATE_ENDING)
    write_file(beside, encode_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n"))
    try:
        if is_folder:
            write_folder(path, files)
        else:
            write_file(path, next(iter(files.values())))
    except OutputError:
        beside.unlink(missing_ok=True)  # it certifies a file that is not there
        raise
    return beside


def _show_in_report(path: Path, run: Path) -> Path | None:
    """Render the report of the run with the certificate, if the file lies there; the export is done in any case."""
    if not (run / "report.json").is_file() or path.parent.resolve() != run.resolve():
        return None
    try:
        return render_run_report(run)
    except ClownfishError:  # an old run; `clownfish report` says what is wrong
        return None


def _check_choice(kind: str, precision: str | None, *, folder: bool) -> str:
    if kind not in FORMATS:
        hint = _WITHOUT_EXPORT.get(kind.lower().replace("-", ""), "")
        raise ConfigError(f"There is no form {kind!r}. {hint}Choose one of: {', '.join(FORMATS)}.")
    if folder and kind != "web":
        raise ConfigError(f"--folder is for --to web; --to {kind} writes one file. Leave it out.")
    known: dict[str, tuple[str, ...]] = {"tflite": PRECISIONS, "onnx": ONNX_PRECISIONS, "web": WEB_PRECISIONS}
    known |= {"torch": ("float32",), "saved-labels": ()}
    if precision is None:
        return {"tflite": "float32", "onnx": "int8", "web": "int8", "torch": "float32", "saved-labels": ""}[kind]
    if precision not in known[kind]:
        choice = f"Choose one of: {', '.join(known[kind])}." if known[kind] else "Leave it out."
        raise ConfigError(f"--to {kind} has no --quantize {precision}. {choice}")
    return precision


def _check_network(classifier: Classifier, kind: str, precision: str) -> None:
    """Say early what only the bundled networks can become."""
    name = str(classifier.backbone.get("name", ""))
    if not name.startswith(TIMM_PREFIX) or kind == "saved-labels" or (kind, precision) == ("onnx", "float16"):
        return
    form = f"--to {kind}" if kind != "onnx" else f"--to onnx --quantize {precision}"
    raise ModelFileError(
        f"{classifier.path} was trained on {name}; {form} knows the bundled networks only ({', '.join(BACKBONES)})."
        " Train with one of these, use model.onnx itself, or make it smaller: --to onnx --quantize float16."
    )


def _choose_path(model: Path, kind: str, precision: str, out: Path | None, *, overwrite: bool) -> Path:
    ending = "" if precision == "float32" else f"-{precision}"
    name = f"{model.stem}{ending}.{_ENDINGS.get(kind, kind)}"
    name = {"saved-labels": "labels.txt", "web": f"{model.stem}.html"}.get(kind, name)
    path = model.with_name(name) if out is None else out
    try:
        if path.is_dir():
            path = path / name
        check_writable(path)
        if path.exists() and path.samefile(model):
            raise OutputError(f"{path} is the model itself. Give another name with --out.")
    except OSError as error:  # such as a name that is too long
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. Choose another place with --out."
        ) from error
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already. Give another name with --out, or replace it with --overwrite.")
    return path


def _find_photos(classifier: Classifier, place: str | Path | None, *, is_calibrated: bool) -> _Photos:
    """Those of the run; or those that were given, divided by whether the model was trained on them."""
    if place is None:
        return _choose_unchanged(find_run_photos(classifier.path.parent), is_calibrated=is_calibrated)
    scan = scan_labelled_photos(Path(place), min_classes=1)
    training, held_out = [], []
    for photo in scan.photos:
        if photo.refusal or photo.label not in classifier.classes:
            continue
        try:
            content_hash = hashlib.sha256(read_photo_file(Path(photo.path))).hexdigest()
        except UnusablePhotoError:
            continue
        if classifier.was_trained_on(content_hash):
            training.append(RunPhoto(photo=photo, part="train", group=content_hash, content_hash=content_hash))
        else:
            held_out.append(RunPhoto(photo=photo, part="test", group=content_hash, content_hash=content_hash))
    source = "photos that were given, without those of the training"
    return _Photos(training=_spread(training), held_out=held_out, source=source)


def _choose_unchanged(found: Sequence[RunPhoto], *, is_calibrated: bool) -> _Photos:
    """A photo that was written over is none of the run's: it may even be one of those that the model learned from."""
    of_training = _spread([photo for photo in found if photo.part == "train"]) if is_calibrated else []
    of_others = [photo for photo in found if photo.part != "train"]
    training = [photo for photo in of_training if photo.is_unchanged()]
    held_out = [photo for photo in of_others if photo.is_unchanged()]
    source = "validation and test photos of the run"
    if num_changed := len(of_others) - len(held_out):
        source += f", without {num_changed} that changed since the training"
    if num_changed := len(of_training) - len(training):
        source += f"; calibrated without {num_changed} of {len(of_training)} training photos, which changed too"
    return _Photos(training=training, held_out=held_out, source=source)


def _spread(photos: list[RunPhoto]) -> list[RunPhoto]:
    """A sample over all classes, for photos lie sorted by class."""
    return photos[:: max(1, len(photos) // _NUM_CALIBRATED)][:_NUM_CALIBRATED]


def _prepare(classifier: Classifier, kind: str, precision: str, photos: _Photos) -> Callable[[dict[str, Any]], bytes]:
    """Do what takes time once; what is returned makes the file, with further facts in it."""
    model = classifier.path.read_bytes()
    pictures: list[NDArray[np.uint8]] = list(_load_pictures(classifier, photos.training)) if precision == "int8" else []
    if precision == "int8" and not pictures:
        raise PhotosError(
            [
                f"For int8, some of the photos that {classifier.path} was trained on are needed, and none is"
                " where it was, unchanged. Give them with --photos, or choose --quantize"
                f" {_UNCALIBRATED[kind]}, which needs none."
            ]
        )
    ranges = measure_ranges(model, list_rounded_tensors(lower_model(model)), pictures) if pictures else {}
    if kind == "torch":
        name, held = classifier.backbone["name"], classifier.read_all_metadata()
        original = _read_original(name)
        return lambda facts: build_torch(model, {**held, **facts}, name, original)
    if kind == "onnx":
        return lambda facts: build_reduced_onnx(model, cast(OnnxPrecision, precision), facts, ranges=ranges)
    threshold = None
    if classifier.rules is not None and np.isfinite(classifier.rules.threshold):
        threshold = float(classifier.rules.threshold)
    properties = classifier.read_all_metadata()
    return lambda facts: build_tflite(
        model,
        {**properties, **facts},
        cast(Precision, precision),
        score_threshold=threshold,
        ranges=ranges,
        for_web=kind == "web",
    )


def _open(path: Path, data: bytes, kind: str, original: Classifier) -> Classifier:
    """What was exported, ready to be asked."""
    if kind == "torch":
        data = rebuild_onnx(original.path.read_bytes(), data, original.backbone["name"])
    return Classifier(path, data)


def _read_original(name: str) -> dict[str, NDArray[Any]] | None:
    """The pre-trained weights of a network, where their package is installed and unchanged."""
    entry = BACKBONES.get(name)
    path = None if entry is None else entry.find_weights()
    if entry is None or path is None:
        return None
    data = path.read_bytes()
    return read_state_dict(data) if hashlib.sha256(data).hexdigest() == entry.sha256 else None


def _load_pictures(classifier: Classifier, photos: Sequence[RunPhoto]) -> Iterator[NDArray[np.uint8]]:
    for photo in photos:
        try:
            yield decode_photo(read_photo_file(Path(photo.photo.path)), classifier.preprocessing).pixels
        except UnusablePhotoError:
            continue


def _describe_failure(path: Path, classifier: Classifier, certificate: Certificate, source: str) -> str:
    lines = [f"{path.name} does not say what {classifier.path} says: {'; '.join(certificate.failures)}."]
    photos = certificate.facts.get("disagreeing_photos", [])
    if photos:
        named = ", ".join(f"{photo['file']} ({photo['before']}, now {photo['after']})" for photo in photos[:_MAX_NAMED])
        more = ", ..." if len(photos) > _MAX_NAMED else ""
        lines.append(f"They disagree on {named}{more}.")
    if not certificate.facts["num_photos"]:
        lines.append(f"Give photos that the model was not trained on with --photos; those looked for are {source}.")
    lines.append("Nothing was written; with --force it is, marked as not certified.")
    return " ".join(lines)


def _describe(
    classifier: Classifier,
    path: Path,
    files: Mapping[str, bytes],
    kind: str,
    precision: str,
    source: str,
    certificate: Certificate,
) -> dict[str, Any]:
    main = next(iter(files.values()))  # of a folder, the page
    runtime = _RUNTIMES[kind]
    found = certificate.facts
    if kind == "torch":  # the check is not run by PyTorch, so its time tells nothing
        found = {name: fact for name, fact in found.items() if name != "milliseconds_a_photo"}
    return {
        "schema": 1,
        "certified": not certificate.failures,
        "failures": list(certificate.failures),
        "clownfish": version("clownfish"),
        "original": {
            "file": classifier.path.name,
            "sha256": classifier.hash,
            "bytes": classifier.path.stat().st_size,
            "clownfish": classifier.read_all_metadata()["clownfish.version"],
            "runtime": f"onnxruntime {version('onnxruntime')}",
        },
        "exported": {
            "file": path.name,
            "sha256": hashlib.sha256(main).hexdigest(),
            "bytes": sum(map(len, files.values())),
            "form": kind,
            "precision": precision,
            "runtime": f"{runtime} {version(runtime)}",
        },
        "photos": source,
        **found,
    }
