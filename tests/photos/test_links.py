import numpy as np
import pytest

from clownfish.photos.links import explain_groups, link_equals, link_lookalikes, link_matches
from clownfish.photos.near_duplicates import turn_picture
from clownfish.photos.parts import Match
from clownfish.records import Link, LinkKind, PhotoFile

FILES = [PhotoFile(file=f"{letter}.jpg", path="", label="cat") for letter in "abcd"]


def explain(*links: Link) -> list[str]:
    return explain_groups(FILES, links)[0]


@pytest.mark.parametrize(
    ("kind", "relation", "first", "second"),
    [
        ("bytes", "", "same bytes as b.jpg", "same bytes as a.jpg"),
        ("pixels", "", "same pixels as b.jpg", "same pixels as a.jpg"),
        ("looks", "mirrored", "looks like b.jpg, mirrored", "looks like a.jpg, mirrored"),
        ("part", "", "shown in part of b.jpg", "a part of it is a.jpg"),
        ("scene", "", "same scene as b.jpg", "same scene as a.jpg"),
        ("name", "", "name marks b.jpg as a copy of it", "name marks a copy of a.jpg"),
        (
            "moment",
            "3 s",
            "taken 3 s before b.jpg by the same camera",
            "taken 3 s after a.jpg by the same camera",
        ),
        ("user", "site=A", "site=A", "site=A"),
    ],
)
def test_each_reason_names_the_other_photo(kind: LinkKind, relation: str, first: str, second: str) -> None:
    assert explain(Link(first=0, second=1, kind=kind, relation=relation)) == [first, second, "", ""]


def test_strongest_reason_is_told_and_counted() -> None:
    links = [
        *link_equals(["site=A", "site=A", "site=A", ""], "user", relations=["site=A"] * 4),
        Link(first=1, second=0, kind="looks"),
    ]
    reasons, counts = explain_groups(FILES, links)
    assert reasons == ["looks like b.jpg", "looks like a.jpg", "site=A", ""]
    assert counts == {"looks": 1, "user": 1}


def test_chain_is_told_link_by_link_from_the_first_photo() -> None:
    reasons = explain(
        Link(first=2, second=3, kind="moment", relation="5 s"),
        Link(first=0, second=2, kind="pixels"),
        Link(first=0, second=3, kind="user", relation="site=A"),
    )
    assert reasons == ["same pixels as c.jpg", "", "same pixels as a.jpg", "taken 5 s after c.jpg by the same camera"]


@pytest.mark.parametrize(
    ("view", "name"),
    [(0, ""), (1, "mirrored"), (2, "flipped upside down"), (3, "turned by 180 degrees"), (5, "turned by 90 degrees")],
)
def test_way_a_copy_is_turned_is_named(view: int, name: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    links = link_lookalikes(np.array([[0, 1]]), np.stack([picture, turn_picture(picture, view)]))
    assert links == [Link(first=0, second=1, kind="looks", relation=name)]


def test_part_and_scene_are_told_apart_by_scale() -> None:
    part, scene = (Match(first=0, second=1, view=2, scale=scale, agreement=0.97) for scale in (0.7, 0.99))
    assert [link.kind for link in link_matches([part, scene])] == ["part", "scene"]
    assert link_matches([part])[0].relation == "flipped upside down"
