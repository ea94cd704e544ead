"""The one artefact: `model.onnx`, from pixels to probabilities, with everything needed to use it inside."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from clownfish.errors import ModelFileError
from clownfish.files import compute_seal
from clownfish.images import Preprocessing
from clownfish.records import Backbone, Embedding, Head

FORMAT = "1"
MAX_PARITY_DIFFERENCE = 1e-5
_MAX_EMBEDDING_DIFFERENCE = 1e-3
"""Relative to 1 + the number itself; the embedding only has to be as exact as a rank."""
_NUM_PARITY_PICTURES = 4
_UNSEALED = "?" * 64
"""Stands where the checksum goes, until it is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDescription:
    """What the file says about itself."""

    classes: Sequence[str]
    preprocessing: Preprocessing
    created: str
    """ISO date and time."""
    version: str
    """Of clownfish."""
    training_photos: Sequence[str] = ()
    """SHA-256 of each training photo, hexadecimal; lets `evaluate` notice photos that the model knows."""
    further: Mapping[str, Any] = field(default_factory=dict)
    """Further facts, such as accuracies."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """Further properties of the file by name, each stored as JSON: what `Classifier.read_metadata` reads."""


def build_model(
    backbone: Backbone, head: Head, description: ModelDescription, embedding: Embedding | None = None
) -> bytes:
    """Put backbone and head into one ONNX graph, with a softmax and metadata.

    Args:
        backbone: the network without its last layer.
        head: the last layer.
        description: becomes the file's metadata.
        embedding: a second output, to tell what is unlike the training photos.

    Returns:
        The serialised model: "image" uint8 (batch, size, size, 3) to "probabilities" float32
        (batch, num_classes) and, if asked for, "embedding" float32 (batch, num_axes + 1).

    Raises:
        ModelFileError: the composed model disagrees with backbone and head run one after the other.
    """
    model = onnx.load_from_string(backbone.onnx)
    graph = model.graph
    graph.name = "clownfish"
    graph.initializer.extend(
        [
            numpy_helper.from_array(head.weights, "classifier.weight"),
            numpy_helper.from_array(head.bias, "classifier.bias"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Gemm", ["features", "classifier.weight", "classifier.bias"], ["logits"], name="logits"),
            helper.make_node("Softmax", ["logits"], ["probabilities"], name="probabilities", axis=1),
        ]
    )
    del graph.output[:]
    num_classes = len(description.classes)
    graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", num_classes]))
    if embedding is not None:
        _add_embedding(graph, embedding)
    helper.set_model_props(model, _make_metadata(backbone, description))
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    # without the date, so that the same training gives the same seal
    seal = compute_seal(data, _UNSEALED, description.created)
    data = data.replace(_UNSEALED.encode(), seal.encode())
    _check_parity(data, backbone, head, embedding)
    return data


def _add_embedding(graph: onnx.GraphProto, embedding: Embedding) -> None:
    """The arithmetic of `Embedding.apply`, from "features"."""
    weights = {
        "mean": embedding.mean,
        "inverse_deviation": embedding.inverse_deviation,
        "axes": embedding.axes,
        "whitening": embedding.whitening,
        "tiny": np.array([1e-6], np.float32),
    }
    graph.initializer.extend([numpy_helper.from_array(values, f"embedding.{name}") for name, values in weights.items()])
    nodes = (
        ("Sub", ("features", "embedding.mean"), "embedding.centred"),
        ("Mul", ("embedding.centred", "embedding.inverse_deviation"), "embedding.standardised"),
        ("MatMul", ("embedding.standardised", "embedding.axes"), "embedding.scores"),
        ("ReduceL2", ("embedding.scores",), "embedding.length"),
        ("Add", ("embedding.length", "embedding.tiny"), "embedding.divisor"),
        ("Div", ("embedding.scores", "embedding.divisor"), "embedding.direction"),
        ("MatMul", ("embedding.direction", "embedding.whitening"), "embedding.point"),
        ("ReduceL2", ("embedding.standardised",), "embedding.norm"),
        ("Concat", ("embedding.point", "embedding.norm"), "embedding"),
    )
    options: dict[str, dict[str, Any]] = {"ReduceL2": {"axes": [1], "keepdims": 1}, "Concat": {"axis": 1}}
    for kind, inputs, output in nodes:
        graph.node.append(helper.make_node(kind, inputs, [output], name=output, **options.get(kind, {})))
    width = embedding.axes.shape[1] + 1
    graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", width]))


def _make_metadata(backbone: Backbone, description: ModelDescription) -> dict[str, str]:
    preprocessing = description.preprocessing
    return {
        "clownfish.format": FORMAT,
        "clownfish.version": description.version,
        "created": description.created,
        "seal": _UNSEALED,
        "labels": json.dumps(list(description.classes), ensure_ascii=False),
        "preprocessing": json.dumps({"size": preprocessing.size, "resize": preprocessing.resize}),
        "backbone": json.dumps(
            {
                "name": backbone.name,
                "sha256": backbone.hash,
                "feature_set": backbone.feature_set,
                "licence": backbone.licence,
                "weights_sha256": backbone.weights_hash,
            }
        ),
        # eight bytes each tell photos apart for certain enough, and half a million fit into 8 MB
        "training_photos": "".join(sorted(content_hash[:16] for content_hash in description.training_photos)),
        "facts": json.dumps(dict(description.further), sort_keys=True),
        **{name: json.dumps(content, ensure_ascii=False) for name, content in description.properties.items()},
    }


def _check_parity(model: bytes, backbone: Backbone, head: Head, embedding: Embedding | None) -> None:
    """Run the file and its two halves on the same pictures: what is evaluated must be what is shipped."""
    pictures = _make_pictures(backbone.input_size)
    features = _run(backbone.onnx, "features", pictures)
    expected = head.predict_probabilities(features)
    found = _run(model, "probabilities", pictures)
    difference = float(np.abs(expected - found).max())
    if not difference <= MAX_PARITY_DIFFERENCE:
        raise ModelFileError(
            f"The composed model differs from its parts by {difference:.2g} in probability, more than the"
            f" {MAX_PARITY_DIFFERENCE:g} allowed. Please report this: it is a fault of clownfish."
        )
    if embedding is None:
        return
    wanted = embedding.apply(features)
    difference = float((np.abs(_run(model, "embedding", pictures) - wanted) / (1 + np.abs(wanted))).max())
    if not difference <= _MAX_EMBEDDING_DIFFERENCE:
        raise ModelFileError(
            f"The composed model differs from its parts by {difference:.2g} in its embedding, more than the"
            f" {_MAX_EMBEDDING_DIFFERENCE:g} allowed. Please report this: it is a fault of clownfish."
        )


def _make_pictures(size: int) -> NDArray[np.uint8]:
    """Noise at several scales, always the same; shape (num_pictures, size, size, 3)."""
    random = np.random.default_rng(0)
    pictures = []
    for number in range(_NUM_PARITY_PICTURES):
        coarse = random.integers(0, 256, (4 << number, 4 << number, 3), dtype=np.uint8)
        repeat = -(-size // len(coarse))
        pictures.append(np.kron(coarse, np.ones((repeat, repeat, 1), np.uint8))[:size, :size])
    return np.stack(pictures)


def _run(model: bytes, output: str, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # as in prediction; more threads would mostly wait for each other
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    values: NDArray[np.float32] = session.run([output], {"image": pictures})[0]
    return values
