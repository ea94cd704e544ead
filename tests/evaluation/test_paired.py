import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from clownfish.evaluation.paired import adjust_for_number, compare_paired, estimate_difference


def test_single_photos_give_mcnemars_exact_test() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        first, second = random.random(60) < 0.7, random.random(60) < 0.85
        found = compare_paired(first, second, np.arange(60))
        only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
        assert (found.only_first, found.only_second) == (only_first, only_second)
        assert found.difference == pytest.approx((only_second - only_first) / 60)
        expected = binomtest(only_first, only_first + only_second).pvalue
        assert found.p_value == pytest.approx(expected, abs=1e-12)


def test_groups_are_exchanged_whole() -> None:
    random = np.random.default_rng(2)
    groups = np.repeat(np.arange(8), [1, 2, 3, 4, 1, 2, 3, 4])
    first, second = random.random(20) < 0.5, random.random(20) < 0.7
    gains = np.bincount(groups, weights=second.astype(int) - first.astype(int))
    sums = [abs(np.dot(signs, gains)) for signs in itertools.product([-1, 1], repeat=8)]
    expected = np.mean(np.array(sums) >= abs(gains.sum()))
    assert compare_paired(first, second, groups).p_value == pytest.approx(expected)


def test_copies_are_no_evidence() -> None:
    first, second = np.zeros(12, np.bool_), np.ones(12, np.bool_)
    assert compare_paired(first, second, np.arange(12)).p_value < 0.001
    together = compare_paired(first, second, np.repeat([0, 1], 6))
    assert together.p_value == pytest.approx(0.5)
    assert together.low < 0 < together.high
    alone = compare_paired(first, second, np.zeros(12, np.int64))
    assert alone.p_value == pytest.approx(1.0)
    assert alone.low < 0 < alone.high


def test_equal_answers_do_not_differ() -> None:
    right = np.array([True, False, True])
    found = compare_paired(right, right, np.arange(3))
    assert (found.difference, found.p_value) == (0.0, 1.0)
    assert found.low < 0 < found.high  # three photos are no proof of that


def test_false_alarms_are_as_rare_as_promised_with_groups() -> None:
    random = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), 5)
    alarms, covered = 0, 0
    for _ in range(400):
        shares = random.beta(1, 1, size=(2, 40))  # photos of a group are alike, differently for each classifier
        first, second = (random.random(200) < np.repeat(share, 5) for share in shares)
        found = compare_paired(first, second, groups)
        alarms += found.p_value < 0.05
        covered += found.low <= 0 <= found.high
    assert alarms <= 32  # 20 expected
    assert covered >= 366  # 380 expected


def test_many_photos_are_no_matter() -> None:
    random = np.random.default_rng(4)
    first, second = random.random(200_000) < 0.9, random.random(200_000) < 0.905
    assert compare_paired(first, second, np.arange(200_000)).p_value < 1e-4


def test_p_values_are_raised_for_their_number() -> None:
    assert adjust_for_number([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert adjust_for_number([0.6, 0.7]) == [1.0, 1.0]
    assert adjust_for_number([]) == []


def repeat(both: int, lost: int, won: int, neither: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    before = np.repeat([True, True, False, False], [both, lost, won, neither])
    after = np.repeat([True, False, True, False], [both, lost, won, neither])
    return before, after, np.arange(len(before))


def test_difference_and_interval_of_a_known_table() -> None:
    """Method 10 of Newcombe's table II, (36, 12, 2, 0): 0.2000 with 0.0569 to 0.3404 by Wilson's interval."""
    before, after, groups = repeat(36, 12, 2, 0)
    found = estimate_difference(after, before, groups)
    assert found.value == pytest.approx(0.2)
    # Student's t on 49 degrees of freedom widens it a little
    assert found.low == pytest.approx(0.0569, abs=0.01)
    assert found.high == pytest.approx(0.3404, abs=0.01)


def test_no_change_on_few_photos_is_no_certainty() -> None:
    few = estimate_difference(*repeat(16, 0, 0, 0))
    many = estimate_difference(*repeat(1600, 0, 0, 0))
    assert few.value == many.value == 0
    assert few.low < -0.1 and few.high > 0.1
    assert -0.01 < many.low < 0 < many.high < 0.01


def test_photos_of_one_group_count_for_less() -> None:
    before, after, _ = repeat(80, 10, 2, 8)
    alone = estimate_difference(before, after, np.arange(100))
    grouped = estimate_difference(before, after, np.arange(100) // 10)
    assert grouped.value == alone.value == pytest.approx(-0.08)
    assert grouped.high - grouped.low > alone.high - alone.low


def test_interval_holds_the_difference_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    shares = np.array([0.85, 0.04, 0.02, 0.09])
    true = shares[2] - shares[1]
    held = 0
    for _ in range(300):
        before, after, groups = repeat(*random.multinomial(150, shares))
        found = estimate_difference(before, after, groups)
        held += found.low <= true <= found.high
    assert held / 300 >= 0.93


def test_interval_covers_where_each_model_is_the_better_one_in_some_groups() -> None:
    """Both models find the same photos easy, but what one of them gains in a group the other loses."""
    random = np.random.default_rng(4)
    groups = np.repeat(np.arange(60), 5)

    def find_chance(odds):
        return 1 / (1 + np.exp(-odds))

    effects = random.standard_normal(400_000)
    truth = (find_chance(1.5 + effects) - find_chance(1 - effects)).mean()
    covered = 0
    for _ in range(300):
        own, ease = random.standard_normal(60)[groups], random.random(300)
        estimate = estimate_difference(ease < find_chance(1 - own), ease < find_chance(1.5 + own), groups)
        covered += estimate.low <= truth <= estimate.high
    assert covered >= 0.93 * 300
