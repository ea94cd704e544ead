import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import clownfish
from clownfish.errors import ConfigError, ExportError, ModelFileError, OutputError, PhotosError
from clownfish.export import tflite_file
from clownfish.export.onnx_file import build_reduced_onnx
from clownfish.export.torch_file import build_torch
from clownfish.pipeline import export as export_module
from clownfish.pipeline.export import export_classifier
from clownfish.pipeline.run import Run
from clownfish.pipeline.run_photos import find_run_photos
from pictures import draw_photo, write_photo
from runs import Cli

HAS_RUNTIME = tflite_file.is_installed()
needs_runtime = pytest.mark.skipif(not HAS_RUNTIME, reason="needs the extra 'tflite'")
pytestmark = pytest.mark.usefixtures("no_helpers")


@needs_runtime
def test_certificate_says_what_was_compared(cli: Cli, digits_run: Run, tmp_path: Path) -> None:
    done = cli("export", digits_run.path, "--to", "tflite", "--out", "phone.tflite")
    assert (done.code, done.err) == (0, "")
    facts = json.loads((tmp_path / "phone.tflite.certificate.json").read_text(encoding="utf-8"))
    num_held_out = sum(digits_run.metrics["num_photos"][part] for part in ("validation", "test"))
    assert facts["certified"] and facts["num_photos"] == num_held_out > 5
    assert facts["agreement"]["value"] == 1 and facts["same_status"] == 1
    assert facts["probability_difference"]["largest"] <= 1e-4
    assert facts["accuracy"]["before"] == facts["accuracy"]["after"]
    assert facts["accuracy"]["num_photos"] == digits_run.metrics["num_photos"]["test"]
    difference = facts["accuracy"]["difference"]
    assert difference["low"] < difference["value"] == 0 < difference["high"]
    assert facts["original"]["sha256"] == digits_run.classifier.hash
    assert facts["exported"]["sha256"] == clownfish.load(tmp_path / "phone.tflite").hash
    assert facts["exported"]["bytes"] == (tmp_path / "phone.tflite").stat().st_size
    assert set(facts["milliseconds_a_photo"]["after"]) == {"batch_1", "batch_32"}
    assert facts["disagreeing_photos"] == []
    assert facts["resized_by_phone"]["agreement"]["value"] > 0.8  # digits of 8 x 8 pixels are not made smaller
    assert f"Same label on {num_held_out} of {num_held_out} photos (validation and test photos of the run)" in done.out
    assert done.out.endswith("Certificate: phone.tflite.certificate.json\n")
    again = cli("export", digits_run.path, "--to", "tflite", "--out", "phone.tflite")
    assert (again.code, again.err) == (
        2,
        "Error: phone.tflite exists already. Give another name with --out, or replace it with --overwrite.\n",
    )


