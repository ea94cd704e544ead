import numpy as np
import pytest

from clownfish.evaluation.label_errors import find_label_errors, fit_slip_model, run_self_test
from clownfish.regression.rotation import rotate_features

PENALTY = 10.0


def draw_classes(num_classes: int, num_photos: int, *, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clouds around corners; a spread of 1 makes neighbours overlap."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), num_photos)
    features = 3 * np.eye(num_classes, 12)[labels] + spread * random.standard_normal((len(labels), 12))
    return rotate_features(features.astype(np.float32)).scores, labels


def test_flipped_labels_come_back_with_their_true_class() -> None:
    scores, truth = draw_classes(4, 50, spread=0.5)
    labels = truth.copy()
    flipped = np.arange(0, 200, 20)
    labels[flipped] = (labels[flipped] + 1) % 4
    numbers = np.arange(200)
    found = find_label_errors(scores, labels, numbers, numbers % 5, 4, penalty=PENALTY)
    assert set(flipped) == set(found.rows)
    assert (found.suggested == truth[found.rows]).all()
    assert found.num_expected == pytest.approx(10, abs=0.5)
    assert found.share_wrong == pytest.approx(0.05, abs=0.02)
    assert found.neighbours.min() > 0.5


def test_clean_labels_are_left_alone_even_where_classes_overlap() -> None:
    alarms = 0
    for seed in range(10):
        scores, labels = draw_classes(3, 50, spread=1.5, seed=seed)
        numbers = np.arange(150)
        alarms += len(find_label_errors(scores, labels, numbers, numbers % 5, 3, penalty=PENALTY).rows) > 1
    assert alarms <= 1


def test_copies_do_not_vouch_for_each_other() -> None:
    scores, truth = draw_classes(3, 40, spread=0.6)
    labels, groups = truth.copy(), np.arange(120)
    scores[:4], groups[:4] = scores[:40].mean(axis=0), 0  # four copies of one photo, all with the same wrong label
    labels[:4] = 2
    found = find_label_errors(scores, labels, groups, groups % 5, 3, penalty=PENALTY)
    assert set(range(4)) <= set(found.rows)


def test_class_that_was_not_trained_on_is_not_judged() -> None:
    scores, labels = draw_classes(3, 40, spread=0.4)
    folds = np.arange(120) % 5
    folds[labels == 2] = 0  # one group: its fold has none of it to learn from
    found = find_label_errors(scores, labels, folds, folds, 3, penalty=PENALTY)
    assert len(found.rows) == 0
    assert found.num_judged == 80


def test_self_test_counts_what_it_flipped() -> None:
    scores, labels = draw_classes(4, 50, spread=0.5)
    numbers = np.arange(200)
    nothing = np.empty(0, np.int64)
    test = run_self_test(scores, labels, numbers, numbers % 5, 4, penalty=PENALTY, seed=1, known=nothing)
    assert test is not None
    assert (test.num_flipped, test.recall, test.precision) == (6, 1.0, 1.0)
    few = slice(0, None, 10)
    assert (
        run_self_test(scores[few], labels[few], numbers[few], numbers[:20] % 5, 4, penalty=1.0, seed=1, known=nothing)
        is None
    )


def test_slip_model_tells_slips_from_hard_classes() -> None:
    random = np.random.default_rng(0)
    logits = random.standard_normal((2000, 3)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([random.choice(3, p=row) for row in probabilities])
    hard = fit_slip_model(np.log(probabilities), labels)
    assert hard.share_wrong < 0.02
    labels[:100] = (labels[:100] + 1) % 3
    slips = fit_slip_model(np.log(probabilities), labels)
    assert slips.share_wrong == pytest.approx(0.05, abs=0.03)
    assert slips.probabilities[:100].mean() > 5 * slips.probabilities[100:].mean()
