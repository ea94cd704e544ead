import numpy as np
import pytest

from clownfish.evaluation.share_difference import estimate_difference


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
