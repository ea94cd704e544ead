import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import clownfish
from clownfish.errors import ConfigError, ModelFileError, UnusablePhotoError
from clownfish.pipeline.run import Run
from clownfish.prediction.classifier import Classifier
from pictures import draw_pattern, draw_photo, encode


@pytest.fixture
def classifier(digits_run: Run) -> Classifier:
    return digits_run.classifier


@pytest.fixture
def digit(digits: Path) -> Path:
    return digits / "digit_3" / "000.png"


def test_answer_ranks_every_class(classifier: Classifier, digit: Path) -> None:
    prediction = classifier.predict(digit)
    assert set(prediction.probabilities) == set(classifier.classes)
    values = list(prediction.probabilities.values())
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1, abs=1e-5)
    assert (prediction.label, prediction.probability) == next(iter(prediction.probabilities.items()))
    assert prediction.label == "digit_3"


@pytest.mark.parametrize(
    "make",
    [
        str,
        Path,
        Path.read_bytes,
        Image.open,
        lambda path: np.asarray(Image.open(path).convert("RGB")),
        lambda path: np.asarray(Image.open(path)),
        lambda path: np.asarray(Image.open(path).convert("RGBA")),
    ],
    ids=["str", "path", "bytes", "image", "rgb array", "grey array", "rgba array"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Image.open holds the file
def test_photo_may_come_in_any_form(classifier: Classifier, digit: Path, make: Callable[[Path], object]) -> None:
    assert classifier.predict(make(digit)) == classifier.predict(digit)  # type: ignore[arg-type]


def test_order_of_array_axes_in_memory_does_not_matter(classifier: Classifier) -> None:
    picture = draw_photo(60, 40, seed=4)
    assert classifier.predict(np.asfortranarray(picture)) == classifier.predict(picture)
    assert classifier.predict(picture[::-1][::-1]) == classifier.predict(picture)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((8, 8, 3)), r"an array of float64 and shape \(8, 8, 3\)"),
        (np.zeros((8, 8, 3), np.int64), r"an array of int64 and shape \(8, 8, 3\)"),
        (np.zeros((3, 8, 8), np.uint8), r"an array of uint8 and shape \(3, 8, 8\)"),
        (np.zeros(8, np.uint8), r"an array of uint8 and shape \(8,\)"),
        (np.zeros((1, 8, 8, 3), np.uint8), r"an array of uint8 and shape \(1, 8, 8, 3\)"),
        (np.zeros((0, 8, 3), np.uint8), "a picture without pixels, of 8 x 0"),
        (np.zeros((8, 0), np.uint8), "a picture without pixels, of 0 x 8"),
    ],
    ids=str,
)
def test_array_that_is_no_photo_is_refused(classifier: Classifier, array: np.ndarray, found: str) -> None:
    with pytest.raises(UnusablePhotoError, match=found):
        classifier.predict(array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"hello", r"not a photo, or a format that is not supported"),
        (b"<html>", "not a photo: the file holds a web page or other text"),
        (encode(draw_photo(64, 64))[:-800], "damaged: "),
    ],
)
def test_bytes_that_are_no_photo_are_refused(classifier: Classifier, data: bytes, message: str) -> None:
    with pytest.raises(UnusablePhotoError, match=message):
        classifier.predict(data)


