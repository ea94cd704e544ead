"""`clownfish audit`: what is wrong with a set of photos, before a model is trained on it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clownfish.compute import Helpers, limit_matrix_threads
from clownfish.config import TrainConfig
from clownfish.errors import ConfigError
from clownfish.evaluation.metrics import describe_chance
from clownfish.evaluation.outliers import find_outliers
from clownfish.features.cache import FeatureCache
from clownfish.features.previews import load_previews
from clownfish.files import check_free, encode_text, format_table, name_columns, write_folder
from clownfish.photos.scan import Scan
from clownfish.pipeline.examination import MAX_AXES, Examination
from clownfish.pipeline.material import Found, find_photos, group_photos, read_photos
from clownfish.pipeline.photo_examination import examine_photos, turn_photos
from clownfish.progress import NoProgress, Progress
from clownfish.records import COPY_KINDS, Catalog
from clownfish.regression.rotation import rotate_features
from clownfish.report.contact_sheet import Sheet, SheetPhoto, render_contact_sheet
from clownfish.splits import make_folds

AUDIT_SCHEMA = 1
_MAX_LISTED = 50
_MAX_PICTURES = 60
_MAX_RATIO = 10.0
"""Photos of the largest class to those of the smallest, above which it is worth a word."""


@dataclass(frozen=True)
class Audit:
    """What was found out about a set of photos."""

    metrics: dict[str, Any] = field(repr=False)
    """What audit.json holds."""
    messages: tuple[str, ...]
    """What the user should know, most important first."""
    path: Path | None
    """The folder with the tables and the contact sheet, if one was asked for."""


def audit_photos(
    config: TrainConfig, *, out: Path | None = None, fast: bool = False, progress: Progress | None = None
) -> Audit:
    """Look for copies, shortcuts, wrong labels and odd photos; no model is kept.

    Args:
        config: which photos, what is known about them, and which network looks at them.
        out: a folder to make; None to write nothing.
        fast: skip what is slow: photos shown upside down, and the self-test of the search for wrong labels.
        progress: shows how far the work has come.

    Returns:
        Numbers and sentences.

    Raises:
        PhotosError: the photos, or the corrections, cannot be used.
        ConfigError: an option makes no sense.
        BackboneError: the pre-trained weights are missing or changed.
        OutputError: the folder exists or cannot be written.
    """
    if not config.photos.place:
        raise ConfigError("No photos are given. Give a folder with one folder a class, or a CSV with file,label.")
    if out is not None:
        check_free(out)
    progress = progress or NoProgress()
    found = find_photos(config.photos)
    with Helpers() as helpers, limit_matrix_threads(len(found.scan.photos)):
        return _audit(found, config, out, progress, helpers, fast=fast)


def _audit(
    found: Found, config: TrainConfig, out: Path | None, progress: Progress, helpers: Helpers, *, fast: bool
) -> Audit:
    seen = read_photos(found, config, progress, helpers)
    cache = seen.cache
    try:
        material = group_photos(found, seen, config.photos)
        scan, catalog, seed = material.scan, material.catalog, config.training.seed
        with progress.show_stage("Examining", None):
            rotation = rotate_features(material.features, parts=material.backbone.parts, max_axes=MAX_AXES)
            folds = make_folds(catalog.label_names, catalog.groups, seed=seed)
            load_turned = partial(turn_photos, material, seed=seed, helpers=helpers)
            examination = examine_photos(
                material,
                rotation,
                folds,
                load_turned=(lambda: None) if fast else load_turned,
                seed=seed,
                fast=fast,
            )
        metrics = _make_metrics(scan, catalog, examination)
        messages = (*_list_messages(catalog, metrics), *examination.messages)
        if out is not None:
            files = {
                "audit.json": encode_text(
                    json.dumps({**metrics, "messages": list(messages)}, indent=2, ensure_ascii=False) + "\n"
                ),
                "photos.csv": _format_photos(scan, catalog),
                "contact-sheet.html": encode_text(
                    _render_sheets(Path(config.photos.place).name, catalog, metrics, messages, cache)
                ),
                **examination.files,
            }
            write_folder(out, files)
    finally:
        cache.close()
    return Audit(metrics=metrics, messages=messages, path=out)


def _make_metrics(scan: Scan, catalog: Catalog, examination: Examination) -> dict[str, Any]:
    statuses = Counter(photo.status for photo in catalog.photos)
    names = np.array(catalog.label_names)
    groups = np.array(catalog.groups)
    copies = [link for link in catalog.links if link.kind in COPY_KINDS]
    sizes = np.array([[photo.width, photo.height] for photo in catalog.used_inspections])
    longest = sizes.max(axis=1)
    return {
        "schema": AUDIT_SCHEMA,
        "classes": [
            {
                "label": label,
                "num_photos": int((names == label).sum()),
                "num_groups": len(np.unique(groups[names == label])),
            }
            for label in catalog.classes
        ],
        "num_photos": {
            "found": len(catalog.photos),
            "used": statuses["used"],
            "unusable": statuses["unusable"],
            "left_out": statuses["left out"],
        },
        "skipped_files": sum(scan.skipped.values()),
        "num_groups": len(np.unique(groups)),
        "copies": {
            "num_pairs": len(copies),
            "examples": [
                [catalog.photos[link.first].file, catalog.photos[link.second].file, link.relation or link.kind]
                for link in copies[:_MAX_LISTED]
            ],
        },
        "reasons": dict(catalog.reason_counts),
        "label_conflicts": catalog.num_label_conflicts,
        "longest_side": {
            "smallest": int(longest.min()),
            "median": float(np.median(longest)),
            "largest": int(longest.max()),
        },
        "unusable": [[photo.file, photo.note] for photo in catalog.photos if photo.status == "unusable"][:_MAX_LISTED],
        "outliers": _find_outliers(catalog),
        "chance": describe_chance(catalog.labels, len(catalog.classes)),
        **examination.metrics,
    }


def _find_outliers(catalog: Catalog) -> list[dict[str, Any]]:
    photos = catalog.used_inspections
    sharpness = np.log1p([photo.sharpness for photo in photos])
    brightness = np.array([photo.brightness for photo in photos])
    found = [
        find_outliers("blurred", sharpness, direction=-1),
        find_outliers("dark", brightness, direction=-1),
        find_outliers("bright", brightness, direction=1),
        find_outliers("flat", np.log1p([photo.contrast for photo in photos]), direction=-1),
        find_outliers("small", np.log([min(photo.width, photo.height) for photo in photos]), direction=-1),
    ]
    return [
        {
            "name": outliers.name,
            "num_photos": len(outliers.rows),
            "files": [catalog.photos[catalog.used[row]].file for row in outliers.rows[:_MAX_LISTED]],
        }
        for outliers in found
        if len(outliers.rows)
    ]


def _list_messages(catalog: Catalog, metrics: dict[str, Any]) -> list[str]:
    messages = list(catalog.notes)
    counts = {row["label"]: row["num_photos"] for row in metrics["classes"]}
    smallest, largest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[largest] > _MAX_RATIO * counts[smallest]:
        messages.append(
            f"The classes are uneven: {largest} has {counts[largest]} photos, {smallest} {counts[smallest]}. Rare"
            " classes will be missed more often; add photos of them, or train with --balance."
        )
    return messages


def _format_photos(scan: Scan, catalog: Catalog) -> bytes:
    fixed = ["file", "label", "group", "width", "height", "status", "note"]
    further = ["format", "bytes", "camera", "taken", "sharpness", "brightness", "contrast"]
    rows = [
        [
            *(
                photo.file,
                photo.label,
                photo.group,
                photo.width or None,
                photo.height or None,
                photo.status,
                photo.note,
            ),
            *(facts.format, facts.num_bytes or None, facts.camera, facts.taken),
            *((facts.sharpness, facts.brightness, facts.contrast) if facts.usable else (None, None, None)),
            *(photo.columns[name] for name in scan.columns),
        ]
        for photo, facts in zip(catalog.photos, catalog.inspections, strict=True)
    ]
    header = [*fixed, *further]
    return format_table([*header, *name_columns(scan.columns, header, prefix="csv")], rows)


def _render_sheets(
    name: str, catalog: Catalog, metrics: dict[str, Any], messages: Sequence[str], cache: FeatureCache
) -> str:
    """Pictures of what the sentences speak of."""
    by_file = {photo.file: photo for photo in catalog.photos}
    listed: list[tuple[str, list[tuple[str, str]]]] = [
        (
            "Labels that look wrong",
            [
                (row["file"], f"{row['label']}; looks like {row['suggested']}")
                for row in metrics["label_errors"]["suspicious"]
            ],
        )
    ]
    shortcuts = metrics["shortcuts"]
    for found in (shortcuts["orientation"] or {"upside_down": []})["upside_down"]:
        listed.append((f"Upside down: {found['label']}", [(file, found["label"]) for file in found["examples"]]))
    for mark in shortcuts["marks"]:
        listed.append((f"In common at the {mark['place']}", [(file, mark["label"]) for file in mark["examples"]]))
    for word in shortcuts["words"]:
        listed.append((f"{word['word']} ({word['label']})", [(file, word["label"]) for file in word["examples"]]))
    for probe in shortcuts["probes"]:
        if probe["found"]:
            rows = [(file, row["label"]) for row in probe["classes"] for file in row["examples"]]
            listed.append((f"Told by {probe['name']} alone", rows))
    for outliers in metrics["outliers"]:
        listed.append((f"Most {outliers['name']}", [(file, by_file[file].label) for file in outliers["files"][:12]]))
    pairs = metrics["copies"]["examples"][:12]
    listed.append(("Copies", [(file, relation) for *files, relation in pairs for file in files]))
    kept = [(title, rows[:_MAX_PICTURES]) for title, rows in listed if rows]
    previews = load_previews([by_file[file] for _, rows in kept for file, _ in rows], cache)
    sheets = [
        Sheet(
            title=title,
            photos=tuple(
                SheetPhoto(file=file, caption=caption, preview=previews.get(by_file[file].content_hash, b""))
                for file, caption in rows
            ),
        )
        for title, rows in kept
    ]
    return render_contact_sheet(name, messages, sheets)
