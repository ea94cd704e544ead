"""How much of the best trial's score is luck: known answers where all of it is, or none."""

import numpy as np

from clownfish.evaluation.search_luck import estimate_luck


def draw_trials(num_trials: int, num_photos: int, *, seed: int, share: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Trials that are equally good, each right about photos of its own choice."""
    random = np.random.default_rng(seed)
    right = random.random((num_trials, num_photos)) < share
    return np.where(right, 0.2, 2.0), right


def test_luck_of_equal_trials_is_what_the_best_is_too_good_by() -> None:
    found = []
    for seed in range(20):
        losses, right = draw_trials(20, 100, seed=seed)
        found.append(estimate_luck(losses, right, np.arange(100), seed=1))
    excess = np.mean([luck.accuracy for luck in found]) - 0.8  # the truth is known here
    estimated = np.mean([luck.luck for luck in found])
    assert 0.05 < excess < 0.1
    assert 0.8 * excess < estimated < 1.6 * excess  # too large rather than too small


def test_a_trial_that_is_truly_better_is_taken_and_owes_little_to_luck() -> None:
    losses, right = draw_trials(20, 400, seed=0, share=0.6)
    right[7] = np.random.default_rng(1).random(400) < 0.95
    losses[7] = np.where(right[7], 0.2, 2.0)
    luck = estimate_luck(losses, right, np.arange(400), seed=1)
    assert luck.best == 7
    assert luck.is_better
    assert luck.luck < 0.005
    assert luck.start_accuracy == right[0].mean()


def test_the_first_trial_stays_where_it_is_the_best() -> None:
    losses, right = draw_trials(5, 60, seed=3)
    losses[0] = 0.1
    luck = estimate_luck(losses, right, np.arange(60), seed=1)
    assert (luck.best, luck.is_better) == (0, False)


def test_trials_that_differ_by_chance_alone_mostly_do_not_count_as_better() -> None:
    taken = 0
    for seed in range(20):
        losses, right = draw_trials(20, 100, seed=seed)
        taken += estimate_luck(losses, right, np.arange(100), seed=1).is_better
    assert taken <= 16  # where the first happens to be a bad one, others are better for these photos


def test_photos_of_a_group_are_no_independent_evidence() -> None:
    losses, right = draw_trials(20, 30, seed=5)
    alone = estimate_luck(losses, right, np.arange(30), seed=1)
    repeated = estimate_luck(losses.repeat(10, axis=1), right.repeat(10, axis=1), np.arange(300) // 10, seed=1)
    taken_apart = estimate_luck(losses.repeat(10, axis=1), right.repeat(10, axis=1), np.arange(300), seed=1)
    assert abs(repeated.luck - alone.luck) < 0.01  # equal sums may differ in their last bit
    assert taken_apart.luck < 0.5 * alone.luck


def test_a_single_group_tells_nothing() -> None:
    losses, right = draw_trials(3, 10, seed=2)
    luck = estimate_luck(losses, right, np.zeros(10, np.int64), seed=1)
    assert (luck.is_better, luck.luck) == (False, 0.0)
