"""The audits that need no trained model: shortcuts and suspicious labels. Shared by `train` and `audit`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.metrics import evaluate_part
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import extract_features
from clownfish.features.pictures import load_pictures
from clownfish.images import Preprocessing
from clownfish.pipeline.examination import Examination
from clownfish.pipeline.label_audit import MAX_AXES, SUSPICIOUS_NAME, audit_labels
from clownfish.pipeline.shortcut_audit import ShortcutMaterial, audit_shortcuts
from clownfish.records import Backbone, Catalog, PhotoFile
from clownfish.regression.logistic import predict_out_of_fold
from clownfish.regression.rotation import rotate_features

PENALTY = 100.0
"""L2, relative to the sum of the losses (scikit-learn's C = 0.01); suits such features on every set tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoMaterial:
    """What the audits look at; rows are the used photos of the catalog, in its order."""

    catalog: Catalog
    features: NDArray[np.float32]
    """Shape (num_photos, num_features), raw."""
    folds: NDArray[np.int64]
    """Of cross-validation, shape (num_photos,)."""
    backbone: Backbone
    preprocessing: Preprocessing
    cache: FeatureCache
    seed: int
    fast: bool
    """Skip what is slow."""


def examine_photos(material: PhotoMaterial) -> Examination:
    """Look for shortcuts and for wrong labels.

    Args:
        material: of the run.

    Returns:
        "shortcuts", "label_errors" and "quick_accuracy" for metrics.json, sentences, and suspicious_labels.csv.
    """
    catalog, folds = material.catalog, material.folds
    groups = np.unique(catalog.groups, return_inverse=True)[1].astype(np.int64)
    scores = rotate_features(material.features, parts=material.backbone.parts, max_axes=MAX_AXES).scores
    logs = predict_out_of_fold(scores, catalog.labels, folds, np.array([PENALTY], np.float32), len(catalog.classes))[0]
    quick = evaluate_part(catalog.labels, np.exp(logs.astype(np.float64)), catalog.groups)
    labels = audit_labels(catalog, scores, groups, folds, penalty=PENALTY, seed=material.seed, fast=material.fast)
    shortcuts, sentences = audit_shortcuts(
        ShortcutMaterial(
            catalog=catalog,
            features=material.features,
            groups=groups,
            folds=folds,
            real_accuracy=float(quick["balanced_accuracy"]["value"]),
            load_pictures=lambda: _load_pictures(material),
            load_flipped=lambda rows: _load_flipped(material, rows),
            seed=material.seed,
            fast=material.fast,
        )
    )
    return Examination(
        metrics={"shortcuts": shortcuts, "label_errors": labels.content, "quick_accuracy": quick},
        messages=[*sentences, *labels.messages],
        files={SUSPICIOUS_NAME: labels.table},
    )


def _load_pictures(material: PhotoMaterial) -> NDArray[np.uint8]:
    photos = [material.catalog.photos[position] for position in material.catalog.used]
    return load_pictures([(photo.content_hash, photo.path) for photo in photos], material.cache)


def _load_flipped(material: PhotoMaterial, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Features of some photos upside down; of those that can still be read."""
    photos = [material.catalog.photos[position] for position in material.catalog.used[rows]]
    files = [PhotoFile(file=photo.file, path=photo.path, label=photo.label) for photo in photos]
    inspections, features = extract_features(
        files, material.backbone, material.preprocessing, material.cache, view="flipped"
    )
    return rows[np.flatnonzero([inspection.usable for inspection in inspections])], features
