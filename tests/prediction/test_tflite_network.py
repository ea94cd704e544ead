import io
import shutil
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import clownfish
from clownfish.errors import MissingExtraError, ModelFileError
from clownfish.export.tflite_file import build_tflite
from clownfish.pipeline.run import Run
from runs import Cli, read_table

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra 'tflite'")

FOREIGN = r"is not a model that this clownfish can use: it does not say what its classes are, how a photo becomes"


@pytest.fixture(scope="module")
def exported(digits_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of `digits_run` as TensorFlow Lite; do not change."""
    model = digits_run.path / "model.onnx"
    path = tmp_path_factory.mktemp("exported") / "model.tflite"
    path.write_bytes(build_tflite(model.read_bytes(), digits_run.classifier.read_all_metadata(), "float32"))
    return path


def test_answers_are_those_of_the_original(digits_run: Run, digits: Path, exported: Path) -> None:
    classifier = clownfish.load(exported)
    for photo in sorted(digits.glob("*/000.png"))[:4]:
        found, expected = classifier.predict(photo), digits_run.classifier.predict(photo)
        assert (found.label, found.status, found.candidates) == (expected.label, expected.status, expected.candidates)
        assert found.probability == pytest.approx(expected.probability, abs=1e-4)
    assert classifier.change_budget("20%").rules is not None


def test_threads_do_not_disturb_each_other(exported: Path) -> None:
    classifier = clownfish.load(exported)
    pictures = np.random.default_rng(0).integers(0, 256, (12, 224, 224, 3), dtype=np.uint8)
    alone = [classifier.run_network(picture[None]) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda picture: classifier.run_network(picture[None]), pictures))
    np.testing.assert_array_equal(together, alone)


def test_predict_and_evaluate_take_it(cli: Cli, digits: Path, digits_run: Run, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for label in ("digit_1", "digit_2"):
        (tmp_path / "photos" / label).mkdir()
        shutil.copy(digits / label / "000.png", tmp_path / "photos" / label / "000.png")
    tables = []
    for model in (exported, digits_run.path):
        done = cli("predict", model, "photos", "--out", f"{model.stem}.csv")
        assert (done.code, done.err) == (0, "")
        tables.append(read_table(tmp_path / f"{model.stem}.csv"))
    assert [row["label"] for row in tables[0]] == [row["label"] for row in tables[1]]
    done = cli("evaluate", exported, "photos", "--json")
    assert done.read_json()["num_photos"] == {"evaluated": 2, "unusable": 0}


# ---- files that are not as clownfish wrote them


def rewrite(data: bytes, **texts: str) -> bytes:
    """The same model with other files in its archive; a double underscore stands for a dot."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        model = data[: min(entry.header_offset for entry in archive.infolist())]
    files |= {name.replace("__", "."): text.encode() for name, text in texts.items()}
    buffer = io.BytesIO(model)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def refuse(path: Path, data: bytes, match: str) -> None:
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=match):
        clownfish.load(path)


def test_foreign_file_is_refused(exported: Path, tmp_path: Path) -> None:
    data = exported.read_bytes()
    path = tmp_path / "foreign.tflite"
    refuse(path, data[: data.rindex(b"labels.txt") - 2_000_000], FOREIGN)
    refuse(path, rewrite(data, clownfish__json="{}"), FOREIGN)
    refuse(path, rewrite(data, clownfish__json="["), FOREIGN)
    refuse(path, rewrite(data, clownfish__json="[]"), FOREIGN)
    refuse(path, b"\x1c\0\0\0TFL3" + b"\0" * 100, FOREIGN)


def test_compressed_archive_is_refused(exported: Path, tmp_path: Path) -> None:
    data = exported.read_bytes()
    buffer = io.BytesIO(b"\x1c\0\0\0TFL3")
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as packed:
        for entry in archive.infolist():
            packed.writestr(entry.filename, archive.read(entry))
    refuse(tmp_path / "packed.tflite", buffer.getvalue(), FOREIGN)


@pytest.mark.parametrize("position", [0.2, 0.8])
def test_changed_weights_are_refused(exported: Path, tmp_path: Path, position: float) -> None:
    data = bytearray(exported.read_bytes())
    data[int(len(data) * position)] ^= 0x40
    refuse(tmp_path / "changed.tflite", bytes(data), "is damaged, or was changed since clownfish wrote it")


def test_changed_labels_are_refused(exported: Path, tmp_path: Path) -> None:
    data = exported.read_bytes()
    changed = rewrite(data, labels__txt="".join(f"digit_{digit}\n" for digit in reversed(range(10))))
    refuse(tmp_path / "labels.tflite", changed, "is damaged, or was changed since clownfish wrote it")


def test_file_that_the_runtime_refuses_is_explained(exported: Path, tmp_path: Path) -> None:
    from clownfish.export.tflite.metadata import append_files

    facts = clownfish.load(exported).read_all_metadata()
    data = append_files(b"\x1c\0\0\0TFL3" + b"\0" * 100, facts["labels"], facts)
    refuse(tmp_path / "odd.tflite", data, r"odd\.tflite cannot be run by the TensorFlow Lite installed here: ")


def test_missing_runtime_is_named_with_the_command(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError) as error:
        clownfish.load(exported)
    assert str(error.value) == (
        "To run a TensorFlow Lite file, clownfish needs the extra 'tflite'. Install it: pip install 'clownfish[tflite]'"
    )
