import csv
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clownfish.errors import OutputError
from clownfish.files import (
    check_free,
    check_writable,
    encode_text,
    find_free_folder,
    format_cell,
    format_table,
    name_columns,
    write_file,
    write_folder,
    write_numbered_folder,
    write_page,
)


def test_file_is_written_with_its_folders(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b.txt", b"one")
    write_file(tmp_path / "a" / "b.txt", b"two")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"two"
    assert os.listdir(tmp_path / "a") == ["b.txt"]


def test_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken" / "full").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"Cannot write .*taken: .+\. Choose another place\."):
        write_file(tmp_path / "taken", b"data")
    assert os.listdir(tmp_path) == ["taken"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize(
    "use", [lambda path: write_file(path, b"data"), lambda path: write_page(path, b"data"), check_writable]
)
def test_what_is_no_file_is_not_replaced(tmp_path: Path, use: Callable[[Path], None]) -> None:
    """As root, a device such as /dev/null would be gone for everybody."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        OutputError, match=r"Cannot write .*pipe: it is not a file that can be replaced\. Choose another"
    ):
        use(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


def test_page_replaces_pages_only(tmp_path: Path) -> None:
    head = b"<!DOCTYPE html>" + b" " * 200
    write_page(tmp_path / "page.html", head + b"one")
    write_page(tmp_path / "page.html", head + b"two")
    assert (tmp_path / "page.html").read_bytes() == head + b"two"
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    with pytest.raises(
        OutputError, match=r"photo\.jpg exists already, and is no page of clownfish\. Choose another place"
    ):
        write_page(tmp_path / "photo.jpg", head)
    assert (tmp_path / "photo.jpg").read_bytes() == b"a photo"
    with pytest.raises(OutputError, match=r"Cannot write .*: File name too long\. Choose another place\."):
        write_page(tmp_path / ("x" * 300), head)


def test_folder_is_written_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "runs" / "one", {"a.txt": b"1", "b.bin": b"\0"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "runs" / "one").iterdir()} == {
        "a.txt": b"1",
        "b.bin": b"\0",
    }
    assert os.listdir(tmp_path / "runs") == ["one"]


def test_folder_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(OutputError, match=r"run exists already\. Choose another place with --out, or remove it\."):
        write_folder(tmp_path / "run", {"a": b""})
    assert os.listdir(tmp_path) == ["run"] and not os.listdir(tmp_path / "run")


def test_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file.run exists already|Cannot write .*run: .+ Choose another place"):
        write_folder(tmp_path / "file" / "run", {"a": b""})


def test_folder_whose_writing_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*run: .+\. Choose another place with --out\."):
        write_folder(tmp_path / "run", {"a": b"1", "no/such/folder": b"2"})
    assert os.listdir(tmp_path) == []


def test_leftovers_of_killed_runs_are_removed_when_old(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".partial-old", tmp_path / ".partial-fresh"
    for folder in (old, fresh):
        folder.mkdir()
        (folder / "model.onnx").touch()
    os.utime(old, (time.time() - 7200,) * 2)
    write_folder(tmp_path / "run", {})
    assert sorted(os.listdir(tmp_path)) == [".partial-fresh", "run"]


def test_free_folder_counts_up(tmp_path: Path) -> None:
    assert find_free_folder(tmp_path / "absent" / "ants") == tmp_path / "absent" / "ants-1"
    for number in (1, 2, 4):
        (tmp_path / f"ants-{number}").mkdir()
    assert find_free_folder(tmp_path / "ants") == tmp_path / "ants-3"


def test_folder_taken_meanwhile_gets_the_next_number(tmp_path: Path) -> None:
    (tmp_path / "red-ants-1").mkdir()
    assert write_numbered_folder(tmp_path / "red-ants-1", {"a": b"1"}) == tmp_path / "red-ants-2"
    assert sorted(os.listdir(tmp_path)) == ["red-ants-1", "red-ants-2"]


def test_numbered_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Choose another place with --out"):
        write_numbered_folder(tmp_path / "file" / "ants-1", {"a": b"1"})


def test_free_place_is_left_free(tmp_path: Path) -> None:
    check_free(tmp_path / "deep" / "run")
    assert os.listdir(tmp_path) == ["deep"] and not os.listdir(tmp_path / "deep")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root, r"exists already\. Choose another place with --out, or remove it\."),
        (lambda root: root / "file" / "run", r"Cannot write .*: .+\. Choose another place with --out\."),
        (lambda root: root / ("x" * 300), r"Cannot write .*: File name too long\. Choose another place with --out\."),
    ],
    ids=["taken", "below a file", "too long"],
)
def test_place_that_cannot_be_used_is_refused_early(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=message):
        check_free(make(tmp_path))


@pytest.mark.parametrize("name", ["file/table.csv", "x" * 300], ids=["below a file", "too long"])
def test_file_that_cannot_be_written_is_refused_early(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"Cannot write .*: .+\. Choose another place with --out\."):
        check_writable(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission_is_refused_early(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="Cannot write .*: Permission denied"):
        check_free(tmp_path / "locked" / "run")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (1 / 3, "0.333333"),
        (1.0, "1"),
        (1e-9, "1e-09"),
        ("plain", "plain"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        (-1.5, "-1.5"),
        ("two\nlines\r", "two\\nlines\\r"),
    ],
)
def test_cell_format(cell: object, text: str) -> None:
    assert format_cell(cell) == text


CELLS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1)))
def test_table_reads_back_as_written(rows: list[list[object]]) -> None:
    header = [f"column {number}" for number in range(len(rows[0]))]
    data = format_table(header, rows)
    assert data.count(b"\n") == len(rows) + 1 and b"\r" not in data
    found = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert found == [header, *[[format_cell(cell) for cell in row] for row in rows]]


@given(st.text())
def test_text_never_starts_a_formula(text: str) -> None:
    assert not format_cell(text).startswith(("=", "+", "-", "@", "\t"))


def test_bytes_that_are_no_text_are_written_as_escapes() -> None:
    assert encode_text(os.fsdecode(b"caf\xe9.jpg") + "é") == "caf\\udce9.jpgé".encode()


def test_class_columns_keep_their_names_where_they_can() -> None:
    assert name_columns(["ant", "bee"], ["file", "label"]) == ["ant", "bee"]
    assert name_columns(["label", "class label", "file"], ["file", "label"]) == [
        "class class label",
        "class label",
        "class file",
    ]


NAMES = st.sampled_from(["a", "b", "class a", "class b", "class class a", "class class class a"])


@given(st.lists(NAMES, unique=True), st.lists(NAMES, unique=True))
def test_class_columns_never_collide(classes: list[str], fixed: list[str]) -> None:
    names = name_columns(classes, fixed)
    assert len({*names, *fixed}) == len(names) + len(fixed)
    assert all(name.endswith(label) for name, label in zip(names, classes, strict=True))
