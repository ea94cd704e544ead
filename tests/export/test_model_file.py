import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from clownfish.backbones import load_backbone
from clownfish.errors import ConfigError, ModelFileError
from clownfish.export.model_file import MAX_PARITY_DIFFERENCE, ModelDescription, build_model
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import extract_features
from clownfish.images import RESIZES, Preprocessing, Resize, decode_photo
from clownfish.photos.scan import scan_labelled_photos
from clownfish.pipeline.run import Run
from clownfish.prediction.classifier import Classifier
from clownfish.records import Backbone, Embedding, Head

CLASSES = ("=ant", "été 🐠", "<bee>")
INPUT_SIZES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240}


@pytest.fixture(scope="module", params=[("efficientnet_lite0", "all_stages"), ("efficientnet_lite1", "last_layer")])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    name, feature_set = request.param
    return load_backbone(name, feature_set=feature_set)


def make_head(num_features: int) -> Head:
    random = np.random.default_rng(0)
    weights = random.normal(0, 3 / np.sqrt(num_features), (num_features, len(CLASSES)))
    return Head(weights=weights.astype(np.float32), bias=np.array([0.5, -0.5, 0], np.float32))


def describe(size: int, resize: Resize = "stretch") -> ModelDescription:
    return ModelDescription(
        classes=CLASSES,
        preprocessing=Preprocessing(size=size, resize=resize),
        created="2026-01-02T03:04:05+00:00",
        version="0.1.0",
        training_photos=["b" * 64, "a" * 64],
        further={"accuracy": 0.5},
    )


def test_model_is_valid_and_whole(backbone: Backbone) -> None:
    data = build_model(backbone, make_head(backbone.num_features), describe(backbone.input_size))
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.data_location or tensor.external_data for tensor in model.graph.initializer)
    (image,), (probabilities,) = model.graph.input, model.graph.output
    size = INPUT_SIZES[backbone.name]
    assert image.name == "image" and image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim] == ["batch", size, size, 3]
    assert probabilities.name == "probabilities"
    assert [dim.dim_param or dim.dim_value for dim in probabilities.type.tensor_type.shape.dim] == ["batch", 3]


def test_metadata_says_how_to_use_the_model(backbone: Backbone) -> None:
    data = build_model(backbone, make_head(backbone.num_features), describe(backbone.input_size, "pad"))
    metadata = {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}
    assert json.loads(metadata["labels"]) == list(CLASSES)
    assert json.loads(metadata["preprocessing"]) == {"size": backbone.input_size, "resize": "pad"}
    assert json.loads(metadata["backbone"]) == {
        "name": backbone.name,
        "sha256": backbone.hash,
        "feature_set": backbone.feature_set,
        "licence": "Apache-2.0",
        "weights_sha256": backbone.weights_hash,
    }
    assert json.loads(metadata["facts"]) == {"accuracy": 0.5}
    assert metadata["training_photos"] == "a" * 16 + "b" * 16
    assert metadata["created"] == "2026-01-02T03:04:05+00:00"
    assert (metadata["clownfish.format"], metadata["clownfish.version"]) == ("1", "0.1.0")


def test_model_is_the_same_each_time(backbone: Backbone) -> None:
    head, description = make_head(backbone.num_features), describe(backbone.input_size)
    assert build_model(backbone, head, description) == build_model(backbone, head, description)


@pytest.mark.parametrize("resize", RESIZES)
def test_model_agrees_with_the_head_on_features_of_real_photos(
    digits: Path, messy_photos: Path, resize: Resize
) -> None:
    backbone = load_backbone()
    head = make_head(backbone.num_features)
    preprocessing = Preprocessing(size=backbone.input_size, resize=resize)
    photos = [*scan_labelled_photos(messy_photos).photos[::3], *scan_labelled_photos(digits).photos[::6]]
    inspections, features = extract_features(photos, backbone, preprocessing, FeatureCache())
    expected = head.predict_probabilities(features)
    session = onnxruntime.InferenceSession(build_model(backbone, head, describe(backbone.input_size, resize)))
    usable = [photo for photo, inspection in zip(photos, inspections, strict=True) if inspection.usable]
    assert len(usable) > 15
    pixels = np.stack([decode_photo(Path(photo.path).read_bytes(), preprocessing).pixels for photo in usable])
    (found,) = session.run(["probabilities"], {"image": pixels})
    assert np.abs(found - expected).max() <= 1e-5
    assert np.abs(found.sum(axis=1) - 1).max() <= 1e-5
    assert expected.std() > 0.02


def test_classifier_reads_what_was_written(backbone: Backbone) -> None:
    data = build_model(backbone, make_head(backbone.num_features), describe(backbone.input_size, "crop"))
    classifier = Classifier(Path("memory"), data)
    assert classifier.classes == CLASSES
    assert classifier.preprocessing == Preprocessing(size=backbone.input_size, resize="crop")
    assert classifier.was_trained_on("a" * 64) and not classifier.was_trained_on("c" * 64)


