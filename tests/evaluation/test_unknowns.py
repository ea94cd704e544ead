import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from clownfish.evaluation.embedding import find_axes, fit_embedding, shrink_covariance
from clownfish.evaluation.hidden_classes import HiddenClassProblem, compute_auroc, hide_classes
from clownfish.evaluation.unknowns import (
    DEFAULT_NEAR_WEIGHT,
    Scores,
    catch_unknowns,
    combine,
    fit_novelty_rule,
    make_table,
    score_out_of_fold,
)
from clownfish.regression.rotation import rotate_features
from clownfish.regression.scaling import fit_scaling


def draw_scores(num_photos: int, seed: int, shift: tuple[float, float, float] = (0, 0, 0)) -> Scores:
    random = np.random.default_rng(seed)
    near, distance, norm = random.normal(0, 1, (3, num_photos)) + np.array(shift)[:, None]
    return Scores(near=np.exp(near), distance=distance, norm=norm)


def draw_classes(num_per_class: int, num_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), num_per_class)
    centres = random.normal(0, 2, (num_classes, 30))
    features = centres[labels] + random.normal(0, 1, (len(labels), 30))
    return features.astype(np.float32), labels


def test_covariance_is_that_of_sklearn() -> None:
    own = np.random.default_rng(0).normal(0, [1, 2, 3, 0.1, 5], (40, 5))
    expected, _ = ledoit_wolf(own, assume_centered=True)
    np.testing.assert_allclose(shrink_covariance(own), expected, rtol=1e-4, atol=1e-4)
    assert np.linalg.eigvalsh(shrink_covariance(np.zeros((4, 3)))).min() > 0


@pytest.mark.parametrize("num_photos", [60, 35])  # more and fewer than numbers
def test_axes_are_the_principal_ones(num_photos: int) -> None:
    own = (np.random.default_rng(0).normal(0, 1, (num_photos, 40)) * 0.9 ** np.arange(40)).astype(np.float32)
    own -= own.mean(axis=0)
    found = find_axes(own, 5)
    expected = np.linalg.svd(own, full_matrices=False)[2][:5]
    np.testing.assert_allclose(np.abs(found.T @ expected.T), np.eye(5), atol=0.1)
    np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-5)


def test_axes_of_photos_that_are_all_the_same_are_still_orthonormal() -> None:
    found = find_axes(np.tile(np.arange(40, dtype=np.float32), (20, 1)), 5)
    np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-5)


def test_embedding_whitens_within_classes_and_keeps_the_norm() -> None:
    features, labels = draw_classes(40, 3)
    scaling = fit_scaling(features, np.arange(120))
    fitted = fit_embedding(features, np.arange(120), labels, 3, scaling=scaling)
    result = fitted.embedding.apply(features)
    assert result.shape == (120, 31)
    residuals = result[:, :-1] - fitted.class_means[labels]
    covariance = residuals.T @ residuals / 120
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.25
    np.testing.assert_allclose(result[:, -1], np.linalg.norm(scaling.apply(features), axis=1), rtol=1e-4)


def test_few_photos_and_features_that_do_not_vary_are_no_error() -> None:
    features = np.zeros((4, 10), np.float32)
    features[:, 0] = [0, 1, 2, 3]
    scaling = fit_scaling(features, np.arange(4))
    fitted = fit_embedding(features, np.arange(4), np.array([0, 0, 1, 1]), 2, scaling=scaling)
    assert np.isfinite(fitted.embedding.apply(features)).all()
    assert np.isfinite(fitted.class_means).all()


