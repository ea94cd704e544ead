from dataclasses import replace

import numpy as np
import pytest

from clownfish.answers.budget import RiskCurve, read_risk_curve


def make_curve() -> RiskCurve:
    """100 groups in steps of ten; the last thirty hold one error in ten, then two, then six."""
    return RiskCurve(
        thresholds=np.linspace(1.0, 0.1, 10),
        answered=np.arange(10, 110, 10.0),
        wrong=np.array([0, 0, 0, 0, 0, 0, 0, 1, 3, 9.0]),
        expected=np.zeros(10),
    )


def test_threshold_is_the_lowest_within_the_corrected_budget() -> None:
    curve = make_curve()
    # (1 + 1) / (80 + 1) = 2.5 %, (3 + 1) / (90 + 1) = 4.4 %, (9 + 1) / (100 + 1) = 9.9 %
    assert curve.find_threshold(0.05) == pytest.approx(0.2)
    assert curve.find_threshold(0.03) == pytest.approx(0.3)
    assert curve.find_threshold(0.1) == pytest.approx(0.1)
    assert curve.find_threshold(0.01) is None
    assert curve.find_smallest_budget() == pytest.approx(1 / 71)


def test_errors_that_were_only_expected_count_too() -> None:
    curve = replace(make_curve(), expected=np.array([0, 0, 0, 0, 0, 0, 0, 1, 4, 9.0]))
    assert curve.find_threshold(0.05) == pytest.approx(0.3)


def test_curve_reads_back_as_written() -> None:
    curve = make_curve()
    again = read_risk_curve(curve.to_json())
    for name in ("thresholds", "answered", "wrong", "expected"):
        np.testing.assert_array_equal(getattr(again, name), getattr(curve, name))
