import numpy as np
import pytest

from clownfish.evaluation import penalty_path
from clownfish.evaluation.penalty_path import compare_losses, follow_path, measure_optimism
from clownfish.evaluation.permutation import permute_labels
from clownfish.evaluation.verdicts import judge_fit, judge_gap, judge_learning, judge_selection
from clownfish.regression.logistic import fit_layers, predict_out_of_fold
from grouped_samples import make_folds, make_photos


def judge(photos, penalty, num_classes=3, trained_penalty=None):
    """The verdicts on a model of this penalty."""
    scores, labels, groups = photos
    folds, ones = make_folds(groups), np.ones((1, len(labels)), np.float32)
    penalties = np.array([trained_penalty or penalty], np.float32)
    layers = fit_layers(scores, labels, ones, penalties, num_classes)
    inside = np.exp(layers.predict_log_probabilities(scores)[0]).astype(float)
    outside = np.exp(predict_out_of_fold(scores, labels, folds, penalties, num_classes)[0]).astype(float)
    parts = np.where(folds == 0, "test", "train")
    gap = judge_gap(labels, groups, parts, inside, outside, seed=1)
    path = follow_path(scores, labels, groups, folds, penalty, num_classes, seed=1)
    return gap, *judge_fit(path, labels, groups, outside, gap=gap, seed=1), judge_selection(path, groups, seed=1)


def test_model_with_a_good_penalty_raises_no_alarm():
    gap, overfitting, underfitting, selection = judge(make_photos(num_groups=150), 10.0)
    assert gap.low <= gap.value <= gap.high
    assert "a gap alone tells nothing" in gap.sentence
    assert "of the photos it was trained on" in gap.sentence and "of test photos" in gap.sentence
    assert (overfitting.holds, underfitting.holds, selection.holds) == (False, False, False)
    assert overfitting.sentence.startswith("No harmful overfitting: it names")


def test_model_without_a_penalty_overfits():
    gap, overfitting, underfitting, _ = judge(make_photos(num_groups=90, signal=0.4, num_axes=40), 0.01)
    assert gap.holds and gap.details["cross_entropy"]["low"] > 0
    assert overfitting.holds
    assert overfitting.low > 0
    assert "corresponds too closely to its training photos" in overfitting.sentence
    assert "weight-decay" in overfitting.advice
    assert not underfitting.holds


def test_model_with_too_strong_a_penalty_underfits():
    _, overfitting, underfitting, _ = judge(make_photos(num_groups=150), 1000.0)
    assert underfitting.holds
    assert "instead of 1000" in underfitting.sentence
    assert not overfitting.holds


def test_model_that_was_stopped_early_underfits():
    """As if trained for too few epochs: the same penalty, but far from converged."""
    _, _, underfitting, _ = judge(make_photos(num_groups=150), 10.0, trained_penalty=3000.0)
    assert underfitting.holds
    assert "until nothing changes any more" in underfitting.sentence


def test_class_of_one_group_is_no_sign_of_underfitting():
    """No model that was asked about it had seen it, so none can be right, whatever the penalty."""
    scores, labels, groups = make_photos(num_groups=60, signal=3.0)
    groups = np.where(labels == 0, 0, groups)
    folds = np.where(labels == 0, 0, make_folds(groups))
    path = follow_path(scores, labels, groups, folds, 100.0, 3, seed=1)
    assert set(labels[path.rows]) == {1, 2}
    assert path.complete
    assert path.losses[path.own].mean() < 0.3
    alone = follow_path(scores, labels, labels, labels, 100.0, 3, seed=1)
    assert len(set(labels[alone.rows])) == 1  # too few groups for any verdict


def test_large_sets_are_judged_by_some_photos_of_every_group(monkeypatch):
    scores, labels, groups = make_photos(num_groups=20, group_size=40)
    monkeypatch.setattr(penalty_path, "_MAX_WORK", 20 * 3 * 5 * 3 * 100)  # axes, classes, folds, penalties, photos
    path = penalty_path.follow_path(scores, labels, groups, make_folds(groups), 10.0, 3, seed=1)
    assert len(path.rows) == 100
    assert len(np.unique(groups[path.rows])) == 20
    assert not path.complete


def test_few_groups_give_no_verdict():
    verdicts = judge(make_photos(num_groups=9, group_size=6), 10.0)
    assert [verdict.holds for verdict in verdicts] == [None, None, None, None]
    assert "too few groups" in verdicts[1].sentence
    assert verdicts[0].low is None  # a bootstrap of a few groups would look sure
    assert "between" not in verdicts[0].sentence


@pytest.mark.parametrize(("signal", "holds", "text"), [(1.0, True, "none of 200 tries"), (0.0, False, "no evidence")])
def test_learning_is_told_from_its_absence(signal, holds, text):
    scores, labels, groups = make_photos(signal=signal)
    verdict = judge_learning(permute_labels(scores, labels, groups, 3, seed=1), groups, seed=1)
    assert verdict.holds is holds
    assert text in verdict.sentence
    row = verdict.as_json()
    assert set(row) >= {"name", "holds", "effect", "p", "sentence", "advice"}
    assert row["effect"]["low"] <= row["effect"]["value"] <= row["effect"]["high"]


def test_two_groups_a_class_cannot_tell_whether_anything_is_learned():
    scores, labels, groups = make_photos(num_groups=4, num_classes=2, group_size=5, signal=5.0)
    verdict = judge_learning(permute_labels(scores, labels, groups, 2, seed=1), groups, seed=1)
    assert verdict.holds is None
    assert "too few groups to tell" in verdict.sentence


def test_improvement_is_corrected_for_the_number_of_candidates():
    random = np.random.default_rng(0)
    groups, reference = np.arange(200), np.ones(200)
    one = reference - 0.1 + 0.5 * random.standard_normal(200)
    noise = reference + 0.5 * random.standard_normal((200, 200))
    alone = compare_losses(reference, one[None], groups, seed=1)
    among = compare_losses(reference, np.vstack([one, noise]), groups, seed=1)
    assert alone.low > 0 > among.low


def test_false_alarms_are_rare_among_equal_candidates():
    alarms = 0
    for seed in range(60):
        losses = np.random.default_rng(seed).standard_normal((8, 80))
        alarms += compare_losses(losses[0], losses[1:], np.arange(80), seed=1).low > 0
    assert alarms <= 7


def test_groups_widen_the_interval():
    reference, groups = np.zeros(300), np.repeat(np.arange(30), 10)
    better = -0.1 + np.random.default_rng(0).standard_normal(30)[groups]
    grouped = compare_losses(reference, better[None], groups, seed=1)
    single = compare_losses(reference, better[None], np.arange(300), seed=1)
    assert grouped.high - grouped.low > 2 * (single.high - single.low)


def test_best_of_many_guessers_is_too_good():
    right = np.random.default_rng(0).random((100, 60)) < 0.5
    value, (low, high) = measure_optimism(right, np.arange(60), seed=1)
    truth = right.mean(axis=1).max() - 0.5
    assert value == pytest.approx(truth, abs=0.08)
    assert low <= value <= high


def test_single_candidate_is_not_too_good():
    assert measure_optimism(np.random.default_rng(0).random((1, 60)) < 0.5, np.arange(60), seed=1)[0] == 0
