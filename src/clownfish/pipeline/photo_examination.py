"""The audits that need no trained model: shortcuts and suspicious labels. Shared by `train` and `audit`."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.grouping import draw_evenly
from clownfish.evaluation.metrics import evaluate_part
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import extract_features
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


def examine_photos(
    material: Material, rotation: Rotation, folds: NDArray[np.int64], *, seed: int, fast: bool
) -> Examination:
    """Look for shortcuts and for wrong labels.

    Args:
        material: of the run.
        rotation: the features of its photos in their principal axes.
        folds: of cross-validation, shape (num_photos,).
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
    rows = draw_evenly(catalog.labels, MAX_PHOTOS, seed=seed)
    part = replace(catalog, used=catalog.used[rows], labels=catalog.labels[rows])
    shortcuts, sentences = audit_shortcuts(
        ShortcutMaterial(
            catalog=part,
            features=material.features[rows],
            parts=material.backbone.parts,
            groups=groups[rows],
            folds=folds[rows],
            real_accuracy=float(quick["balanced_accuracy"]["value"]),
            load_pictures=lambda: _load_pictures(part, material.cache),
            load_flipped=lambda wanted: _load_flipped(part, material, wanted),
            seed=seed,
            fast=fast,
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


def _load_flipped(
    catalog: Catalog, material: Material, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Features of some photos upside down; of those that can still be read."""
    photos = [catalog.photos[position] for position in catalog.used[rows]]
    files = [PhotoFile(file=photo.file, path=photo.path, label=photo.label) for photo in photos]
    inspections, features = extract_features(
        files, material.backbone, material.preprocessing, material.cache, view="flipped"
    )
    return rows[np.flatnonzero([inspection.usable for inspection in inspections])], features
