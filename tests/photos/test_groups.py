import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clownfish.errors import ConfigError, PhotosError
from clownfish.photos.groups import Conflict, Grouping, group_photos, read_user_groups
from clownfish.photos.near_duplicates import turn_picture
from clownfish.records import Inspection, PhotoFile
from pictures import draw_photo


def make_file(file: str, label: str = "cat", **columns: str) -> PhotoFile:
    return PhotoFile(file=file, path=f"/photos/{file}", label=label, columns=columns)


def inspect(picture: int, *, content: str = "", pixels: str = "", view: int = 0) -> Inspection:
    """What is known of a drawn picture; equal `content` or `pixels` make it a copy of another."""
    thumbnail = np.asarray(Image.fromarray(draw_photo(64, 64, seed=picture)).convert("L").resize((32, 32)))
    return Inspection(
        content_hash=hash_text(content or f"content {picture} {view}"),
        pixel_hash=hash_text(pixels or f"pixels {picture} {view}"),
        width=64,
        height=64,
        usable=True,
        thumbnail=turn_picture(thumbnail, view),
    )


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def group(
    inspections: list[Inspection], labels: str | list[str] = "", user_groups: list[str] | None = None
) -> Grouping:
    names = list(labels) or ["cat"] * len(inspections)
    files = [make_file(f"{number}.jpg", label) for number, label in enumerate(names)]
    return group_photos(files, inspections, user_groups or [""] * len(inspections))


# --- what the user knows -------------------------------------------------------------------------


def test_nothing_asked_gives_no_groups() -> None:
    assert read_user_groups([make_file("cat/a.jpg", site="n")]) == [""]


def test_column_names_the_groups() -> None:
    photos = [make_file("a.jpg", site="n"), make_file("b.jpg", site=""), make_file("c.jpg", site="s")]
    assert read_user_groups(photos, group_by="site") == ["site=n", "", "site=s"]


def test_second_folder_names_the_groups() -> None:
    photos = [make_file("cat/day1/a.jpg"), make_file("dog/day1/x/b.jpg"), make_file("cat/c.jpg")]
    assert read_user_groups(photos, group_by="folder") == ["folder=day1", "folder=day1", ""]


def test_column_called_folder_comes_before_folders() -> None:
    photos = [make_file("cat/day1/a.jpg", folder="x"), make_file("cat/day2/b.jpg", folder="x")]
    assert read_user_groups(photos, group_by="folder") == ["folder=x", "folder=x"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"ind\d+", ["regex=ind1", "regex=ind1", "regex=ind2", ""]),
        (r"(ind\d+)_.*", ["regex=ind1", "regex=ind1", "regex=ind2", ""]),
        (r"(ind)(\d+)", ["regex=ind 1", "regex=ind 1", "regex=ind 2", ""]),
        (r"ind\d+(_x)?", ["regex=ind1", "regex=ind1", "regex=ind2", ""]),
        (r"\d*$|ind2", ["", "", "regex=ind2", ""]),
    ],
)
def test_regular_expression_names_the_groups(pattern: str, expected: list[str]) -> None:
    photos = [make_file(name) for name in ("cat/ind1_a.jpg", "cat/ind1_b.jpg", "cat/ind2_a.jpg", "cat/other.jpg")]
    assert read_user_groups(photos, group_regex=pattern) == expected


def test_column_and_regular_expression_are_combined() -> None:
    photos = [make_file("ind1.jpg", site="n"), make_file("ind1.jpg", site="s"), make_file("x.jpg", site="s")]
    names = read_user_groups(photos, group_by="site", group_regex=r"ind\d")
    assert names == ["site=n regex=ind1", "site=s regex=ind1", "site=s"]


def test_bad_regular_expression_is_explained() -> None:
    with pytest.raises(ConfigError, match=r"^--group-regex '\(' is not a regular expression: missing \)"):
        read_user_groups([make_file("a.jpg")], group_regex="(")


def test_expression_that_takes_for_ever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clownfish.photos.groups.TIMEOUT_SECONDS", 0.5)
    with pytest.raises(ConfigError) as caught:
        read_user_groups([make_file("a" * 60 + ".jpg")], group_regex="(a+)+$")
    assert str(caught.value) == (
        f"--group-regex '(a+)+$' takes longer than 0.5 seconds on the file names (such as '{'a' * 60}.jpg')."
        " Repeats inside repeats, like (a+)+, are the usual reason: write it without them."
    )


def read_problems(**options: Any) -> tuple[str, ...]:
    photos = options.pop("photos", [make_file("cat/a.jpg", site="n", individual="1")])
    with pytest.raises(PhotosError) as caught:
        read_user_groups(photos, **options)
    return caught.value.problems


def test_unknown_column_lists_the_known() -> None:
    assert read_problems(group_by="sites") == (
        "--group-by sites: there is no such column; its columns are individual, site. Give one of them, or 'folder'.",
    )
    assert read_problems(group_by="site", photos=[make_file("cat/a.jpg")]) == (
        "--group-by site: there is no such column; there is no CSV with further columns."
        " Give one of them, or 'folder'.",
    )


def test_folders_that_do_not_exist_are_told() -> None:
    assert read_problems(group_by="folder") == (
        "--group-by folder needs folders inside the class folders (CLASS/GROUP/photo.jpg), but there are none.",
    )


def test_expression_without_any_match_shows_a_name() -> None:
    assert read_problems(group_regex="zebra") == (
        "--group-regex 'zebra' matches none of the file names (such as 'cat/a.jpg').",
    )


