from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from clownfish.images import Preprocessing, decode_photo
from clownfish.photos.near_duplicates import find_near_duplicates, label_components, turn_picture
from pictures import draw_photo, encode


def draw_thumbnail(seed: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(draw_photo(64, 64, seed=seed)).convert("L").resize((32, 32)))


def find_pairs(thumbnails: Sequence[NDArray[np.uint8]]) -> set[tuple[int, int]]:
    return {(int(first), int(second)) for first, second in find_near_duplicates(np.stack(thumbnails))}


def decode_thumbnail(image: Image.Image, kind: str = "PNG", **options: object) -> NDArray[np.uint8]:
    return decode_photo(encode(image, kind, **options), Preprocessing(size=64)).looks.thumbnail


SAMPLES = [Image.fromarray(photo) for photo in load_sample_images().images]


@given(st.integers(0, 10**6), st.integers(0, 7), st.integers(0, 10**6))
def test_turned_copy_is_found_in_any_view(seed: int, view: int, noise_seed: int) -> None:
    picture = draw_thumbnail(seed)
    noise = np.random.default_rng(noise_seed).integers(-2, 3, picture.shape)
    copy = (turn_picture(picture, view).astype(int) + noise).clip(0, 255).astype(np.uint8)
    others = [draw_thumbnail(2_000_000 + number) for number in range(5)]
    assert (0, 6) in find_pairs([picture, *others, copy])


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_different_pictures_are_not_paired(seed: int, number: int) -> None:
    assert find_pairs([draw_thumbnail(seed * 20 + offset) for offset in range(number)]) == set()


def test_views_of_a_picture_are_eight() -> None:
    picture = draw_thumbnail(1)
    assert len({turn_picture(picture, view).tobytes() for view in range(8)}) == 8
    assert np.array_equal(turn_picture(picture, 0), picture)
    assert np.array_equal(turn_picture(picture, 1), picture[:, ::-1])
    assert np.array_equal(turn_picture(picture, 2), picture[::-1])
    assert np.array_equal(turn_picture(picture, 4), picture.T)
    stack = np.stack([picture, picture.T])
    assert np.array_equal(turn_picture(stack, 6)[1], turn_picture(picture.T, 6))


@pytest.mark.parametrize("photo", SAMPLES)
@pytest.mark.parametrize(
    "change",
    [
        lambda photo: decode_thumbnail(photo, "JPEG", quality=30),
        lambda photo: decode_thumbnail(photo.resize((160, 107)), "JPEG", quality=80),
        lambda photo: decode_thumbnail(ImageEnhance.Brightness(photo).enhance(1.15)),
        lambda photo: decode_thumbnail(ImageEnhance.Contrast(photo).enhance(0.8)),
        lambda photo: decode_thumbnail(photo.convert("L")),
        lambda photo: decode_thumbnail(photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "JPEG", quality=60),
        lambda photo: decode_thumbnail(photo.transpose(Image.Transpose.ROTATE_90).resize((200, 300))),
        lambda photo: decode_thumbnail(photo.convert("P", palette=Image.Palette.ADAPTIVE), "GIF"),
    ],
)
def test_photo_saved_anew_is_found(photo: Image.Image, change: object) -> None:
    assert (0, 1) in find_pairs([decode_thumbnail(photo), change(photo), draw_thumbnail(5)])  # type: ignore[operator]


def test_two_photos_of_different_things_stay_apart() -> None:
    assert find_pairs([decode_thumbnail(photo) for photo in SAMPLES]) == set()


def test_part_of_a_photo_is_another_photo() -> None:
    china = SAMPLES[0]
    assert find_pairs([decode_thumbnail(china), decode_thumbnail(china.crop((200, 100, 500, 400)))]) == set()


def test_blank_pictures_are_never_paired() -> None:
    blank = np.full((32, 32), 200, np.uint8)
    speck = blank.copy()
    speck[3, 3] = 203
    assert find_pairs([blank, blank, speck, speck, draw_thumbnail(1)]) == set()


@pytest.mark.parametrize("number", [0, 1])
def test_nothing_to_compare_gives_no_pairs(number: int) -> None:
    assert find_near_duplicates(np.zeros((number, 32, 32), np.uint8)).shape == (0, 2)
    assert find_near_duplicates(np.stack([draw_thumbnail(1)])[:number]).shape == (0, 2)


def test_crowd_of_copies_becomes_one_group() -> None:
    random = np.random.default_rng(0)
    picture = draw_thumbnail(3).astype(int)
    copies = [(picture + random.integers(-3, 4, picture.shape)).clip(0, 255).astype(np.uint8) for _ in range(150)]
    turned = [turn_picture(copy, number % 8) for number, copy in enumerate(copies)]
    thumbnails = np.stack([*turned, *(draw_thumbnail(100 + number) for number in range(20))])
    components = label_components(len(thumbnails), find_near_duplicates(thumbnails))
    assert len(set(components[:150])) == 1 and len(set(components)) == 21


def test_pairs_are_sorted_and_listed_once() -> None:
    picture = draw_thumbnail(7)
    pairs = find_near_duplicates(np.stack([picture, draw_thumbnail(8), picture, picture.T.copy()]))
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)


def test_order_of_the_photos_does_not_matter() -> None:
    thumbnails = [draw_thumbnail(number // 2) for number in range(20)]
    thumbnails[1::2] = [turn_picture(picture, number % 8) for number, picture in enumerate(thumbnails[1::2])]
    forward = find_pairs(thumbnails)
    backward = {(19 - second, 19 - first) for first, second in find_pairs(thumbnails[::-1])}
    assert forward == backward == {(number, number + 1) for number in range(0, 20, 2)}


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=15))
def test_components_are_what_edges_connect(edges: list[tuple[int, int]]) -> None:
    numbers = label_components(12, np.array(edges, np.int64).reshape(-1, 2))
    parent = list(range(12))

    def find(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for first, second in edges:
        parent[find(first)] = find(second)
    for first in range(12):
        for second in range(12):
            assert (numbers[first] == numbers[second]) == (find(first) == find(second))
