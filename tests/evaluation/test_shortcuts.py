import numpy as np
import pytest

from clownfish.evaluation.fixed_marks import find_fixed_marks
from clownfish.evaluation.orientation import find_upside_down, sample_photos
from clownfish.evaluation.outliers import find_outliers
from clownfish.evaluation.shortcuts import Clue, Kind, Probe, encode_numbers, encode_words, probe_clue
from clownfish.evaluation.uneven_words import find_uneven_words

LABELS = np.repeat(np.arange(3), 40)
NUMBERS = np.arange(120)


def probe(values: np.ndarray, kind: Kind = "file", labels: np.ndarray = LABELS) -> Probe:
    clue = Clue(name="clue", kind=kind, values=values)
    return probe_clue(clue, labels, NUMBERS, NUMBERS % 5, 3, real_accuracy=0.95, seed=1)


def test_format_of_one_class_is_found_with_its_class() -> None:
    found = probe(encode_words(["PNG" if label == 1 else "JPEG" for label in LABELS]))
    assert found.flagged
    assert found.told == (1,)
    assert found.areas[1] == 1
    assert all(LABELS[row] == 1 for row in found.examples[0])
    assert found.low <= found.balanced_accuracy <= found.high
    assert 0.3 < found.share < 0.9


def test_size_in_the_middle_of_others_is_found() -> None:
    random = np.random.default_rng(0)
    size = np.where(LABELS == 1, 500 + random.integers(-5, 5, 120), random.choice([300, 800], 120))
    assert 1 in probe(encode_numbers(size[:, None].astype(float))).told


def test_clue_without_any_difference_is_chance() -> None:
    found = probe(encode_words(["JPEG"] * 120))
    assert not found.flagged
    assert (found.low, found.balanced_accuracy, found.high) == (1 / 3, 1 / 3, 1 / 3)


def test_clue_that_is_noise_seldom_alarms() -> None:
    random = np.random.default_rng(0)
    alarms = [probe(encode_numbers(random.standard_normal((120, 2)))).flagged for _ in range(40)]
    assert sum(alarms) <= 2


def probe_tiny(values: np.ndarray, kind: Kind, *, real_accuracy: float, seed: int = 1) -> Probe:
    """Eight photos of each of two classes."""
    clue = Clue(name="clue", kind=kind, values=values.astype(np.float32))
    labels, numbers = np.repeat([0, 1], 8), np.arange(16)
    return probe_clue(clue, labels, numbers, numbers % 5, 2, real_accuracy=real_accuracy, seed=seed)


@pytest.mark.parametrize("kind", ["file", "detail", "border", "picture"])
def test_noise_in_tiny_sets_seldom_alarms(kind: Kind) -> None:
    random = np.random.default_rng(0)
    alarms = [
        probe_tiny(random.standard_normal((16, 4)), kind, real_accuracy=0.56, seed=seed).flagged for seed in range(200)
    ]
    assert sum(alarms) <= 3  # six clues a set; by the interval of drawn groups alone it were 4 to 8


def test_all_right_in_a_tiny_set_is_not_certain() -> None:
    values = np.repeat([-1.0, 1.0], 8)[:, None] + 0.01 * np.arange(16)[:, None]
    found = probe_tiny(values, "picture", real_accuracy=1.0)
    assert found.balanced_accuracy == 1
    assert found.low == pytest.approx(0.025 ** (1 / 16))  # Clopper & Pearson, 16 of 16
    assert not found.flagged  # a picture has to do almost what the classifier does
    assert probe_tiny(values, "file", real_accuracy=1.0).flagged


def test_picture_may_tell_more_than_a_file_before_it_is_reported() -> None:
    random = np.random.default_rng(0)
    values = (1.6 * np.eye(3)[LABELS] + random.standard_normal((120, 3))).astype(np.float32)
    assert probe(values, "file").flagged
    assert not probe(values, "picture").flagged


def test_word_of_one_class_is_found_and_chance_is_not() -> None:
    words = ["flip" if label == 2 and number % 2 else "" for number, label in zip(NUMBERS, LABELS, strict=True)]
    (found,) = find_uneven_words(words, LABELS, NUMBERS, 3)
    assert (found.word, found.label, found.share_inside, found.share_outside) == ("flip", 2, 0.5, 0)
    assert find_uneven_words(words, LABELS, np.zeros(120, np.int64), 3) == []  # one burst is one piece of evidence
    random = np.random.default_rng(0)
    assert find_uneven_words(random.choice(["a", "b"], 120).tolist(), LABELS, NUMBERS, 3) == []


