"""`clownfish report`: the same page from the run folder alone."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clownfish
from clownfish.errors import RunFolderError
from runs import Cli


@pytest.fixture
def copied_run(messy_run: clownfish.Run, tmp_path: Path) -> Path:
    """A run folder without its report and far from its photos."""
    run = tmp_path / "elsewhere" / "messy-1"
    shutil.copytree(messy_run.path, run)
    (run / "report.html").unlink()
    return run


def read_page(path: Path) -> str:
    """Without the seconds: the first rendering cannot know how long it takes."""
    return re.sub(r"[\d.]+\u00a0s\b", "", path.read_text(encoding="utf-8"))


def test_report_is_rendered_again_from_the_run_folder_alone(
    cli: Cli, messy_run: clownfish.Run, copied_run: Path, tmp_path: Path
) -> None:
    result = cli("report", copied_run)
    assert (result.code, result.out, result.err) == (0, f"Report: {copied_run / 'report.html'}\n", "")
    assert read_page(copied_run / "report.html") == read_page(messy_run.report)
    assert cli("report", copied_run, "--out", tmp_path / "page.html", "--quiet").out == ""
    assert read_page(tmp_path / "page.html") == read_page(messy_run.report)


def test_report_replaces_nothing_but_a_page(cli: Cli, copied_run: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    result = cli("report", copied_run, "--out", tmp_path / "photo.jpg")
    assert (result.code, result.out) == (2, "")
    assert "photo.jpg exists already, and is no page of clownfish. Choose another place with --out." in result.err
    assert (tmp_path / "photo.jpg").read_bytes() == b"a photo"
    for _ in range(2):
        assert cli("report", copied_run, "--out", tmp_path / "page.html").code == 0


def test_report_takes_a_run(messy_run: clownfish.Run, tmp_path: Path) -> None:
    path = clownfish.render_report(messy_run, out=tmp_path / "page.html")
    assert path == tmp_path / "page.html"
    assert read_page(path) == read_page(messy_run.report)


def damage(run: Path, change: Callable[[dict[str, object]], object]) -> None:
    stored = json.loads((run / "report.json").read_text(encoding="utf-8"))
    change(stored)
    (run / "report.json").write_text(json.dumps(stored), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda stored: stored.pop("history"), "KeyError: 'history'"),
        (lambda stored: stored.update(pictures=["?"]), "Error: "),
        (lambda stored: stored.update(pictures=[]), "IndexError: "),
        (lambda stored: stored.update(history=[{}]), "TypeError: "),
        (lambda stored: stored.update(model="x"), "AttributeError: "),
    ],
)
def test_damaged_report_json_is_told(
    copied_run: Path, change: Callable[[dict[str, object]], object], found: str
) -> None:
    damage(copied_run, change)
    with pytest.raises(RunFolderError) as caught:
        clownfish.render_report(copied_run)
    assert str(caught.value).startswith(f"{copied_run / 'report.json'} does not hold a report (")
    assert found in str(caught.value)
    assert str(caught.value).endswith(f"Train again: clownfish train --config {copied_run / 'config.toml'}")
    assert not (copied_run / "report.html").exists()


def change_metrics(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    change(metrics)
    (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda metrics: metrics.pop("seconds"), "UndefinedError: "),
        (lambda metrics: metrics["cross_validated"]["accuracy"].update(low=1e308), "OverflowError: "),
    ],
)
def test_metrics_that_lack_something_are_told(
    copied_run: Path, change: Callable[[dict[str, Any]], object], found: str
) -> None:
    change_metrics(copied_run, change)
    with pytest.raises(RunFolderError, match=rf"report\.json does not hold a report \({found}.+\)\. Train again: "):
        clownfish.render_report(copied_run)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "maximum recursion depth"),
        ('{"schema": NaN}', r"NaN is no number in JSON\. Train again: "),
        (None, r"Is a directory\. Train again: "),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="the words of the system")
def test_metrics_that_are_no_json_are_told(cli: Cli, copied_run: Path, text: str | None, reason: str) -> None:
    (copied_run / "metrics.json").unlink()
    if text is None:
        (copied_run / "metrics.json").mkdir()
    else:
        (copied_run / "metrics.json").write_text(text, encoding="utf-8")
    result = cli("report", copied_run)
    assert (result.code, result.out) == (2, "")
    assert re.search(rf"metrics\.json cannot be read: {reason}", result.err)


def test_run_without_report_json_is_told(copied_run: Path) -> None:
    (copied_run / "report.json").unlink()
    with pytest.raises(RunFolderError, match=r"has no report\.json: it was made by an older clownfish"):
        clownfish.render_report(copied_run)


def test_report_json_that_is_no_json_is_told(copied_run: Path) -> None:
    (copied_run / "report.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"report\.json cannot be read: Expecting property name"):
        clownfish.render_report(copied_run)
    (copied_run / "report.json").write_text("[]", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"report\.json cannot be read: it holds no object"):
        clownfish.render_report(copied_run)
    (copied_run / "report.json").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(RunFolderError, match=r"report\.json cannot be read: .* can't decode"):
        clownfish.render_report(copied_run)


def test_folder_that_is_no_run_is_told(cli: Cli, tmp_path: Path) -> None:
    result = cli("report", tmp_path)
    assert result.code == 2
    assert f"{tmp_path} is no run folder: it has no metrics.json. Give a folder that clownfish train" in result.err
    assert cli("report", tmp_path / "nowhere").code == 2
