"""Labels that are probably wrong: found, put into words and into a table that a person can turn into corrections."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.label_errors import LabelErrors, SelfTest, find_label_errors, run_self_test
from clownfish.files import format_table
from clownfish.records import Catalog

SUSPICIOUS_NAME = "suspicious_labels.csv"
_MAX_IN_METRICS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelAudit:
    """What was found about the labels."""

    content: dict[str, Any]
    """Of "label_errors" in metrics.json."""
    messages: list[str]
    table: bytes
    """Of suspicious_labels.csv."""


def audit_labels(
    catalog: Catalog,
    scores: NDArray[np.float32],
    log_probabilities: NDArray[np.float32],
    groups: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    penalty: float,
    seed: int,
    fast: bool,
) -> LabelAudit:
    """Find suspicious labels, and measure how well that works on these photos.

    Args:
        catalog: the photos.
        scores: principal axes of the used photos, strongest first, shape (num_photos, num_axes).
        log_probabilities: of layers of that penalty, out-of-fold, shape (num_photos, num_classes).
        groups: shape (num_photos,).
        folds: shape (num_photos,).
        penalty: L2 of the layers.
        seed: of the self-test.
        fast: skip the self-test.

    Returns:
        Numbers, sentences and the table.
    """
    num_classes = len(catalog.classes)
    errors = find_label_errors(
        scores, catalog.labels, groups, folds, num_classes, penalty=penalty, log_probabilities=log_probabilities
    )
    test = None
    if not fast:
        test = run_self_test(
            scores, catalog.labels, groups, folds, num_classes, penalty=penalty, seed=seed, known=errors.rows
        )
    rows = _list_rows(catalog, errors)
    content = {
        "num_listed": len(rows),
        "num_expected_wrong": errors.num_expected,
        "share_wrong": errors.share_wrong,
        "num_judged": errors.num_judged,
        "self_test": None
        if test is None
        else {"num_flipped": test.num_flipped, "recall": test.recall, "precision": test.precision},
        "suspicious": [dict(zip(_HEADER, row, strict=True)) for row in rows[:_MAX_IN_METRICS]],
    }
    table = format_table(_HEADER, rows)
    return LabelAudit(content=content, messages=_describe(errors, test, rows), table=table)


_HEADER = ["file", "label", "suggested", "score", "reason"]


def _list_rows(catalog: Catalog, errors: LabelErrors) -> list[list[Any]]:
    rows = []
    for row, suggested, probability, neighbours in zip(
        errors.rows, errors.suggested, errors.probabilities, errors.neighbours, strict=True
    ):
        photo = catalog.photos[catalog.used[row]]
        name = catalog.classes[suggested]
        reason = (
            f"a classifier that has not seen it says {name}; {100 * neighbours:.0f} % of the photos most like it are"
            f" {name}"
        )
        rows.append([photo.file, photo.label, name, float(probability), reason])
    return rows


def _describe(errors: LabelErrors, test: SelfTest | None, rows: list[list[Any]]) -> list[str]:
    if not rows:
        return []
    count = len(rows)
    expected = max(1, round(errors.num_expected))
    examples = "; ".join(f"{file} ({label}, looks like {suggested})" for file, label, suggested, *_ in rows[:3])
    text = (
        f"{count} label{'s look' if count > 1 else ' looks'} wrong, of which about {min(expected, count)} really"
        f" {'are' if expected > 1 else 'is'}: {examples}. Look at them"
    )
    text += (
        f" in {SUSPICIOUS_NAME}; nothing was changed. Put what you correct into a CSV (file,old,new,reason) and give"
    )
    text += " it to train with --corrections."
    if test is not None and test.recall < 0.7:
        share = 100 * test.recall
        text += f" The search is not sharp on these photos: of labels made wrong on purpose it found {share:.0f} %."
    return [text]
