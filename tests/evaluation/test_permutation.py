import numpy as np
import pytest

from clownfish.evaluation import permutation
from clownfish.evaluation.permutation import NUM_PERMUTATIONS, permute_labels
from grouped_samples import make_photos


def test_separable_classes_are_learned():
    scores, labels, groups = make_photos()
    result = permute_labels(scores, labels, groups, 3, seed=1)
    assert result.p == 1 / (NUM_PERMUTATIONS + 1)
    assert result.accuracy > 0.8
    assert 0.2 < result.exchanged.mean() < 0.45
    assert result.right.mean() == result.accuracy


def test_labels_without_meaning_give_even_p_values():
    p = [permute_labels(*make_photos(signal=0.0, seed=seed), 3, seed=seed).p for seed in range(40)]
    assert 0.35 < np.mean(p) < 0.65
    assert sum(value <= 0.1 for value in p) <= 10


def test_photos_of_one_group_are_no_evidence():
    """Random classes a group: every photo looks like its group, which must not count as learning."""
    scores, labels, groups = make_photos(num_groups=12, group_size=10, signal=0.0)
    assert permute_labels(scores, labels, groups, 3, seed=1).p > 0.05
    assert permute_labels(scores, labels, np.arange(len(labels)), 3, seed=1).p < 0.01


def test_groups_of_unequal_size_and_with_several_labels_exchange_too():
    scores, labels, _ = make_photos(num_groups=40, group_size=3)
    groups = np.sort(np.random.default_rng(0).integers(0, 25, len(labels)))
    result = permute_labels(scores, labels, groups, 3, seed=1)
    assert result.smallest_p == 1 / (NUM_PERMUTATIONS + 1)
    assert result.p <= 0.05


def test_more_axes_than_photos_give_no_labels_away():
    """Photos of a fold would lie opposite to the rest, if they had a say in where the middle is."""
    random = np.random.default_rng(2)
    scores, labels, groups = make_photos(num_groups=20, num_classes=5, group_size=5, num_axes=400, signal=0.0)
    assert permute_labels(scores, labels, groups, 5, seed=1).exchanged.mean() == pytest.approx(0.2, abs=0.05)
    scores += 0.35 * random.standard_normal((5, 400)).astype(np.float32)[labels]
    assert permute_labels(scores, labels, groups, 5, seed=1).p <= 0.01


def test_class_of_one_group_is_not_recognised_unseen():
    scores, labels, groups = make_photos(num_groups=3, num_classes=3, group_size=20, signal=5.0)
    assert permute_labels(scores, labels, groups, 3, seed=1).accuracy < 0.1


def test_few_groups_allow_no_small_p():
    scores, labels, groups = make_photos(num_groups=4, num_classes=2, group_size=5, signal=5.0)
    assert permute_labels(scores, labels, groups, 2, seed=1).smallest_p == pytest.approx(1 / 3)


@pytest.mark.parametrize(("num_groups", "group_size", "num_judged"), [(200, 2, 50), (20, 40, 20)])
def test_large_sets_are_judged_by_a_part_with_as_many_groups_as_possible(
    monkeypatch, num_groups, group_size, num_judged
):
    monkeypatch.setattr(permutation, "_MAX_PHOTOS", 50)
    scores, labels, groups = make_photos(num_groups=num_groups, group_size=group_size)
    result = permute_labels(scores, labels, groups, 3, seed=1)
    assert 40 <= len(result.rows) <= 50
    assert len(np.unique(groups[result.rows])) == num_judged


def test_same_seed_gives_the_same_numbers():
    first, second = (permute_labels(*make_photos(signal=0.3), 3, seed=7) for _ in range(2))
    assert first.p == second.p
    np.testing.assert_array_equal(first.exchanged, second.exchanged)
