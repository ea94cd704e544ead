import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from clownfish.regression.logistic import fit_layers, predict_out_of_fold
from clownfish.regression.rotation import rotate_features
from clownfish.regression.scaling import fit_scaling


def make_problem(num_photos=90, num_features=200, num_classes=3, seed=0):
    """Features around one centre a class, on very different scales, some of them constant."""
    random = np.random.default_rng(seed)
    labels = np.arange(num_photos) % num_classes
    centres = random.standard_normal((num_classes, num_features)) * 0.4
    features = centres[labels] + random.standard_normal((num_photos, num_features))
    features = features * random.uniform(0.01, 100, num_features) + random.uniform(-5, 5, num_features)
    features[:, :3] = 7.0
    return features.astype(np.float32), labels.astype(np.int64)


def standardise(features):
    return fit_scaling(features, np.arange(len(features))).apply(features).astype(np.float64)


def test_fit_agrees_with_scikit_learn_on_all_features():
    features, labels = make_problem()
    kept = np.arange(len(labels)) % 4 != 0
    rotation = rotate_features(features)
    layers = fit_layers(
        rotation.scores, labels, kept[None].astype(np.float32), np.array([20.0], np.float32), 3, tolerance=1e-5
    )
    ours = np.exp(layers.predict_log_probabilities(rotation.scores)[0])
    oracle = LogisticRegression(C=1 / 20, tol=1e-9, max_iter=5000).fit(standardise(features)[kept], labels[kept])
    np.testing.assert_allclose(ours, oracle.predict_proba(standardise(features)), atol=2e-3)


def test_rotation_loses_nothing_with_more_photos_than_features():
    features, labels = make_problem(num_photos=400, num_features=30)
    rotation = rotate_features(features)
    assert rotation.scores.shape == (400, 27)  # three features do not vary
    layers = fit_layers(
        rotation.scores, labels, np.ones((1, 400), np.float32), np.array([5.0], np.float32), 3, tolerance=1e-5
    )
    oracle = LogisticRegression(C=1 / 5, tol=1e-9, max_iter=5000).fit(standardise(features), labels)
    ours = np.exp(layers.predict_log_probabilities(rotation.scores)[0])
    np.testing.assert_allclose(ours, oracle.predict_proba(standardise(features)), atol=2e-3)


def test_further_photos_come_into_the_same_axes():
    features, _ = make_problem()
    rotation = rotate_features(features)
    np.testing.assert_allclose(rotation.apply(features[:7]), rotation.scores[:7], atol=1e-2)
    distances = np.linalg.norm(standardise(features)[0] - standardise(features)[1])
    assert np.linalg.norm(rotation.scores[0] - rotation.scores[1]) == pytest.approx(distances, rel=1e-3)


def test_strongest_axes_come_first_and_can_be_all():
    features, _ = make_problem()
    everything, some = rotate_features(features), rotate_features(features, max_axes=5)
    norms = np.linalg.norm(everything.scores, axis=0)
    assert np.all(np.diff(norms) <= 1e-2)
    assert some.scores.shape == (90, 5)
    np.testing.assert_allclose(np.abs(some.scores), np.abs(everything.scores[:, :5]), atol=1e-2)


def test_fits_of_a_batch_do_not_touch_each_other():
    features, labels = make_problem()
    scores = rotate_features(features).scores
    random = np.random.default_rng(1)
    weights = (random.random((6, 90)) < 0.7).astype(np.float32)
    own_labels = np.stack([random.permutation(labels) for _ in range(6)])
    penalties = np.array([1, 3, 10, 30, 100, 300], np.float32)
    together = fit_layers(scores, own_labels, weights, penalties, 3, tolerance=1e-5)
    for fit in range(6):
        alone = fit_layers(scores, own_labels[fit], weights[fit : fit + 1], penalties[fit : fit + 1], 3, tolerance=1e-5)
        np.testing.assert_allclose(together.weights[:, fit], alone.weights[:, 0], atol=1e-3)


def test_photos_of_weight_zero_have_no_say():
    features, labels = make_problem()
    scores = rotate_features(features).scores
    weights = np.ones((1, 90), np.float32)
    weights[0, 60:] = 0
    changed = labels.copy()
    changed[60:] = 0
    first, second = (fit_layers(scores, own, weights, np.array([10.0], np.float32), 3) for own in (labels, changed))
    np.testing.assert_array_equal(first.weights, second.weights)


def test_out_of_fold_predictions_come_from_layers_without_the_fold():
    features, labels = make_problem()
    scores = rotate_features(features).scores
    folds = np.arange(90) % 5
    penalties = np.array([3.0, 100.0], np.float32)
    found = predict_out_of_fold(scores, labels, folds, penalties, 3)
    assert found.shape == (2, 90, 3)
    np.testing.assert_allclose(np.exp(found).sum(axis=2), 1, atol=1e-5)
    for number, penalty in enumerate(penalties):
        for fold in range(5):
            weights = (folds != fold)[None].astype(np.float32)
            layers = fit_layers(scores, labels, weights, np.array([penalty]), 3)
            expected = layers.predict_log_probabilities(scores[folds == fold])[0]
            np.testing.assert_allclose(found[number, folds == fold], expected, atol=2e-2)


def test_weights_can_balance_classes():
    features, labels = make_problem(num_photos=120)
    scores = rotate_features(features, max_axes=1).scores * 0  # nothing but the bias can learn
    weights = np.where(labels == 0, 2.0, 1.0).astype(np.float32)[None]
    layers = fit_layers(scores + 0, labels, weights, np.array([1.0], np.float32), 3, tolerance=1e-6)
    np.testing.assert_allclose(np.exp(layers.predict_log_probabilities(scores[:1])[0, 0]), [0.5, 0.25, 0.25], atol=1e-3)


def test_many_fits_are_made_in_batches(monkeypatch):
    from clownfish.regression import logistic

    features, labels = make_problem()
    scores = rotate_features(features).scores
    weights = (np.random.default_rng(1).random((5, 90)) < 0.7).astype(np.float32)
    penalties = np.full(5, 10, np.float32)
    expected = fit_layers(scores, labels, weights, penalties, 3)
    monkeypatch.setattr(logistic, "_MAX_BATCH_NUMBERS", 2 * 90 * 3)
    found = fit_layers(scores, labels, weights, penalties, 3)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-3)
