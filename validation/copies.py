"""Are copies found, and nothing else? Puts copies into a set of real photos and groups it.

    python -m validation.copies PHOTOS [--groups CSV --group-column individual]

Every photo gets one copy, the kinds in turn. A copy is found if it is in its original's group. A merge is
wrong if photos of different groups of the CSV, or without a CSV of different classes, end in one group; all
other merges are listed, to be looked at.
"""

import argparse
import csv
import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clownfish.backbones import load_backbone
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import extract_features
from clownfish.features.pictures import load_pictures
from clownfish.images import Preprocessing
from clownfish.photos import parts
from clownfish.photos.groups import Grouping, group_photos
from clownfish.photos.scan import scan_labelled_photos
from clownfish.records import Inspection, PhotoFile
from validation.alterations import BURSTS, COPIES


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectedPhotos:
    """The usable photos of a folder."""

    photos: list[PhotoFile]
    inspections: list[Inspection]
    features: NDArray[np.float32]
    """Shape (num_photos, num_features)."""


def main() -> None:
    """Read the arguments, do the work, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="one folder a class")
    parser.add_argument("--groups", type=Path, help="CSV with a column 'file' and the one of --group-column")
    parser.add_argument("--group-column", default="", help="photos with different values are different")
    parser.add_argument("--most", type=int, default=1400, help="photos to copy, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--as-large", action="store_true", help="search as in a set too large to compare all with all")
    arguments = parser.parse_args()
    if arguments.as_large:
        parts.MAX_EXHAUSTIVE = 0
    cache = FeatureCache()
    originals = inspect_photos(arguments.photos, cache)
    with tempfile.TemporaryDirectory() as folder:
        kinds = write_copies(originals.photos, Path(folder), arguments.seed, arguments.most)
        copies = inspect_photos(Path(folder), cache)
        grouping = group_both(originals, copies, cache)
    cache.close()
    truth = [photo.label for photo in originals.photos]
    if arguments.groups:
        names = read_column(arguments.groups, arguments.group_column)
        truth = [f"{arguments.group_column}={names[photo.file]}" for photo in originals.photos]
    print_recall(originals, copies, grouping, kinds)
    print_merges(originals, grouping, truth)


def inspect_photos(folder: Path, cache: FeatureCache) -> InspectedPhotos:
    """Decode all photos of a folder and compute the features of the default backbone."""
    scan = scan_labelled_photos(folder)
    backbone = load_backbone()
    inspections, features = extract_features(scan.photos, backbone, Preprocessing(size=backbone.input_size), cache)
    usable = [position for position, inspection in enumerate(inspections) if inspection.usable]
    return InspectedPhotos(
        photos=[scan.photos[position] for position in usable],
        inspections=[inspections[position] for position in usable],
        features=features,
    )


def write_copies(photos: Sequence[PhotoFile], folder: Path, seed: int, most: int) -> dict[str, tuple[str, str]]:
    """Write one altered copy of each photo; returns the original and the kind by the copy's file."""
    random = np.random.default_rng(seed)
    alterations = list({**COPIES, **BURSTS}.items())
    kinds = {}
    for turn, position in enumerate(random.permutation(len(photos))[:most].tolist()):
        photo = photos[position]
        kind, alter = alterations[turn % len(alterations)]
        with Image.open(photo.path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        name = hashlib.sha256(f"{seed} {photo.file}".encode()).hexdigest()[:12]
        path = folder / photo.label / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        alter(upright, random).save(path, quality=90)
        kinds[f"{photo.label}/{name}.jpg"] = (photo.file, kind)
    return kinds


def group_both(originals: InspectedPhotos, copies: InspectedPhotos, cache: FeatureCache) -> Grouping:
    """Group originals and copies as one set, the originals first."""
    photos = [*originals.photos, *copies.photos]
    inspections = [*originals.inspections, *copies.inspections]

    def load(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        return load_pictures([(inspections[index].content_hash, photos[index].path) for index in positions], cache)

    features = np.concatenate([originals.features, copies.features])
    return group_photos(photos, inspections, [""] * len(photos), features=features, load_pictures=load)


def read_column(table: Path, column: str) -> dict[str, str]:
    """Read a column of a CSV by its column "file"."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        return {row["file"]: row[column] for row in csv.DictReader(file)}


def print_recall(
    originals: InspectedPhotos, copies: InspectedPhotos, grouping: Grouping, kinds: dict[str, tuple[str, str]]
) -> None:
    """Print how many copies of each kind are in their original's group."""
    group_of = dict(zip([photo.file for photo in originals.photos], grouping.groups, strict=False))
    found: dict[str, list[bool]] = defaultdict(list)
    for photo, group in zip(copies.photos, grouping.groups[len(originals.photos) :], strict=True):
        original, kind = kinds[photo.file]
        found[kind].append(group_of[original] == group)
    width = max(len(kind) for kind in found)
    print(f"{'copies':<{width}}  number  found")
    for kind in (*COPIES, *BURSTS):
        if found[kind]:
            print(f"{kind:<{width}}  {len(found[kind]):>6}  {np.mean(found[kind]):>5.1%}")
    everything = [is_found for kind in COPIES for is_found in found[kind]]
    print(f"{'all copies (bar: 98 %)':<{width}}  {len(everything):>6}  {np.mean(everything):>5.1%}")


def print_merges(originals: InspectedPhotos, grouping: Grouping, truth: Sequence[str]) -> None:
    """Print how many original photos share a group with one that is known to be different."""
    members: dict[str, list[int]] = defaultdict(list)
    for position in range(len(originals.photos)):
        members[grouping.groups[position]].append(position)
    merged = [group for group in members.values() if len(group) > 1]
    wrong = [position for group in merged if len({truth[index] for index in group}) > 1 for position in group]
    num_photos = len(originals.photos)
    print(f"\noriginals in one group with another original: {sum(map(len, merged))} of {num_photos}")
    print(f"of these, with a different one (bar: 0.5 %):   {len(wrong)} ({len(wrong) / num_photos:.2%})")
    for position in wrong:
        print(f"  {originals.photos[position].file}: {grouping.reasons[position]}")


if __name__ == "__main__":
    main()