def test_table_tells_how_rare_a_score_is() -> None:
    scores = np.random.default_rng(0).exponential(1, 4000)
    table = make_table(scores, np.ones(4000))
    asked = np.array([0.5, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(table.apply(asked), asked, rtol=0.08)
    assert table.slope == pytest.approx(1, rel=0.15)
    beyond = table.apply(np.array([30.0]))
    assert beyond == pytest.approx(30, rel=0.2)
    assert len(table.scores) <= 52


def test_known_photos_are_rejected_as_often_as_promised() -> None:
    rejected = []
    for seed in range(100):
        groups = np.arange(150) // 2
        known = draw_scores(75, seed)
        copies = Scores(near=known.near.repeat(2), distance=known.distance.repeat(2), norm=known.norm.repeat(2))
        rule = fit_novelty_rule(copies, groups, np.zeros((1, 1)))
        new = combine(rule, draw_scores(500, 9000 + seed))
        rejected.append((new > rule.threshold).mean())
    assert np.mean(rejected) == pytest.approx(0.05, abs=0.015)


def test_with_few_groups_nothing_is_rejected() -> None:
    rule = fit_novelty_rule(draw_scores(100, 0), np.arange(100) % 38, np.zeros((1, 1)))
    assert rule.threshold == np.inf
    assert fit_novelty_rule(draw_scores(100, 0), np.arange(100) % 39, np.zeros((1, 1))).threshold < np.inf


def test_things_far_out_are_caught_even_if_the_model_is_certain() -> None:
    rule = fit_novelty_rule(draw_scores(200, 0), np.arange(200), np.zeros((1, 1)))
    certain = Scores(near=np.zeros(5), distance=np.full(5, -1.0), norm=np.full(5, 12.0))
    assert (combine(rule, certain) > rule.threshold).all()


def test_weight_follows_the_users_own_unknown_things() -> None:
    known, groups = draw_scores(300, 0), np.arange(300)
    only_near = draw_scores(60, 1, (4, 0, 0))
    weight, caught = catch_unknowns(known, groups, only_near, np.arange(60), seed=1)
    assert weight > DEFAULT_NEAR_WEIGHT
    assert caught.mean() > 0.9
    weight, caught = catch_unknowns(known, groups, draw_scores(60, 1, (0, 4, 4)), np.arange(60), seed=1)
    assert weight <= DEFAULT_NEAR_WEIGHT
    assert caught.mean() > 0.9


def test_a_few_unknown_things_check_but_do_not_adjust() -> None:
    weight, caught = catch_unknowns(
        draw_scores(300, 0), np.arange(300), draw_scores(19, 1, (4, 0, 0)), np.arange(19), seed=1
    )
    assert weight == DEFAULT_NEAR_WEIGHT
    assert len(caught) == 19


def test_scores_of_a_photo_do_not_depend_on_the_photo_itself() -> None:
    features, labels = draw_classes(20, 3)
    folds = np.arange(60) % 4
    probabilities = np.full((60, 3), 1 / 3)
    first = score_out_of_fold(features, labels, folds, probabilities)
    changed = features.copy()
    changed[0] += 50
    second = score_out_of_fold(changed, labels, folds, probabilities)
    others = np.flatnonzero(folds == folds[0])[1:]
    np.testing.assert_array_equal(first.norm[others], second.norm[others])
    assert second.norm[0] > 5 * first.norm[0]


def test_auroc_is_that_of_sklearn() -> None:
    random = np.random.default_rng(0)
    known, unknown = random.integers(0, 10, 50).astype(float), random.integers(3, 14, 30).astype(float)
    expected = roc_auc_score(np.repeat([0, 1], [50, 30]), np.concatenate([known, unknown]))
    assert compute_auroc(known, unknown) == pytest.approx(expected)


def make_problem(num_classes: int, num_per_class: int = 30) -> HiddenClassProblem:
    features, labels = draw_classes(num_per_class, num_classes)
    return HiddenClassProblem(
        scores=rotate_features(features).scores,
        labels=labels,
        groups=np.arange(len(labels)),
        folds=np.arange(len(labels)) % 5,
        penalty=10.0,
        temperature=1.0,
    )


def test_hidden_classes_that_are_far_apart_are_caught() -> None:
    rows = hide_classes(make_problem(4), ("a", "b", "c", "d"), DEFAULT_NEAR_WEIGHT)
    assert [row["label"] for row in rows] == ["a", "b", "c", "d"]
    for row in rows:
        assert row["num_groups"] == 30
        assert row["auroc"] > 0.9
        assert row["caught"]["low"] < row["caught"]["value"] <= row["caught"]["high"]
    assert hide_classes(make_problem(4), ("a", "b", "c", "d"), DEFAULT_NEAR_WEIGHT) == rows


def test_two_classes_or_few_groups_cannot_be_tried() -> None:
    assert hide_classes(make_problem(2), ("a", "b"), DEFAULT_NEAR_WEIGHT) == []
    assert hide_classes(make_problem(3, num_per_class=12), ("a", "b", "c"), DEFAULT_NEAR_WEIGHT) == []
