import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from clownfish.evaluation.calibration import (
    apply_temperature,
    calibrate,
    compute_brier_score,
    compute_calibration_error,
    describe_calibration,
    describe_calibration_error,
    fit_temperature,
)


def draw(num_photos: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right once their logits are divided by the temperature, and labels drawn from them."""
    random = np.random.default_rng(seed)
    true = random.dirichlet(np.full(4, 0.4), num_photos)
    labels = (random.random(num_photos)[:, None] > true.cumsum(axis=1)).sum(axis=1).clip(0, 3)
    return apply_temperature(true, 1 / temperature), labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_temperature_is_found(temperature: float) -> None:
    probabilities, labels = draw(5000, temperature)
    found = fit_temperature(probabilities, labels, np.ones(5000))
    assert found == pytest.approx(temperature, rel=0.08)
    losses = [log_loss(labels, apply_temperature(probabilities, factor * found)) for factor in (0.97, 1.0, 1.03)]
    assert losses[1] == min(losses)


def test_temperature_stays_within_its_limits() -> None:
    probabilities = np.tile([0.6, 0.4], (50, 1))
    always_right, always_wrong = np.zeros(50, np.int64), np.ones(50, np.int64)
    assert fit_temperature(probabilities, always_right, np.ones(50)) == pytest.approx(0.25, abs=1e-4)
    assert fit_temperature(probabilities, always_wrong, np.ones(50)) == pytest.approx(4, abs=1e-4)
    assert fit_temperature(probabilities, always_wrong, np.zeros(50)) == 1


def test_temperature_is_kept_only_if_it_helps_photos_it_was_not_found_on() -> None:
    folds, groups, everything = np.arange(400) % 5, np.arange(400), np.ones(400, np.bool_)
    probabilities, labels = draw(400, 2.0)
    calibration = calibrate(probabilities, labels, folds, groups, everything)
    assert 1.5 < calibration.temperature == calibration.found < 2.7
    assert log_loss(labels, calibration.probabilities) < log_loss(labels, probabilities)
    kept = []
    for seed in range(20):
        probabilities, labels = draw(400, 1.0, seed)
        calibration = calibrate(probabilities, labels, folds, groups, everything)
        kept.append(calibration.temperature != 1)
        if not kept[-1]:
            np.testing.assert_array_equal(calibration.probabilities, probabilities)
    assert sum(kept) <= 10  # where there is nothing to gain, most are left alone


def test_photos_that_may_not_decide_have_no_say() -> None:
    probabilities, labels = draw(300, 2.0)
    chosen = np.arange(300) < 200
    folds, groups = np.arange(300) % 5, np.arange(300)
    first = calibrate(probabilities, labels, folds, groups, chosen)
    spoilt = np.where(chosen, labels, (labels + 1) % 4)
    second = calibrate(probabilities, spoilt, folds, groups, chosen)
    assert first.temperature == second.temperature
    np.testing.assert_array_equal(first.probabilities, second.probabilities)


def test_copies_in_one_group_count_once() -> None:
    probabilities, labels = draw(100, 1.5)
    copies = np.repeat(np.arange(100), 1 + np.arange(100) % 7)
    weights = 1 / (1 + np.arange(100) % 7)[copies]
    assert fit_temperature(probabilities[copies], labels[copies], weights) == pytest.approx(
        fit_temperature(probabilities, labels, np.ones(100)), abs=1e-5
    )


def test_brier_score_is_that_of_sklearn_over_classes() -> None:
    probabilities, labels = draw(200, 1.0)
    expected = sum(brier_score_loss(labels == number, probabilities[:, number]) for number in range(4))
    assert compute_brier_score(labels, probabilities) == pytest.approx(expected)


def test_calibration_error_is_freed_of_its_bias() -> None:
    random = np.random.default_rng(0)
    certainty = random.uniform(0.5, 1, (300, 200))
    right = random.random(certainty.shape) < certainty
    squares = [compute_calibration_error(*pair) ** 2 for pair in zip(certainty, right, strict=True)]
    assert np.mean(squares) < 0.0025  # without the correction 10 bins x 0.19 / 20 photos each: 0.009
    shifted = [compute_calibration_error(own, random.random(200) < own - 0.2) for own in certainty]
    assert np.mean(shifted) == pytest.approx(0.2, abs=0.01)


def test_range_under_perfect_calibration_holds_what_is_calibrated_and_no_more() -> None:
    inside = []
    for seed in range(40):
        probabilities, labels = draw(150, 1.0, seed)
        found = describe_calibration_error(probabilities, labels, np.arange(150), seed=1)
        inside.append(found["value"] <= found["expected"]["high"])
    assert sum(inside) >= 35
    probabilities, labels = draw(600, 4.0)
    found = describe_calibration_error(probabilities, labels, np.arange(600), seed=1)
    assert found["value"] > 2 * found["expected"]["high"]


def test_description_has_the_points_of_the_plot() -> None:
    probabilities, labels = draw(205, 1.0)
    groups = np.arange(205) // 2
    found = describe_calibration(probabilities, probabilities, labels, groups, seed=1)
    assert found["before"] == found["after"]
    assert found["after"]["cross_entropy"] == pytest.approx(log_loss(labels, probabilities))
    assert sum(point["num_photos"] for point in found["bins"]) == 205
    certainties = [point["certainty"] for point in found["bins"]]
    assert certainties == sorted(certainties) and len(certainties) == 10
    assert all(point["low"] <= point["right"] <= point["high"] for point in found["bins"])


@pytest.mark.parametrize("num_photos", [1, 2, 3])
def test_few_photos_are_no_error(num_photos: int) -> None:
    probabilities, labels = draw(num_photos, 1.0)
    found = describe_calibration(probabilities, probabilities, labels, np.arange(num_photos), seed=1)
    assert 0 <= found["after"]["calibration_error"]["value"] <= 1
