import numpy as np
import pytest

from clownfish.errors import ForecastError
from clownfish.evaluation import learning_curve
from clownfish.evaluation.learning_curve import NUM_SIZES, make_curve, try_sizes
from clownfish.evaluation.photo_needs import describe_needs
from clownfish.evaluation.verdicts import judge_amount
from grouped_samples import make_photos

CLASSES = ("ant", "bee", "cicada")


@pytest.fixture(autouse=True)
def few_repeats(monkeypatch):
    monkeypatch.setattr(learning_curve, "NUM_REPEATS", 5)


def make_trials(**options):
    photos = make_photos(**options)
    trials = try_sizes(*photos, 3, seed=1)
    assert trials is not None
    return trials


def test_larger_parts_are_tested_on_what_they_were_not_trained_on():
    trials = make_trials()
    assert (np.diff(trials.sizes) > 0).all()
    assert trials.sizes[-1] == pytest.approx(0.8 * 120, abs=6)
    # the largest part leaves out each group exactly once in five repeats
    np.testing.assert_array_equal(trials.tested[-1], 2)
    np.testing.assert_allclose(trials.tested.sum(axis=1), 5 * (120 - trials.sizes))


def test_accuracy_grows_with_the_photos_and_is_carried_on():
    curve = make_curve(make_trials(signal=0.5, num_groups=150), seed=1)
    slope, low, high = curve.measure_slope()
    assert low < slope < high
    assert slope > 0
    now, then = curve.forecast(300), curve.forecast(600)
    assert now.value < then.value
    assert then.low <= then.value <= then.high
    gain, gain_low, gain_high = curve.forecast_gain(600)
    assert gain == pytest.approx(then.value - now.value)
    assert 0 <= gain_low <= gain <= gain_high


def test_forecast_is_refused_beyond_four_times_the_photos():
    curve = make_curve(make_trials(), seed=1)
    assert curve.forecast(curve.max_photos).num_photos == 480
    with pytest.raises(
        ForecastError, match="for 481 photos is asked for; from 120 photos it can be given for 1 to 480"
    ):
        curve.forecast(481)
    with pytest.raises(ForecastError, match="Ask for fewer"):
        curve.forecast(0)


def test_labels_without_meaning_need_no_more_photos():
    curve = make_curve(make_trials(signal=0.0), seed=1)
    assert not judge_amount(curve).holds


def test_flat_curve_needs_no_more_photos():
    curve = make_curve(make_trials(signal=3.0), seed=1)
    verdict = judge_amount(curve)
    assert verdict.holds is False
    assert "hardly help" in verdict.sentence
    assert "other places" in verdict.advice


def test_too_few_groups_make_no_curve():
    assert try_sizes(*make_photos(num_groups=9), 3, seed=1) is None
    scores, labels, _ = make_photos()
    assert try_sizes(scores, labels, labels, 3, seed=1) is None  # one group a class
    verdict = judge_amount(None, reason="there are too few groups for a learning curve")
    assert verdict.holds is None
    assert "too few groups" in verdict.sentence


def test_class_of_one_group_does_not_stop_the_others():
    scores, labels, groups = make_photos(num_groups=60)
    groups = np.where(labels == 2, 1000, groups)
    trials = try_sizes(scores, labels, groups, 3, seed=1)
    assert make_curve(trials, seed=1) is not None
    assert make_curve(trials, seed=1, label=2) is None


def test_work_is_bounded_for_large_sets(monkeypatch):
    monkeypatch.setattr(learning_curve, "_MAX_WORK", 20 * 3 * NUM_SIZES * 0.27 * 5 * 60)
    trials = make_trials(num_groups=100)
    assert 40 <= trials.num_measured <= 80
    assert trials.num_photos == 200
    curve = make_curve(trials, seed=1)
    assert curve.max_photos < 4 * 200
    content, sentences = describe_needs(trials, curve, judge_amount(curve), CLASSES, seed=1)
    assert content["num_measured"] == trials.num_measured
    assert "of 200 photos" in sentences[0] or "No forecast for 200 photos" in sentences[0]


def test_needs_name_the_class_and_the_pair_that_would_profit():
    scores, labels, groups = make_photos(num_groups=180, signal=0.4, num_axes=30, seed=3)
    # a bee looks more like an ant
    scores[labels == 1] -= 0.5 * (scores[labels == 1].mean(axis=0) - scores[labels == 0].mean(axis=0))
    trials = try_sizes(scores, labels, groups, 3, seed=1)
    curve = make_curve(trials, seed=1)
    content, sentences = describe_needs(trials, curve, judge_amount(curve), CLASSES, seed=1)
    assert content["pair"]["labels"] == ["ant", "bee"]
    assert content["pair"]["then"] < content["pair"]["confused"]
    assert sentences[0].startswith("More photos would help: with twice as many (360 more")
    assert "would profit the most: 100 more photos of it" in sentences[1]
    assert "ant and bee would gain the most" in sentences[2]
    assert [row["factor"] for row in content["forecasts"]] == [1, 1.5, 2, 4]


def test_same_seed_gives_the_same_curve():
    first, second = make_trials(), make_trials()
    np.testing.assert_array_equal(first.right, second.right)
    assert make_curve(first, seed=2).forecast(200) == make_curve(second, seed=2).forecast(200)


def test_repeats_fitted_together_answer_as_one_by_one(monkeypatch):
    together = make_trials()
    monkeypatch.setattr(learning_curve, "_MAX_TOGETHER", 0)
    alone = make_trials()
    assert np.array_equal(together.tested, alone.tested)
    assert np.array_equal(together.sizes, alone.sizes)
    assert together.right.sum() == pytest.approx(alone.right.sum(), rel=0.01)
