import hashlib
import json
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clownfish.backbones import load_backbone
from clownfish.errors import ExportError, ModelFileError
from clownfish.export.calibration import measure_ranges
from clownfish.export.labels import format_labels
from clownfish.export.model_file import ModelDescription, build_model
from clownfish.export.tflite.lowering import lower_model
from clownfish.export.tflite.quantization import find_integer_outputs, list_rounded_tensors
from clownfish.export.tflite_file import PRECISIONS, Precision, build_tflite
from clownfish.images import Preprocessing
from clownfish.prediction.classifier import Classifier
from clownfish.records import Embedding, Head
from pictures import draw_pattern

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra 'tflite'")

CLASSES = ("=ant", "été 🐠", "<bee>")
KINDS = [("efficientnet_lite0", "all_stages"), ("efficientnet_lite1", "last_layer")]


def make_model(name: str, feature_set: str) -> bytes:
    """A network with a layer on top, and for all stages an embedding, all drawn at random."""
    backbone = load_backbone(name, feature_set=feature_set)
    random, num_features = np.random.default_rng(0), backbone.num_features
    weights = random.normal(0, 3 / np.sqrt(num_features), (num_features, len(CLASSES)))
    head = Head(weights=weights.astype(np.float32), bias=np.array([0.5, -0.5, 0], np.float32))
    embedding = Embedding(
        mean=random.normal(0.3, 0.1, num_features).astype(np.float32),
        inverse_deviation=random.uniform(0, 3, num_features).astype(np.float32),
        axes=np.linalg.qr(random.normal(0, 1, (num_features, 6)))[0].astype(np.float32),
        whitening=random.normal(0, 1, (6, 6)).astype(np.float32),
    )
    description = ModelDescription(
        classes=CLASSES,
        preprocessing=Preprocessing(size=backbone.input_size),
        created="2026-01-02T03:04:05+00:00",
        version="0.1.0",
        training_photos=["b" * 64],
        properties={"confusions": {"matrix": [[1]]}},
    )
    return build_model(backbone, head, description, embedding if feature_set == "all_stages" else None)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind[0])
def model(request: pytest.FixtureRequest) -> bytes:
    return make_model(*request.param)


@pytest.fixture(scope="module")
def lite0() -> bytes:
    return make_model(*KINDS[0])


def draw_pictures(size: int, num_pictures: int = 3) -> np.ndarray:
    return np.stack([draw_pattern(size, size, seed=7 * number) for number in range(num_pictures)])


def export(model: bytes, precision: Precision = "float32", **changes: object) -> bytes:
    classifier = Classifier(Path("memory"), model)
    pictures = draw_pictures(classifier.preprocessing.size)
    ranges = measure_ranges(model, list_rounded_tensors(lower_model(model)), pictures) if precision == "int8" else None
    return build_tflite(model, {**classifier.read_all_metadata(), **changes}, precision, ranges=ranges)


def run(data: bytes, pictures: np.ndarray) -> dict[str, np.ndarray]:
    from clownfish.prediction.networks import open_network

    return open_network(Path("memory"), data).run(pictures)


def test_float32_gives_the_same_numbers_in_any_batch(model: bytes) -> None:
    pictures = draw_pictures(Classifier(Path("memory"), model).preprocessing.size)
    expected, found = run(model, pictures), run(export(model), pictures)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-5)
    if "embedding" in expected:
        np.testing.assert_allclose(found["embedding"], expected["embedding"], rtol=1e-3, atol=1e-3)
    assert expected["probabilities"].std() > 0.02
    one = run(export(model), pictures[1:2])
    np.testing.assert_allclose(one["probabilities"], expected["probabilities"][1:2], atol=1e-5)


@pytest.mark.parametrize(
    ("precision", "largest_share", "largest_difference"),
    [("float16", 0.55, 0.01), ("dynamic", 0.35, 0.1), ("int8", 0.35, 0.1)],
)
def test_rounded_files_are_small_and_close(
    lite0: bytes, precision: Precision, largest_share: float, largest_difference: float
) -> None:
    pictures = draw_pictures(224)
    data = export(lite0, precision)
    assert len(data) <= largest_share * len(export(lite0))
    expected, found = run(lite0, pictures), run(data, pictures)
    assert np.abs(found["probabilities"] - expected["probabilities"]).max() <= largest_difference
    assert found["probabilities"].dtype == np.float32


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bytes_go_in_as_they_are_and_floats_come_out(lite0: bytes, precision: Precision) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=export(lite0, precision))
    (image,) = interpreter.get_input_details()
    assert (image["name"], image["dtype"], image["quantization"]) == ("image", np.uint8, (0.0, 0))
    outputs = interpreter.get_output_details()
    assert [(output["name"], output["dtype"]) for output in outputs] == [
        ("probabilities", np.float32),
        ("embedding", np.float32),
    ]


def test_only_what_is_small_is_rounded_and_the_head_is_not(lite0: bytes) -> None:
    graph = lower_model(lite0)
    integer = find_integer_outputs(graph)
    assert all(graph.tensors[name].shape[1] <= 28 for name in integer)
    assert "block2.add" not in integer and "block4.add" in integer
    assert not integer.intersection({"features", "logits", "stage7.deviation", "embedding.point"})


@pytest.mark.parametrize("precision", PRECISIONS)
def test_file_is_the_same_each_time(lite0: bytes, precision: Precision) -> None:
    assert hashlib.sha256(export(lite0, precision)).digest() == hashlib.sha256(export(lite0, precision)).digest()