def test_model_that_disagrees_with_its_parts_is_not_written() -> None:
    backbone = load_backbone(feature_set="last_layer")
    head = make_head(backbone.num_features)
    spoilt = replace(head, bias=np.array([0, np.nan, 0], np.float32))
    with pytest.raises(ModelFileError) as error:
        build_model(backbone, spoilt, describe(backbone.input_size))
    assert str(error.value) == (
        "The composed model differs from its parts by nan in probability, more than the 1e-05 allowed."
        " Please report this: it is a fault of clownfish."
    )
    assert MAX_PARITY_DIFFERENCE == 1e-5


def make_embedding(num_features: int, num_axes: int = 6) -> Embedding:
    random = np.random.default_rng(1)
    return Embedding(
        mean=random.normal(0.3, 0.1, num_features).astype(np.float32),
        inverse_deviation=random.uniform(0, 3, num_features).astype(np.float32),
        axes=np.linalg.qr(random.normal(0, 1, (num_features, num_axes)))[0].astype(np.float32),
        whitening=random.normal(0, 1, (num_axes, num_axes)).astype(np.float32),
    )


def test_embedding_is_a_second_output(backbone: Backbone, digits: Path) -> None:
    embedding = make_embedding(backbone.num_features)
    description = describe(backbone.input_size)
    data = build_model(backbone, make_head(backbone.num_features), description, embedding)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    preprocessing = Preprocessing(size=backbone.input_size)
    photos = sorted(digits.glob("*/00*.png"))[::9]
    pixels = np.stack([decode_photo(path.read_bytes(), preprocessing).pixels for path in photos])
    features = onnxruntime.InferenceSession(backbone.onnx).run(["features"], {"image": pixels})[0]
    found = onnxruntime.InferenceSession(data).run(["embedding"], {"image": pixels})[0]
    assert found.shape == (len(photos), 7)
    np.testing.assert_allclose(found, embedding.apply(features), rtol=1e-3, atol=1e-3)
    standardised = (features - embedding.mean) * embedding.inverse_deviation
    np.testing.assert_allclose(found[:, -1], np.linalg.norm(standardised, axis=1), rtol=1e-3)


def test_embedding_that_disagrees_with_its_parts_is_not_written() -> None:
    backbone = load_backbone(feature_set="last_layer")
    spoilt = replace(make_embedding(backbone.num_features), whitening=np.full((6, 6), np.nan, np.float32))
    with pytest.raises(ModelFileError, match=r"differs from its parts by nan in its embedding, more than the 0\.001"):
        build_model(backbone, make_head(backbone.num_features), describe(backbone.input_size), spoilt)


def test_further_properties_are_json(backbone: Backbone) -> None:
    description = replace(describe(backbone.input_size), properties={"confusions": {"matrix": [[1]]}, "odd": None})
    data = build_model(backbone, make_head(backbone.num_features), description)
    classifier = Classifier(Path("memory"), data)
    assert classifier.read_metadata("confusions") == {"matrix": [[1]]}
    assert classifier.read_metadata("odd") is None
    assert classifier.read_metadata("absent") is None
    with pytest.raises(ModelFileError, match="The metadata of memory is damaged: training_photos is no JSON"):
        classifier.read_metadata("training_photos")


def test_model_without_rules_answers_everything(backbone: Backbone, digits: Path) -> None:
    data = build_model(backbone, make_head(backbone.num_features), describe(backbone.input_size))
    classifier = Classifier(Path("memory"), data)
    prediction = classifier.predict(digits / "digit_1" / "000.png")
    assert (prediction.status, prediction.candidates) == ("ok", (prediction.label,))
    with pytest.raises(ConfigError, match=r"memory does not know its errors, so max_error cannot be kept\. Train it"):
        classifier.change_budget(0.05)


def test_trained_model_runs_without_clownfish(digits_run: Run, digits: Path) -> None:
    path = digits_run.path / "model.onnx"
    session = onnxruntime.InferenceSession(path.read_bytes())
    metadata = session.get_modelmeta().custom_metadata_map
    labels = json.loads(metadata["labels"])
    preprocessing = Preprocessing(**json.loads(metadata["preprocessing"]))
    photo = digits / "digit_5" / "001.png"
    pixels = decode_photo(photo.read_bytes(), preprocessing).pixels
    probabilities = session.run(None, {"image": pixels[None]})[0][0]
    prediction = digits_run.classifier.predict(photo)
    assert labels[int(probabilities.argmax())] == prediction.label
    assert float(probabilities.max()) == pytest.approx(prediction.probability, abs=1e-6)
    facts = json.loads(metadata["facts"])
    assert facts["num_photos"] == digits_run.metrics["num_photos"]
    assert facts["cross_validated_accuracy"] == digits_run.metrics["cross_validated"]["accuracy"]
    onnx.checker.check_model(str(path), full_check=True)
