import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clownfish.errors import ConfigError, PhotosError
from clownfish.splits import (
    MIN_GROUPS_FOR_STABILITY,
    NUM_FOLDS,
    Split,
    draw_share,
    make_folds,
    match_training,
    parse_shares,
    split_photos,
    take_split,
)

SHARES = st.sampled_from([(0.8, 0.1, 0.1), (0.7, 0.15, 0.15), (0.6, 0.2, 0.2), (0.9, 0.0, 0.1), (0.5, 0.25, 0.25)])
SEEDS = st.integers(0, 10**6)
PHOTOS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 25)), min_size=1, max_size=80)
"""Label and group of each photo; groups may hold several classes."""


def split(photos: Sequence[tuple[str, object]], shares: tuple[float, float, float], seed: int) -> Split:
    return split_photos(
        [label for label, _ in photos], [f"group {group}" for _, group in photos], shares=shares, seed=seed
    )


def make_singletons(counts: dict[str, int]) -> list[tuple[str, str]]:
    return [(label, f"{label}{number}") for label, count in counts.items() for number in range(count)]


# --- the drawn split -----------------------------------------------------------------------------


@given(PHOTOS, SHARES, SEEDS)
def test_no_group_is_divided(photos: list[tuple[str, int]], shares: tuple[float, float, float], seed: int) -> None:
    parts = split(photos, shares, seed).parts
    used = defaultdict(set)
    for (_, group), part in zip(photos, parts, strict=True):
        used[group].add(part)
    assert all(len(found) == 1 for found in used.values())
    assert set(parts) <= {"train", "validation", "test"}
    assert shares[1] or "validation" not in parts


@given(PHOTOS, SHARES, SEEDS)
def test_every_class_keeps_training_photos(
    photos: list[tuple[str, int]], shares: tuple[float, float, float], seed: int
) -> None:
    parts = split(photos, shares, seed).parts
    trained = {label for (label, _), part in zip(photos, parts, strict=True) if part == "train"}
    assert trained == {label for label, _ in photos}


@given(PHOTOS, SHARES, SEEDS, st.randoms())
def test_split_does_not_depend_on_the_order(
    photos: list[tuple[str, int]], shares: tuple[float, float, float], seed: int, chance: random.Random
) -> None:
    order = list(range(len(photos)))
    chance.shuffle(order)
    straight = split(photos, shares, seed)
    shuffled = split([photos[position] for position in order], shares, seed)
    assert [straight.parts[position] for position in order] == list(shuffled.parts)
    assert straight.notes == shuffled.notes
    assert split(photos, shares, seed) == straight


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(3, 150), min_size=1), SHARES, SEEDS)
def test_single_photos_get_their_shares(counts: dict[str, int], shares: tuple[float, float, float], seed: int) -> None:
    photos = make_singletons(counts)
    parts = split(photos, shares, seed).parts
    for label, count in counts.items():
        found = Counter(part for (own, _), part in zip(photos, parts, strict=True) if own == label)
        wanted = max(1, round(count * shares[2]))
        assert 1 <= found["test"] <= wanted
        if count < MIN_GROUPS_FOR_STABILITY:
            assert found["test"] == wanted
        if shares[1]:
            # a group that may not be trained on goes to validation, which may so outgrow its share
            assert max(1, round(count * shares[1])) <= found["validation"]
            held_out = found["validation"] + found["test"]
            assert held_out <= count * (shares[1] + shares[2]) + 4 * np.sqrt(count) + 2


def test_large_set_is_divided_as_asked() -> None:
    photos = make_singletons({"a": 5000, "b": 500})
    counts = Counter(split(photos, (0.8, 0.1, 0.1), 1).parts)
    assert counts["test"] == 550
    assert counts["validation"] == pytest.approx(550, rel=0.15)


