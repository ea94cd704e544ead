import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from clownfish.errors import ConfigError
from clownfish.training.descent import TrainingSet, compute_losses, descend
from clownfish.training.selection import PENALTIES, TrainingOptions, compute_band, train_head
from training_problems import make_options, make_problem


def follow_by_hand(training: TrainingSet, validation: np.ndarray, options: TrainingOptions) -> tuple[int, float, Any]:
    """The rule of the module's docstring, written down once more in the plainest way, without early stopping."""
    decays = options.list_weight_decays(len(training.rows))
    losses, heads = [], []
    for fits in descend(training, decays, options.make_schedule()):
        losses.append(compute_losses(fits, training.features, training.labels, validation)[0])
        heads.append([fits.make_head(number) for number in range(len(decays))])
    table = np.stack(losses)  # (epochs, photos, decays)
    means = table.mean(axis=1)
    epochs = []
    for number in range(len(decays)):
        lowest = int(means[:, number].argmin())
        limit = compute_band(table[lowest, :, number])
        epochs.append(max(epoch for epoch in range(len(table)) if means[epoch, number] <= limit))
    kept = [means[epoch, number] for number, epoch in enumerate(epochs)]
    best = int(np.argmin(kept))
    limit = compute_band(table[epochs[best], :, best])
    chosen = next(number for number in range(len(decays)) if kept[number] <= limit)
    return epochs[chosen] + 1, float(decays[chosen]), heads[epochs[chosen]][chosen]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("noise", [1.0, 6.0])
def test_choice_follows_the_one_standard_error_rule(seed: int, noise: float) -> None:
    training, validation = make_problem(seed=seed, noise=noise)
    options = make_options(epochs=15, patience=15)
    epoch, decay, head = follow_by_hand(training, validation, options)
    found = train_head(training, validation, options)
    assert (found.best_epoch, found.weight_decay) == (epoch, pytest.approx(decay))
    assert found.head.weights.tobytes() == head.weights.tobytes()


def overfit(**changes: Any) -> Any:
    """Wrong labels and no penalty: the validation loss rises soon, and keeps rising."""
    training, validation = make_problem(seed=3, noise=8.0, num_photos=160)
    options = make_options(epochs=60, patience=3, weight_decay=0.0, learning_rate=1.0, **changes)
    return train_head(training, validation, options), training, options


def test_training_stops_when_validation_gets_worse() -> None:
    found, training, options = overfit()
    assert found.best_epoch < len(found.history) < 60
    assert len(found.history) - found.best_epoch == 3
    assert found.lowest_loss_epoch is not None and found.lowest_loss_epoch <= found.best_epoch
    for number, fits in enumerate(descend(training, np.zeros(1, np.float32), options.make_schedule()), start=1):
        if number == found.best_epoch:
            assert found.head.weights.tobytes() == fits.make_head(0).weights.tobytes()
            break


def test_history_tells_every_epoch_of_the_choice() -> None:
    training, validation = make_problem()
    calls: list[None] = []
    found = train_head(training, validation, make_options(epochs=6), on_epoch=lambda _: calls.append(None))
    assert [row.epoch for row in found.history] == [1, 2, 3, 4, 5, 6] and len(calls) == 6
    lowest = min(found.history, key=lambda row: row.validation_loss or 0.0)
    assert found.lowest_loss_epoch == lowest.epoch
    row = found.history[found.best_epoch - 1]
    probabilities = found.head.predict_probabilities(training.features[validation])
    truth = training.labels[validation]
    assert row.validation_loss == pytest.approx(-np.log(probabilities[np.arange(len(truth)), truth]).mean(), rel=1e-3)
    assert row.validation_accuracy == pytest.approx(np.mean(probabilities.argmax(axis=1) == truth))
    assert all(row.seconds >= 0 for row in found.history)


def test_training_photos_need_not_be_measured() -> None:
    training, validation = make_problem(seed=0)
    found = train_head(training, validation, make_options(epochs=6))
    unmeasured = train_head(training, validation, make_options(epochs=6), measures_training=False)
    assert np.array_equal(found.head.weights, unmeasured.head.weights)
    assert all(math.isnan(row.train_loss) and math.isnan(row.train_accuracy) for row in unmeasured.history)
    assert [row.validation_loss for row in unmeasured.history] == [row.validation_loss for row in found.history]


def test_without_validation_the_last_epoch_is_kept() -> None:
    training, _ = make_problem()
    found = train_head(training, np.array([], np.int64), make_options(epochs=4, patience=1))
    assert found.best_epoch == len(found.history) == 4
    assert found.lowest_loss_epoch is None
    assert found.weight_decay == pytest.approx(PENALTIES[0] / len(training.rows))
    assert all(row.validation_loss is None and row.validation_accuracy is None for row in found.history)