@pytest.mark.parametrize("out", ["taken/labels.txt", "x" * 300], ids=["below a file", "too long"])
def test_place_that_cannot_be_written_is_told_before_the_work(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    with pytest.raises(OutputError, match=r"^Cannot write .+: .+ Choose another place with --out\.$"):
        export_classifier(digits_run.path, "onnx", photos="no photos are looked for", out=out)


def test_certificate_does_not_stay_without_its_file(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_small_files(path: Path, data: bytes) -> None:
        if len(data) > 1_000_000:
            raise OutputError(f"Cannot write {path}: No space left on device. Choose another place.")
        path.write_bytes(data)

    monkeypatch.setattr(export_module, "write_file", write_small_files)
    with pytest.raises(OutputError, match="No space left on device"):
        export_classifier(digits_run.path, "onnx", precision="float16", out=tmp_path / "half.onnx")
    assert list(tmp_path.iterdir()) == []


@needs_runtime
def test_int8_is_calibrated_on_training_photos_that_are_given(digits_run: Run, digits: Path, tmp_path: Path) -> None:
    model = shutil.copy(digits_run.path / "model.onnx", tmp_path / "alone.onnx")
    for kind, other in (("tflite", "dynamic"), ("onnx", "float16")):
        needed = rf"alone\.onnx was trained on are needed, and none is .*, unchanged\. Give them .* --quantize {other},"
        with pytest.raises(PhotosError, match=needed):
            export_classifier(model, kind, precision="int8")
    exported = export_classifier(model, "tflite", precision="int8", photos=digits, force=True)
    assert exported.path == tmp_path / "alone-int8.tflite"
    assert exported.facts["photos"] == "photos that were given, without those of the training"
    assert exported.facts["num_photos"] == 60 - digits_run.metrics["num_photos"]["train"]
    assert exported.facts["exported"]["bytes"] <= 4.2e6


def test_onnx_is_made_smaller(digits_run: Run, tmp_path: Path) -> None:
    exported = clownfish.export_model(digits_run.path, "onnx", quantize="float16", out=tmp_path, quiet=True)
    assert exported.path == tmp_path / "model-float16.onnx" and exported.certificate is not None
    assert exported.facts["certified"]
    assert exported.path.stat().st_size < 0.55 * (digits_run.path / "model.onnx").stat().st_size
    assert clownfish.load(exported.path).classes == digits_run.classifier.classes


@pytest.fixture
def run_of_insects(insects: Path, tmp_path: Path, shared_cache: None) -> Run:
    """A run whose photos a test may change; they lie in tmp_path / "photos"."""
    photos = shutil.copytree(insects, tmp_path / "photos")
    return clownfish.train(photos, out=tmp_path / "run", epochs=1, fast=True, quiet=True)


def test_photos_that_were_written_over_are_left_out(cli: Cli, run_of_insects: Run) -> None:
    found = find_run_photos(run_of_insects.path)
    trained = [photo for photo in found if photo.part == "train"]
    held_out = [photo for photo in found if photo.part != "train"]
    shutil.copy(trained[0].photo.path, held_out[0].photo.path)
    write_photo(Path(trained[1].photo.path), draw_photo(24, 24, seed=999))
    half = run_of_insects.path / "half.onnx"
    result = cli("export", run_of_insects.path, "--to", "onnx", "--quantize", "float16", "--out", half)
    source = "validation and test photos of the run, without 1 that changed since the training"
    assert f"of {len(held_out) - 1} photos ({source});" in result.out
    facts = json.loads(half.with_name("half.onnx.certificate.json").read_text(encoding="utf-8"))
    assert (facts["num_photos"], facts["photos"]) == (len(held_out) - 1, source)
    exported = export_classifier(run_of_insects.path, "onnx", precision="int8", force=True)
    calibrated = f"; calibrated without 1 of {len(trained)} training photos, which changed too"
    assert exported.facts["photos"] == source + calibrated


def test_run_whose_photos_all_changed_cannot_be_checked(run_of_insects: Run) -> None:
    for number, photo in enumerate(find_run_photos(run_of_insects.path)):
        write_photo(Path(photo.photo.path), draw_photo(24, 24, seed=1000 + number))
    with pytest.raises(
        ExportError, match=r"checked on\. Give .+ those looked for are .+ run, without \d+ that changed since the"
    ):
        export_classifier(run_of_insects.path, "onnx", precision="float16")
    with pytest.raises(PhotosError, match="none is where it was, unchanged"):
        export_classifier(run_of_insects.path, "onnx", precision="int8")


def test_labels_alone(cli: Cli, digits_run: Run, tmp_path: Path) -> None:
    done = cli("export", digits_run.path, "--to", "saved-labels", "--out", tmp_path)
    assert (done.code, done.out) == (0, f"File: {tmp_path / 'labels.txt'}\n")
    assert (tmp_path / "labels.txt").read_text().splitlines() == list(digits_run.classifier.classes)
    assert cli(
        "export", digits_run.path, "--to", "saved-labels", "--json", "--overwrite", "--out", tmp_path
    ).read_json()


def test_report_shows_the_certificates_of_its_run(cli: Cli, digits_run: Run, tmp_path: Path) -> None:
    run = shutil.copytree(digits_run.path, tmp_path / "digits-1")
    plain = (run / "report.html").read_text(encoding="utf-8")
    done = cli("export", run, "--to", "onnx", "--quantize", "float16")
    assert done.out.endswith(f"Report: {run / 'report.html'}\n")
    page = (run / "report.html").read_text(encoding="utf-8")
    facts = json.loads((run / "model-float16.onnx.certificate.json").read_text(encoding="utf-8"))
    assert 'href="#exports"' in page and 'href="#exports"' not in plain
    assert "It agrees with the original." in page and "The file beside this report is the one that was" in page
    for value in (
        facts["exported"]["sha256"],
        facts["original"]["sha256"],
        "ONNX, float16",
        "of the run",
        "at least needed",
    ):
        assert value in page
    (run / "model-float16.onnx").write_bytes(b"another")
    assert cli("report", run).code == 0
    assert "has changed since it was checked. Export again." in (run / "report.html").read_text(encoding="utf-8")
    (run / "model-float16.onnx").unlink()
    assert cli("report", run).code == 0
    assert "The file is not beside this report; its SHA-256" in (run / "report.html").read_text(encoding="utf-8")
    (run / "model.onnx").write_bytes(b"trained again")  # the certificate is of another model
    assert cli("report", run).code == 0
    assert 'href="#exports"' not in (run / "report.html").read_text(encoding="utf-8")


def test_report_stays_as_it_is_when_the_file_is_written_elsewhere(digits_run: Run, tmp_path: Path) -> None:
    before = (digits_run.path / "report.html").stat()
    exported = export_classifier(digits_run.path, "onnx", precision="float16", out=tmp_path)
    assert exported.report is None
    assert (digits_run.path / "report.html").stat() == before


def test_report_shows_photos_on_which_a_file_disagrees(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(digits_run.path, tmp_path / "digits-1")

    def build(model: bytes, precision: Any, facts: dict[str, Any], **options: Any) -> bytes:
        return build_reduced_onnx(change_weights(model, "pixel_scale", lambda scale: scale / 4), precision, facts)

    monkeypatch.setattr(export_module, "build_reduced_onnx", build)
    exported = export_classifier(run, "onnx", precision="float16", force=True)
    changed = exported.facts["disagreeing_photos"]
    assert exported.report is not None and len(changed) > 2
    page = exported.report.read_text(encoding="utf-8")
    section = page[page.index('<section id="exports"') : page.index('<section id="making"')]
    assert "It is not certified:" in section and exported.facts["failures"][0].partition(" on ")[0] in section
    assert section.count("<img ") == min(len(changed), 12)
    assert changed[0]["picture"] in section and f"{len(changed)} photos" in section
    shown = section.replace("<wbr>", "")
    assert all(photo["after"] in shown and photo["file"] in shown for photo in changed[:12])


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"original": {"sha256": "HASH"}}', '{"original": {"sha256": "HASH"}, "exported": []}']
)
def test_damaged_certificate_is_told(cli: Cli, digits_run: Run, tmp_path: Path, content: str) -> None:
    run = shutil.copytree(digits_run.path, tmp_path / "digits-1")
    path = run / "model.tflite.certificate.json"
    path.write_text(content.replace("HASH", digits_run.classifier.hash), encoding="utf-8")
    done = cli("report", run)
    assert done.code == 2 and done.err.startswith(f"Error: {path} does not hold a certificate (")
    assert done.err.endswith("). Remove it, or export again.\n")


# ---- broken exports: each has to be noticed


def permute_labels(model: bytes, facts: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    return model, {**facts, "labels": facts["labels"][::-1]}


def crop_photos(model: bytes, facts: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    return model, {**facts, "preprocessing": {**facts["preprocessing"], "resize": "crop"}}


def change_weights(model: bytes, name: str, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    changed = onnx.load_from_string(model)
    (tensor,) = (tensor for tensor in changed.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))
    return changed.SerializeToString()


def change_normalisation(model: bytes, facts: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    return change_weights(model, "pixel_scale", lambda scale: scale / 2), facts


def truncate_weights(model: bytes, facts: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    def truncate(weights: np.ndarray) -> np.ndarray:
        return np.where(np.arange(weights.size).reshape(weights.shape) < weights.size // 2, weights, 0)

    return change_weights(model, "block10.expand.weight", truncate), facts


@needs_runtime
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (permute_labels, r"its labels are not those of the original, in the same order; the labels agree on 0\.0 % of"),
        (crop_photos, r"it prepares photos otherwise \(crop to 224 pixels, not stretch to 224\)"),
        (change_normalisation, r"a probability differs by 0\.\d+, at most 0\.0001 is allowed"),
        (truncate_weights, r"a probability differs by 0\.\d+, at most 0\.0001 is allowed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_broken_export_is_noticed(
    digits_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes, dict[str, Any]], tuple[bytes, dict[str, Any]]],
    message: str,
) -> None:
    def build(model: bytes, facts: dict[str, Any], *args: Any, **options: Any) -> bytes:
        return tflite_file.build_tflite(*damage(model, facts), *args, **options)

    monkeypatch.setattr(export_module, "build_tflite", build)
    path = tmp_path / "broken.tflite"
    with pytest.raises(ExportError, match=message) as error:
        export_classifier(digits_run.path, "tflite", out=path)
    assert str(error.value).startswith("broken.tflite does not say what ")
    assert str(error.value).endswith("Nothing was written; with --force it is, marked as not certified.")
    if damage is permute_labels:
        assert "They disagree on digit_0/" in str(error.value) and ", now digit_9)" in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["float16", "int8"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (permute_labels, r"its labels are not those of the original, in the same order; the labels agree on 0\.0 % of"),
        (crop_photos, r"it prepares photos otherwise \(crop to 224 pixels, not stretch to 224\)"),
        (change_normalisation, r"its scores differ by \d+ %, at most (2|10) % is allowed"),
        (truncate_weights, r"its scores differ by \d+ %, at most (2|10) % is allowed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_broken_smaller_model_is_noticed(
    digits_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    damage: Callable[[bytes, dict[str, Any]], tuple[bytes, dict[str, Any]]],
    message: str,
) -> None:
    """Labels may agree all the same: what is rounded has to be near its original in its scores, too."""

    def build(model: bytes, precision: Any, facts: dict[str, Any], **options: Any) -> bytes:
        held = {**digits_run.classifier.read_all_metadata(), **facts}
        damaged, changed = damage(model, held)
        facts = {name: changed[name] for name in (*facts, "labels", "preprocessing")}
        return build_reduced_onnx(damaged, precision, facts, **options)

    monkeypatch.setattr(export_module, "build_reduced_onnx", build)
    with pytest.raises(ExportError, match=message):
        export_classifier(digits_run.path, "onnx", precision=precision, out=tmp_path / "broken.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (permute_labels, r"its labels are not those of the original, in the same order; the labels agree on 0\.0 % of"),
        (crop_photos, r"it prepares photos otherwise \(crop to 224 pixels, not stretch to 224\)"),
        (truncate_weights, r"a probability differs by 0\.\d+, at most 0\.0001 is allowed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_broken_weights_for_pytorch_are_noticed(
    digits_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes, dict[str, Any]], tuple[bytes, dict[str, Any]]],
    message: str,
) -> None:
    def build(model: bytes, facts: dict[str, Any], *args: Any) -> bytes:
        return build_torch(*damage(model, facts), *args)

    monkeypatch.setattr(export_module, "build_torch", build)
    with pytest.raises(ExportError, match=message):
        export_classifier(digits_run.path, "torch", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_weights_for_pytorch_need_no_pytorch(cli: Cli, digits_run: Run, tmp_path: Path) -> None:
    done = cli("export", digits_run.path, "--to", "torch", "--out", tmp_path)
    assert (done.code, done.err) == (0, "")
    facts = json.loads((tmp_path / "model.safetensors.certificate.json").read_text(encoding="utf-8"))
    assert facts["certified"] and facts["agreement"]["value"] == 1
    assert facts["exported"]["sha256"] == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert "milliseconds_a_photo" not in facts  # it was not run by PyTorch


@needs_runtime
def test_broken_export_is_written_by_force_and_marked(
    cli: Cli, digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(model: bytes, facts: dict[str, Any], *args: Any, **options: Any) -> bytes:
        return tflite_file.build_tflite(*change_normalisation(model, facts), *args, **options)

    monkeypatch.setattr(export_module, "build_tflite", build)
    done = cli("export", digits_run.path, "--to", "tflite", "--out", "broken.tflite", "--force")
    assert done.code == 0 and done.out.startswith("NOT CERTIFIED: ")
    facts = json.loads((tmp_path / "broken.tflite.certificate.json").read_text(encoding="utf-8"))
    assert facts["certified"] is False and len(facts["failures"]) >= 1
    assert clownfish.load(tmp_path / "broken.tflite").read_metadata("not_certified") == facts["failures"]


@needs_runtime
def test_photos_that_stretch_and_crop_differently_disagree(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digits are square; on wide photos the numbers tell, too."""
    for label in ("digit_1", "digit_7"):
        write_photo(tmp_path / "wide" / label / "0.png", draw_photo(96, 32, seed=len(label)))

    def build(model: bytes, facts: dict[str, Any], *args: Any, **options: Any) -> bytes:
        return tflite_file.build_tflite(*crop_photos(model, facts), *args, **options)

    monkeypatch.setattr(export_module, "build_tflite", build)
    with pytest.raises(ExportError, match=r"otherwise .*; a probability differs by 0\.\d+, at most 0\.0001 is allowed"):
        export_classifier(digits_run.path, "tflite", photos=tmp_path / "wide", out=tmp_path / "broken.tflite")


# ---- what cannot be exported


def test_export_without_photos_to_check_on_is_refused(digits_run: Run, tmp_path: Path) -> None:
    model = shutil.copy(digits_run.path / "model.onnx", tmp_path / "alone.onnx")
    with pytest.raises(
        ExportError, match=r"there is no photo that it could be checked on\. Give photos that the model"
    ):
        export_classifier(model, "onnx", precision="float16")
    exported = export_classifier(model, "onnx", precision="float16", force=True)
    assert exported.facts["failures"] == ["there is no photo that it could be checked on"]


@pytest.mark.parametrize(
    ("kind", "precision", "message"),
    [
        (
            "openvino",
            None,
            r"There is no form 'openvino'\. OpenVINO reads model\.onnx as it is\. Choose one of: tflite,",
        ),
        (
            "CoreML",
            None,
            r"There is no form 'CoreML'\. On iOS, TensorFlow Lite and ONNX Runtime run what clownfish writes",
        ),
        ("keras", None, r"There is no form 'keras'\. Choose one of: tflite, onnx, web, torch, saved-labels\."),
        ("tflite", "int4", r"--to tflite has no --quantize int4\. Choose one of: float32, float16, dynamic, int8\."),
        ("onnx", "float32", r"--to onnx has no --quantize float32\. Choose one of: float16, int8\."),
        ("torch", "int8", r"--to torch has no --quantize int8\. Choose one of: float32\."),
        ("saved-labels", "int8", r"--to saved-labels has no --quantize int8\. Leave it out\."),
    ],
)
def test_unknown_form_is_explained(digits_run: Run, kind: str, precision: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        export_classifier(digits_run.path, kind, precision=precision)


def test_model_is_not_overwritten_by_its_export(digits_run: Run, tmp_path: Path) -> None:
    model = shutil.copy(digits_run.path / "model.onnx", tmp_path / "model.onnx")
    with pytest.raises(OutputError, match=r"model\.onnx is the model itself\. Give another name with --out\."):
        export_classifier(model, "onnx", out=model, overwrite=True)


@needs_runtime
def test_exported_file_is_not_exported_again(digits_run: Run, tmp_path: Path) -> None:
    path = export_classifier(digits_run.path, "onnx", precision="float16", out=tmp_path / "half.onnx").path
    with pytest.raises(ModelFileError, match=r"half\.onnx was made by clownfish export already\. Give the model\.onnx"):
        export_classifier(path, "tflite")


def test_missing_extra_is_named_with_the_command(cli: Cli, digits_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    done = cli("export", digits_run.path, "--to", "tflite")
    assert (done.code, done.err) == (
        2,
        "Error: TensorFlow Lite needs the extra 'tflite'. Install it: pip install 'clownfish[tflite]'\n",
    )