@given(
    old=st.integers(MIN_GROUPS_FOR_STABILITY, 120),
    new=st.integers(0, 120),
    shares=st.sampled_from([(0.8, 0.1, 0.1), (0.7, 0.15, 0.15), (0.6, 0.2, 0.2), (0.5, 0.25, 0.25)]),
    seed=SEEDS,
)
def test_test_photo_is_never_trained_on_later(
    old: int, new: int, shares: tuple[float, float, float], seed: int
) -> None:
    before = make_singletons({"a": old, "b": 40})
    after = make_singletons({"a": old + new, "b": 40 + new // 2})
    parts_before = dict(zip(before, split(before, shares, seed).parts, strict=True))
    parts_after = dict(zip(after, split(after, shares, seed).parts, strict=True))
    for photo, part in parts_before.items():
        # the exception that docs/decisions/0003-split.md states: a class without any low draw still gets a test photo
        if part == "test" and draw_share(f"group {photo[1]}", seed) < shares[1] + shares[2]:
            assert parts_after[photo] != "train"


@given(st.integers(MIN_GROUPS_FOR_STABILITY, 200), SEEDS)
def test_draw_below_the_limit_never_leads_to_training(count: int, seed: int) -> None:
    photos = make_singletons({"a": count})
    for (_, name), part in zip(photos, split(photos, (0.8, 0.1, 0.1), seed).parts, strict=True):
        if draw_share(f"group {name}", seed) < 0.2:
            assert part != "train"


def test_other_seed_is_another_split() -> None:
    photos = make_singletons({"a": 60})
    assert len({split(photos, (0.8, 0.1, 0.1), seed).parts for seed in range(5)}) == 5


@pytest.mark.parametrize(
    ("num_groups", "expected", "note"),
    [
        (1, {"train": 1}, "No validation and no test photos, for want of groups to spare: a (1 photo in 1 group)."),
        (2, {"train": 1, "test": 1}, "No validation photos, for want of groups to spare: a (2 photos in 2 groups)."),
        (3, {"train": 1, "validation": 1, "test": 1}, ""),
        (10, {"train": 8, "validation": 1, "test": 1}, ""),
    ],
)
def test_small_class_gives_what_it_can_spare(num_groups: int, expected: dict[str, int], note: str) -> None:
    found = split(make_singletons({"a": num_groups}), (0.8, 0.1, 0.1), 1)
    assert Counter(found.parts) == expected
    assert (note in found.notes) if note else not [text for text in found.notes if text.startswith("No ")]


def test_note_names_classes_too_small_for_the_shares() -> None:
    found = split(make_singletons({"big": 50, "small": 5}), (0.8, 0.1, 0.1), 1)
    assert found.notes == (
        "Too few photos for an exact 80/10/10 split in: small. Each has at least one test photo where it can spare one;"
        " add photos to make the test tell more.",
    )


def test_note_about_many_classes_is_short() -> None:
    missing, lone = split(make_singletons({f"class{number}": 1 for number in range(8)}), (0.8, 0.1, 0.1), 1).notes
    assert missing.count("class") == 5 and missing.endswith("and 3 more.")
    assert lone.startswith("All photos of a class are one group in: class0, class1, class2, class3, class4 and 3 more.")


def test_one_large_group_stays_in_training() -> None:
    photos = [("a", "burst")] * 50 + [("a", f"single{number}") for number in range(12)]
    parts = split(photos, (0.8, 0.1, 0.1), 1).parts
    assert set(parts[:50]) == {"train"}
    assert Counter(parts[50:])["test"] == 6


def test_groups_of_several_photos_come_near_the_share() -> None:
    for seed in range(20):
        photos = [("a", str(number // 4)) for number in range(400)]
        counts = Counter(split(photos, (0.8, 0.1, 0.1), seed).parts)
        assert 36 <= counts["test"] <= 44


# --- the user's split ----------------------------------------------------------------------------

LABELS, GROUPS = ["a", "a", "b", "b"], ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["train", "test", "train", "val"], ("train", "test", "train", "validation")),
        ([" Train", "TESTING", "training", "Validation "], ("train", "test", "train", "validation")),
        (["train", "holdout", "train", "dev"], ("train", "test", "train", "validation")),
        (["train", "eval", "train", ""], ("train", "test", "train", "")),
        (["train", "test", "train", "valid"], ("train", "test", "train", "validation")),
    ],
)
def test_words_of_the_user_are_understood(words: list[str], parts: tuple[str, ...]) -> None:
    assert take_split(words, LABELS, GROUPS) == Split(parts=parts, notes=())  # type: ignore[arg-type]


def read_problems(words: list[str], labels: list[str] = LABELS) -> tuple[str, ...]:
    with pytest.raises(PhotosError) as caught:
        take_split(words, labels, GROUPS)
    return caught.value.problems


def test_unknown_words_are_listed() -> None:
    assert read_problems(["train", "Tset", "0", "test"]) == (
        "The split column holds '0', 'tset'; allowed are train, validation and test.",
    )


def test_absent_parts_are_all_named() -> None:
    assert read_problems(["", "", "val", ""]) == (
        "The split column marks no photo as 'train'; mark some.",
        "The split column marks no photo as 'test'; mark some.",
    )
    assert read_problems(["train", "train", "train", "val"]) == (
        "The split column marks no photo as 'test'; mark some.",
    )


def test_class_without_training_photos_is_named() -> None:
    assert read_problems(["train", "test", "test", "test"]) == (
        "The split column leaves no training photo for: b. Mark some.",
    )


def test_groups_cut_by_the_user_are_told() -> None:
    found = take_split(["train", "test", "train", ""], LABELS, ["g", "g", "h", "h"])
    assert found.notes == (
        "The split column cuts 1 group (g): copies or relatives of one photo lie in several parts, so the test accuracy"
        " will be too good.",
    )
    many = [f"g{number}" for number in range(7)]
    found = take_split(["train"] * 7 + ["test"] * 7, ["a"] * 14, many * 2)
    assert "cuts 7 groups (g0, g1, g2, g3, g4 and 2 more)" in found.notes[0]


# --- shares --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("80/10/10", (0.8, 0.1, 0.1)),
        (" 70 / 15 / 15 ", (0.7, 0.15, 0.15)),
        ("90/0/10", (0.9, 0.0, 0.1)),
        ("66.6/16.7/16.7", (0.666, 0.167, 0.167)),
    ],
)
def test_shares_are_read(text: str, shares: tuple[float, float, float]) -> None:
    assert parse_shares(text) == pytest.approx(shares)


