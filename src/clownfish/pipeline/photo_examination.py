"""The audits that need no trained model: shortcuts and suspicious labels. Shared by `train` and `audit`."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import Helpers
from clownfish.evaluation.grouping import draw_evenly
from clownfish.evaluation.metrics import evaluate_part
from clownfish.evaluation.orientation import Turned, choose_turned
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import extract_features, extract_upside_down
from clownfish.features.pictures import load_pictures
from clownfish.pipeline.examination import Examination
from clownfish.pipeline.label_audit import SUSPICIOUS_NAME, audit_labels
from clownfish.pipeline.material import Material
from clownfish.pipeline.shortcut_audit import ShortcutMaterial, audit_shortcuts
from clownfish.records import Catalog, PhotoFile
from clownfish.regression.logistic import predict_out_of_fold
from clownfish.regression.rotation import Rotation

MAX_PHOTOS = 5000
"""Looked at for shortcuts; one that needs more to be seen is hardly one."""
PENALTY = 100.0
"""L2, relative to the sum of the losses (scikit-learn's C = 0.01); suits such features on every set tried."""


def turn_photos(
    material: Material, *, seed: int, helpers: Helpers | None = None, on_photo: Callable[[], None] = lambda: None
) -> Turned | None:
    """Show some photos to the network upside down, to find classes that are stored the other way round.

    Args:
        material: of the run.
        seed: of what is drawn.
        helpers: helper processes that are there already.
        on_photo: called once for each photo that is done.

    Returns:
        Those that can still be read; None where there are too few.
    """
    catalog, rows = material.catalog, _choose_rows(material, seed)
    chosen = choose_turned(catalog.labels[rows], material.groups[rows], len(catalog.classes), seed)
    if len(chosen) == 0:
        return None
    facts = [catalog.used_inspections[row] for row in rows[chosen].tolist()]
    if all(photo.content_hash in material.pixels for photo in facts):
        flipped = extract_upside_down(
            facts, material.pixels, material.backbone, material.preprocessing, material.cache, on_photo=on_photo
        )
        return Turned(rows=chosen, features=material.features[rows[chosen]], flipped=flipped)
    photos = [catalog.photos[position] for position in catalog.used[rows[chosen]]]
    files = [PhotoFile(file=photo.file, path=photo.path, label=photo.label) for photo in photos]
    inspections, flipped = extract_features(
        files,
        material.backbone,
        material.preprocessing,
        material.cache,
        view="upside_down",
        helpers=helpers,
        on_photo=on_photo,
    )
    read = chosen[np.flatnonzero([inspection.usable for inspection in inspections])]
    return Turned(rows=read, features=material.features[rows[read]], flipped=flipped)


def examine_photos(
    material: Material,
    rotation: Rotation,
    folds: NDArray[np.int64],
    *,
    load_turned: Callable[[], Turned | None],
    seed: int,
    fast: bool,
) -> Examination:
    """Look for shortcuts and for wrong labels.

    Args:
        material: of the run.
        rotation: the features of its photos in their principal axes.
        folds: of cross-validation, shape (num_photos,).
        load_turned: gives what `turn_photos` made, with the same seed.
        seed: of what is drawn.
        fast: skip what is slow.

    Returns:
        "shortcuts", "label_errors" and "quick_accuracy" for metrics.json, sentences, and suspicious_labels.csv.
    """
    catalog, groups = material.catalog, material.groups
    penalties = np.array([PENALTY], np.float32)
    logs = predict_out_of_fold(rotation.scores, catalog.labels, folds, penalties, len(catalog.classes))[0]
    quick = evaluate_part(catalog.labels, np.exp(logs.astype(np.float64)), catalog.groups)
    labels = audit_labels(catalog, rotation.scores, logs, groups, folds, penalty=PENALTY, seed=seed, fast=fast)
    rows = _choose_rows(material, seed)
    part = replace(catalog, used=catalog.used[rows], labels=catalog.labels[rows])
    shortcuts, sentences = audit_shortcuts(
        ShortcutMaterial(
            catalog=part,
            groups=groups[rows],
            folds=folds[rows],
            real_accuracy=float(quick["balanced_accuracy"]["value"]),
            load_pictures=lambda: _load_pictures(part, material.cache),
            load_turned=load_turned,
            seed=seed,
        )
    )
    return Examination(
        metrics={"shortcuts": shortcuts, "label_errors": labels.content, "quick_accuracy": quick},
        messages=[*sentences, *labels.messages],
        files={SUSPICIOUS_NAME: labels.table},
    )


def _load_pictures(catalog: Catalog, cache: FeatureCache) -> NDArray[np.uint8]:
    photos = [catalog.photos[position] for position in catalog.used]
    return load_pictures([(photo.content_hash, photo.path) for photo in photos], cache)


def _choose_rows(material: Material, seed: int) -> NDArray[np.int64]:
    """Used photos that are looked at for shortcuts."""
    return draw_evenly(material.catalog.labels, MAX_PHOTOS, seed=seed)
