"""Can something that is not the animal tell the classes apart? The clues of a run, probed and put into words."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.fixed_marks import FixedMark, find_fixed_marks
from clownfish.evaluation.orientation import Orientation, Turned, find_upside_down
from clownfish.evaluation.shortcuts import Clue, Probe, encode_numbers, encode_words, probe_clue
from clownfish.evaluation.uneven_words import UnevenWord, find_uneven_words
from clownfish.records import COPY_KINDS, Catalog, Inspection

_MAYBE = "The classifier may have learned that instead of the animal."
_EDGE_CELLS = 16
_CHUNK = 256
_CLUE_NAMES = {
    "size": "The size and shape of the photo",
    "format": "The file's format",
    "camera": "What the camera wrote into the file",
    "detail": "How much detail a photo has (bytes a pixel and sharpness)",
    "border": "The outermost edge of the photo",
    "thumbnail": "A picture of 8 x 8 pixels",
}
_ADVICE = {
    "size": "Cut-outs of animals that differ in size differ truly, but in other photos they will not. Bring all photos"
    " to one size, from the same sources.",
    "format": "Get photos of all classes from the same sources, or save them all in one format before training.",
    "camera": "Get photos of each class from several cameras and times.",
    "detail": "Get photos of all classes from the same sources, at the same resolution and compression.",
    "border": "Look at the edges of those photos: frames, boards and backgrounds. Crop them off, or add photos of that"
    " class in other surroundings.",
    "thumbnail": "If that is not the animal's own colour, add photos of that class in other surroundings.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ShortcutMaterial:
    """What the probes look at; rows are the used photos of the catalog."""

    catalog: Catalog
    groups: NDArray[np.int64]
    folds: NDArray[np.int64]
    real_accuracy: float
    """Balanced, of the real classifier, out of fold."""
    load_pictures: Callable[[], NDArray[np.uint8]]
    """Grey pictures of the used photos, shape (num_photos, 64, 64)."""
    load_turned: Callable[[], Turned | None]
    """Some photos upside down; None where they are too few, or not to be looked at."""
    seed: int


def audit_shortcuts(material: ShortcutMaterial) -> tuple[dict[str, Any], list[str]]:
    """Probe every clue.

    Args:
        material: of the run.

    Returns:
        The content of "shortcuts" in metrics.json, and a sentence for each thing found.
    """
    catalog = material.catalog
    num_classes = len(catalog.classes)
    pictures = material.load_pictures()
    probes = [
        probe_clue(
            clue,
            catalog.labels,
            material.groups,
            material.folds,
            num_classes,
            real_accuracy=material.real_accuracy,
            seed=material.seed,
        )
        for clue in _make_clues(catalog.used_inspections, pictures)
    ]
    words = [
        (kind, word)
        for kind, values, difference in _list_words(catalog)
        for word in find_uneven_words(values, catalog.labels, material.groups, num_classes, min_difference=difference)
    ]
    marks = find_fixed_marks(pictures, catalog.labels, material.groups, num_classes, seed=material.seed)
    turned = material.load_turned()
    orientation = None if turned is None else _look_upside_down(turned, material)
    content: dict[str, Any] = {
        "probes": [_write_probe(probe, catalog) for probe in probes],
        "words": [_write_word(kind, word, catalog) for kind, word in words],
        "marks": [_write_mark(mark, catalog) for mark in marks],
        "orientation": None
        if turned is None or orientation is None
        else _write_orientation(orientation, turned.rows, catalog),
        "flipped_copies": _count_flipped_copies(catalog),
    }
    messages = [*_describe_orientation(content, catalog)]
    messages += [_describe_word(kind, word, catalog) for kind, word in words]
    messages += [_describe_mark(mark, catalog) for mark in marks]
    told_by_words = {kind for kind, _ in words}
    messages += [
        _describe_probe(probe, catalog, material.real_accuracy)
        for probe in probes
        if probe.flagged and probe.name not in told_by_words
    ]
    content["found"] = len(messages)
    content["sentences"] = messages
    return content, messages


def _make_clues(inspections: Sequence[Inspection], pictures: NDArray[np.uint8]) -> list[Clue]:
    sizes = np.array([[photo.width, photo.height] for photo in inspections], np.float64)
    num_bytes = np.array([photo.num_bytes for photo in inspections], np.float64)
    width, height = sizes.T
    detail = np.stack([num_bytes / (width * height), [photo.sharpness for photo in inspections]], axis=1)
    cameras = [photo.camera or "none" for photo in inspections]
    times = [_read_time(photo.taken) for photo in inspections]
    colours = np.array([photo.colours for photo in inspections], np.float32)
    return [
        Clue(
            name="size",
            kind="file",
            values=encode_numbers(np.stack([width, height, width / height, width * height], axis=1)),
        ),
        Clue(
            name="format",
            kind="file",
            values=encode_words([f"{photo.format} {photo.mode}" for photo in inspections]),
        ),
        Clue(
            name="camera",
            kind="file",
            values=np.concatenate(
                [
                    encode_words(cameras),
                    encode_words([month for month, _ in times]),
                    encode_words([h for _, h in times]),
                ],
                axis=1,
            ),
        ),
        Clue(name="detail", kind="detail", values=encode_numbers(detail)),
        Clue(name="border", kind="border", values=_describe_edges(colours, pictures)),
        Clue(
            name="thumbnail",
            kind="picture",
            values=colours.reshape(len(colours), 8, 2, 8, 2, 3).mean(axis=(2, 4)).reshape(len(colours), -1),
        ),
    ]


def _read_time(taken: str) -> tuple[str, str]:
    """Month and part of the day, in words; "none" where the photo does not tell."""
    if not taken:
        return "none", "none"
    moment = datetime.fromisoformat(taken)
    return f"month {moment.month}", f"hour {moment.hour // 3 * 3}"


def _describe_edges(colours: NDArray[np.float32], pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colours of the outermost cells of 16 x 16, and how busy the two outermost are; both in grey levels."""
    outer = np.ones((_EDGE_CELLS, _EDGE_CELLS), bool)
    outer[1:-1, 1:-1] = False
    wide = np.ones((_EDGE_CELLS, _EDGE_CELLS), bool)
    wide[2:-2, 2:-2] = False
    blocks = [_measure_steps(pictures[start : start + _CHUNK]) for start in range(0, len(pictures), _CHUNK)]
    busy = np.log(np.concatenate(blocks) + 2)
    return np.concatenate([colours[:, outer].reshape(len(colours), -1), 60 * busy[:, wide]], axis=1)


