"""What a web page says about its model, and the files of a page or of an app."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clownfish.errors import ExportError
from clownfish.export.web_page import build_app, build_page, describe_maps, read_runtime_version
from clownfish.prediction.classifier import Classifier

MAX_PAGE_BYTES = 20_000_000
"""Larger ones are refused by mail, by messengers and by patience."""
MAX_LABELS_IN_TITLE = 3


def make_web_files(
    classifier: Classifier,
    model: bytes,
    certificate: Mapping[str, Any],
    failures: Sequence[str],
    *,
    is_folder: bool,
) -> dict[str, bytes]:
    """Write the page, or the files of the app.

    Args:
        classifier: the original.
        model: the TensorFlow Lite file that was made of it, with maps.
        certificate: what the comparison of both found.
        failures: why it is not certified; none if it is.
        is_folder: make an app of several files.

    Returns:
        Content by file name; without `is_folder` the page alone.

    Raises:
        ExportError: the page is too large to be handed around.
    """
    title = make_title(classifier.classes)
    num_photos = certificate["num_photos"]
    shown = {
        "labels": list(classifier.classes),
        "preprocessing": {"size": classifier.preprocessing.size, "resize": classifier.preprocessing.resize},
        "rules": _describe_rules(classifier),
        "max_error": classifier.rules.max_error if classifier.rules is not None else None,
        "maps": describe_maps(classifier.path.read_bytes(), model),
        "accuracy": _find_accuracy(classifier),
        "certificate": {
            "certified": not failures,
            "reasons": list(failures),
            "total": num_photos,
            "same": num_photos - certificate["agreement"]["num_disagreeing"] if num_photos else 0,
        },
        "version": classifier.read_all_metadata()["clownfish.version"],
        "hash": classifier.hash[:12],
    }
    page = build_page(model, shown, title, is_folder=is_folder)
    if is_folder:
        return build_app(page, title)
    if len(page) > MAX_PAGE_BYTES:
        raise ExportError(
            f"The page would have {len(page) / 1e6:.1f} MB, more than the {MAX_PAGE_BYTES / 1e6:.0f} that one file may"
            " have. Choose --quantize int8 or float16, or write a folder with --folder."
        )
    return {"index.html": page}


def describe_runtime() -> str:
    """Tell what was run for the certificate, and what is run in the page."""
    return (
        f"in the page LiteRT.js {read_runtime_version()}; for this certificate the model inside the page, run by the"
        " runtime above with photos as clownfish prepares them: the decoder of a browser was not part of it"
    )


def make_title(labels: Sequence[str]) -> str:
    """Name the page after what it knows."""
    shown = ", ".join(label.replace("_", " ") for label in labels[:MAX_LABELS_IN_TITLE])
    return shown if len(labels) <= MAX_LABELS_IN_TITLE else f"{shown} … ({len(labels)})"


def _describe_rules(classifier: Classifier) -> dict[str, Any] | None:
    rules = classifier.rules
    if rules is None:
        return None
    return {
        "threshold": float(rules.threshold) if np.isfinite(rules.threshold) else None,
        "set_thresholds": [value if np.isfinite(value) else 2.0 for value in rules.set_thresholds.tolist()],
        "novelty": None if rules.novelty is None else rules.novelty.to_json(),
    }


def _find_accuracy(classifier: Classifier) -> dict[str, float] | None:
    found = (classifier.read_metadata("facts") or {}).get("cross_validated_accuracy")
    return found if found and all(found.get(name) is not None for name in ("value", "low", "high")) else None
