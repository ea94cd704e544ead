import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clownfish.evaluation.light_statistics import find_student_quantile, measure_excess, rank_values


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_ranks_are_those_of_scipy(values: list[int]) -> None:
    array = np.array(values, np.float64)
    assert rank_values(array).tolist() == stats.rankdata(array).tolist()


@given(st.floats(0.01, 0.99), st.floats(1, 1e5))
def test_quantile_is_that_of_scipy(share: float, degrees: float) -> None:
    assert find_student_quantile(share, degrees) == pytest.approx(stats.t.ppf(share, degrees), abs=1e-6)


@given(st.lists(st.integers(0, 60), min_size=4, max_size=4))
def test_excess_is_fishers_exact_test(counts: list[int]) -> None:
    table = [counts[:2], counts[2:]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    assert measure_excess(table) == pytest.approx(expected, abs=1e-9)