def _measure_steps(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean difference between neighbouring pixels in each of 16 x 16 cells, in grey levels."""
    grey = pictures.astype(np.float32)
    steps = np.abs(np.diff(grey, axis=2, append=grey[:, :, -1:])) + np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    side = grey.shape[1] // _EDGE_CELLS
    cells: NDArray[np.float32] = steps.reshape(len(grey), _EDGE_CELLS, side, _EDGE_CELLS, side).mean(axis=(2, 4))
    return cells


def _list_words(catalog: Catalog) -> list[tuple[str, list[str], float]]:
    """Kinds of words, one word a photo, and how uneven they have to be."""
    inspections = catalog.used_inspections
    return [
        ("name", [catalog.photos[position].name_mark for position in catalog.used], 0.2),
        ("format", [f"{photo.format} {photo.mode}" for photo in inspections], 0.4),
        ("turned", ["" if photo.orientation == 1 else "turned by EXIF" for photo in inspections], 0.6),
        ("camera", [photo.camera for photo in inspections], 0.5),
    ]


def _look_upside_down(turned: Turned, material: ShortcutMaterial) -> Orientation:
    catalog, rows = material.catalog, turned.rows
    return find_upside_down(
        turned.features, turned.flipped, catalog.labels[rows], material.groups[rows], len(catalog.classes)
    )


def _count_flipped_copies(catalog: Catalog) -> list[dict[str, Any]]:
    """By class, pairs of copies of which one is the other upside down or turned."""
    pairs: dict[str, list[list[str]]] = {}
    for link in catalog.links:
        first, second = catalog.photos[link.first], catalog.photos[link.second]
        is_turned = "upside down" in link.relation or "turned" in link.relation
        if link.kind in COPY_KINDS and is_turned and first.label == second.label:
            pairs.setdefault(first.label, []).append([first.file, second.file])
    return [{"label": label, "num_pairs": len(found), "examples": found[:5]} for label, found in sorted(pairs.items())]


def _name_rows(catalog: Catalog, rows: Sequence[int], most: int = 3) -> list[str]:
    return [catalog.photos[catalog.used[row]].file for row in rows[:most]]


def _write_probe(probe: Probe, catalog: Catalog) -> dict[str, Any]:
    return {
        "name": probe.name,
        "kind": probe.kind,
        "balanced_accuracy": {"value": probe.balanced_accuracy, "low": probe.low, "high": probe.high},
        "chance": probe.chance,
        "share_of_classifier": probe.share,
        "found": probe.flagged,
        "classes": [
            {"label": catalog.classes[number], "examples": _name_rows(catalog, examples)}
            for number, examples in zip(probe.told, probe.examples, strict=True)
        ],
        "areas": [None if np.isnan(area) else float(area) for area in probe.areas],
    }


def _write_word(kind: str, word: UnevenWord, catalog: Catalog) -> dict[str, Any]:
    return {
        "kind": kind,
        "word": word.word,
        "label": catalog.classes[word.label],
        "share_inside": word.share_inside,
        "share_outside": word.share_outside,
        "p_value": word.p_value,
        "examples": _name_rows(catalog, word.examples),
    }


def _write_mark(mark: FixedMark, catalog: Catalog) -> dict[str, Any]:
    return {
        "label": catalog.classes[mark.label],
        "place": _name_place(mark),
        "row": mark.row,
        "column": mark.column,
        "ratio": mark.ratio,
        "effect": mark.effect,
        "examples": _name_rows(catalog, mark.examples),
    }


def _write_orientation(orientation: Orientation, sampled: NDArray[np.int64], catalog: Catalog) -> dict[str, Any]:
    return {
        "num_photos": orientation.num_photos,
        "is_mutual": orientation.is_mutual,
        "upright_shares": [None if np.isnan(share) else float(share) for share in orientation.upright_shares],
        "upside_down": [
            {"label": catalog.classes[number], "examples": _name_rows(catalog, sampled[list(rows)].tolist(), 10)}
            for number, rows in zip(orientation.upside_down, orientation.examples, strict=True)
        ],
    }


def _describe_orientation(content: dict[str, Any], catalog: Catalog) -> list[str]:
    orientation = content["orientation"]
    copies = {row["label"]: row for row in content["flipped_copies"]}
    messages = []
    for found in orientation["upside_down"] if orientation else []:
        label = found["label"]
        share = 1 - orientation["upright_shares"][catalog.classes.index(label)]
        others = " and ".join(name for name in catalog.classes if name != label) if orientation["is_mutual"] else ""
        against = f"{others} (or the other way round)" if others else "the other classes"
        text = (
            f"Photos of {label} are upside down compared with {against}: {100 * share:.0f} % of those looked at, such"
            f" as {', '.join(found['examples'][:3])}."
        )
        if label in copies:
            pair = copies[label]["examples"][0]
            text += f" {copies[label]['num_pairs']} have their original beside them ({pair[0]} and {pair[1]})."
        messages.append(f"{text} {_MAYBE} Turn them upright, remove the copies, and train again.")
    flagged = {found["label"] for found in orientation["upside_down"]} if orientation else set()
    sizes = Counter(catalog.label_names)
    total = sum(row["num_pairs"] for row in copies.values())
    for label, row in copies.items():
        share = row["num_pairs"] / sizes[label] if sizes[label] else 0.0
        if label not in flagged and row["num_pairs"] >= 5 and row["num_pairs"] >= 0.8 * total and share >= 0.05:
            pairs = "; ".join(" and ".join(pair) for pair in row["examples"][:3])
            messages.append(
                f"{row['num_pairs']} pairs of photos of {label} are one picture turned or upside down ({pairs}); hardly"
                f" any other class has such copies. {_MAYBE} Remove the turned copies: clownfish makes views itself"
                " where --augment asks for them."
            )
    return messages


def _describe_word(kind: str, word: UnevenWord, catalog: Catalog) -> str:
    label = catalog.classes[word.label]
    shares = f"{_percent(word.share_inside)} of {label}, {_percent(word.share_outside)} of the others"
    examples = ", ".join(_name_rows(catalog, word.examples))
    if kind == "name":
        return (
            f"The mark {word.word!r} of altered copies stands in the names of {shares} ({examples}). {_MAYBE} Alter"
            " photos of all classes alike, or better of none: use --augment."
        )
    what = {"format": "Files of the kind", "turned": "Photos", "camera": "Photos by the camera"}[kind]
    return (
        f"{what} {word.word} are {shares} ({examples}): the classes come from different sources, it seems. {_MAYBE} Get"
        " photos of all classes from the same sources, and prepare them alike."
    )


def _describe_mark(mark: FixedMark, catalog: Catalog) -> str:
    return (
        f"Photos of {catalog.classes[mark.label]} have something in common at the {_name_place(mark)}, at the same"
        " place in many of them: a stamp, a logo, a frame or a board, or in tight cut-outs the ends of"
        " the animals"
        f" ({', '.join(_name_rows(catalog, mark.examples))})."
        f" {_MAYBE} Look at it; crop it off, or add photos without it."
    )


def _describe_probe(probe: Probe, catalog: Catalog, real_accuracy: float) -> str:
    names = " and ".join(catalog.classes[number] for number in probe.told[:3])
    examples = ", ".join(name for rows in probe.examples[:2] for name in _name_rows(catalog, rows, 2))
    compared = f"(chance {_percent(probe.chance)}, the classifier {_percent(real_accuracy)})"
    tells = "tells your classes apart" if probe.share > 0.5 or probe.picked_out else "tells part of your classes apart"
    return (
        f"{_CLUE_NAMES[probe.name]} alone {tells}: {_percent(probe.balanced_accuracy)} {compared},"
        f" above all {names} ({examples}). {_MAYBE} {_ADVICE[probe.name]}"
    )


def _name_place(mark: FixedMark) -> str:
    vertical = "top" if mark.row < 1 / 3 else "bottom" if mark.row > 2 / 3 else ""
    horizontal = "left" if mark.column < 1 / 3 else "right" if mark.column > 2 / 3 else ""
    return " ".join(filter(None, [vertical, horizontal])) or "middle"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