SENSELESS = (
    "80/20 80/10/5 0/50/50 90/10/0 a/b/c 80-10-10 110/-5/-5 nan/50/50 nan/nan/nan inf/0/10 50/25/25/0 // .8/.1/.1"
)


@pytest.mark.parametrize("text", ["", *SENSELESS.split()])
def test_senseless_shares_are_explained(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_shares(text)
    assert str(caught.value) == (
        f"The split {text!r} is not understood. Give three per cents that sum to 100, for training, validation and test"
        " photos, such as 80/10/10; training and test must be above 0."
    )


# --- folds ---------------------------------------------------------------------------------------


def fold(photos: Sequence[tuple[str, object]], seed: int, num_folds: int = NUM_FOLDS) -> list[int]:
    labels, groups = [label for label, _ in photos], [f"group {group}" for _, group in photos]
    return make_folds(labels, groups, seed=seed, num_folds=num_folds).tolist()


@given(PHOTOS, SEEDS, st.integers(2, 7))
def test_folds_keep_groups_whole(photos: list[tuple[str, int]], seed: int, num_folds: int) -> None:
    folds = fold(photos, seed, num_folds)
    used = defaultdict(set)
    for (_, group), number in zip(photos, folds, strict=True):
        used[group].add(number)
    assert all(len(found) == 1 for found in used.values())
    assert set(folds) == set(range(min(num_folds, len(used))))


@given(PHOTOS, SEEDS, st.randoms())
def test_folds_do_not_depend_on_the_order(photos: list[tuple[str, int]], seed: int, chance: random.Random) -> None:
    order = list(range(len(photos)))
    chance.shuffle(order)
    straight = fold(photos, seed)
    assert fold([photos[position] for position in order], seed) == [straight[position] for position in order]


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 60), min_size=1), SEEDS)
def test_folds_of_single_photos_are_balanced(counts: dict[str, int], seed: int) -> None:
    photos = make_singletons(counts)
    folds = fold(photos, seed)
    for label in counts:
        sizes = Counter(number for (own, _), number in zip(photos, folds, strict=True) if own == label)
        found = [sizes[number] for number in range(min(NUM_FOLDS, len(photos)))]
        assert max(found) - min(found) <= 1
    sizes = Counter(folds)
    assert max(sizes.values()) - min(sizes.values()) <= len(counts)


def test_folds_of_unequal_groups_are_of_similar_size() -> None:
    chance = random.Random(0)
    photos = [("a" if group % 3 else "b", group) for group in range(60) for _ in range(chance.randint(1, 12))]
    sizes = Counter(fold(photos, 1))
    assert max(sizes.values()) - min(sizes.values()) <= 12


def test_draws_are_the_same_everywhere() -> None:
    assert draw_share("group", 1) == pytest.approx(0.9475051304621781, abs=1e-15)
    draws = [draw_share(str(number), 0) for number in range(2000)]
    assert 0 <= min(draws) < 0.01 and 0.99 < max(draws) < 1
    assert abs(np.mean(draws) - 0.5) < 0.03


# --- what cross-validation trains on ------------------------------------------------------------


