"""What a TFLite file says about itself: labels and input, as phones read them, and all that clownfish knows as JSON.

The standard form is a flatbuffer of its own (TFLite's metadata_schema.fbs, identifier M001) that names files in a zip
archive at the end of the model; so `unzip -p model.tflite labels.txt` works too. The archive stores, and does not
compress, as the standard asks. The numbers of the fields below are those of that schema.
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flatbuffers

from clownfish.export.labels import format_labels
from clownfish.files import compute_facts_seal

LABELS_FILE = "labels.txt"
FACTS_FILE = "clownfish.json"
_RGB, _TENSOR_AXIS_LABELS = 1, 2
_IMAGE_PROPERTIES, _NORMALIZATION, _SCORE_THRESHOLDING = 2, 1, 3
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of the files in the archive, so that the same model gives the same file."""

Offset = int
Field = Callable[[flatbuffers.Builder, int], None]


def make_standard_metadata(
    classes: Sequence[str], *, version: str, licence: str, score_threshold: float | None, outputs: Sequence[str]
) -> bytes:
    """Write what MediaPipe Tasks and the TFLite Task Library read.

    Args:
        classes: the labels, in the order of the probabilities.
        version: of clownfish.
        licence: of the pre-trained weights.
        score_threshold: largest probability from which on a photo is answered; None to answer always.
        outputs: names of the network's outputs; the labels are those of "probabilities".

    Returns:
        The flatbuffer ModelMetadata.
    """
    builder = flatbuffers.Builder(1 << 12)

    def make_labels() -> Offset:
        return _add_table(
            builder,
            {
                0: _refer(builder.CreateString(LABELS_FILE)),
                1: _refer(builder.CreateString(f"{len(classes)} classes, in the order of the probabilities")),
                2: _put_byte(_TENSOR_AXIS_LABELS),
            },
        )

    def make_output(name: str) -> Offset:
        fields = {0: _refer(builder.CreateString(name))}
        if name == "probabilities":
            fields[1] = _refer(builder.CreateString("Calibrated probability of each class."))
            fields[6] = _refer(_add_vector(builder, [make_labels()]))
            if score_threshold is not None:
                options = _add_table(builder, {0: _put_float(score_threshold)})
                fields[4] = _refer(_add_vector(builder, [_add_union(builder, _SCORE_THRESHOLDING, options)]))
        else:
            fields[1] = _refer(builder.CreateString("Tells what is unlike the training photos; see clownfish.json."))
        return _add_table(builder, fields)

    subgraph = _add_table(
        builder,
        {
            2: _refer(_add_vector(builder, [_add_image(builder)])),
            3: _refer(_add_vector(builder, [make_output(name) for name in outputs])),
        },
    )
    model = _add_table(
        builder,
        {
            0: _refer(builder.CreateString("clownfish image classifier")),
            2: _refer(builder.CreateString(version)),
            3: _refer(_add_vector(builder, [subgraph])),
            5: _refer(builder.CreateString(licence)),
            7: _refer(builder.CreateString("1.0.0")),
        },
    )
    builder.Finish(model, file_identifier=b"M001")
    return bytes(builder.Output())


def append_files(model: bytes, classes: Sequence[str], facts: Mapping[str, Any]) -> bytes:
    """Append the labels and all that clownfish knows, with a seal over everything.

    Args:
        model: the flatbuffer.
        classes: the labels.
        facts: the properties of `model.onnx`, by name.

    Returns:
        The whole file.
    """
    sealed = {**facts, "seal": compute_facts_seal(model, facts)}
    labels = format_labels(classes)
    content = json.dumps(sealed, indent=1, ensure_ascii=False).encode()
    archive = io.BytesIO(model)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as files:
        for name, data in ((LABELS_FILE, labels), (FACTS_FILE, content)):
            files.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    return archive.getvalue()


def _add_image(builder: flatbuffers.Builder) -> Offset:
    """The input: RGB as it is (mean 0, deviation 1), for the network normalises by itself."""
    zero, one = _add_floats(builder, 0.0), _add_floats(builder, 1.0)
    options = _add_table(builder, {0: _refer(zero), 1: _refer(one)})
    properties = _add_table(builder, {0: _put_byte(_RGB)})
    content = _add_table(builder, {0: _put_byte(_IMAGE_PROPERTIES), 1: _refer(properties)})
    lowest, highest = _add_floats(builder, 0.0), _add_floats(builder, 255.0)
    stats = _add_table(builder, {0: _refer(highest), 1: _refer(lowest)})
    return _add_table(
        builder,
        {
            0: _refer(builder.CreateString("image")),
            1: _refer(builder.CreateString("The photo as a square, RGB, 0 to 255.")),
            3: _refer(content),
            4: _refer(_add_vector(builder, [_add_union(builder, _NORMALIZATION, options)])),
            5: _refer(stats),
        },
    )


def _add_table(builder: flatbuffers.Builder, fields: Mapping[int, Field]) -> Offset:
    builder.StartObject(max(fields) + 1)
    for slot, put in fields.items():
        put(builder, slot)
    offset: Offset = builder.EndObject()
    return offset


def _add_union(builder: flatbuffers.Builder, kind: int, options: Offset) -> Offset:
    return _add_table(builder, {0: _put_byte(kind), 1: _refer(options)})


def _add_vector(builder: flatbuffers.Builder, offsets: Sequence[Offset]) -> Offset:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    made: Offset = builder.EndVector()
    return made


def _add_floats(builder: flatbuffers.Builder, *values: float) -> Offset:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    made: Offset = builder.EndVector()
    return made


def _refer(offset: Offset) -> Field:
    return lambda builder, slot: builder.PrependUOffsetTRelativeSlot(slot, offset, 0)


def _put_byte(value: int) -> Field:
    return lambda builder, slot: builder.PrependUint8Slot(slot, value, 0)


def _put_float(value: float) -> Field:
    return lambda builder, slot: builder.PrependFloat32Slot(slot, value, 0.0)
