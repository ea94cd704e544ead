"""Planted shortcuts: how many are found, and how often nothing was planted and something is found.

    python -m validation.shortcuts PHOTOS [--draws 20]

In each draw some classes (2, 3, 5 or 10) and some photos of each (30, 50 or 100) are taken, and one class gets what
the others lack: another format, half the resolution, a coloured border of 2 % of the side, a date stamp, or all its
photos upside down. "resaved" is half the resolution, enlarged again. The judgement is that of `clownfish audit`.
"""

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from clownfish.backbones import load_backbone
from clownfish.evaluation.orientation import Turned, choose_turned
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import extract_features, keep_rows
from clownfish.images import Preprocessing
from clownfish.photo_facts import measure_looks
from clownfish.photos.catalog import PhotosOptions, build_catalog
from clownfish.photos.scan import scan_labelled_photos
from clownfish.pipeline.photo_examination import PENALTY
from clownfish.pipeline.shortcut_audit import ShortcutMaterial, audit_shortcuts
from clownfish.records import Catalog, Inspection, PhotoFile
from clownfish.regression.logistic import predict_out_of_fold
from clownfish.regression.rotation import rotate_features
from clownfish.splits import make_folds
from validation.common import parse_arguments

PLANTS = ("nothing", "format", "size", "resaved", "border", "stamp", "upside down")


class PlantedSet:
    """A photo set, and what each of its photos would look like with each plant."""

    def __init__(self, place: Path) -> None:
        files = scan_labelled_photos(place).photos
        backbone, cache = load_backbone(), FeatureCache()
        preprocessing = Preprocessing(size=backbone.input_size)
        inspections, features = extract_features(files, backbone, preprocessing, cache)
        self.catalog = build_catalog(files, inspections, PhotosOptions(place=str(place)))
        self.features = keep_rows(features, self.catalog.feature_rows)
        self.parts = backbone.parts
        photos = [self.catalog.photos[position] for position in self.catalog.used]
        used = [PhotoFile(file=photo.file, path=photo.path, label=photo.label) for photo in photos]
        _, self.flipped = extract_features(used, backbone, preprocessing, cache, view="upside_down")
        cache.close()
        self.groups = np.unique(self.catalog.groups, return_inverse=True)[1].astype(np.int64)
        self.inspections: dict[str, list[Inspection]] = {name: [] for name in PLANTS}
        self.pictures: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in PLANTS}
        for row, (photo, own) in enumerate(zip(photos, self.catalog.used_inspections, strict=True)):
            image = ImageOps.exif_transpose(Image.open(photo.path)).convert("RGB")
            for name in PLANTS:
                planted, facts = plant(image, name, own, row)
                looks = measure_looks(planted)
                self.pictures[name].append(looks.picture)
                self.inspections[name].append(
                    replace(facts, colours=looks.colours, sharpness=looks.sharpness, thumbnail=looks.thumbnail)
                )


