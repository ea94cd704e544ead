import numpy as np
import pytest

from clownfish.evaluation.counts import MIN_GROUPS, Counts, estimate_counts

CONFUSED = np.array([[80, 20, 0], [10, 90, 0], [0, 0, 100]])


def estimate(confusions: object, counted: object, num_groups: object = None, *, seed: int = 1) -> Counts:
    matrix = np.array(confusions)
    groups = matrix.sum(axis=1) if num_groups is None else np.array(num_groups)
    return estimate_counts(matrix, groups, np.array(counted), seed=seed)


def test_known_confusions_are_turned_back() -> None:
    truth = np.array([20, 300, 80])
    answers = truth @ np.array([[0.8, 0.2, 0], [0.1, 0.9, 0], [0, 0, 1]])  # 46, 274, 80
    counts = estimate(CONFUSED * 100, answers.round().astype(int))
    assert counts.counted.tolist() == [46, 274, 80]
    assert np.abs(counts.corrected - truth).max() <= 4
    assert (counts.low <= truth).all() and (truth <= counts.high).all()
    assert counts.notes == ("", "", "")


def test_model_without_errors_changes_nothing() -> None:
    counts = estimate(np.eye(3, dtype=int) * 10_000, [7, 0, 500])
    assert counts.corrected.tolist() == [7, 0, 500]
    assert counts.high[1] <= 1


def test_intervals_hold_the_truth_whatever_the_shares_are() -> None:
    random = np.random.default_rng(0)
    rates = np.array([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.02, 0.08, 0.9]])
    within = []
    for number in range(20):
        confusions = np.array([random.multinomial(40, row) for row in rates])
        truth = random.multinomial(150, random.dirichlet(np.full(3, 0.5)))
        counted = sum(random.multinomial(size, row) for size, row in zip(truth, rates, strict=True))
        counts = estimate(confusions, counted, seed=number)
        within += ((counts.low <= truth) & (truth <= counts.high)).tolist()
    assert np.mean(within) >= 0.88  # of 60


def test_fewer_groups_give_wider_intervals() -> None:
    photos = estimate(CONFUSED, [60, 60, 60])
    bursts = estimate(CONFUSED, [60, 60, 60], [10, 10, 10])
    assert (bursts.high - bursts.low)[:2].min() > 1.5 * (photos.high - photos.low)[:2].max()


def test_class_seen_in_too_few_groups_gets_a_note() -> None:
    counts = estimate(CONFUSED, [10, 20, 30], [100, MIN_GROUPS - 1, 1])
    assert counts.notes == (
        "",
        "only 4 groups of photos when the model was evaluated; 5 needed",
        "only 1 group of photos when the model was evaluated; 5 needed",
    )
    for values in (counts.corrected, counts.low, counts.high):
        assert np.isnan(values).tolist() == [False, True, True]
    assert counts.counted.tolist() == [10, 20, 30]


def test_limits_enclose_the_count_and_stay_possible() -> None:
    counts = estimate([[5, 5], [5, 5]], [3, 17])  # answers that tell nothing
    assert (counts.low <= counts.corrected).all() and (counts.corrected <= counts.high).all()
    assert counts.low.min() >= 0 and counts.high.max() <= 20
    assert (counts.high - counts.low).min() >= 15


def test_class_that_was_never_evaluated_does_not_break_the_others() -> None:
    counts = estimate([[50, 0], [0, 0]], [30, 0])
    assert counts.notes[0] == "" and counts.notes[1].startswith("only 0 groups")
    assert counts.corrected[0] <= 30


def test_class_of_one_group_is_not_taken_for_one_that_is_never_recognised() -> None:
    """In cross-validation its photos all got other answers, since it could not be trained on and asked about."""
    counts = estimate([[0, 30, 0], [0, 95, 5], [0, 5, 95]], [50, 50, 50], [1, 40, 40])
    assert counts.notes[0].startswith("only 1 group") and np.isnan(counts.corrected[0])
    assert (np.abs(counts.corrected - 50) <= 6)[1:].all()


@pytest.mark.parametrize("counted", [[0, 0, 0], [1, 0, 0]])
def test_nothing_to_count_is_no_fault(counted: list[int]) -> None:
    counts = estimate(CONFUSED, counted)
    assert counts.high.max() <= sum(counted)


def test_same_seed_gives_the_same_numbers() -> None:
    first, second, other = (estimate(CONFUSED, [60, 50, 40], seed=seed) for seed in (1, 1, 2))
    assert (first.low == second.low).all() and (first.high == second.high).all()
    assert np.abs(first.corrected - other.corrected).max() <= 3


RATES = np.array([[0.85, 0.1, 0.05, 0.0], [0.05, 0.9, 0.0, 0.05], [0.1, 0.1, 0.5, 0.3]])
"""Three classes; the last column is "unlike anything seen", which the third class is called most."""


def test_class_that_is_often_rejected_is_not_undercounted() -> None:
    confusions, rejected = (RATES[:, :-1] * 1000).round().astype(int), (RATES[:, -1] * 1000).round().astype(int)
    truth, others = np.array([200, 300, 400]), 50
    *counted, unlike = (truth @ RATES + [0, 0, 0, others]).round().astype(int)
    groups = np.full(3, 1000)
    counts = estimate_counts(confusions, groups, np.array(counted), rejected=rejected, num_unlike=int(unlike))
    assert np.abs(counts.corrected - truth).max() <= 10
    assert (counts.low <= truth).all() and (truth <= counts.high).all()
    assert counts.unlike[0] <= unlike - others <= counts.unlike[2] and abs(counts.unlike[1] - (unlike - others)) <= 10
    # confusions of all photos, counts of those that are not rejected: the third class lacks what was rejected
    answered = RATES[:, :-1] / RATES[:, :-1].sum(axis=1, keepdims=True)
    without = estimate_counts((answered * 1000).round().astype(int), groups, np.array(counted))
    assert without.corrected[2] < truth[2] - 100


def test_intervals_hold_the_truth_where_classes_are_rejected_unevenly() -> None:
    random = np.random.default_rng(0)
    within = []
    for number in range(20):
        found = np.array([random.multinomial(40, row) for row in RATES])
        truth = random.multinomial(150, random.dirichlet(np.full(3, 0.5)))
        counted = sum(random.multinomial(size, row) for size, row in zip(truth, RATES, strict=True))
        num_unlike = int(counted[-1] + random.poisson(10 * (number % 3)))
        counts = estimate_counts(
            found[:, :-1], np.full(3, 40), counted[:-1], rejected=found[:, -1], num_unlike=num_unlike, seed=number
        )
        within += ((counts.low <= truth) & (truth <= counts.high)).tolist()
    assert np.mean(within) >= 0.88  # of 60


def test_many_things_of_no_class_are_in_no_count() -> None:
    counts = estimate_counts(
        np.diag([95, 95]), np.array([95, 95]), np.array([100, 10]), rejected=np.array([5, 5]), num_unlike=1000
    )
    assert (np.abs(counts.corrected - [105, 10]) <= 6).all()
    assert counts.unlike[2] <= 25


def test_model_that_rejects_nothing_counts_none_of_what_is_unlike() -> None:
    counts = estimate_counts(np.diag([90, 90]), np.array([90, 90]), np.array([10, 5]), num_unlike=7)
    assert counts.corrected.tolist() == [10, 5] and counts.unlike == (0, 0, 0)