def test_file_that_is_no_photo_is_named(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html>")
    with pytest.raises(UnusablePhotoError, match=r"page\.jpg: not a photo: the file holds a web page or other text"):
        classifier.predict(tmp_path / "page.jpg")
    with pytest.raises(UnusablePhotoError, match=r"none\.jpg: the file does not exist"):
        classifier.predict(str(tmp_path / "none.jpg"))
    with pytest.raises(UnusablePhotoError, match="not a regular file"):
        classifier.predict(tmp_path)


def test_classifier_introduces_itself(classifier: Classifier, digits_run: Run) -> None:
    assert (
        repr(classifier) == f"Classifier({str(digits_run.path / 'model.onnx')!r}, classes={list(classifier.classes)})"
    )
    assert classifier.path == digits_run.path / "model.onnx"
    assert classifier.backbone["licence"] == "Apache-2.0"


def test_training_photos_are_known(classifier: Classifier, digits_run: Run) -> None:
    assert classifier.was_trained_on("0" * 64) is False
    assert len(classifier._training_photos) == digits_run.metrics["num_photos"]["train"]


def test_threads_get_the_same_answers(classifier: Classifier, digits: Path) -> None:
    photos = sorted(digits.glob("*/00*.png"))[:12]
    expected = [classifier.predict(photo) for photo in photos]
    found: list[list[clownfish.Prediction]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda own=own: own.extend(map(classifier.predict, photos)))  # type: ignore[misc]
        for own in found
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(own == expected for own in found)


# ---- what may be done with an answer


def test_answer_says_whether_it_may_be_used(digits_run: Run, digit: Path) -> None:
    certain = clownfish.load(digits_run.path, max_error=0.5).predict(digit)
    assert certain.status == "ok"
    assert certain.candidates[0] == certain.label
    assert clownfish.load(digits_run.path, max_error="1%").predict(digit).status == "unsure"
    with pytest.raises(ConfigError, match="max_error is 2; it must be the share of wrong answers"):
        clownfish.load(digits_run.path, max_error=2)


def test_budget_does_not_change_the_classifier_it_was_asked_of(classifier: Classifier, digit: Path) -> None:
    before = classifier.predict(digit)
    changed = classifier.change_budget("1%")
    assert changed.predict(digit).status == "unsure"
    assert classifier.predict(digit) == before
    assert changed.predict(digit).probabilities == before.probabilities


@pytest.mark.parametrize(
    "picture",
    [
        np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8),
        draw_photo(300, 200, seed=1),
        draw_pattern(200, 200),
    ],
    ids=["noise", "blobs", "stripes"],
)
def test_things_far_from_the_classes_are_unlike_anything_seen(classifier: Classifier, picture: np.ndarray) -> None:
    prediction = classifier.predict(picture)
    assert prediction.status == "unlike anything seen"
    assert prediction.label in classifier.classes  # the best guess is still told


def test_rules_travel_in_the_model_file(classifier: Classifier, digits_run: Run) -> None:
    metrics = digits_run.metrics
    answering = classifier.read_metadata("answering")
    assert answering is not None
    assert answering["max_error"] == 0.05
    assert answering["threshold"] == metrics["answering"]["threshold"]
    assert classifier.read_metadata("calibration") == {"temperature": metrics["calibration"]["temperature"]}
    assert classifier.read_metadata("prediction_sets")["thresholds"] == metrics["prediction_sets"]["thresholds"]  # type: ignore[index]
    confusions = classifier.read_metadata("confusions")
    everything, kept = np.array(metrics["cross_validated"]["confusion_matrix"]), np.array(confusions["matrix"])
    assert (kept <= everything).all() and 0 < sum(confusions["rejected"]) < 10
    assert (everything.sum(axis=1) == kept.sum(axis=1) + confusions["rejected"]).all()
    assert confusions["num_groups"] == [6] * 10


# ---- files that are no model of ours


def test_model_is_found_by_its_file_and_by_its_folder(digits_run: Run, digit: Path) -> None:
    by_folder, by_file = clownfish.load(str(digits_run.path)), clownfish.load(digits_run.path / "model.onnx")
    assert by_folder.hash == by_file.hash
    assert by_folder.predict(digit) == by_file.predict(digit)


@pytest.mark.parametrize("name", ["none.onnx", ".", "x" * 300])
def test_missing_model_is_explained(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match=r"cannot be read: .+\. Give the model\.onnx of a run, or its folder\."):
        clownfish.load(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"hello, world", b"\x08\x08" * 50], ids=["empty", "text", "bytes"])
