import numpy as np
import pytest

from clownfish.evaluation.abstention import describe_answers, list_curve, make_risk_curve


def draw(num_photos: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    right = random.beta(3, 0.6, num_photos).clip(0.5, 1)
    labels = (random.random(num_photos) > right).astype(np.int64)
    return np.stack([right, 1 - right], axis=1), labels


def test_curve_counts_groups_and_keeps_equal_certainties_together() -> None:
    certainty = np.array([0.9, 0.9, 0.8, 0.7])
    probabilities = np.stack([certainty, 1 - certainty], axis=1)
    curve = make_risk_curve(probabilities, np.array([0, 1, 1, 0]), np.array(["a", "b", "c", "c"]))
    np.testing.assert_allclose(curve.thresholds, [0.9, 0.8, 0.7])
    np.testing.assert_allclose(curve.answered, [2, 2.5, 3])
    np.testing.assert_allclose(curve.wrong, [1, 1.5, 1.5])
    np.testing.assert_allclose(curve.expected, [0.2, 0.3, 0.45])


def test_budget_is_kept_on_photos_that_are_new() -> None:
    errors, answered = [], []
    for seed in range(200):
        curve = make_risk_curve(*draw(300, seed), np.arange(300))
        threshold = curve.find_threshold(0.05)
        if threshold is not None:
            probabilities, labels = draw(2000, 10_000 + seed)
            given = probabilities[:, 0] >= threshold
            errors.append(labels[given].mean())
            answered.append(given.mean())
    assert 0.03 < np.mean(errors) <= 0.05 + 2 * np.std(errors) / np.sqrt(len(errors))
    assert np.mean(answered) > 0.3


def test_long_curve_is_thinned_out_but_keeps_its_ends() -> None:
    probabilities, labels = draw(5000, 0)
    curve = make_risk_curve(probabilities, labels, np.arange(5000))
    assert len(curve.thresholds) == 200
    assert curve.answered[-1] == 5000
    assert curve.wrong[-1] == (labels != 0).sum()
    points = list_curve(curve)
    assert len(points) == 20
    assert points[-1]["answered"] == 1
    assert points[-1]["error"] == pytest.approx((labels != 0).mean())


def test_answers_are_counted_with_intervals() -> None:
    answered = np.array([True, True, True, False])
    found = describe_answers(answered, np.array([True, False, False, True]), np.arange(4))
    assert (found["num_photos"], found["num_answered"], found["num_wrong"]) == (4, 3, 1)
    assert found["answered"]["value"] == 0.75
    assert found["error"]["value"] == pytest.approx(1 / 3)
    assert found["error"]["low"] < 1 / 3 < found["error"]["high"]
    nothing = {"value": None, "low": None, "high": None}
    assert describe_answers(answered & False, answered, np.arange(4))["error"] == nothing
