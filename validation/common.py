"""What every validation needs: a photo set's features, labels and groups, through the product's own cache."""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clownfish.backbones import load_backbone
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import extract_features, keep_rows
from clownfish.images import Preprocessing
from clownfish.photos.catalog import PhotosOptions, build_catalog
from clownfish.photos.scan import scan_labelled_photos


@dataclass(frozen=True, kw_only=True)
class PhotoSet:
    """A set of labelled photos as numbers."""

    name: str
    classes: tuple[str, ...]
    features: NDArray[np.float32]
    """Shape (num_photos, num_features)."""
    labels: NDArray[np.int64]
    """Shape (num_photos,)."""
    groups: NDArray[np.int64]
    """Shape (num_photos,): copies share a number, and photos with the same value in the user's column."""
    parts: tuple[int, ...]
    """Number of features in each part of the vector."""


def make_parser(description: str) -> argparse.ArgumentParser:
    """Make a parser that knows PHOTOS, --groups, --group-column, --draws and --seed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder with one folder a class")
    parser.add_argument("--groups", type=Path, help="CSV with a column file and further columns")
    parser.add_argument("--group-column", help="the column of --groups whose equal values belong together")
    parser.add_argument("--draws", type=int, default=20, help="trainings to draw from the set")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def parse_arguments(description: str) -> argparse.Namespace:
    """Read what `make_parser` knows from the command line."""
    return make_parser(description).parse_args()


def load_photo_set(place: Path, *, groups: Path | None = None, group_column: str | None = None) -> PhotoSet:
    """Read a photo set; features that the cache knows are not computed again."""
    files = scan_labelled_photos(place).photos
    backbone = load_backbone()
    cache = FeatureCache()
    inspections, features = extract_features(files, backbone, Preprocessing(size=backbone.input_size), cache)
    cache.close()
    catalog = build_catalog(files, inspections, PhotosOptions(place=str(place)))
    names = np.array(catalog.groups)
    if groups and group_column:
        with groups.open(encoding="utf-8-sig", newline="") as file:
            rows = {row["file"]: row for row in csv.DictReader(file)}
        own = np.array([rows[catalog.photos[position].file][group_column] for position in catalog.used])
        names = _join(names, own)
    return PhotoSet(
        name=place.name,
        classes=catalog.classes,
        features=keep_rows(features, catalog.feature_rows),
        labels=catalog.labels,
        groups=np.unique(names, return_inverse=True)[1],
        parts=backbone.parts,
    )


def _join(first: NDArray[np.str_], second: NDArray[np.str_]) -> NDArray[np.int64]:
    """Groups of photos that are linked by either name, over any number of steps."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    left, right = (np.unique(names, return_inverse=True)[1] for names in (first, second))
    size = int(left.max()) + 1
    links = coo_array((np.ones(len(left)), (left, right + size)), shape=(size + int(right.max()) + 1,) * 2)
    number: NDArray[np.int64] = connected_components(links, directed=False)[1][left].astype(np.int64)
    return number
