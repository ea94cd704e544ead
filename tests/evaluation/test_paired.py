import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from clownfish.evaluation.paired import adjust_for_number, compare_paired


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
    assert (alone.p_value, alone.low, alone.high) == (pytest.approx(1.0), -1.0, 1.0)


def test_equal_answers_do_not_differ() -> None:
    right = np.array([True, False, True])
    found = compare_paired(right, right, np.arange(3))
    assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


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