@st.composite
def draw_split_set(draw):
    """Photos in groups, with the split and the folds that the product makes of them."""
    num_classes, seed = draw(st.integers(2, 4)), draw(st.integers(0, 1000))
    labels, groups = [], []
    for label in range(num_classes):
        for group in range(draw(st.integers(2, 12))):
            size = draw(st.integers(1, 6))
            labels += [f"class {label}"] * size
            groups += [f"{label}-{group}"] * size
    parts = split_photos(labels, groups, shares=(0.8, 0.1, 0.1), seed=seed).parts
    return labels, groups, parts, make_folds(labels, groups, seed=seed), seed


@settings(max_examples=60)
@given(draw_split_set())
def test_cross_validation_never_trains_on_a_group_of_the_fold(case) -> None:
    labels, groups, parts, folds, seed = case
    fitted = match_training(labels, groups, folds, parts, seed=seed)
    for row, number in enumerate(np.unique(folds)):
        inside = {group for group, fold in zip(groups, folds, strict=True) if fold == number}
        trained = {group for group, used in zip(groups, fitted[row], strict=True) if used}
        assert not inside & trained
        for group in trained:  # whole groups
            assert all(fitted[row][photo] for photo, own in enumerate(groups) if own == group)


@settings(max_examples=60)
@given(draw_split_set())
def test_cross_validation_trains_on_no_less_than_the_training_part_or_all_there_is(case) -> None:
    labels, groups, parts, folds, seed = case
    fitted = match_training(labels, groups, folds, parts, seed=seed)
    for row, number in enumerate(np.unique(folds)):
        for label in set(labels):
            own = np.array([name == label for name in labels])
            wanted = sum(part == "train" for part, mine in zip(parts, own, strict=True) if mine)
            there = int((own & (folds != number)).sum())
            assert int(fitted[row][own].sum()) >= min(wanted, there)


def test_cross_validation_trains_on_as_much_as_the_training_part_where_groups_are_few() -> None:
    labels = [name for name in "ab" for _ in range(40)]
    groups = [f"{name}{number // 8}" for name in "ab" for number in range(40)]  # five groups of eight
    parts = split_photos(labels, groups, shares=(0.8, 0.1, 0.1), seed=1).parts
    folds = make_folds(labels, groups, seed=1)
    fitted = match_training(labels, groups, folds, parts, seed=1)
    assert parts.count("train") == 48
    assert fitted.sum(axis=1).tolist() == [48] * len(np.unique(folds))


def test_cross_validation_trains_on_all_the_rest_of_single_photos() -> None:
    labels = [name for name in "ab" for _ in range(50)]
    groups = [str(number) for number in range(100)]
    parts = split_photos(labels, groups, shares=(0.8, 0.1, 0.1), seed=1).parts
    folds = make_folds(labels, groups, seed=1)
    fitted = match_training(labels, groups, folds, parts, seed=1)
    assert (fitted == (folds[None] != np.unique(folds)[:, None])).all()


@pytest.mark.parametrize("first", ["train", "test"])
def test_cross_validation_trains_on_as_much_as_a_training_part_that_cuts_groups(first: str) -> None:
    """Of each group of eight, half is trained on; which photo comes first means nothing."""
    labels = [name for name in "ab" for _ in range(80)]
    groups = [f"{name}{number // 8}" for name in "ab" for number in range(80)]
    other = "test" if first == "train" else "train"
    values = [first if number % 8 < 4 else other for number in range(160)]
    split = take_split(values, labels, groups)
    assert split.notes[0].startswith("The split column cuts 20 groups")
    fitted = match_training(labels, groups, make_folds(labels, groups, seed=1), split.parts, seed=1)
    # 80 photos of 20 groups: all 16 groups outside a fold are fewer than that, so none of them is left out
    assert fitted.sum(axis=1).tolist() == [128] * 5


@pytest.mark.parametrize("first", ["train", "test"])
def test_cross_validation_ignores_which_photo_of_a_cut_group_comes_first(first: str) -> None:
    """Of three groups in ten, one photo of eight is trained on or tested on; the other groups are whole."""
    labels = [name for name in "ab" for _ in range(80)]
    groups = [f"{name}{number // 8}" for name in "ab" for number in range(80)]
    rest = "test" if first == "train" else "train"
    values = [
        (first if number % 8 == 0 else rest) if number % 80 < 24 else "train" if number % 80 < 48 else "test"
        for number in range(160)
    ]
    parts = take_split(values, labels, groups).parts
    fitted = match_training(labels, groups, make_folds(labels, groups, seed=1), parts, seed=1)
    # training holds six groups of each class, whole or in part: six remain of the eight outside a fold
    assert fitted.sum(axis=1).tolist() == [96] * 5