@pytest.mark.parametrize("label", ["two\nlines", "two\u2028lines", "carriage\r"])
def test_label_that_is_not_one_line_is_refused(label: str) -> None:
    with pytest.raises(
        ExportError, match=r"is not one line, and phones read one label a line\. Give that class another"
    ):
        format_labels(["ant", label])


def test_labels_and_facts_can_be_unzipped(lite0: bytes) -> None:
    data = export(lite0)
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode() == "=ant\nété 🐠\n<bee>\n"
        facts = json.loads(archive.read("clownfish.json"))
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    original = Classifier(Path("memory"), lite0).read_all_metadata()
    assert {**facts, "seal": ""} == {**original, "seal": "", "precision": "float32"}


def test_weights_lie_at_multiples_of_16_bytes(lite0: bytes) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(export(lite0), 0)
    starts = [model.Buffers(number) for number in range(model.BuffersLength())]
    offsets = [buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in starts if buffer.DataLength()]
    assert len(offsets) > 100
    assert not any(offset % 16 for offset in offsets)


def test_standard_metadata_names_labels_and_normalisation(lite0: bytes) -> None:
    from ai_edge_litert import schema_py_generated as schema

    facts = Classifier(Path("memory"), lite0).read_all_metadata()
    data = build_tflite(lite0, facts, "float32", score_threshold=0.75)
    model = schema.Model.GetRootAs(data, 0)
    entry = model.Metadata(0)
    assert entry.Name() == b"TFLITE_METADATA"
    metadata = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    assert metadata[4:8] == b"M001"
    assert b"labels.txt" in metadata and b"probabilities" in metadata and b"Apache-2.0" in metadata
    assert np.float32(0.75).tobytes() in metadata and np.float32(0.75).tobytes() not in make_metadata_without(lite0)


def make_metadata_without(model: bytes) -> bytes:
    from clownfish.export.tflite.metadata import make_standard_metadata

    return make_standard_metadata(CLASSES, version="1", licence="x", score_threshold=None, outputs=["probabilities"])


def test_mediapipe_gives_our_labels(lite0: bytes) -> None:
    mediapipe = pytest.importorskip("mediapipe", reason="needs mediapipe")
    vision = pytest.importorskip("mediapipe.tasks.python.vision")
    base = pytest.importorskip("mediapipe.tasks.python").BaseOptions
    expected = run(lite0, draw_pictures(224))["probabilities"]
    for precision in ("float32", "int8"):
        options = vision.ImageClassifierOptions(base_options=base(model_asset_buffer=export(lite0, precision)))
        with vision.ImageClassifier.create_from_options(options) as classifier:
            for picture, probabilities in zip(draw_pictures(224), expected, strict=True):
                image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
                first = classifier.classify(image).classifications[0].categories[0]
                assert first.category_name == CLASSES[probabilities.argmax()]
                assert first.score == pytest.approx(probabilities.max(), abs=0.1 if precision == "int8" else 1e-4)


# ---- networks of other kinds


def change_node(model: bytes, name: str, **attributes: object) -> bytes:
    changed = onnx.load_from_string(model)
    (node,) = (node for node in changed.graph.node if node.name == name)
    for key, value in attributes.items():
        kept = [attribute for attribute in node.attribute if attribute.name != key]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(key, value)])
    return changed.SerializeToString()


@pytest.mark.parametrize(
    ("name", "attributes", "found"),
    [
        ("stem", {"auto_pad": "SAME_LOWER"}, r"a convolution with other padding or groups \(stem\)"),
        ("stem", {"group": 2}, r"a convolution with other padding or groups \(stem\)"),
        ("image.channels_first", {"perm": [0, 3, 2, 1]}, r"a transpose by \[0, 3, 2, 1\] \(image.channels_first\)"),
        ("logits", {"alpha": 2.0}, r"a matrix product with factors \(logits\)"),
    ],
)
def test_network_that_differs_is_refused(lite0: bytes, name: str, attributes: dict[str, object], found: str) -> None:
    with pytest.raises(ModelFileError, match=rf"The network holds {found}, which the TensorFlow Lite writer does not"):
        lower_model(change_node(lite0, name, **attributes))


def test_unknown_operation_is_refused() -> None:
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 8, 8, 3])
    output = helper.make_tensor_value_info("y", TensorProto.UINT8, ["batch", 8, 8, 3])
    graph = helper.make_graph([helper.make_node("Tanh", ["image"], ["y"], name="odd")], "g", [image], [output])
    with pytest.raises(ModelFileError, match=r"holds the operation Tanh \(odd\), which .* It knows the networks of"):
        lower_model(helper.make_model(graph).SerializeToString())


def test_other_limits_are_refused(lite0: bytes) -> None:
    model = onnx.load_from_string(lite0)
    (six,) = (tensor for tensor in model.graph.initializer if tensor.name == "six")
    six.CopyFrom(numpy_helper.from_array(np.array(5, np.float32), "six"))
    with pytest.raises(ModelFileError, match=r"holds a limit to \[0\.0, 5\.0\] \(stem\.relu6\)"):
        lower_model(model.SerializeToString())


def test_limit_without_convolution_is_refused(lite0: bytes) -> None:
    model = onnx.load_from_string(lite0)
    (clip,) = (node for node in model.graph.node if node.name == "stem.relu6")
    clip.input[0] = "image.float"
    with pytest.raises(ModelFileError, match=r"holds a limit that follows no convolution \(stem\.relu6\)"):
        lower_model(model.SerializeToString())