def plant(image: Image.Image, name: str, own: Inspection, seed: int) -> tuple[Image.Image, Inspection]:
    """Give a photo what only one class will have; the file's facts follow."""
    width, height = image.size
    if name == "format":
        return image, replace(own, format="PNG" if own.format != "PNG" else "JPEG")
    if name == "size":
        small = image.resize((max(1, width // 2), max(1, height // 2)))
        return small, replace(own, width=small.width, height=small.height, num_bytes=own.num_bytes // 3)
    if name == "resaved":
        image = image.resize((max(1, width // 2), max(1, height // 2))).resize((width, height))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        return image, replace(own, num_bytes=len(buffer.getvalue()))
    if name == "border":
        image = image.copy()
        thickness = max(1, round(0.02 * min(width, height)))
        ImageDraw.Draw(image).rectangle((0, 0, width - 1, height - 1), outline=(20, 60, 160), width=thickness)
    if name == "stamp":
        image = image.copy()
        random = np.random.default_rng(seed)
        month, day, hour, minute = random.integers([1, 10, 10, 10], [10, 28, 24, 60])
        text = f"2019-0{month}-{day} {hour}:{minute}"
        font = ImageFont.load_default(size=max(6, 0.06 * height))
        ImageDraw.Draw(image).text((0.97 * width, 0.97 * height), text, fill=(255, 140, 0), font=font, anchor="rs")
    if name == "upside down":
        image = ImageOps.flip(image)
    return image, own


def judge(photos: PlantedSet, rows: NDArray[np.int64], chosen: int, name: str) -> tuple[set[str], list[str]]:
    """Run the product's audit on some photos, one class of which is planted; the classes and clues it names."""
    catalog = photos.catalog
    planted = catalog.labels[rows] == chosen
    inspections = [photos.inspections[name if own else "nothing"][row] for row, own in zip(rows, planted, strict=True)]
    pictures = np.array(
        [photos.pictures[name if own else "nothing"][row] for row, own in zip(rows, planted, strict=True)]
    )
    is_flipped = (planted & (name == "upside down"))[:, None]
    features = np.where(is_flipped, photos.flipped[rows], photos.features[rows])
    flipped = np.where(is_flipped, photos.features[rows], photos.flipped[rows])
    numbers, labels = np.unique(catalog.labels[rows], return_inverse=True)
    part = Catalog(
        photos=tuple(catalog.photos[catalog.used[row]] for row in rows),
        classes=tuple(catalog.classes[number] for number in numbers),
        used=np.arange(len(rows)),
        feature_rows=np.arange(len(rows)),
        labels=labels.astype(np.int64),
        unknown=np.empty(0, np.int64),
        unknown_rows=np.empty(0, np.int64),
        num_label_conflicts=0,
        notes=(),
        inspections=tuple(inspections),
    )
    groups = np.unique(photos.groups[rows], return_inverse=True)[1].astype(np.int64)
    folds = make_folds(part.label_names, [str(group) for group in groups], seed=1)
    scores = rotate_features(features, max_axes=300).scores
    logs = predict_out_of_fold(scores, part.labels, folds, np.array([PENALTY], np.float32), len(numbers))[0]
    right = logs.argmax(axis=1) == part.labels
    turned = choose_turned(part.labels, groups, len(numbers), 1)
    content, messages = audit_shortcuts(
        ShortcutMaterial(
            catalog=part,
            groups=groups,
            folds=folds,
            real_accuracy=float(np.mean([right[part.labels == number].mean() for number in range(len(numbers))])),
            load_pictures=lambda: pictures,
            load_turned=lambda: Turned(rows=turned, features=features[turned], flipped=flipped[turned]),
            seed=1,
        )
    )
    del messages
    named = {row["label"] for row in [*content["words"], *content["marks"]]}
    clues = ["words"] * bool(content["words"]) + ["marks"] * bool(content["marks"])
    for found in content["orientation"]["upside_down"] if content["orientation"] else []:
        named |= set(part.classes) if content["orientation"]["is_mutual"] else {found["label"]}
        clues.append("orientation")
    for probe in content["probes"]:
        if probe["found"]:
            named |= {row["label"] for row in probe["classes"]}
            clues.append(probe["name"])
    return named, clues


def main() -> None:
    """Print the table."""
    options = parse_arguments(__doc__ or "")
    photos = PlantedSet(options.photos)
    num_found: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    for seed in range(options.seed, options.seed + options.draws):
        rows, chosen = _draw(photos.catalog.labels, len(photos.catalog.classes), np.random.default_rng(seed))
        for name in PLANTS:
            named, clues = judge(photos, rows, chosen, name)
            num_found[name] += bool(named) if name == "nothing" else photos.catalog.classes[chosen] in named
            if name == "nothing":
                alarms.update(clues)
    print(f"{options.photos.name}: {options.draws} draws of 2 to 10 classes, 30 to 100 photos each")
    for name in PLANTS:
        bar = "at most 5 of 100" if name == "nothing" else "at least 95 of 100"
        print(f"{name:<12} reported in {num_found[name]:>3} of {options.draws}   bar: {bar}")
    print("without a plant, by clue:", dict(alarms) or "none")


def _draw(labels: NDArray[np.int64], num_classes: int, random: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    wanted = min(num_classes, int(random.choice([2, 3, 5, 10])))
    per_class = int(random.choice([30, 50, 100]))
    chosen = np.sort(random.permutation(num_classes)[:wanted])
    drawn = [random.permutation(np.flatnonzero(labels == number))[:per_class] for number in chosen]
    return np.sort(np.concatenate(drawn)), int(random.choice(chosen))


if __name__ == "__main__":
    main()
