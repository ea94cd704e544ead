import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from clownfish.evaluation.metrics import (
    compute_cross_entropy,
    count_confusions,
    describe_chance,
    describe_classes,
    describe_leak,
    evaluate_part,
)

Case = tuple[NDArray[np.int64], NDArray[np.float64]]


@st.composite
def draw_case(draw: st.DrawFn) -> Case:
    """Labels and probabilities; classes may lack photos, and may never be predicted."""
    num_photos, num_classes = draw(st.integers(1, 60)), draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = random.integers(0, draw(st.integers(1, num_classes)), num_photos)
    return labels, random.dirichlet(np.full(num_classes, 0.5), num_photos)


@given(draw_case())
def test_numbers_are_those_of_sklearn(case: Case) -> None:
    labels, probabilities = case
    num_classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    part = evaluate_part(labels, probabilities, [str(number) for number in range(len(labels))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predicted classes without photos
        balanced = sklearn_metrics.balanced_accuracy_score(labels, predicted)
        clipped = np.maximum(probabilities, 1e-12)
        entropy = sklearn_metrics.log_loss(labels, clipped, labels=range(num_classes))
    assert part["num_photos"] == len(labels)
    assert part["accuracy"]["value"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    assert part["balanced_accuracy"]["value"] == pytest.approx(balanced)
    assert part["cross_entropy"] == pytest.approx(entropy, rel=1e-6)
    for name in ("accuracy", "balanced_accuracy"):
        assert 0 <= part[name]["low"] <= part[name]["value"] <= part[name]["high"] <= 1
    json.dumps(part, allow_nan=False)


@given(draw_case())
def test_classes_are_those_of_sklearn(case: Case) -> None:
    labels, probabilities = case
    num_classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    confusions = count_confusions(labels, probabilities, num_classes)
    numbers = list(range(num_classes))
    assert (confusions == sklearn_metrics.confusion_matrix(labels, predicted, labels=numbers)).all()
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=numbers, zero_division=np.nan
    )
    names = [f"class {number}" for number in numbers]
    rows = describe_classes(labels, probabilities, [str(photo) for photo in range(len(labels))], names)
    for number, row in enumerate(rows):
        assert row["label"] == f"class {number}"
        assert row["num_photos"] == row["tp"] + row["fn"] == support[number]
        assert row["num_groups"] == support[number]
        assert row["recall"] is None or row["recall_low"] <= row["recall"] <= row["recall_high"]
        assert row["tp"] + row["fp"] + row["fn"] + row["tn"] == len(labels)
        for name, expected in (("precision", precision[number]), ("recall", recall[number]), ("f1", f1[number])):
            assert row[name] is None if math.isnan(expected) else row[name] == pytest.approx(expected)


def test_interval_counts_groups_and_not_photos() -> None:
    labels, probabilities = np.zeros(100, np.int64), np.tile([0.9, 0.1], (100, 1))
    alone = evaluate_part(labels, probabilities, [str(number) for number in range(100)])
    copies = evaluate_part(labels, probabilities, [str(number % 4) for number in range(100)])
    assert alone["accuracy"]["value"] == copies["accuracy"]["value"] == 1
    assert alone["accuracy"]["low"] > 0.95
    assert copies["accuracy"]["low"] < 0.8
    assert copies["balanced_accuracy"]["low"] < alone["balanced_accuracy"]["low"]


def test_nothing_to_evaluate_gives_no_numbers() -> None:
    nothing = {"value": None, "low": None, "high": None}
    assert evaluate_part(np.empty(0, np.int64), np.empty((0, 3)), []) == {
        "num_photos": 0,
        "num_groups": 0,
        "accuracy": nothing,
        "balanced_accuracy": nothing,
        "cross_entropy": None,
    }
    assert count_confusions(np.empty(0, np.int64), np.empty((0, 3)), 3).tolist() == [[0] * 3] * 3


def test_cross_entropy_of_the_certain_the_undecided_and_the_wrong() -> None:
    labels = np.array([0])
    assert compute_cross_entropy(labels, np.array([[1.0, 0.0]])) == 0
    assert compute_cross_entropy(labels, np.full((1, 4), 0.25)) == pytest.approx(math.log(4))
    assert compute_cross_entropy(labels, np.array([[0.0, 1.0]])) == pytest.approx(-math.log(1e-12))


def test_chance_answers_with_the_commonest_class() -> None:
    chance = describe_chance(np.array([0, 0, 0, 1]), 2)
    assert chance["accuracy"] == 0.75
    assert chance["cross_entropy"] == pytest.approx(-(3 * math.log(0.75) + math.log(0.25)) / 4)


def test_leak_is_what_a_random_split_gains() -> None:
    labels = np.zeros(200, np.int64)
    groups = [str(number // 2) for number in range(200)]
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    grouped = np.array([right if number % 4 < 2 else wrong for number in range(200)])
    naive = np.array([wrong if number % 20 == 0 else right for number in range(200)])
    leak = describe_leak(labels, grouped, naive, groups, seed=1)
    assert leak["value"] == pytest.approx(0.95 - 0.5)
    assert 0.3 < leak["low"] < 0.45 < leak["high"] < 0.6
    assert describe_leak(labels, grouped, grouped, groups, seed=1) == {"value": 0, "low": 0, "high": 0}
