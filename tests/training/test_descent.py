from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.linear_model import LogisticRegression

from clownfish.records import Head
from clownfish.regression.scaling import fit_scaling
from clownfish.training.descent import Schedule, TrainingSet, compute_losses, count_iterations, descend, weigh_classes

NUM_CLASSES = 4


def make_training(num_photos: int = 240, num_features: int = 30, *, seed: int = 0, **changes: Any) -> TrainingSet:
    """Overlapping clouds of unequal size, on features of very different scale, three of them constant."""
    random = np.random.default_rng(seed)
    labels = random.choice(NUM_CLASSES, num_photos, p=[0.4, 0.3, 0.2, 0.1])
    centres = random.normal(size=(NUM_CLASSES, num_features))
    features = (centres[labels] + random.normal(size=(num_photos, num_features)) * 1.5) * np.logspace(
        -2, 2, num_features
    )
    features[:, :3] = (0.0, 7.0, -1e4)
    settings: dict[str, Any] = {
        "features": features.astype(np.float32),
        "labels": labels.astype(np.int64),
        "rows": np.arange(num_photos),
        "num_classes": NUM_CLASSES,
    }
    return TrainingSet(**(settings | changes))


def make_schedule(**changes: Any) -> Schedule:
    settings: dict[str, Any] = {
        "epochs": 20,
        "batch_size": 32,
        "learning_rate": 0.01,
        "momentum": 0.9,
        "dropout_rate": 0.0,
        "seed": 1,
    }
    return Schedule(**(settings | changes))


def fit(training: TrainingSet, weight_decay: float = 0.1, **changes: Any) -> Head:
    *_, fits = descend(training, np.array([weight_decay], np.float32), make_schedule(**changes))
    return fits.make_head(0)


def compute_objective(
    head: Head, training: TrainingSet, weight_decay: float, weights: np.ndarray | None = None
) -> float:
    """Mean cross-entropy plus the penalty, on standardised features."""
    scaling = fit_scaling(training.features, training.rows)
    varies = scaling.inverse_deviation > 0
    standardised = head.weights[varies].astype(np.float64) / scaling.inverse_deviation[varies, None]
    probabilities = head.predict_probabilities(training.features[training.rows])
    labels = training.labels[training.rows]
    losses = -np.log(probabilities[np.arange(len(labels)), labels])
    return float(
        np.mean(losses if weights is None else losses * weights[labels]) + weight_decay / 2 * np.sum(standardised**2)
    )


def find_optimum(training: TrainingSet, weight_decay: float, weights: np.ndarray | None = None) -> Head:
    scaling = fit_scaling(training.features, training.rows)
    labels = training.labels[training.rows]
    model = LogisticRegression(C=1 / (weight_decay * len(labels)), max_iter=5000, tol=1e-8)
    model.fit(
        scaling.apply(training.features[training.rows]).astype(np.float64),
        labels,
        sample_weight=None if weights is None else weights[labels],
    )
    folded = model.coef_.T * scaling.inverse_deviation[:, None].astype(np.float64)
    return Head(weights=folded.astype(np.float32), bias=(model.intercept_ - scaling.mean @ folded).astype(np.float32))


@pytest.mark.parametrize("penalty", [100.0, 30.0, 10.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_descent_reaches_the_optimum_of_logistic_regression(penalty: float, seed: int) -> None:
    training = make_training(seed=seed)
    weight_decay = penalty / len(training.rows)
    best = compute_objective(find_optimum(training, weight_decay), training, weight_decay)
    found = compute_objective(fit(training, weight_decay, epochs=60), training, weight_decay)
    assert best - 1e-6 <= found <= best * 1.02


def test_balanced_descent_reaches_its_optimum_too() -> None:
    training = make_training(balance=True)
    weights = weigh_classes(training.labels, NUM_CLASSES)
    best = compute_objective(find_optimum(training, 0.1, weights), training, 0.1, weights)
    found = compute_objective(fit(training, 0.1, epochs=60), training, 0.1, weights)
    assert best - 1e-6 <= found <= best * 1.02


@pytest.mark.parametrize("learning_rate", [1e-3, 0.1, 10.0, 1e3])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1, 1e4])
def test_no_step_makes_descent_diverge(learning_rate: float, momentum: float, weight_decay: float) -> None:
    training = make_training(num_features=200)
    head = fit(training, weight_decay, learning_rate=learning_rate, momentum=momentum)
    assert np.isfinite(head.weights).all() and np.isfinite(head.bias).all()
    probabilities = head.predict_probabilities(training.features)
    labels = training.labels
    loss = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-30)).mean()
    shares = np.bincount(labels) / len(labels)
    assert loss <= -(shares * np.log(shares)).sum() + 0.05  # never worse than knowing the shares only


def test_several_weight_decays_give_what_each_gives_alone() -> None:
    training = make_training()
    decays = np.array([1.0, 0.1, 0.01], np.float32)
    *_, fits = descend(training, decays, make_schedule(dropout_rate=0.2))
    for number, decay in enumerate(decays):
        alone = fit(training, float(decay), dropout_rate=0.2)
        assert np.allclose(fits.make_head(number).weights, alone.weights, rtol=1e-3, atol=1e-6)


