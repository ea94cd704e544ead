import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from clownfish.evaluation.intervals import (
    compute_wilson_interval,
    count_independent,
    estimate_balanced,
    estimate_share,
    find_quantile,
)


@given(st.integers(1, 5000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_wilson_interval_is_that_of_scipy(counts: tuple[int, int]) -> None:
    right, trials = counts
    expected = binomtest(right, trials).proportion_ci(method="wilson")
    found = compute_wilson_interval(right / trials, trials, quantile=1.959963984540054)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_interval_without_trials_is_everything() -> None:
    assert compute_wilson_interval(0.0, 0, quantile=2.0) == (0.0, 1.0)


@given(st.floats(0, 1), st.floats(0.01, 1e6))
def test_wilson_interval_holds_its_share(share: float, trials: float) -> None:
    low, high = compute_wilson_interval(share, trials, quantile=2.0)
    assert 0 <= low <= share <= high <= 1


@given(st.floats(0, 1), st.floats(1, 1e5))
def test_wilson_interval_narrows_with_trials(share: float, trials: float) -> None:
    low, high = compute_wilson_interval(share, trials, quantile=2.0)
    narrow_low, narrow_high = compute_wilson_interval(share, 4 * trials, quantile=2.0)
    assert narrow_high - narrow_low < high - low


def draw_answers(random, *, num_groups, group_size, share, correlation):
    """Right and wrong answers whose probability varies from group to group (beta-binomial)."""
    groups = np.repeat(np.arange(num_groups), group_size)
    strength = 1 / correlation - 1
    chances = random.beta(share * strength, (1 - share) * strength, num_groups)
    return random.random(len(groups)) < chances[groups], groups


@pytest.mark.parametrize(
    ("num_groups", "group_size", "share", "correlation"),
    [(200, 1, 0.9, 0.01), (60, 1, 0.97, 0.01), (80, 5, 0.8, 0.3), (40, 5, 0.9, 0.6), (30, 4, 0.6, 0.2)],
)
def test_interval_covers_the_truth_where_photos_come_in_groups(num_groups, group_size, share, correlation) -> None:
    random = np.random.default_rng(3)
    covered = above = 0
    for _ in range(1000):
        right, groups = draw_answers(
            random, num_groups=num_groups, group_size=group_size, share=share, correlation=correlation
        )
        estimate = estimate_share(right, groups)
        covered += estimate.low <= share <= estimate.high
        above += estimate.low > share
    assert 930 <= covered <= 995
    assert above <= 40


def test_interval_is_as_narrow_as_independent_photos_allow() -> None:
    right = np.arange(400) % 10 > 0
    estimate = estimate_share(right, np.arange(400))
    expected = compute_wilson_interval(0.9, 400, quantile=1.966)
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=0.002)


def test_photos_of_one_group_count_once_if_they_agree_and_fully_if_they_do_not() -> None:
    groups = np.repeat(np.arange(50), 4)
    together = np.repeat(np.arange(50) % 2 == 0, 4)
    apart = np.arange(200) % 2 == 0
    assert count_independent(together, groups) == pytest.approx(50, rel=0.1)
    assert count_independent(apart, groups) > 150
    assert 1 <= count_independent(np.ones(4, np.bool_), np.zeros(4, np.int64)) <= 4


def test_few_wrong_answers_leave_the_expected_design_effect() -> None:
    groups = np.repeat(np.arange(40), 3)
    assert count_independent(np.ones(120, np.bool_), groups) == pytest.approx(60)  # 120 / (1 + 0.5 * 2)


def test_quantile_grows_as_groups_become_few() -> None:
    assert find_quantile(np.arange(1000)) == pytest.approx(1.96, abs=0.01)
    assert find_quantile(np.arange(5)) == pytest.approx(2.776, abs=0.001)
    assert find_quantile(np.zeros(10, np.int64)) == pytest.approx(12.706, abs=0.001)


@given(st.integers(0, 2**32 - 1))
def test_balanced_estimate_holds_the_mean_recall(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, random.integers(1, 6), 60)
    groups = random.integers(0, random.integers(1, 60), 60)
    right = random.random(60) < random.random()
    estimate = estimate_balanced(right, labels, groups)
    recalls = [right[labels == label].mean() for label in np.unique(labels)]
    assert estimate.value == pytest.approx(np.mean(recalls))
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high > estimate.low


def test_balanced_estimate_of_equal_classes_is_about_that_of_all_photos() -> None:
    labels = np.repeat(np.arange(5), 200)
    right = np.tile(np.arange(200) % 5 > 0, 5)
    balanced = estimate_balanced(right, labels, np.arange(1000))
    plain = estimate_share(right, np.arange(1000))
    assert (balanced.low, balanced.high) == pytest.approx((plain.low, plain.high), abs=0.003)


def test_spread_widens_the_interval() -> None:
    right = np.arange(100) % 10 > 0
    narrow, wide = (estimate_share(right, np.arange(100), spread=spread) for spread in (1.0, 1.25))
    assert wide.value == narrow.value
    assert wide.low < narrow.low and wide.high > narrow.high


@pytest.mark.parametrize("deviation", [1.0, 2.0])
def test_balanced_interval_covers_the_truth_where_a_group_holds_all_classes(deviation) -> None:
    """Sites that are easy or hard for every class, as `--group-by site` makes them."""
    random = np.random.default_rng(5)
    num_sites, num_classes, num_each = 30, 8, 3
    shape = (num_sites, num_classes, num_each)
    labels = np.broadcast_to(np.arange(num_classes)[:, None], shape).ravel()
    groups = np.broadcast_to(np.arange(num_sites)[:, None, None], shape).ravel()
    truth = (1 / (1 + np.exp(-1 - random.normal(0, deviation, 200_000)))).mean()
    covered = 0
    for _ in range(300):
        chances = 1 / (1 + np.exp(-1 - random.normal(0, deviation, num_sites)))
        right = (random.random(shape) < chances[:, None, None]).ravel()
        estimate = estimate_balanced(right, labels, groups)
        covered += estimate.low <= truth <= estimate.high
    assert covered >= 0.92 * 300