def test_all_problems_with_groups_come_together() -> None:
    assert len(read_problems(group_by="nothing", group_regex="zebra")) == 2


# --- groups --------------------------------------------------------------------------------------


def test_different_photos_are_groups_of_their_own() -> None:
    grouping = group([inspect(number) for number in range(5)])
    assert len(set(grouping.groups)) == 5
    assert grouping.original_of == {} and grouping.conflicts == ()


def test_copies_of_all_kinds_share_a_group() -> None:
    original = inspect(1)
    copies = [
        inspect(2, content="content 1 0"),  # the same file
        inspect(3, pixels="pixels 1 0"),  # the same pixels, other metadata
        inspect(1, view=2, content="flipped", pixels="flipped"),  # alike, upside down
    ]
    grouping = group([original, *copies, inspect(9)])
    assert len(set(grouping.groups[:4])) == 1 and grouping.groups[4] != grouping.groups[0]
    assert grouping.original_of == {1: 0, 2: 0, 3: 0}


def test_copies_and_the_user_s_groups_are_united() -> None:
    inspections = [inspect(1), inspect(2), inspect(2, view=1), inspect(3), inspect(4)]
    grouping = group(inspections, user_groups=["site=a", "site=a", "site=b", "site=b", ""])
    assert len(set(grouping.groups[:4])) == 1 and grouping.groups[4] != grouping.groups[0]
    assert set(grouping.groups[:4]) == {"site=a"}  # the first of the names
    assert grouping.original_of == {2: 1}  # being of one site makes no copy


def test_names_of_groups_do_not_depend_on_the_order() -> None:
    inspections = [inspect(number) for number in range(6)] + [inspect(2, view=3)]
    forward = group(inspections).groups
    backward = group(inspections[::-1]).groups
    assert forward == backward[::-1]


def test_name_of_a_photo_s_group_stays_as_the_set_grows() -> None:
    inspections = [inspect(number) for number in range(8)]
    assert group(inspections).groups[:4] == group(inspections[:4]).groups


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["", "", "site=a", "site=b", "site=c"])), min_size=1, max_size=12
    )
)
def test_equal_pictures_and_equal_names_never_part(photos: list[tuple[int, str]]) -> None:
    inspections = [PICTURES[picture] for picture, _ in photos]
    grouping = group(inspections, user_groups=[name for _, name in photos])
    for position, (picture, name) in enumerate(photos):
        for other, (other_picture, other_name) in enumerate(photos):
            if picture == other_picture or (name and name == other_name):
                assert grouping.groups[position] == grouping.groups[other]


PICTURES = [inspect(number) for number in range(5)]


def test_photos_with_blank_pictures_stay_apart() -> None:
    blanks = [
        Inspection(
            content_hash=hash_text(name),
            pixel_hash=hash_text(name * 2),
            usable=True,
            thumbnail=np.zeros((32, 32), np.uint8),
        )
        for name in "ab"
    ]
    assert len(set(group(blanks).groups)) == 2


# --- conflicts -----------------------------------------------------------------------------------


def test_same_picture_with_two_labels_is_a_conflict() -> None:
    grouping = group([inspect(1), inspect(2), inspect(3, pixels="pixels 1 0")], ["cat", "cat", "dog"])
    assert grouping.conflicts == (
        Conflict(first=2, second=0, is_identical=True),
        Conflict(first=0, second=2, is_identical=True),
    )


def test_likeness_with_two_labels_is_told_apart_from_identity() -> None:
    grouping = group([inspect(1), inspect(1, view=1)], ["cat", "dog"])
    assert {conflict.is_identical for conflict in grouping.conflicts} == {False}
    assert {(conflict.first, conflict.second) for conflict in grouping.conflicts} == {(0, 1), (1, 0)}


def test_identical_rival_is_named_before_a_similar_one() -> None:
    grouping = group([inspect(1, view=1), inspect(1), inspect(1, content="x")], ["dog", "dog", "cat"])
    of_third = next(conflict for conflict in grouping.conflicts if conflict.second == 2)
    assert of_third == Conflict(first=1, second=2, is_identical=True)


def test_copies_with_one_label_are_no_conflict() -> None:
    assert group([inspect(1), inspect(1, view=1)], ["cat", "cat"]).conflicts == ()


def test_user_s_group_with_two_labels_is_no_conflict() -> None:
    grouping = group([inspect(1), inspect(2)], ["cat", "dog"], ["site=a", "site=a"])
    assert grouping.conflicts == () and len(set(grouping.groups)) == 1


# --- names and times ------------------------------------------------------------------------------


def test_marked_names_and_bursts_are_united_with_copies() -> None:
    inspections = [inspect(number) for number in range(5)]
    inspections[2:4] = [
        replace(inspections[2], camera="Canon R5", taken="2024-05-01T10:00:00"),
        replace(inspections[3], camera="Canon R5", taken="2024-05-01T10:00:03"),
    ]
    files = [make_file(f"cat/{name}.jpg") for name in ("a", "a_flip", "b", "c", "d")]
    grouping = group_photos(files, inspections, ["", "site=A", "site=A", "", ""])
    assert len(set(grouping.groups[:4])) == 1 and grouping.groups[4] != grouping.groups[0]
    assert grouping.reasons == (
        "name marks cat/a_flip.jpg as a copy of it",
        "name marks a copy of cat/a.jpg",
        "site=A",
        "taken 3 s after cat/b.jpg by the same camera",
        "",
    )
    assert grouping.reason_counts == {"name": 1, "moment": 1, "user": 1}
    assert grouping.original_of == {}  # related, but none a copy by its pixels
