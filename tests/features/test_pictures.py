import hashlib
from pathlib import Path

import numpy as np
import pytest

from clownfish.features.cache import FeatureCache
from clownfish.features.pictures import load_pictures, make_picture_reply
from clownfish.images import Preprocessing, decode_photo
from pictures import draw_photo, write_photo


@pytest.fixture
def place(tmp_path: Path) -> tuple[str, str]:
    """Content hash and path of a photo."""
    path = write_photo(tmp_path / "a.png", draw_photo(90, 70, seed=1))
    return hashlib.sha256(path.read_bytes()).hexdigest(), str(path)


def test_picture_that_is_not_kept_is_made_and_then_kept(tmp_path: Path, place: tuple[str, str]) -> None:
    cache = FeatureCache(tmp_path / "cache")
    loaded = load_pictures([place], cache)
    expected = decode_photo(Path(place[1]).read_bytes(), Preprocessing(size=32)).looks.picture
    assert loaded.shape == (1, 64, 64) and np.array_equal(loaded[0], expected)
    Path(place[1]).unlink()
    assert np.array_equal(load_pictures([place], cache), loaded)
    cache.close()


def test_lost_or_changed_photo_has_a_black_picture(place: tuple[str, str], tmp_path: Path) -> None:
    assert make_picture_reply({"hash": "other", "path": place[1]}) == {}
    cache = FeatureCache(tmp_path / "cache")
    assert load_pictures([("ab", str(tmp_path / "none.jpg"))], cache).max() == 0
    cache.close()
