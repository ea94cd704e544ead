import json
from dataclasses import replace

import numpy as np
import pytest

from clownfish.answers.budget import RiskCurve
from clownfish.answers.novelty import NoveltyRule, SurpriseTable, compute_scores
from clownfish.answers.rules import AnswerRules, read_rules
from clownfish.errors import ConfigError


def make_table() -> SurpriseTable:
    return SurpriseTable(scores=np.array([0.0, 1.0, 2.0]), surprises=np.array([0.0, 1.0, 4.0]), slope=10.0)


def make_rules() -> AnswerRules:
    novelty = NoveltyRule(
        class_means=np.array([[0.0, 0.0], [3.0, 4.0]]),
        near=make_table(),
        distance=make_table(),
        norm=make_table(),
        near_weight=0.5,
        threshold=6.0,
    )
    curve = RiskCurve(
        thresholds=np.array([0.9, 0.6]),
        answered=np.array([50.0, 100.0]),
        wrong=np.array([0.0, 9.0]),
        expected=np.array([0.0, 9.0]),
    )
    return AnswerRules(max_error=0.05, curve=curve, set_thresholds=np.array([0.3, 0.45]), novelty=novelty)


def test_surprise_is_straight_between_knots_and_beyond_the_last() -> None:
    np.testing.assert_allclose(make_table().apply(np.array([-1, 0.5, 1.5, 2, 2.5])), [0, 0.5, 2.5, 4, 9])


def test_scores_are_certainty_distance_and_norm() -> None:
    probabilities = np.array([[0.5, 0.5], [1.0, 0.0]])
    embeddings = np.array([[3.0, 4.5, 7.0], [0.0, 0.0, 8.0]])
    near, distance, norm = compute_scores(probabilities, embeddings, make_rules().novelty.class_means)  # type: ignore[union-attr]
    np.testing.assert_allclose(near, [np.log(2), 0])
    np.testing.assert_allclose(distance, [0.5, 0])
    np.testing.assert_allclose(norm, [7, 8])


def test_status_says_what_is_wrong_with_the_answer() -> None:
    probabilities = np.array([[0.95, 0.05], [0.7, 0.3], [0.95, 0.05], [0.6, 0.4]])
    embeddings = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 2.5], [3, 4, 5]])
    assert make_rules().decide(probabilities, embeddings) == ["ok", "unsure", "ok", "unlike anything seen"]
    rules = replace(make_rules(), novelty=None)
    assert rules.decide(probabilities, embeddings) == ["ok", "unsure", "ok", "unsure"]
    assert make_rules().decide(probabilities, None) == ["ok", "unsure", "ok", "unsure"]


def test_budget_that_cannot_be_kept_makes_everything_unsure() -> None:
    rules = make_rules().change_budget("1%")
    assert rules.threshold == float("inf")
    assert rules.decide(np.array([[1.0, 0.0]]), None) == ["unsure"]
    assert make_rules().change_budget(0.2).threshold == 0.6
    with pytest.raises(ConfigError, match="max_error is 7; it must be the share of wrong answers"):
        make_rules().change_budget(7)


def test_candidates_always_hold_the_best_guess() -> None:
    found = make_rules().find_candidates(np.array([[0.6, 0.4], [0.5, 0.5], [0.29, 0.28]]))
    assert found.tolist() == [[True, False], [True, True], [True, False]]


def test_rules_read_back_as_written() -> None:
    rules = make_rules()
    assert rules.novelty is not None
    properties = {
        "answering": {"max_error": rules.max_error, "curve": rules.curve.to_json()},
        "prediction_sets": {"thresholds": rules.set_thresholds.tolist()},
        "unknowns": rules.novelty.to_json(),
    }
    again = read_rules(json.loads(json.dumps(properties)).get)
    assert again is not None and again.novelty is not None
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([1, 1], 50)
    embeddings = random.normal(2, 2, (50, 3))
    np.testing.assert_array_equal(
        again.novelty.measure(probabilities, embeddings), rules.novelty.measure(probabilities, embeddings)
    )
    assert again.decide(probabilities, embeddings) == rules.decide(probabilities, embeddings)


def test_model_without_rules_has_none() -> None:
    assert read_rules({}.get) is None


def test_threshold_that_is_not_known_never_rejects() -> None:
    rules = make_rules()
    assert rules.novelty is not None
    endless = replace(rules.novelty, threshold=float("inf"))
    assert endless.to_json()["threshold"] is None
    properties = {
        "answering": {"max_error": 0.05, "curve": rules.curve.to_json()},
        "prediction_sets": {"thresholds": [0.3, 0.4]},
        "unknowns": endless.to_json(),
    }
    again = read_rules(properties.get)
    assert again is not None
    assert again.decide(np.array([[0.95, 0.05]]), np.array([[99.0, 99.0, 1e9]])) == ["ok"]
