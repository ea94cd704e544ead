import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from clownfish.regression.scaling import Scaling, estimate_largest_variance, fit_scaling


def make_expectation(features, parts):
    """The definition, feature by feature: over sqrt(s^2 + m^2), then to mean variance 1."""
    deviation = features.astype(np.float64).std(axis=0)
    usual = np.concatenate([np.full(len(part), np.median(part)) for part in np.split(deviation, np.cumsum(parts)[:-1])])
    inverse = 1 / np.sqrt(deviation**2 + usual**2)
    return inverse / np.sqrt(np.mean((deviation * inverse) ** 2))


@settings(max_examples=40)
@given(
    npst.arrays(np.float32, (20, 3), elements=st.floats(-1e4, 1e4, width=32)),
    st.lists(st.integers(0, 19), min_size=2, max_size=20, unique=True),
)
def test_scaling_is_that_of_the_rows(features: np.ndarray, rows: list[int]) -> None:
    chosen = np.array(rows)
    scaling = fit_scaling(features, chosen)
    again = fit_scaling(features[chosen], np.arange(len(chosen)))
    assert np.allclose(scaling.mean, features[chosen].astype(np.float64).mean(axis=0), rtol=1e-5, atol=1e-3)
    assert (scaling.inverse_deviation == again.inverse_deviation).all()
    deviation = features[chosen].astype(np.float64).std(axis=0)
    assert (scaling.inverse_deviation[deviation < 1e-9] == 0).all()


def test_scaling_in_chunks_is_exact() -> None:
    random = np.random.default_rng(0)
    features = (random.normal(size=(5000, 4)) * [1, 3, 5, 7] + 1000).astype(np.float32)
    scaling = fit_scaling(features, np.arange(5000), parts=[1, 3])
    assert np.allclose(scaling.mean, features.astype(np.float64).mean(axis=0), rtol=1e-6)
    assert np.allclose(scaling.inverse_deviation, make_expectation(features, [1, 3]), rtol=1e-4)
    standardised = scaling.apply(features)
    assert np.abs(standardised.mean(axis=0)).max() < 1e-3
    assert np.square(standardised).mean() == pytest.approx(1, rel=1e-3)


def test_feature_that_rarely_fires_is_not_blown_up() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 50)).astype(np.float32)
    features[:, 0] *= 1e-3
    scaled = fit_scaling(features, np.arange(200)).apply(np.ones((1, 50), np.float32))
    assert abs(scaled[0, 0]) < 3  # a thousand deviations of its own


def test_parts_keep_their_own_measure() -> None:
    random = np.random.default_rng(0)
    features = (random.normal(size=(300, 6)) * [1, 1, 1, 100, 100, 100]).astype(np.float32)
    deviations = fit_scaling(features, np.arange(300), parts=[3, 3]).apply(features).std(axis=0)
    assert np.allclose(deviations, 1, atol=0.15)
    together = fit_scaling(features, np.arange(300)).apply(features).std(axis=0)
    assert together[0] < 0.1 < together[3]


def test_single_photo_has_no_spread() -> None:
    scaling = fit_scaling(np.ones((3, 2), np.float32), np.array([1]))
    assert (scaling.inverse_deviation == 0).all()
    assert estimate_largest_variance(np.ones((3, 2), np.float32), np.array([1]), scaling) == 1.0


def test_largest_variance_is_the_first_eigenvalue() -> None:
    random = np.random.default_rng(0)
    common = random.normal(size=(800, 1))
    features = (random.normal(size=(800, 40)) + common * random.normal(size=(1, 40))).astype(np.float32)
    scaling = fit_scaling(features, np.arange(800))
    covariance = np.cov(scaling.apply(features).T.astype(np.float64), bias=True)
    expected = float(np.linalg.eigvalsh(covariance)[-1])
    assert estimate_largest_variance(features, np.arange(800), scaling) == pytest.approx(expected, rel=0.05)


def test_scaling_applies_to_new_rows() -> None:
    scaling = Scaling(np.array([1.0, 2.0], np.float32), np.array([0.5, 0.0], np.float32))
    assert scaling.apply(np.array([[3.0, 9.0]], np.float32)).tolist() == [[1.0, 0.0]]
