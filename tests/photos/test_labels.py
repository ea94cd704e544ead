import pytest
from hypothesis import given
from hypothesis import strategies as st

from clownfish.photos.labels import (
    MIN_PHOTOS,
    find_label_problems,
    find_lone_class,
    find_small_classes,
    is_valid_text,
)


@pytest.mark.parametrize(
    "labels",
    [["Ant", "ant"], ["ant", "ant "], ["red ant", "red  ant"], ["STRASSE", "straße"], [" ant", "ANT", "ant"]],
)
def test_names_that_mean_the_same_are_found(labels: list[str]) -> None:
    (problem,) = find_label_problems(labels)
    names = " and ".join(map(repr, sorted(labels)))
    assert problem == f"The labels {names} differ only by upper case or spaces. Give them one name."


def test_each_set_of_names_is_one_problem() -> None:
    assert len(find_label_problems(["ant", "Ant", "bee", "Bee", "wasp"])) == 2
    assert find_label_problems(["ant", "bee", "redant", "red ant", "", "été"]) == []


def test_name_that_is_no_text_is_found() -> None:
    assert find_label_problems(["ant", "caf\udce9"]) == [
        "The label 'caf\\udce9' is not valid text (UTF-8). Give it another name."
    ]


@given(st.text(st.characters()))
def test_valid_text_is_what_can_be_encoded(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        assert not is_valid_text(text)
    else:
        assert is_valid_text(text)


def test_lone_class_is_found() -> None:
    assert find_lone_class(["ant"] * 4, "here") == [
        "All 4 photos in here are of one class, 'ant'. A classifier needs at least two: put the photos of each class"
        " into a folder of its own, inside the folder you give."
    ]
    assert find_lone_class(["ant", "bee"], "here") == find_lone_class([], "here") == []


def test_small_classes_are_found() -> None:
    problems = find_small_classes(["wasp"] * MIN_PHOTOS + ["bee"] * 2 + ["ant"])
    assert problems == [
        "The class 'ant' has 1 usable photo; at least 3 are needed, one each for training, validation and testing."
        " Add photos, or leave small classes out with --min-photos 3.",
        "The class 'bee' has 2 usable photos; at least 3 are needed, one each for training, validation and testing."
        " Add photos, or leave small classes out with --min-photos 3.",
    ]


@given(st.lists(st.sampled_from(["ant", "bee", "wasp"]), min_size=1))
def test_sizes_are_fine_when_no_class_is_small(labels: list[str]) -> None:
    is_fine = min(map(labels.count, set(labels))) >= MIN_PHOTOS
    assert (find_small_classes(labels) == []) is is_fine
