import numpy as np
import pytest

from clownfish.evaluation.curve_families import fit_arctan, fit_families, fit_power2, fit_power3, weigh_families

SIZES = np.geomspace(20, 400, 8)
WEIGHTS = np.ones(8)
TARGETS = np.array([400.0, 800.0, 1600.0])


def test_power3_finds_its_own_curve():
    curve = lambda n: 0.9 - 0.08 * (n / 400) ** -0.5  # noqa: E731
    fitted = fit_power3(SIZES / 400, curve(SIZES)[None], WEIGHTS, TARGETS / 400)
    np.testing.assert_allclose(fitted[0], curve(TARGETS), atol=0.003)


def test_power2_finds_its_own_curve():
    curve = lambda n: 1 - 0.1 * (n / 400) ** -0.6  # noqa: E731
    fitted = fit_power2(SIZES / 400, curve(SIZES)[None], WEIGHTS, TARGETS / 400)
    np.testing.assert_allclose(fitted[0], curve(TARGETS), atol=0.002)


def test_arctan_finds_its_own_curve():
    curve = lambda n: -0.1 + 2 / np.pi * np.arctan(np.pi / 2 * 4 * n / 400 + 1)  # noqa: E731
    fitted = fit_arctan(SIZES / 400, curve(SIZES)[None], WEIGHTS, TARGETS / 400)
    np.testing.assert_allclose(fitted[0], curve(TARGETS), atol=0.01)


def test_flat_curves_stay_flat():
    values = np.full((1, 8), 0.7)
    np.testing.assert_allclose(fit_families(SIZES, values, WEIGHTS, TARGETS)[:2], 0.7, atol=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_no_curve_falls_or_leaves_0_to_1(seed):
    values = np.random.default_rng(seed).uniform(size=(20, 8))
    fitted = fit_families(SIZES, values, WEIGHTS, TARGETS)
    assert (np.diff(fitted, axis=2) >= -1e-9).all()
    assert (fitted >= 0).all() and (fitted <= 1).all()


def test_family_that_foretells_the_largest_size_counts_most():
    values = 0.9 - 0.08 * (SIZES / 400) ** -0.5
    shares = weigh_families(SIZES, values, WEIGHTS, noise=1e-3)
    assert shares.sum() == pytest.approx(1)
    assert shares.argmax() == 0
