from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clownfish.training.cross_validation import cross_validate
from clownfish.training.descent import TrainingSet
from training_problems import make_options, make_problem


def make_photos(**changes: Any) -> tuple[TrainingSet, np.ndarray]:
    training, _ = make_problem(**changes)
    num_photos = len(training.labels)
    folds = np.random.default_rng(0).permutation(np.arange(num_photos) % 5)
    return replace(training, rows=np.arange(num_photos)), folds


OPTIONS = make_options(epochs=5)


@pytest.mark.parametrize("fold", range(5))
def test_labels_of_a_fold_have_no_say_in_its_predictions(fold: int) -> None:
    photos, folds = make_photos()
    before = cross_validate(photos, folds, OPTIONS)
    labels = photos.labels.copy()
    labels[folds == fold] = (labels[folds == fold] + 1) % photos.num_classes
    after = cross_validate(replace(photos, labels=labels), folds, OPTIONS)
    assert np.array_equal(before[folds == fold], after[folds == fold])  # to the bit: they were never looked at
    assert not np.array_equal(before[folds != fold], after[folds != fold])  # where they did serve, they do count


@pytest.mark.parametrize("fold", range(5))
def test_photos_of_a_fold_have_no_say_in_each_other(fold: int) -> None:
    photos, folds = make_photos()
    before = cross_validate(photos, folds, OPTIONS)
    (first, *others) = np.flatnonzero(folds == fold)
    features = photos.features.copy()
    features[first] = 1000.0
    after = cross_validate(replace(photos, features=features), folds, OPTIONS)
    assert np.array_equal(before[others], after[others])
    assert not np.array_equal(before[first], after[first])


def test_views_of_a_fold_have_no_say_in_its_predictions() -> None:
    photos, folds = make_photos()
    random = np.random.default_rng(1)
    views = photos.features[:, None] + random.normal(size=(len(folds), 3, photos.features.shape[1])).astype(np.float32)
    before = cross_validate(replace(photos, views=views), folds, OPTIONS)
    changed = views.copy()
    changed[folds == 2] += 100
    after = cross_validate(replace(photos, views=changed), folds, OPTIONS)
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert not np.array_equal(before[folds != 2], after[folds != 2])
    assert not np.array_equal(before, cross_validate(photos, folds, OPTIONS))


def test_rows_left_out_take_no_part() -> None:
    photos, folds = make_photos()
    rows = np.flatnonzero(np.arange(len(folds)) % 4 != 0)
    before = cross_validate(replace(photos, rows=rows), folds, OPTIONS)
    assert before.shape == (len(rows), photos.num_classes)
    features, labels = photos.features.copy(), photos.labels.copy()
    features[::4], labels[::4] = np.nan, 0
    after = cross_validate(replace(photos, rows=rows, features=features, labels=labels), folds, OPTIONS)
    assert np.array_equal(before, after)


def test_predictions_are_probabilities_in_the_order_of_the_rows() -> None:
    photos, folds = make_photos(noise=0.5)
    calls: list[None] = []
    probabilities = cross_validate(photos, folds, OPTIONS, on_fold=lambda: calls.append(None))
    assert len(calls) == 5
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert np.mean(probabilities.argmax(axis=1) == photos.labels) > 0.9


def test_cross_validation_repeats_to_the_bit() -> None:
    photos, folds = make_photos()
    assert np.array_equal(cross_validate(photos, folds, OPTIONS), cross_validate(photos, folds, OPTIONS))


def test_labels_without_meaning_are_predicted_at_chance() -> None:
    accuracies = []
    for seed in range(6):
        photos, folds = make_photos(num_photos=150, num_features=300, num_classes=2, seed=seed)
        labels = np.random.default_rng(seed).permutation(photos.labels)
        probabilities = cross_validate(replace(photos, labels=labels), folds, OPTIONS)
        accuracies.append(np.mean(probabilities.argmax(axis=1) == labels))
    assert abs(np.mean(accuracies) - 0.5) < 0.08  # 900 photos: the standard error is 0.017


def test_copies_across_folds_would_look_better_than_they_are() -> None:
    """What grouped folds are for: the same photos, once divided with their copies together, once apart."""
    photos, _ = make_photos(num_photos=120, num_features=300, num_classes=2)
    random = np.random.default_rng(0)
    labels = np.repeat(random.integers(0, 2, 60), 2)
    features = np.repeat(photos.features[:60], 2, axis=0)
    copied = replace(photos, features=features, labels=labels)
    together, apart = np.repeat(np.arange(60) % 5, 2), np.arange(120) % 5
    honest, leaky = (
        np.mean(cross_validate(copied, folds, OPTIONS).argmax(axis=1) == labels) for folds in (together, apart)
    )
    assert leaky > 0.9 and honest < 0.7


@pytest.mark.parametrize("weight_decay", [None, 0.1])
def test_two_folds_are_enough(weight_decay: float | None) -> None:
    photos, folds = make_photos(noise=0.5)
    probabilities = cross_validate(photos, folds % 2, make_options(epochs=5, weight_decay=weight_decay))
    assert np.mean(probabilities.argmax(axis=1) == photos.labels) > 0.9


def test_fold_numbers_need_not_be_in_a_row() -> None:
    photos, folds = make_photos()
    assert np.array_equal(cross_validate(photos, folds * 10 + 3, OPTIONS), cross_validate(photos, folds, OPTIONS))


def test_class_that_lies_in_one_fold_is_only_missed() -> None:
    photos, folds = make_photos()
    folds = np.where(photos.labels == 2, 0, np.maximum(folds, 1))
    probabilities = cross_validate(photos, folds, OPTIONS)
    assert np.isfinite(probabilities).all()
    assert (probabilities[photos.labels == 2].argmax(axis=1) != 2).all()
