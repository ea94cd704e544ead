"""What the certificate of an exported file says, as rows of a table."""

from collections.abc import Mapping
from typing import Any

from clownfish.report.wording import NOTHING, format_accuracy, is_number

_FORMS = {"tflite": "TensorFlow Lite", "onnx": "ONNX", "torch": "PyTorch (safetensors)", "web": "web page"}


def describe_export(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Write the facts of a certificate for people.

    Args:
        facts: what NAME.certificate.json holds.

    Returns:
        What each fact is called, and its value.

    Raises:
        KeyError, TypeError, ValueError: these are no such facts.
    """
    before, after = facts["original"], facts["exported"]
    rows = [
        ("form", f"{_FORMS.get(after['form'], after['form'])}, {after['precision']}"),
        ("size", f"{after['bytes'] / 1e6:.1f} MB, before {before['bytes'] / 1e6:.1f} MB"),
        ("checked on", f"{facts['num_photos']:,} photos: {facts['photos']}"),
    ]
    if facts["num_photos"]:
        difference = facts["probability_difference"]
        rows += [
            ("same label", _write_agreement(facts["agreement"]["num_disagreeing"], facts["agreement"], facts)),
            ("same label, at least needed", f"{100 * facts['bar']['agreement']:g} %"),
            ("same “ok”, “unsure” or “unlike anything seen”", f"{100 * facts['same_status']:.1f} %"),
            ("largest difference of a probability", f"{difference['largest']:.2g}"),
            ("mean difference", f"{difference['mean']:.2g}"),
            ("difference of the scores before the softmax", _write_scores(facts)),
        ]
    if facts.get("resized_by_phone"):
        resized = facts["resized_by_phone"]
        agreement = _write_agreement(resized["num_disagreeing"], resized["agreement"], facts)
        rows.append(("same label when a phone makes the photo smaller", agreement))
    if facts.get("accuracy"):
        rows += _describe_accuracy(facts["accuracy"])
    if facts.get("milliseconds_a_photo"):
        rows += _describe_times(facts["milliseconds_a_photo"])
    return [
        *rows,
        ("run by", f"{after['runtime']}, before {before['runtime']}"),
        ("made by", f"clownfish {facts['clownfish']}"),
        ("SHA-256 of the file", after["sha256"]),
        ("SHA-256 of the original", before["sha256"]),
    ]


def _write_agreement(num_disagreeing: int, agreement: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    return f"{facts['num_photos'] - num_disagreeing:,} of {facts['num_photos']:,}: {format_accuracy(agreement)}"


def _write_scores(facts: Mapping[str, Any]) -> str:
    found, limit = facts.get("score_difference"), facts["bar"].get("score_difference")
    if found is None:
        return NOTHING
    return f"{100 * found:.2g} %" + ("" if limit is None else f", at most {100 * limit:g} % allowed")


def _describe_accuracy(accuracy: Mapping[str, Any]) -> list[tuple[str, str]]:
    difference = accuracy["difference"]
    ends = [difference["low"], difference["high"]]
    between = f" (range {' to '.join(_write_points(end) for end in ends)})" if all(map(is_number, ends)) else ""
    return [
        (
            f"accuracy on {accuracy['num_photos']:,} test photos",
            f"{100 * accuracy['after']['value']:.1f} %, before {100 * accuracy['before']['value']:.1f} %",
        ),
        ("difference, percentage points", _write_points(difference["value"]) + between),
    ]


def _write_points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _describe_times(times: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for size, name in ((1, "time a photo, one core"), (32, "the same, 32 at once")):
        values = [times.get(side, {}).get(f"batch_{size}") for side in ("after", "before")]
        written = [f"{value:.1f} ms" if is_number(value) else NOTHING for value in values]
        rows.append((name, f"{written[0]}, before {written[1]}"))
    return rows
