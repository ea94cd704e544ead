"""Labels made wrong on purpose: how many are found, and how many of the listed are among them.

    python -m validation.label_errors PHOTOS [--groups CSV --group-column COLUMN]

In each draw 5 % of the labels of some photos a class (50, and all) are given to another class at random; the list is
that of `clownfish audit`. On a set whose classifier is right in fewer than 95 of 100 no bar is set.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.label_errors import find_label_errors, run_self_test
from clownfish.pipeline.examination import MAX_AXES
from clownfish.pipeline.photo_examination import PENALTY
from clownfish.regression.logistic import predict_out_of_fold
from clownfish.regression.rotation import rotate_features
from clownfish.splits import make_folds
from validation.common import PhotoSet, load_photo_set, parse_arguments

SHARE_FLIPPED = 0.05


def main() -> None:
    """Print the table."""
    options = parse_arguments(__doc__ or "")
    photos = load_photo_set(options.photos, groups=options.groups, group_column=options.group_column)
    print(f"{photos.name}: {len(photos.labels)} photos, {options.draws} draws, 5 % of the labels flipped")
    print("a class  accuracy  recall  precision  suggested right  expected right  listed on clean labels  self-test")
    for per_class in (50, 0):
        print(_measure(photos, per_class, options))
    print("bar: recall at least 85 %, precision at least 80 %, where the accuracy on clean labels is at least 95 %")


def _measure(photos: PhotoSet, per_class: int, options: argparse.Namespace) -> str:
    rows = [_run(photos, per_class, seed) for seed in range(options.seed, options.seed + options.draws)]
    accuracy, recall, precision, suggested, expected, clean, test = np.nanmean(np.array(rows), axis=0)
    name = str(per_class) if per_class else "all"
    return (
        f"{name:>7}  {accuracy:8.1%}  {recall:6.1%}  {precision:9.1%}  {suggested:15.1%}  {expected:14.2f}"
        f"  {clean:22.1f}  {test:9.1%}"
    )


def _run(photos: PhotoSet, per_class: int, seed: int) -> list[float]:
    random = np.random.default_rng(seed)
    rows = _draw(photos.labels, per_class, len(photos.classes), random)
    truth, groups, num_classes = photos.labels[rows], photos.groups[rows], len(photos.classes)
    scores = rotate_features(photos.features[rows], parts=photos.parts, max_axes=MAX_AXES).scores
    flipped = random.permutation(len(rows))[: round(SHARE_FLIPPED * len(rows))]
    labels = truth.copy()
    labels[flipped] = (labels[flipped] + random.integers(1, num_classes, len(flipped))) % num_classes

    def fold(own: NDArray[np.int64]) -> NDArray[np.int64]:
        return make_folds([str(label) for label in own], [str(group) for group in groups], seed=1)

    logs = predict_out_of_fold(scores, truth, fold(truth), np.array([PENALTY], np.float32), num_classes)[0]
    clean = find_label_errors(scores, truth, groups, fold(truth), num_classes, penalty=PENALTY)
    found = find_label_errors(scores, labels, groups, fold(labels), num_classes, penalty=PENALTY)
    hits = np.isin(found.rows, flipped)
    test = run_self_test(scores, labels, groups, fold(labels), num_classes, penalty=PENALTY, seed=1, known=found.rows)
    return [
        float((logs.argmax(axis=1) == truth).mean()),
        hits.sum() / len(flipped),
        hits.mean() if len(hits) else np.nan,
        float((found.suggested == truth[found.rows])[hits].mean()) if hits.any() else np.nan,
        found.num_expected / max(hits.sum(), 1),
        len(clean.rows),
        test.recall if test else np.nan,
    ]


def _draw(
    labels: NDArray[np.int64], per_class: int, num_classes: int, random: np.random.Generator
) -> NDArray[np.int64]:
    if not per_class:
        return np.arange(len(labels))
    drawn = [random.permutation(np.flatnonzero(labels == number))[:per_class] for number in range(num_classes)]
    return np.sort(np.concatenate(drawn))


if __name__ == "__main__":
    main()
