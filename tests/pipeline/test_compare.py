"""`clownfish compare`: runs side by side, and which differences are real."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clownfish
from clownfish.errors import ConfigError, RunFolderError
from runs import Cli, read_table

Rows = list[dict[str, str]]


def change_answers(run: Path, change: Callable[[Rows], None]) -> None:
    rows = read_table(run / "cross_validated.csv")
    change(rows)
    with (run / "cross_validated.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def twins(digits_run: clownfish.Run, tmp_path: Path) -> tuple[Path, Path]:
    """Two copies of one run."""
    folders = tmp_path / "one" / "digits-1", tmp_path / "other" / "digits-2"
    for folder in folders:
        shutil.copytree(digits_run.path, folder)
    return folders


def answer_all(right: bool) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        for row in rows:
            row["correct"] = "true" if right else "false"

    return change


def test_equal_runs_do_not_differ(cli: Cli, twins: tuple[Path, Path], tmp_path: Path) -> None:
    result = cli("compare", *twins, "--out", tmp_path / "page.html")
    assert (result.code, result.err) == (0, "")
    assert "digits-1 and digits-2 name the same photos right." in result.out
    assert f"Page: {tmp_path / 'page.html'}" in result.out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "name the same photos right" in page
    assert "All options are the same." in page
    assert "<script" not in page


def test_comparison_replaces_nothing_but_a_page(cli: Cli, twins: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    result = cli("compare", *twins, "--out", tmp_path / "photo.jpg")
    assert (result.code, result.out) == (2, "")
    assert "photo.jpg exists already, and is no page of clownfish. Choose another place with --out." in result.err
    assert (tmp_path / "photo.jpg").read_bytes() == b"a photo"
    for _ in range(2):
        assert cli("compare", *twins, "--out", tmp_path / "page.html").code == 0


def test_real_difference_is_told_with_its_interval(cli: Cli, twins: tuple[Path, Path]) -> None:
    change_answers(twins[0], answer_all(False))
    change_answers(twins[1], answer_all(True))
    pair = cli("compare", *twins, "--json").read_json()["pairs"][0]
    assert pair["is_real"]
    assert pair["adjusted_p"] < 1e-6
    assert pair["test"]["only_second"] == pair["test"]["num_photos"] == 60
    assert "is better than" in pair["sentence"]
    assert "by 100.0 points" in pair["sentence"]
    assert cli("compare", *twins, "--quiet").out == ""


def test_small_difference_is_called_chance(twins: tuple[Path, Path]) -> None:
    def flip_two(rows: Rows) -> None:
        for row in rows[:2]:
            row["correct"] = "false" if row["correct"] == "true" else "true"

    change_answers(twins[1], flip_two)
    found = clownfish.compare(*twins).pairs[0]
    assert not found.is_real
    assert found.sentence.startswith("No difference is shown between")


def test_copies_count_once_and_groups_stay_together(twins: tuple[Path, Path]) -> None:
    def put_into_one_group(rows: Rows) -> None:
        for row in rows:
            row.update(group="all", correct="true")

    change_answers(twins[0], answer_all(False))
    change_answers(twins[1], put_into_one_group)
    found = clownfish.compare(*twins).pairs[0]
    assert found.test is not None
    assert (found.test["num_groups"], found.is_real) == (1, False)


def test_runs_that_share_no_photo_or_label_are_told(
    twins: tuple[Path, Path], messy_run: clownfish.Run, tmp_path: Path
) -> None:
    def relabel(rows: Rows) -> None:
        rows[0]["label"] = "heron"

    change_answers(twins[1], relabel)
    found = clownfish.compare(*twins, messy_run, out=tmp_path / "page.html")
    assert [pair.test is None for pair in found.pairs] == [False, True, True]
    assert "share no photo, so nothing can be said" in found.pairs[1].sentence
    assert "Some runs share no photo with the same label; between these nothing can be tested." in found.messages
    assert "Up to 1 shared photos carry other labels in another run, and are left out." in found.messages
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Options that differ" in page
    assert "cicada" in page


def test_runs_with_other_groups_are_warned_of(cli: Cli, twins: tuple[Path, Path]) -> None:
    config = twins[1] / "config.toml"
    config.write_text(
        config.read_text(encoding="utf-8").replace('group_by = ""', 'group_by = "site"'), encoding="utf-8"
    )
    assert "The runs were grouped differently (groups that were found, site)" in cli("compare", *twins).out


def test_runs_of_one_name_are_told_apart_by_their_paths(digits_run: clownfish.Run, tmp_path: Path) -> None:
    shutil.copytree(digits_run.path, tmp_path / digits_run.path.name)
    found = clownfish.compare(digits_run, tmp_path / digits_run.path.name)
    assert [run.name for run in found.runs] == [str(digits_run.path), str(tmp_path / digits_run.path.name)]


def test_hostile_names_are_text(twins: tuple[Path, Path], tmp_path: Path) -> None:
    hostile = tmp_path / "<script>alert(1)<"
    twins[1].rename(hostile)
    clownfish.compare(twins[0], hostile, out=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize("count", [1, 2])
def test_one_run_is_nothing_to_compare(digits_run: clownfish.Run, count: int) -> None:
    with pytest.raises(ConfigError, match=r"at least two runs are needed, each given once; got .*digits-1"):
        clownfish.compare(*[digits_run] * count)


def test_table_that_lacks_columns_is_told(twins: tuple[Path, Path]) -> None:
    (twins[1] / "cross_validated.csv").write_text("file,label\na,b\n", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"cross_validated\.csv cannot be read: it needs rows with the columns"):
        clownfish.compare(*twins)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda metrics: metrics.clear(), "KeyError: 'cross_validated'"),
        (lambda metrics: metrics.pop("seconds"), "KeyError: 'seconds'"),
        (lambda metrics: metrics.update(cross_validated=[]), "TypeError: "),
        (lambda metrics: metrics["cross_validated"].update(per_class="x"), "TypeError: "),
        (lambda metrics: metrics["cross_validated"]["accuracy"].update(value="x"), "ValueError: "),
    ],
)
def test_metrics_that_lack_something_are_told(
    twins: tuple[Path, Path], change: Callable[[dict[str, Any]], object], found: str
) -> None:
    path = twins[1] / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    change(metrics)
    path.write_text(json.dumps(metrics), encoding="utf-8")
    with pytest.raises(
        RunFolderError, match=r"metrics\.json cannot be read: it does not hold what clownfish train"
    ) as told:
        clownfish.compare(*twins)
    assert found in str(told.value)


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (lambda text: text[: text.rindex("\n", 0, -1) + 1], r"it is not whole; metrics\.json tells of 60 photos"),
        (lambda text: text[: text.rindex(",", 0, -1) - 3], "it is not whole"),
        (lambda text: text + "\0\n", "line contains NUL|it is not whole"),
    ],
    ids=["rows", "cells", "NUL"],
)
def test_table_that_is_not_whole_is_told(twins: tuple[Path, Path], cut: Callable[[str], str], reason: str) -> None:
    path = twins[1] / "cross_validated.csv"
    path.write_text(cut(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RunFolderError, match=rf"cross_validated\.csv cannot be read: ({reason}).*Train again: "):
        clownfish.compare(*twins)


def test_photos_with_other_labels_are_not_called_other_photos(twins: tuple[Path, Path]) -> None:
    def relabel(rows: Rows) -> None:
        for row in rows:
            row["label"] = "heron"

    change_answers(twins[1], relabel)
    assert "share no photo with the same label, so nothing can be said" in clownfish.compare(*twins).pairs[0].sentence
