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
from clownfish.records import Backbone, Head

FORMAT = "1"
MAX_PARITY_DIFFERENCE = 1e-5
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
    licence: str
    """Of the pre-trained weights."""
    training_photos: Sequence[str] = ()
    """SHA-256 of each training photo, hexadecimal; lets `evaluate` notice photos that the model knows."""
    further: Mapping[str, Any] = field(default_factory=dict)
    """Further facts, such as accuracies."""


def build_model(backbone: Backbone, head: Head, description: ModelDescription) -> bytes:
    """Put backbone and head into one ONNX graph, with a softmax and metadata.

    Args:
        backbone: the network without its last layer.
        head: the last layer.
        description: becomes the file's metadata.

    Returns:
        The serialised model: "image" uint8 (batch, size, size, 3) to "probabilities" float32
        (batch, num_classes).

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
    helper.set_model_props(model, _make_metadata(backbone, description))
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    # without the date, so that the same training gives the same seal
    seal = compute_seal(data, _UNSEALED, description.created)
    data = data.replace(_UNSEALED.encode(), seal.encode())
    _check_parity(data, backbone, head)
    return data


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
                "licence": description.licence,
            }
        ),
        # eight bytes each tell photos apart for certain enough, and half a million fit into 8 MB
        "training_photos": "".join(sorted(content_hash[:16] for content_hash in description.training_photos)),
        "facts": json.dumps(dict(description.further), sort_keys=True),
    }


def _check_parity(model: bytes, backbone: Backbone, head: Head) -> None:
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
