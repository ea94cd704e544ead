"""What a range test suggests, from curves whose answer is known."""

import numpy as np

from clownfish.training.learning_rates import judge_range_test

RATES = np.geomspace(1e-6, 0.1, 80)


def make_losses(*, falls_at: float, rises_at: float, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    """Level 1, lower by 0.6 beyond a rate, and far higher beyond another."""
    steps = np.log10(RATES)
    fall = 0.6 / (1 + np.exp(-6 * (steps - np.log10(falls_at))))
    rise = (RATES / rises_at) ** 3
    return 1 - fall + rise + np.random.default_rng(seed).normal(0, noise, len(RATES))


def test_the_rate_is_a_tenth_of_that_with_the_lowest_loss() -> None:
    for seed in range(5):
        test = judge_range_test(RATES, make_losses(falls_at=3e-4, rises_at=3e-2, seed=seed))
        assert test.suggestion is not None
        assert 1e-4 < test.suggestion < 2e-3
        assert abs(test.suggestion / RATES[test.smoothed.argmin()] - 0.1) < 0.01


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    found = [
        judge_range_test(RATES, make_losses(falls_at=1e9, rises_at=1e-2, seed=seed)).suggestion for seed in range(20)
    ]
    assert sum(rate is not None for rate in found) <= 2


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    assert judge_range_test(RATES, np.linspace(1, 5, 80)).suggestion is None


def test_a_test_that_ended_early_is_judged_as_far_as_it_went() -> None:
    losses = make_losses(falls_at=3e-5, rises_at=1e-3)
    test = judge_range_test(RATES, losses[:55])
    assert len(test.rates) == len(test.smoothed) == 55
    assert test.suggestion is not None
    assert judge_range_test(RATES, losses[:39]).suggestion is None
    assert judge_range_test(RATES, []).suggestion is None


def test_infinite_losses_at_the_end_do_no_harm() -> None:
    losses = make_losses(falls_at=3e-4, rises_at=3e-2)
    losses[-3:] = np.inf
    test = judge_range_test(RATES, losses)
    assert test.suggestion is not None
    assert 1e-4 < test.suggestion < 2e-3


def test_the_smoothed_loss_is_a_mean_without_a_bias_to_zero() -> None:
    np.testing.assert_allclose(judge_range_test(RATES, np.full(80, 0.7)).smoothed, 0.7)
