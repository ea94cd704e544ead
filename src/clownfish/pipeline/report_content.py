"""From what a run has come to, to what its report shows: above all, which photos."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import Helpers
from clownfish.evaluation.intervals import MIN_GROUPS, MIN_GROUPS_OF_CLASS
from clownfish.features.cache import FeatureCache
from clownfish.features.maps import make_maps
from clownfish.features.previews import load_previews
from clownfish.images import Preprocessing
from clownfish.records import Backbone, Catalog, Part
from clownfish.report.confusion import find_mutual_pairs
from clownfish.report.content import ReportContent, ReportMap, ReportPair, ReportPhoto
from clownfish.report.findings import list_shortcuts
from clownfish.report.heat import draw_heat
from clownfish.training.selection import Trained

# A preview has about 6 kB, and a third more as text: all of these together make at most about 5 MB.
_MAX_REPORT_PHOTOS = 100
_MIN_EXAMPLES, _MAX_EXAMPLES = 25, 100
_EXAMPLES_OF_CLASS = 6
_MAX_PAIRS = 3
_MAX_OF_CLASS = 3
_MAX_CONFUSED = 6
_MAX_SUSPICIOUS = 24
_MAX_OF_SHORTCUT = 6
_MAX_SHORTCUTS = 10
_MAX_MAPS = 4
"""Of photos named wrongly, and again of photos named right."""
_MAX_COMPARED = 2000
"""So many training photos say what the average photo is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportMaterial:
    """What a report is made from; rows are the used photos of the catalog, in its order."""

    name: str
    created: str
    """Date and time in ISO 8601."""
    metrics: Mapping[str, Any]
    messages: Sequence[str]
    catalog: Catalog
    parts: Sequence[Part]
    probabilities: NDArray[np.float64]
    """Of the trained model, shape (num_photos, num_classes)."""
    out_of_fold: NDArray[np.float64]
    """Of cross-validation, shape (num_photos, num_classes)."""
    trained: Trained
    backbone: Backbone
    preprocessing: Preprocessing
    features: NDArray[np.float32]
    """Shape (num_photos, num_features), raw."""
    options: Mapping[str, Any]
    cache: FeatureCache


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chosen:
    """Rows of the photos to show."""

    test: NDArray[np.int64]
    wrong: NDArray[np.int64]
    examples: NDArray[np.int64]
    suspicious: Sequence[int]
    shortcuts: Sequence[int]
    pairs: Sequence[tuple[str, str, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]
    """Both classes, photos of each, and confused ones."""

    def list_all(self) -> NDArray[np.int64]:
        """Every row once."""
        of_pairs = [rows for _, _, *kinds in self.pairs for rows in kinds]
        further = np.array([*self.suspicious, *self.shortcuts], np.int64)
        return np.unique(np.concatenate([self.test, self.wrong, self.examples, further, *of_pairs]))


def make_report_content(material: ReportMaterial, helpers: Helpers | None = None) -> ReportContent:
    """Choose the photos to show and get their small pictures.

    Args:
        material: of the run.
        helpers: helper processes that are there already.

    Returns:
        The content of the report.
    """
    catalog, metrics = material.catalog, material.metrics
    rows_of_files = {catalog.photos[position].file: row for row, position in enumerate(catalog.used.tolist())}
    chosen = _choose_photos(material, rows_of_files)
    photos = [catalog.photos[catalog.used[row]] for row in chosen.list_all()]
    previews = load_previews(photos, material.cache, helpers=helpers)

    def show(row: int, probabilities: NDArray[np.float64]) -> ReportPhoto:
        photo, predicted = catalog.photos[catalog.used[row]], int(probabilities[row].argmax())
        return ReportPhoto(
            file=photo.file,
            label=photo.label,
            predicted=catalog.classes[predicted],
            probability=float(probabilities[row, predicted]),
            correct=bool(predicted == catalog.labels[row]),
            preview=previews[photo.content_hash],
        )

    def show_label(row: int, predicted: str = "", probability: float = 1.0) -> ReportPhoto:
        photo = catalog.photos[catalog.used[row]]
        return ReportPhoto(
            file=photo.file,
            label=photo.label,
            predicted=predicted or photo.label,
            probability=probability,
            correct=not predicted,
            preview=previews[photo.content_hash],
        )

    return ReportContent(
        name=material.name,
        created=material.created,
        metrics=metrics,
        history=material.trained.history,
        best_epoch=material.trained.best_epoch,
        messages=material.messages,
        test_photos=[show(row, material.probabilities) for row in chosen.test.tolist()],
        wrong_photos=[show(row, material.probabilities) for row in chosen.wrong.tolist()],
        example_photos=[show_label(row) for row in chosen.examples.tolist()],
        pairs=[
            ReportPair(
                first=first,
                second=second,
                first_photos=[show_label(row) for row in of_first.tolist()],
                second_photos=[show_label(row) for row in of_second.tolist()],
                confused_photos=[show(row, material.out_of_fold) for row in confused.tolist()],
            )
            for first, second, of_first, of_second, confused in chosen.pairs
        ],
        suspicious_photos=[
            show_label(rows_of_files[found["file"]], found["suggested"], found["score"])
            for found in _list_suspicious(metrics, rows_of_files)
        ],
        shortcut_photos={photo.file: photo for photo in (show_label(row) for row in chosen.shortcuts)},
        unusable=[(photo.file, photo.note) for photo in catalog.photos if photo.status != "used"],
        options=_hide_places(material.options),
        model=_describe_model(material),
        min_groups=MIN_GROUPS,
        min_groups_of_class=MIN_GROUPS_OF_CLASS,
    )


def _choose_photos(material: ReportMaterial, rows_of_files: Mapping[str, int]) -> _Chosen:
    catalog = material.catalog
    parts = np.array(material.parts)
    predicted, certainty = material.probabilities.argmax(axis=1), material.probabilities.max(axis=1)
    wrong = np.flatnonzero((parts != "train") & (predicted != catalog.labels))
    shortcuts = [file for finding in list_shortcuts(material.metrics)[:_MAX_SHORTCUTS] for file in _cut(finding.files)]
    wrong = wrong[np.argsort(-certainty[wrong], kind="stable")]
    return _Chosen(
        test=_choose_of_classes(catalog, np.flatnonzero(parts == "test"), _MAX_REPORT_PHOTOS),
        wrong=wrong[:_MAX_REPORT_PHOTOS],
        examples=_choose_examples(catalog, np.flatnonzero(parts == "train")),
        suspicious=[rows_of_files[found["file"]] for found in _list_suspicious(material.metrics, rows_of_files)],
        shortcuts=[rows_of_files[file] for file in dict.fromkeys(shortcuts) if file in rows_of_files],
        pairs=_choose_pairs(material),
    )


def add_maps(content: ReportContent, material: ReportMaterial, helpers: Helpers | None = None) -> ReportContent:
    """Show of some photos what speaks for the answer and against the true or the next class.

    Args:
        content: of the report.
        material: of the run.
        helpers: helper processes that are there already.

    Returns:
        The content with the maps.
    """
    rows = _choose_mapped(material)
    photos = [material.catalog.photos[material.catalog.used[row]] for row in rows]
    previews = load_previews(photos, material.cache, helpers=helpers)
    maps = []
    for row, facts in _make_maps(material, rows, helpers):
        photo, predicted = material.catalog.photos[material.catalog.used[row]], material.probabilities[row].argmax()
        shown = ReportPhoto(
            file=photo.file,
            label=photo.label,
            predicted=material.catalog.classes[predicted],
            probability=float(material.probabilities[row, predicted]),
            correct=bool(predicted == material.catalog.labels[row]),
            preview=previews[photo.content_hash],
        )
        maps.append(ReportMap(photo=shown, **facts))
    return replace(content, maps=maps)


def _choose_mapped(material: ReportMaterial) -> NDArray[np.int64]:
    """The surest mistakes, and some test photos of each class that were named right."""
    catalog, parts, certainty = material.catalog, np.array(material.parts), material.probabilities.max(axis=1)
    is_right = material.probabilities.argmax(axis=1) == catalog.labels
    wrong = _pick(np.flatnonzero((parts != "train") & ~is_right), certainty, _MAX_MAPS)
    right = _choose_of_classes(catalog, np.flatnonzero((parts == "test") & is_right), _MAX_MAPS)
    return np.concatenate([wrong, right])


def _make_maps(
    material: ReportMaterial, rows: NDArray[np.int64], helpers: Helpers | None
) -> list[tuple[int, dict[str, Any]]]:
    """For each photo that can be read, its number and what the map says."""
    if not len(rows):
        return []
    catalog, weights = material.catalog, material.trained.head.weights.astype(np.float64)
    ranked = np.argsort(-material.probabilities[rows], axis=1, kind="stable")
    answers, labels = ranked[:, 0], catalog.labels[rows]
    rivals = np.where(answers == labels, ranked[:, 1], labels)
    training = np.flatnonzero(np.array(material.parts) == "train")
    compared = training[:: max(1, len(training) // _MAX_COMPARED)]
    photos = [catalog.photos[catalog.used[row]] for row in rows]
    maps = make_maps(
        photos,
        (weights[:, answers] - weights[:, rivals]).T,
        material.features[compared].mean(axis=0, dtype=np.float64),
        material.backbone,
        material.preprocessing,
        material.cache,
        helpers=helpers,
    )
    is_whole = material.preprocessing.resize == "stretch"
    return [
        (
            int(row),
            {
                "rival": catalog.classes[rival],
                "picture": draw_heat(found.pixels, found.values, (photo.width, photo.height) if is_whole else None),
                "placed": found.placed,
                "unplaced": found.unplaced,
            },
        )
        for row, rival, photo, found in zip(rows, rivals, photos, maps, strict=True)
        if found is not None
    ]


def _cut(files: Sequence[str]) -> Sequence[str]:
    return files[:_MAX_OF_SHORTCUT]


def _list_suspicious(metrics: Mapping[str, Any], rows_of_files: Mapping[str, int]) -> list[Mapping[str, Any]]:
    found = (metrics.get("label_errors") or {}).get("suspicious") or []
    return [row for row in found if row["file"] in rows_of_files][:_MAX_SUSPICIOUS]


def _choose_pairs(
    material: ReportMaterial,
) -> list[tuple[str, str, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """For the most confused pairs: the surest photos of each class, and the surest mistakes."""
    catalog, probabilities = material.catalog, material.out_of_fold
    labels, predicted, certainty = catalog.labels, probabilities.argmax(axis=1), probabilities.max(axis=1)
    matrix = material.metrics["cross_validated"]["confusion_matrix"]
    chosen = []
    for pair in find_mutual_pairs(catalog.classes, matrix)[:_MAX_PAIRS]:
        first, second = catalog.classes.index(pair.first), catalog.classes.index(pair.second)
        right = [
            _pick(np.flatnonzero((labels == own) & (predicted == own)), certainty, _MAX_OF_CLASS)
            for own in (first, second)
        ]
        mistaken = ((labels == first) & (predicted == second)) | ((labels == second) & (predicted == first))
        confused = _pick(np.flatnonzero(mistaken), certainty, _MAX_CONFUSED)
        chosen.append((pair.first, pair.second, right[0], right[1], confused))
    return chosen


def _pick(rows: NDArray[np.int64], certainty: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    return rows[np.argsort(-certainty[rows], kind="stable")][:most]


def _choose_examples(catalog: Catalog, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    most = min(max(_EXAMPLES_OF_CLASS * len(catalog.classes), _MIN_EXAMPLES), _MAX_EXAMPLES)
    return _choose_of_classes(catalog, rows, most)


def _choose_of_classes(catalog: Catalog, rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Photos of every class in turn, so that each species is seen; in the order of the catalog."""
    by_class = [rows[catalog.labels[rows] == number] for number in range(len(catalog.classes))]
    in_turn = _take_turns(by_class, max(map(len, by_class)))
    return np.array(sorted(row for row, _ in zip(in_turn, range(most), strict=False)), np.int64)


def _take_turns(by_class: Sequence[NDArray[np.int64]], longest: int) -> Iterable[np.int64]:
    return (own[turn] for turn in range(longest) for own in by_class if turn < len(own))


def _describe_model(material: ReportMaterial) -> dict[str, Any]:
    backbone, trained = material.backbone, material.trained
    return {
        "backbone": backbone.name,
        "input_size": backbone.input_size,
        "feature_set": backbone.feature_set,
        "num_features": backbone.num_features,
        "num_parameters": backbone.num_parameters,
        "num_trained_parameters": trained.num_trained_parameters,
        "weight_decay": trained.weight_decay,
        "licence": backbone.licence,
        "weights_sha256": backbone.weights_hash,
    }


def _hide_places(options: Mapping[str, Any]) -> dict[str, Any]:
    """A report may be published; where things lie on somebody's disk does not belong there."""
    places = {name: Path(options[name]).name for name in ("place", "folder", "weights", "model_dir") if options[name]}
    return {**options, **places}