def draw_views(turned: tuple[int, ...], *, num_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of photos and of their upside-down views: one number says where the sky is, the others are noise."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), 30)
    look = random.standard_normal((len(labels), 8))
    sky = np.where(np.isin(labels, turned), -1.0, 1.0) + 0.5 * random.standard_normal(len(labels))
    upright, flipped = np.c_[look, sky], np.c_[look, -sky]
    return upright.astype(np.float32), flipped.astype(np.float32)


def test_class_that_is_upside_down_is_found() -> None:
    labels, numbers = np.repeat(np.arange(3), 30), np.arange(90)
    found = find_upside_down(*draw_views((1,)), labels, numbers, 3)
    assert found.upside_down == (1,)
    assert found.upright_shares[1] < 0.2 < 0.8 < found.upright_shares[0]
    assert all(labels[row] == 1 for row in found.examples[0])
    assert not found.is_mutual


def test_two_classes_that_are_opposite_cannot_say_which() -> None:
    found = find_upside_down(*draw_views((1,), num_classes=2), np.repeat([0, 1], 30), np.arange(60), 2)
    assert len(found.upside_down) == 1
    assert found.is_mutual


def test_upright_classes_and_classes_without_an_up_are_not_blamed() -> None:
    labels, numbers = np.repeat(np.arange(3), 30), np.arange(90)
    assert find_upside_down(*draw_views(()), labels, numbers, 3).upside_down == ()
    assert find_upside_down(*draw_views((0, 1, 2)), labels, numbers, 3).upside_down == ()
    random = np.random.default_rng(0)
    noise = random.standard_normal((2, 90, 9)).astype(np.float32)
    assert find_upside_down(noise[0], noise[1], labels, numbers, 3).upside_down == ()
    same = find_upside_down(noise[0], noise[1], labels, numbers % 30, 3)  # the groups are the same in all classes
    assert same.upside_down == ()
    assert np.isnan(same.upright_shares).all()
    assert np.isnan(find_upside_down(noise[0], noise[1], labels, np.zeros(90, np.int64), 99).upright_shares[50])


def test_sample_is_even_and_takes_one_photo_of_a_group() -> None:
    labels = np.repeat([0, 1], [500, 12])
    groups = np.arange(512) // 2
    rows = sample_photos(labels, groups, 2, 1)
    assert np.bincount(labels[rows]).tolist() == [50, 6]
    assert len(np.unique(groups[rows])) == len(rows)


def draw_pictures(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, (120, 64, 64)).astype(np.uint8)


def test_stamp_in_the_corner_of_one_class_is_found_there() -> None:
    pictures = draw_pictures()
    stamp = np.random.default_rng(1).integers(0, 2, (4, 20)).astype(bool)
    pictures[np.ix_(np.flatnonzero(LABELS == 2), range(58, 62), range(42, 62))] = np.where(stamp, 255, 60)
    (found,) = find_fixed_marks(pictures, LABELS, NUMBERS, 3, seed=1)
    assert found.label == 2
    assert found.row > 0.8
    assert found.column > 0.6
    assert all(LABELS[row] == 2 for row in found.examples)


def test_pictures_without_a_mark_seldom_alarm() -> None:
    assert sum(bool(find_fixed_marks(draw_pictures(seed), LABELS, NUMBERS, 3, seed=1)) for seed in range(5)) == 0


def test_mark_that_every_class_has_is_no_shortcut() -> None:
    pictures = draw_pictures()
    pictures[:, 58:62, 42:62] = 255
    assert find_fixed_marks(pictures, LABELS, NUMBERS, 3, seed=1) == []


def test_subject_that_fills_the_photo_is_no_mark() -> None:
    pictures = draw_pictures()
    shape = np.random.default_rng(1).integers(0, 2, (64, 64)).astype(bool)
    pictures[LABELS == 2] = np.where(shape, 220, 30)
    assert find_fixed_marks(pictures, LABELS, NUMBERS, 3, seed=1) == []


def test_photos_that_stand_out_are_few_and_in_order() -> None:
    values = np.random.default_rng(0).standard_normal(200)
    values[[7, 8]] = [-6, -9]
    found = find_outliers("dark", values, direction=-1)
    assert found.rows.tolist() == [8, 7]
    assert found.scores[0] < found.scores[1] < 0
    assert len(find_outliers("bright", values, direction=1).rows) == 0
    assert len(find_outliers("dark", np.full(200, 3.0), direction=-1).rows) == 0
    assert len(find_outliers("dark", values[:10], direction=-1).rows) == 0