def test_single_validation_photo_decides_nothing() -> None:
    training, validation = make_problem()
    found = train_head(training, validation[:1], make_options(epochs=4))
    assert found.best_epoch == 4 and found.weight_decay == pytest.approx(PENALTIES[0] / len(training.rows))


def test_weight_decay_of_the_user_is_taken() -> None:
    training, validation = make_problem()
    found = train_head(training, validation, make_options(weight_decay=0.25))
    assert found.weight_decay == 0.25


def test_validation_photos_are_not_trained_on() -> None:
    training, validation = make_problem()
    options = make_options(epochs=5, patience=5, weight_decay=0.1)
    spoiled = training.features.copy()
    spoiled[validation] += 1  # changes what is measured, and so at most the epoch
    first = train_head(training, validation, options)
    second = train_head(replace(training, features=spoiled), validation, options)
    assert [row.train_loss for row in first.history] == [row.train_loss for row in second.history]


def test_views_of_validation_photos_do_not_count() -> None:
    training, validation = make_problem()
    views = np.repeat(training.features[:, None], 2, axis=1)
    spoiled = views.copy()
    spoiled[validation] = np.nan
    options = make_options(epochs=4)
    first = train_head(replace(training, views=views), validation, options)
    second = train_head(replace(training, views=spoiled), validation, options)
    assert first.head.weights.tobytes() == second.head.weights.tobytes()
    assert [row.validation_loss for row in first.history] == [row.validation_loss for row in second.history]


def test_training_twice_gives_the_same_bits() -> None:
    training, validation = make_problem()
    first, second = (train_head(training, validation, make_options()) for _ in range(2))
    assert first.head.weights.tobytes() == second.head.weights.tobytes()
    assert [replace(row, seconds=0) for row in first.history] == [replace(row, seconds=0) for row in second.history]


def test_sizes_of_the_job_are_told() -> None:
    training, validation = make_problem(num_photos=100)
    found = train_head(training, validation, make_options(batch_size=32))
    assert found.iterations_per_epoch == -(-len(training.rows) // 32)
    assert found.num_trained_parameters == (training.features.shape[1] + 1) * training.num_classes


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_training_on_no_numbers_is_explained() -> None:
    training, validation = make_problem()
    spoiled = training.features.copy()
    spoiled[training.rows[0]] = np.nan
    with pytest.raises(ConfigError) as caught:
        train_head(replace(training, features=spoiled), validation, make_options())
    assert str(caught.value) == (
        "Training diverged with learning_rate 0.01 and dropout_rate 0.2. Try the defaults, 0.01 and 0.2."
    )


def test_band_is_the_mean_plus_its_standard_error() -> None:
    losses = np.array([1.0, 2.0, 3.0, 6.0])
    assert compute_band(losses) == pytest.approx(3.0 + losses.std(ddof=1) / 2)
    assert compute_band(losses[:1]) == compute_band(losses[:0]) == np.inf


def test_candidates_come_strongest_first() -> None:
    decays = TrainingOptions().list_weight_decays(50)
    assert decays.tolist() == pytest.approx([2.0, 0.6, 0.2])
    assert TrainingOptions(weight_decay=0.0).list_weight_decays(50).tolist() == [0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it must be from 1 to 10,000."),
        ({"epochs": 10_001}, "epochs is 10001; it must be from 1 to 10,000."),
        ({"batch_size": 0}, "batch_size is 0; it must be from 1 to 1,000,000."),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be from 0.000000001 to 1,000."),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it must be from 0.000000001 to 1,000."),
        ({"momentum": 1.0}, "momentum is 1.0; it must be from 0 to 0.999."),
        ({"dropout_rate": 1.0}, "dropout_rate is 1.0; it must be from 0 to 0.95."),
        ({"dropout_rate": -0.1}, "dropout_rate is -0.1; it must be from 0 to 0.95."),
        ({"patience": 0}, "patience is 0; it must be from 1 to 10,000."),
        ({"seed": -1}, "seed is -1; it must be a whole number from 0 to 9,223,372,036,854,775,807."),
        ({"weight_decay": -1.0}, "weight_decay is -1.0; it must be from 0 to 1,000,000, or left out."),
        ({"weight_decay": float("nan")}, "weight_decay is nan; it must be from 0 to 1,000,000, or left out."),
    ],
)
def test_option_out_of_range_is_explained(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingOptions(**change)
    assert str(caught.value) == message


def test_schedule_takes_over_every_option() -> None:
    options = make_options(epochs=3, batch_size=7, learning_rate=0.5, momentum=0.1, dropout_rate=0.3, seed=9)
    schedule = options.make_schedule()
    for field in fields(schedule):
        assert getattr(schedule, field.name) == getattr(options, field.name)