def test_stronger_decay_gives_smaller_weights() -> None:
    training = make_training()
    norms = [float(np.linalg.norm(fit(training, decay, epochs=40).weights)) for decay in (10.0, 1.0, 0.1, 0.01)]
    assert norms == sorted(norms)


def test_constant_features_are_left_out() -> None:
    training = make_training()
    head = fit(training)
    assert (head.weights[:3] == 0).all() and (head.weights[3:] != 0).any(axis=1).all()
    changed = training.features.copy()
    changed[:, :3] = 1e6
    assert np.array_equal(head.predict_probabilities(training.features), head.predict_probabilities(changed))


def test_only_the_rows_given_are_learnt_from() -> None:
    training = make_training(rows=np.arange(0, 200))
    spoiled = training.features.copy()
    spoiled[200:] = 1e9
    labels = training.labels.copy()
    labels[200:] = 0
    other = make_training(rows=np.arange(0, 200), features=spoiled, labels=labels)
    assert np.array_equal(fit(training).weights, fit(other).weights)


def test_features_are_not_changed() -> None:
    training = make_training()
    before = training.features.copy()
    fit(training, dropout_rate=0.3)
    assert np.array_equal(training.features, before)


@pytest.mark.parametrize("dropout_rate", [0.0, 0.2])
def test_same_seed_gives_the_same_bits(dropout_rate: float) -> None:
    training = make_training()
    first, second = fit(training, dropout_rate=dropout_rate), fit(training, dropout_rate=dropout_rate)
    assert first.weights.tobytes() == second.weights.tobytes() and first.bias.tobytes() == second.bias.tobytes()
    assert fit(training, dropout_rate=dropout_rate, seed=2).weights.tobytes() != first.weights.tobytes()


def test_class_without_photos_is_hardly_ever_predicted() -> None:
    training = make_training()
    rows = np.flatnonzero(training.labels != 3)
    head = fit(make_training(rows=rows))
    assert head.predict_probabilities(training.features[rows])[:, 3].max() < 1e-3


def test_views_take_part_in_training() -> None:
    training = make_training()
    views = np.stack([training.features + 1, training.features - 1], axis=1)
    plain, augmented = fit(training), fit(make_training(views=views))
    assert not np.array_equal(plain.weights, augmented.weights)
    same = fit(make_training(views=np.repeat(training.features[:, None], 2, axis=1)))
    assert (
        np.abs(same.predict_probabilities(training.features) - plain.predict_probabilities(training.features)).max()
        < 0.05
    )


def test_losses_are_measured_as_the_head_predicts() -> None:
    training = make_training()
    *_, fits = descend(training, np.array([0.1, 1.0], np.float32), make_schedule())
    rows = np.array([5, 3, 100, 7])
    losses, right = compute_losses(fits, training.features, training.labels, rows)
    assert losses.shape == right.shape == (4, 2)
    for number in range(2):
        probabilities = fits.make_head(number).predict_probabilities(training.features[rows])
        truth = probabilities[np.arange(4), training.labels[rows]]
        assert np.allclose(losses[:, number], -np.log(truth), rtol=1e-3, atol=1e-4)
        assert np.array_equal(right[:, number], probabilities.argmax(axis=1) == training.labels[rows])


def test_no_rows_give_no_losses() -> None:
    training = make_training()
    fits = next(descend(training, np.array([0.1], np.float32), make_schedule()))
    losses, right = compute_losses(fits, training.features, training.labels, np.array([], np.int64))
    assert losses.shape == right.shape == (0, 1)


@pytest.mark.parametrize(("num_photos", "expected"), [(1, 1), (31, 1), (32, 1), (33, 2), (64, 2), (155, 5)])
def test_iterations_count_the_last_small_batch(num_photos: int, expected: int) -> None:
    assert count_iterations(num_photos, 32) == expected


@given(st.lists(st.integers(0, 4), min_size=1, max_size=50))
def test_weights_make_classes_count_the_same(labels: list[int]) -> None:
    numbers = np.array(labels)
    weights = weigh_classes(numbers, 6)
    assert np.mean(weights[numbers]) == pytest.approx(1)
    totals = np.bincount(numbers, weights=weights[numbers], minlength=6)
    assert np.allclose(totals[totals > 0], totals.max())
    assert weights[5] == 0


# --- the layer -----------------------------------------------------------------------------------


@given(npst.arrays(np.float32, (5, 3), elements=st.floats(-1e4, 1e4, width=32)))
def test_probabilities_sum_to_one_however_large_the_logits(features: np.ndarray) -> None:
    head = Head(weights=np.array([[5, -5], [1, 1], [0, 1e3]], np.float32), bias=np.array([0, 1], np.float32))
    probabilities = head.predict_probabilities(features)
    assert np.isfinite(probabilities).all() and (probabilities >= 0).all()
    assert np.allclose(probabilities.sum(axis=1), 1)
    rows = np.array([4, 0, 0])
    assert np.allclose(head.predict_rows(features, rows), probabilities[rows])
