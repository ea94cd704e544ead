import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clownfish.photos import parts
from clownfish.photos.near_duplicates import turn_picture
from clownfish.photos.parts import Match, find_matches
from clownfish.photos.similarity import find_similar

SIDE = 256


def draw(seed: int) -> NDArray[np.uint8]:
    """A scene with detail at all sizes, grey levels, shape (256, 256)."""
    random = np.random.default_rng(seed)
    scene = np.zeros((SIDE, SIDE))
    for cells, weight in ((4, 60), (8, 50), (16, 40), (32, 20)):
        levels = Image.fromarray(random.standard_normal((cells, cells)).astype(np.float32))
        scene += weight * np.asarray(levels.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return np.clip(scene + 128, 0, 255).astype(np.uint8)


def cut(scene: NDArray[np.uint8], share: float, left: float = 0.1, top: float = 0.2) -> NDArray[np.uint8]:
    x, y, side = round(left * SIDE), round(top * SIDE), round(share * SIDE)
    part = Image.fromarray(scene[y : y + side, x : x + side])
    return np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def shrink(scenes: list[NDArray[np.uint8]], side: int) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.fromarray(scene).resize((side, side), Image.Resampling.BOX)) for scene in scenes])


def match(scenes: list[NDArray[np.uint8]], *, components: list[int] | None = None) -> list[Match]:
    random = np.random.default_rng(1)
    features = random.standard_normal((len(scenes), 30)).astype(np.float32)
    features[1] = features[0] + 0.1  # similar, should it matter
    numbers = np.arange(len(scenes))
    return find_matches(
        shrink(scenes, 32),
        features,
        numbers // 2,
        np.array(components) if components else numbers,
        lambda positions: shrink([scenes[position] for position in positions], 64),
    )


@pytest.fixture(params=["all with all", "in classes", "by features"])
def search(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "all with all":
        monkeypatch.setattr(parts, "MAX_EXHAUSTIVE", 0)
    if request.param == "by features":
        monkeypatch.setattr(parts, "MAX_COMPARISONS", 0)


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("view", range(8))
def test_part_of_a_photo_is_found_however_it_is_turned(view: int) -> None:
    scene = draw(0)
    matches = match([turn_picture(cut(scene, 0.72), view), scene, *map(draw, range(1, 8))])
    assert {(found.first, found.second) for found in matches} == {(0, 1)}
    found = matches[0]
    assert found.is_part and found.scale == pytest.approx(0.72, abs=0.02)
    # the view undoes the turn, so that of quarter turns it is the opposite
    assert np.array_equal(turn_picture(turn_picture(cut(scene, 0.72), view), found.view), cut(scene, 0.72))


@pytest.mark.usefixtures("search")
def test_scene_from_a_little_farther_to_the_side_is_found() -> None:
    scene = draw(0)
    matches = match([cut(scene, 0.85, 0.05, 0.1), cut(scene, 0.85, 0.1, 0.07), *map(draw, range(1, 8))])
    assert {frozenset((found.first, found.second)) for found in matches} == {frozenset((0, 1))}
    assert not any(found.is_part for found in matches)


def test_brighter_and_noisy_part_is_found() -> None:
    scene = draw(0)
    noise = np.random.default_rng(3).normal(0, 6, (SIDE, SIDE))
    part = np.clip(cut(scene, 0.8) * 0.7 + 40 + noise, 0, 255).astype(np.uint8)
    assert [(found.first, found.second) for found in match([part, scene, *map(draw, range(1, 5))])] == [(0, 1)]


def test_lookalikes_of_one_outline_are_kept_apart() -> None:
    """Dark ovals on white that differ in their detail only, as beetles do."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    oval = (x / 0.5) ** 2 + (y / 0.8) ** 2 < 1
    beetles = [np.where(oval, draw(seed) // 3, 235).astype(np.uint8) for seed in range(12)]
    assert match(beetles) == []
    part = cut(beetles[3], 0.8, 0.1, 0.1)
    assert {(found.first, found.second) for found in match([*beetles, part])} == {(12, 3)}


def test_what_is_together_already_is_not_searched_again() -> None:
    scene = draw(0)
    scenes = [cut(scene, 0.8), scene, *map(draw, range(1, 5))]
    assert match(scenes, components=[0, 0, 1, 2, 3, 4]) == []


def test_blank_photos_are_parts_of_nothing() -> None:
    blanks = [np.full((SIDE, SIDE), level, np.uint8) for level in (0, 0, 90, 255)]
    assert match([*blanks, draw(1)]) == []


def test_lost_picture_matches_nothing() -> None:
    scene = draw(0)
    thumbnails = shrink([cut(scene, 0.8), scene], 32)
    found = find_matches(
        thumbnails,
        np.zeros((2, 3), np.float32),
        np.array([0, 1]),
        np.arange(2),
        lambda positions: np.zeros((len(positions), 64, 64), np.uint8),
    )
    assert found == []


def test_similar_features_are_paired_and_others_not() -> None:
    random = np.random.default_rng(0)
    features = random.standard_normal((300, 60)).astype(np.float32)
    features[7] = features[200] + 0.1 * random.standard_normal(60)
    pairs = find_similar(features, np.arange(300) % 3)
    assert [7, 200] in pairs.tolist()
    assert len(pairs) < 300 * 10


def test_features_of_one_class_or_one_photo_can_be_searched() -> None:
    features = np.eye(4, dtype=np.float32)
    assert find_similar(features, np.zeros(4, np.int64)).shape[1] == 2
    assert find_similar(features[:1], np.zeros(1, np.int64)).shape == (0, 2)
