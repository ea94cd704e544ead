import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from clownfish.evaluation.intervals import compute_balanced_interval, compute_wilson_interval


@given(st.integers(1, 5000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_wilson_interval_is_that_of_scipy(counts: tuple[int, int]) -> None:
    right, trials = counts
    expected = binomtest(right, trials).proportion_ci(method="wilson")
    found = compute_wilson_interval(right / trials, trials)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_interval_without_trials_is_everything() -> None:
    assert compute_wilson_interval(0.0, 0) == (0.0, 1.0)


@given(st.floats(0, 1), st.floats(0.01, 1e6))
def test_wilson_interval_holds_its_share(share: float, trials: float) -> None:
    low, high = compute_wilson_interval(share, trials)
    assert 0 <= low <= share <= high <= 1


@given(st.floats(0, 1), st.floats(1, 1e5))
def test_wilson_interval_narrows_with_trials(share: float, trials: float) -> None:
    low, high = compute_wilson_interval(share, trials)
    narrow_low, narrow_high = compute_wilson_interval(share, 4 * trials)
    assert narrow_high - narrow_low < high - low


CLASSES = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 500)), min_size=1, max_size=12)


@given(CLASSES)
def test_balanced_interval_holds_the_mean_recall(classes: list[tuple[float, int]]) -> None:
    recalls, trials = (np.array(values, np.float64) for values in zip(*classes, strict=True))
    low, high = compute_balanced_interval(recalls, trials)
    assert 0 <= low <= recalls.mean() <= high <= 1
    assert high > low


def test_balanced_interval_of_equal_classes_is_about_that_of_all_photos() -> None:
    recalls, trials = np.full(5, 0.8), np.full(5, 200.0)
    assert compute_balanced_interval(recalls, trials) == pytest.approx(compute_wilson_interval(0.8, 1000), abs=0.002)


@pytest.mark.parametrize("recalls", [(0.9, 0.9, 0.9), (1.0, 0.5, 0.7), (0.6, 0.95, 0.8)])
def test_balanced_interval_covers_the_truth(recalls: tuple[float, ...]) -> None:
    random = np.random.default_rng(7)
    true, trials = np.array(recalls), np.array([10.0, 20.0, 40.0])
    covered = 0
    for _ in range(2000):
        observed = random.binomial(trials.astype(int), true) / trials
        low, high = compute_balanced_interval(observed, trials)
        covered += low <= true.mean() <= high
    assert 0.92 <= covered / 2000 <= 0.995
