import numpy as np
import pytest

from clownfish.evaluation.grouping import find_conformal_limit, weigh_by_group
from clownfish.evaluation.prediction_sets import describe_sets, fit_set_thresholds


def draw(num_photos: int, seed: int, num_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_photos)
    logits = random.normal(0, 1, (num_photos, num_classes))
    logits[np.arange(num_photos), labels] += 1.5
    probabilities = np.exp(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def test_conformal_limit_is_the_order_statistic_of_the_theory() -> None:
    scores = np.arange(1.0, 20.0)  # 19 groups: the 95 % limit is the largest
    assert find_conformal_limit(scores, np.arange(19), 0.05) == 19
    assert find_conformal_limit(scores[:18], np.arange(18), 0.05) == np.inf
    assert find_conformal_limit(scores, np.arange(19), 0.5) == 10


def test_photos_of_a_group_share_one_vote() -> None:
    np.testing.assert_allclose(weigh_by_group(np.array(["a", "b", "a", "c"])), [0.5, 1, 0.5, 1])
    scores = np.array([*np.arange(1.0, 20.0), *np.full(50, 100.0)])
    groups = np.array([*range(19), *np.full(50, 19)])
    # one of twenty groups, however many photos it has
    assert find_conformal_limit(scores, groups, 0.1) == 19


@pytest.mark.parametrize("num_photos", [45, 200])
def test_sets_hold_the_true_class_as_often_as_promised(num_photos: int) -> None:
    plain, by_class = [], []
    for seed in range(150):
        probabilities, labels = draw(num_photos, seed)
        fitted = fit_set_thresholds(probabilities, labels, np.arange(num_photos))
        by_class.append(fitted.by_class)
        new, truth = draw(500, 5000 + seed)
        plain.append((new >= fitted.thresholds)[np.arange(500), truth].mean())
    assert np.mean(plain) == pytest.approx(0.9, abs=0.025)
    assert np.mean(by_class) == (num_photos == 200)


def test_few_groups_make_every_class_possible() -> None:
    probabilities, labels = draw(8, 0)
    assert fit_set_thresholds(probabilities, labels, np.arange(8)).thresholds.tolist() == [0, 0, 0]


def test_sets_are_measured_on_folds_that_had_no_say() -> None:
    probabilities, labels = draw(400, 1)
    found = describe_sets(probabilities, labels, np.arange(400), np.arange(400) % 5)
    assert 0.85 < found["coverage_without_guess"] <= found["coverage"] < 0.97
    assert 1 <= found["mean_size"] < 3
