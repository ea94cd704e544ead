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
from clownfish.pipeline.answering import Answers, AnswersProblem, fit_answers
from clownfish.records import Head
from clownfish.regression.logistic import fit_layers, predict_out_of_fold
from clownfish.regression.rotation import rotate_features
from clownfish.splits import make_folds


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
    parser.add_argument("--num-per-class", type=int, nargs="+", default=[20, 50], help="photos a class to train on")
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


PENALTY = 100.0
"""scikit-learn's C = 0.01 on standardised features, which training mostly chooses."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A small training drawn from a large set, and the large rest to test it on."""

    answers: Answers
    rest: NDArray[np.int64]
    """Photos of groups that were not drawn."""
    probabilities: NDArray[np.float64]
    """Of the rest, calibrated, shape (num_rest, num_classes)."""
    embeddings: NDArray[np.float32]
    """Of the rest."""


def draw_training(photos: PhotoSet, num_per_class: int, *, max_error: float = 0.05, seed: int = 1) -> Drawing:
    """Draw groups until each class has so many photos, train on them as the product does, and answer the rest."""
    drawn = _draw_groups(photos, num_per_class, np.random.default_rng(seed))
    rows, rest = np.flatnonzero(drawn), np.flatnonzero(~drawn)
    features, labels = photos.features[rows], photos.labels[rows]
    names = np.array([f"{group}" for group in photos.groups[rows]])
    folds = make_folds([str(label) for label in labels], names.tolist(), seed=seed)
    rotation = rotate_features(features, parts=photos.parts)
    penalty, num_classes = np.array([PENALTY], np.float32), len(photos.classes)
    out_of_fold = np.exp(predict_out_of_fold(rotation.scores, labels, folds, penalty, num_classes)[0].astype(float))
    training = folds != folds.max()
    layers = fit_layers(rotation.scores, labels, training[None].astype(np.float32), penalty, num_classes)
    weights = (rotation.axes @ layers.weights[:, 0]) * rotation.scaling.inverse_deviation[:, None]
    answers = fit_answers(
        AnswersProblem(
            classes=photos.classes,
            features=features,
            feature_parts=photos.parts,
            labels=labels,
            groups=names,
            folds=folds,
            parts=np.where(training, "train", "validation"),
            out_of_fold=out_of_fold,
            head=Head(weights=weights, bias=layers.bias[0] - rotation.scaling.mean @ weights),
            unknown_features=features[:0],
            unknown_groups=names[:0],
            max_error=max_error,
            seed=seed,
        )
    )
    return Drawing(
        answers=answers,
        rest=rest,
        probabilities=answers.head.predict_rows(photos.features, rest),
        embeddings=answers.embedding.apply(photos.features[rest]),
    )


def _draw_groups(photos: PhotoSet, num_per_class: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """At most two thirds of the photos of a class, so that a rest is left."""
    totals = np.bincount(photos.labels)
    wanted = np.minimum(num_per_class, totals * 2 // 3)
    counts = np.zeros_like(totals)
    drawn = np.zeros(len(photos.labels), np.bool_)
    for group in random.permutation(np.unique(photos.groups)):
        members = photos.groups == group
        content = np.bincount(photos.labels[members], minlength=len(totals))
        if (counts[content > 0] < wanted[content > 0]).all():
            drawn |= members
            counts += content
    return drawn


def print_table(title: str, rows: list[tuple[str, str, str]]) -> None:
    """Print what was measured beside the bar it has to clear."""
    width = max(len(row[0]) for row in rows)
    print(title)
    for name, measured, bar in rows:
        print(f"  {name:<{width}}  {measured:<34}  {bar}")
