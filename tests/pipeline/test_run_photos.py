import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import clownfish
from clownfish.pipeline.run import Run
from clownfish.pipeline.run_photos import find_run_photos
from runs import read_table, write_table


def test_photos_of_a_run_are_found_with_their_parts(digits_run: Run) -> None:
    found = find_run_photos(digits_run.path)
    parts = Counter(photo.part for photo in found)
    assert parts == {part: digits_run.metrics["num_photos"][part] for part in ("train", "validation", "test")}
    rows = {row["file"]: row for row in read_table(digits_run.path / "photos.csv")}
    for photo in found:
        row = rows[photo.photo.file]
        assert (photo.photo.label, photo.part, photo.group) == (row["label"], row["split"], row["group"])
        assert Path(photo.photo.path).is_file()


@pytest.mark.usefixtures("shared_cache", "no_helpers")
def test_labels_are_the_corrected_ones_and_odd_names_are_found(insects: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(insects, photos)
    (photos / "ant" / "01.png").rename(photos / "ant" / "=1, été.png")
    (photos / "ant").rename(photos / "=ant")
    rows = [{"file": "=ant/02.png", "old": "=ant", "new": "bee", "reason": "seen again"}]
    corrections = write_table(tmp_path / "corrections.csv", rows)
    run = clownfish.train(photos, out=tmp_path / "run", corrections=corrections, epochs=1, fast=True, quiet=True)
    found = {photo.photo.file: photo.photo.label for photo in find_run_photos(run.path)}
    assert len(found) == 24
    assert (found["=ant/02.png"], found["=ant/=1, été.png"]) == ("bee", "=ant")


def test_photos_that_are_gone_and_folders_that_are_no_run_give_none(digits_run: Run, tmp_path: Path) -> None:
    assert find_run_photos(tmp_path) == []
    moved = tmp_path / "moved"
    shutil.copytree(digits_run.path, moved)
    config = moved / "config.toml"
    config.write_text(config.read_text(encoding="utf-8").replace("digits", "gone"), encoding="utf-8")
    assert find_run_photos(moved) == []


def test_photo_that_was_written_over_or_is_gone_has_changed(digits_run: Run, tmp_path: Path) -> None:
    photo = find_run_photos(digits_run.path)[0]
    assert photo.is_unchanged()
    other = tmp_path / "other.png"
    other.write_bytes(Path(photo.photo.path).read_bytes() + b" ")
    assert not replace(photo, photo=replace(photo.photo, path=str(other))).is_unchanged()
    assert not replace(photo, photo=replace(photo.photo, path=str(tmp_path / "gone.png"))).is_unchanged()