def test_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.onnx is not (an ONNX model|a model that this clownfish can use)"):
        clownfish.load(tmp_path)


def test_torn_model_is_refused(tmp_path: Path, digits_run: Run) -> None:
    (tmp_path / "model.onnx").write_bytes((digits_run.path / "model.onnx").read_bytes()[:-5000])
    with pytest.raises(ModelFileError, match=r"is not an ONNX model, or it is damaged\."):
        clownfish.load(tmp_path)


def test_model_of_another_tool_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "other",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(
        ModelFileError, match=r"not a model that this clownfish can use: it does not say what its classes are"
    ):
        clownfish.load(tmp_path)


def change_metadata(run: Run, folder: Path, **values: str | None) -> Path:
    """A copy of the run's model with other metadata; None removes an entry."""
    model = onnx.load(run.path / "model.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    for name, value in values.items():
        properties.pop(name.replace("__", "."))
        if value is not None:
            properties[name.replace("__", ".")] = value
    del model.metadata_props[:]
    helper.set_model_props(model, properties)
    onnx.save(model, folder / "model.onnx")
    return folder


def test_model_of_a_newer_clownfish_is_refused(tmp_path: Path, digits_run: Run) -> None:
    with pytest.raises(ModelFileError, match=r"It was made by a newer clownfish: update yours\."):
        clownfish.load(change_metadata(digits_run, tmp_path, clownfish__format="2"))


NAMES = [f"digit_{digit}" for digit in range(10)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labels": None}, "is damaged: 'labels'"),
        ({"labels": "["}, "is damaged: "),
        ({"labels": '"0123456789"'}, "is damaged: the labels are no list"),
        ({"preprocessing": "{}"}, "is damaged: "),
        ({"preprocessing": '{"size": 224, "resize": "stretch", "more": 1}'}, "is damaged: "),
        ({"backbone": "{"}, "is damaged: "),
        ({"answering": "{}"}, "is damaged: 'max_error'"),
        ({"answering": "{"}, "is damaged: answering is no JSON"),
        ({"unknowns": "[]"}, "is damaged: "),
        ({"prediction_sets": '{"thresholds": [0.5]}'}, "does not fit its network: 10 labels"),
        ({"training_photos": None}, "is damaged: 'training_photos'"),
        ({"labels": json.dumps(NAMES[:9])}, "does not fit its network: 9 labels"),
        ({"labels": json.dumps([*NAMES[:9], NAMES[0]])}, "does not fit its network: 10 labels"),
        ({"preprocessing": '{"size": 200, "resize": "stretch"}'}, "does not fit its network: 10 labels, photos of 200"),
        ({"preprocessing": '{"size": 224, "resize": "squash"}'}, "does not fit its network: .* resize 'squash'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_tampered_metadata_is_refused(
    tmp_path: Path, digits_run: Run, values: dict[str, str | None], message: str
) -> None:
    with pytest.raises(ModelFileError, match=message):
        clownfish.load(change_metadata(digits_run, tmp_path, **values))


def test_weights_in_other_files_are_refused(tmp_path: Path, digits_run: Run) -> None:
    model = onnx.load(digits_run.path / "model.onnx")
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin")
    with pytest.raises(ModelFileError, match=r"keeps weights in other files, which is refused\. Use the original\."):
        clownfish.load(tmp_path)


def test_model_needs_no_file_beside_it(digits_run: Run) -> None:
    data = (digits_run.path / "model.onnx").read_bytes()
    assert Classifier(Path("memory"), data).hash == digits_run.classifier.hash


@pytest.mark.parametrize("position", [0.2, 0.5, 0.8])
def test_model_with_one_changed_byte_is_refused(classifier: Classifier, tmp_path: Path, position: float) -> None:
    data = bytearray(classifier.path.read_bytes())
    data[int(len(data) * position)] ^= 0x40
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="is damaged"):
        clownfish.load(path)


def test_model_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    with pytest.raises(ModelFileError, match="is not a model"):
        clownfish.load(path)
