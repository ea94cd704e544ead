import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clownfish import images
from clownfish.backbones import load_backbone
from clownfish.compute import WorkerFailure
from clownfish.errors import OutputError
from clownfish.features import extract
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import (
    extract_features,
    extract_from_pixels,
    extract_upside_down,
    extract_views,
    keep_rows,
    make_session,
    write_pixels,
)
from clownfish.features.inspection import inspect_photo
from clownfish.features.previews import load_previews
from clownfish.images import AUGMENTED_VIEWS, Preprocessing
from clownfish.records import Backbone, Photo, PhotoFile
from pictures import draw_photo, encode, write_photo

PREPROCESSING = Preprocessing(size=224)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(feature_set="last_layer")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[FeatureCache]:
    cache = FeatureCache(tmp_path / "cache")
    yield cache
    cache.close()


@pytest.fixture
def photos(tmp_path: Path) -> list[PhotoFile]:
    """Six good photos of three kinds, one of no use, one refused."""
    paths = [
        write_photo(tmp_path / "photos" / f"{number}{ending}", draw_photo(50, 40, seed=number))
        for number, ending in enumerate([".jpg", ".png", ".jpg", ".webp", ".png", ".jpg"])
    ]
    (tmp_path / "photos" / "text.jpg").write_bytes(b"<html>")
    paths.insert(2, tmp_path / "photos" / "text.jpg")
    files = [PhotoFile(file=path.name, path=str(path), label="a") for path in paths]
    return [*files[:4], PhotoFile(file="link.jpg", path="", label="a", refusal="a link that leads nowhere"), *files[4:]]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The photos that are really decoded, by hash of their bytes; all work happens in this process."""
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")
    seen: list[str] = []
    decode = images.decode_photo

    def note_and_decode(data: bytes, *arguments: Any, **options: Any) -> Any:
        seen.append(Image.open(io.BytesIO(data)).format or "" if data[:5] != b"<html" else "html")
        return decode(data, *arguments, **options)

    monkeypatch.setattr(images, "decode_photo", note_and_decode)
    return seen


def test_features_are_those_of_the_network(backbone: Backbone, cache: FeatureCache, photos: list[PhotoFile]) -> None:
    inspections, values = extract_features(photos, backbone, PREPROCESSING, cache)
    usable = [photo for photo, inspection in zip(photos, inspections, strict=True) if inspection.usable]
    assert values.shape == (6, 1280) and len(usable) == 6
    session = make_session(backbone.onnx)
    for photo, row in zip(usable, values, strict=True):
        pixels = images.decode_photo(Path(photo.path).read_bytes(), PREPROCESSING).pixels
        assert np.array_equal(session.run(["features"], {"image": pixels[None]})[0][0], row)


def test_every_photo_is_inspected_in_its_place(
    backbone: Backbone, cache: FeatureCache, photos: list[PhotoFile]
) -> None:
    calls: list[None] = []
    inspections, _ = extract_features(photos, backbone, PREPROCESSING, cache, on_photo=lambda: calls.append(None))
    assert len(inspections) == len(photos) == len(calls) == 8
    notes = [inspection.note for inspection in inspections]
    assert notes[2] == "not a photo: the file holds a web page or other text"
    assert notes[4] == "a link that leads nowhere"
    assert [note for position, note in enumerate(notes) if position not in (2, 4)] == [""] * 6
    assert inspections[4].content_hash == "" and inspections[2].content_hash != ""
    assert (inspections[0].width, inspections[0].height) == (50, 40)
    assert [inspection.usable for inspection in inspections].count(True) == 6


def test_second_run_decodes_nothing(
    backbone: Backbone, cache: FeatureCache, photos: list[PhotoFile], decoded: list[str]
) -> None:
    first, values = extract_features(photos, backbone, PREPROCESSING, cache)
    assert sorted(decoded) == ["JPEG"] * 3 + ["PNG"] * 2 + ["WEBP", "html"]
    decoded.clear()
    second, again = extract_features(photos, backbone, PREPROCESSING, cache)
    assert decoded == ["html"]  # what is of no use today may be of use with another extra or a newer Pillow
    assert np.array_equal(values, again)
    for one, two in zip(first, second, strict=True):
        assert replace(one, thumbnail=None, colours=None) == replace(two, thumbnail=None, colours=None)
        for ours, theirs in ((one.thumbnail, two.thumbnail), (one.colours, two.colours)):
            assert (ours is None and theirs is None) or np.array_equal(ours, theirs)  # type: ignore[arg-type]
    assert (first[0].format, first[0].mode) == ("JPEG", "RGB") and first[0].num_bytes > 0


def test_cache_survives_into_a_later_process(
    backbone: Backbone, tmp_path: Path, photos: list[PhotoFile], decoded: list[str]
) -> None:
    for expected in (7, 1):
        decoded.clear()
        cache = FeatureCache(tmp_path / "kept")
        extract_features(photos, backbone, PREPROCESSING, cache)
        cache.close()
        assert len(decoded) == expected


def test_moved_and_renamed_photos_hit(
    backbone: Backbone, cache: FeatureCache, photos: list[PhotoFile], decoded: list[str], tmp_path: Path
) -> None:
    _, values = extract_features(photos[:2], backbone, PREPROCESSING, cache)
    decoded.clear()
    moved = [Path(photo.path).rename(tmp_path / f"new name {photo.file}") for photo in photos[:2]]
    files = [PhotoFile(file=path.name, path=str(path), label="b") for path in moved]
    assert np.array_equal(extract_features(files, backbone, PREPROCESSING, cache)[1], values)
    assert decoded == []


def test_anything_that_changes_the_features_misses(
    backbone: Backbone, cache: FeatureCache, photos: list[PhotoFile], decoded: list[str]
) -> None:
    one = photos[:1]
    extract_features(one, backbone, PREPROCESSING, cache)
    decoded.clear()
    extract_features(one, backbone, Preprocessing(size=224, resize="crop"), cache)
    extract_features(one, backbone, PREPROCESSING, cache, view="mirrored")
    extract_features(one, load_backbone(), PREPROCESSING, cache)
    write_photo(Path(one[0].path), draw_photo(50, 40, seed=99))
    extract_features(one, backbone, PREPROCESSING, cache)
    assert len(decoded) == 4


def test_damaged_cache_row_is_computed_anew(
    backbone: Backbone,
    cache: FeatureCache,
    photos: list[PhotoFile],
    decoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, values = extract_features(photos, backbone, PREPROCESSING, cache)
    decoded.clear()
    cache._write([("UPDATE entries SET features = zeroblob(5120)", [()])])
    assert np.array_equal(extract_features(photos, backbone, PREPROCESSING, cache)[1], values)
    assert len(decoded) == 6 + 1  # the unusable one always


def test_run_is_the_same_to_the_bit_with_and_without_helpers(
    backbone: Backbone, tmp_path: Path, photos: list[PhotoFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for workers in ("0", "1", "2"):
        monkeypatch.setenv("CLOWNFISH_WORKERS", workers)
        cache = FeatureCache(tmp_path / workers)
        found.append(extract_features(photos, backbone, PREPROCESSING, cache)[1].tobytes())
        cache.close()
    assert found[0] == found[1] == found[2]


def test_cache_out_of_order_does_not_stop_the_run(backbone: Backbone, tmp_path: Path, photos: list[PhotoFile]) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file" / "cache")
    for _ in range(2):
        assert extract_features(photos, backbone, PREPROCESSING, cache)[1].shape == (6, 1280)
    assert "cannot be used" in cache.warning


def test_failure_of_a_helper_is_told_but_not_kept(
    backbone: Backbone, cache: FeatureCache, photos: list[PhotoFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(items: Any, *, function: str, finish: Any, helpers: Any) -> Any:
        for index, item in enumerate(items):
            result = finish(item, WorkerFailure("decoding took longer than 20 seconds"))
            yield type("Outcome", (), {"index": index, "result": result})

    with monkeypatch.context() as patch:
        patch.setattr(extract, "run_in_workers", fail)
        inspections, values = extract_features(photos[:1], backbone, PREPROCESSING, cache)
    assert values.shape == (0, 1280)
    assert inspections[0].note == "decoding took longer than 20 seconds" and not inspections[0].usable
    inspections, values = extract_features(photos[:1], backbone, PREPROCESSING, cache)
    assert inspections[0].usable and values.shape == (1, 1280)


def test_no_photos_give_no_features(backbone: Backbone, cache: FeatureCache) -> None:
    inspections, values = extract_features([], backbone, PREPROCESSING, cache)
    assert inspections == [] and values.shape == (0, 1280)


def test_views_stand_beside_the_whole_photo(
    backbone: Backbone, cache: FeatureCache, photos: list[PhotoFile], decoded: list[str]
) -> None:
    good = photos[:2]
    _, features = extract_features(good, backbone, PREPROCESSING, cache)
    views = extract_views(good, features, backbone, PREPROCESSING, cache)
    assert views.shape == (2, len(AUGMENTED_VIEWS), 1280)
    for number, view in enumerate(AUGMENTED_VIEWS):
        assert np.array_equal(views[:, number], extract_features(good, backbone, PREPROCESSING, cache, view=view)[1])
        assert not np.array_equal(views[:, number], features)
    decoded.clear()
    assert np.array_equal(extract_views(good, features, backbone, PREPROCESSING, cache), views)
    assert decoded == []


def test_what_the_network_was_shown_can_be_turned_without_reading_again(
    backbone: Backbone, cache: FeatureCache, photos: list[PhotoFile], decoded: list[str], tmp_path: Path
) -> None:
    kept: dict[str, np.ndarray] = {}
    inspections, _ = extract_features(photos, backbone, PREPROCESSING, cache, keep=kept)
    usable = [inspection for inspection in inspections if inspection.usable]
    assert set(kept) == {inspection.content_hash for inspection in usable}
    decoded.clear()
    calls: list[None] = []
    turned = extract_upside_down(usable, kept, backbone, PREPROCESSING, cache, on_photo=lambda: calls.append(None))
    again = extract_features(photos, backbone, PREPROCESSING, cache, view="upside_down")[1]
    assert decoded == ["html"]  # which is no photo, and so is in no cache
    assert len(calls) == len(usable)
    assert np.array_equal(turned, again)
    with closing(FeatureCache(tmp_path / "other")) as empty:
        afresh = extract_features(photos, backbone, PREPROCESSING, empty, view="upside_down")[1]
    assert np.array_equal(turned, afresh)


def test_view_that_fails_is_replaced_by_the_photo(
    backbone: Backbone, cache: FeatureCache, photos: list[PhotoFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")
    good = photos[:2]
    _, features = extract_features(good, backbone, PREPROCESSING, cache)
    Path(good[1].path).unlink()
    views = extract_views(good, features, backbone, PREPROCESSING, cache)
    assert np.array_equal(views[1], np.repeat(features[1:], 3, axis=0))
    assert not np.array_equal(views[0, 0], features[0])


def test_rows_are_kept_in_place() -> None:
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    expected = values[[0, 2, 5]].copy()
    kept = keep_rows(values, np.array([0, 2, 5]))
    assert np.array_equal(kept, expected) and np.shares_memory(kept, values)


def make_request(path: Path, cache: str = "") -> dict[str, Any]:
    return {"path": str(path), "size": 32, "resize": "stretch", "view": "whole", "cache": cache, "key": "key"}


def test_cache_that_cannot_be_read_does_not_stop_a_helper(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.png", draw_photo(20, 20))
    (tmp_path / "not a database").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    for cache in (tmp_path / "none.sqlite", tmp_path / "not a database", tmp_path):
        assert inspect_photo(make_request(path, str(cache)))["pixels"].shape == (32, 32, 3)


def test_previews_are_made_once(tmp_path: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photo(tmp_path / "a.png", draw_photo(400, 300))
    photos = [make_catalogued(tmp_path / "a.png", "aa"), make_catalogued(tmp_path / "gone.png", "bb")]
    previews = load_previews(photos, cache)
    assert Image.open(io.BytesIO(previews["aa"])).size == (160, 120)
    assert previews["bb"] == b""
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")
    monkeypatch.setattr("clownfish.features.previews.make_preview", lambda path: b"anew")
    assert load_previews(photos, cache) == {"aa": previews["aa"], "bb": b"anew"}


def make_catalogued(path: Path, content_hash: str) -> Photo:
    return Photo(
        file=path.name,
        path=str(path),
        label="a",
        columns={},
        content_hash=content_hash,
        group="",
        width=1,
        height=1,
        status="used",
        note="",
    )


def test_sample_photos_are_told_apart(backbone: Backbone, cache: FeatureCache, tmp_path: Path) -> None:
    from sklearn.datasets import load_sample_images

    china, flower = load_sample_images().images
    variants = {"china": china, "china again": china[20:, 30:], "flower": flower, "flower again": flower[20:, 30:]}
    files = []
    for name, pixels in variants.items():
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(encode(pixels, "JPEG"))
        files.append(PhotoFile(file=path.name, path=str(path), label=name))
    _, values = extract_features(files, backbone, PREPROCESSING, cache)
    likeness = np.corrcoef(values)
    assert min(likeness[0, 1], likeness[2, 3]) > max(likeness[0, 2], likeness[0, 3], likeness[1, 2]) + 0.3


def test_features_from_stored_pixels_are_those_from_files(
    photos: list[PhotoFile], backbone: Backbone, cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")
    good = [photo for photo in photos if photo.file not in ("text.jpg", "link.jpg")]
    _, expected = extract_features(good, backbone, PREPROCESSING, cache)
    seen: list[None] = []
    path = tmp_path / "work" / "pixels.npy"
    assert write_pixels(good, PREPROCESSING, path, on_photo=lambda: seen.append(None)) == []
    pixels = np.load(path, mmap_mode="r")
    found = extract_from_pixels(pixels, np.array([0, 3, 4]), backbone, on_photo=lambda: seen.append(None))
    np.testing.assert_array_equal(found[[0, 3, 4]], expected[[0, 3, 4]])
    assert not found[[1, 2, 5]].any()
    assert len(seen) == 6 + 3


def test_a_photo_that_cannot_be_read_is_grey_and_named(
    photos: list[PhotoFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")
    path = tmp_path / "pixels.npy"
    assert write_pixels(photos[:3], PREPROCESSING, path) == [2]
    assert (np.load(path)[2] == 128).all()


def test_too_little_disk_for_pixels_is_said_before_the_work(
    photos: list[PhotoFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = extract.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(extract.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OutputError, match=r"0.0 GB are needed, and less is free"):
        write_pixels(photos[:1], PREPROCESSING, tmp_path / "pixels.npy")
    assert not (tmp_path / "pixels.npy").exists()
