"""Commands, photo folders and finished training runs that several tests share."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import clownfish
from clownfish.cli import main
from clownfish.pipeline.demo import write_demo_photos
from pictures import draw_photo, encode, write_photo

RUN_FILES = {
    "model.onnx",
    "report.html",
    "report.json",
    "cross_validated.csv",
    "metrics.json",
    "photos.csv",
    "predictions.csv",
    "history.csv",
    "config.toml",
    "log.jsonl",
    "suspicious_labels.csv",
}


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str

    def read_json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.out)
        return content


Cli = Callable[..., Result]


def write_classes(root: Path, num_photos: Mapping[str, int], *, size: int = 24) -> Path:
    """One folder a class, so many photos each, all different; the same every time."""
    for label, number in num_photos.items():
        for position in range(number):
            seed = zlib.crc32(f"{label}/{position}".encode(errors="surrogateescape"))
            write_photo(root / label / f"{position:02}.png", draw_photo(size, size, seed=seed))
    return root


def write_table(path: Path, rows: list[Mapping[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV; a repeated column or a row of another length is an error."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert len(set(header)) == len(header)
    return [dict(zip(header, row, strict=True)) for row in rows]


def read_metrics(run: Path) -> dict[str, Any]:
    """The numbers of a run folder, without what may differ between two equal runs."""
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    del metrics["seconds"]
    return metrics


def make_command(*args: object) -> list[str]:
    """A command line that reacts to Ctrl-C even where the tests themselves run in the background."""
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);from clownfish.cli import main; main()"
    )
    return [sys.executable, "-c", script, *map(str, args)]


def kill_in_second_fold(process: "subprocess.Popen[Any]", checkpoints: Path, *, patience: float) -> None:
    """Kill a run that fine-tunes once its second fold has a checkpoint, or after so many seconds."""
    try:
        deadline = time.monotonic() + patience
        while not list(checkpoints.glob("*/fold-2/epoch-*.json")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()


def run_command(*args: object, timeout: float = 120, **environment: str) -> Result:
    """Run `clownfish ARGS` as a process of its own."""
    done = subprocess.run(
        make_command(*args),
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        env={**os.environ, "PYTHONUTF8": "1", **environment},
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Call `clownfish ARGS` in this process, in an empty folder and without helpers: quick."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")
    monkeypatch.delenv("CLOWNFISH_DEBUG", raising=False)

    def call(*args: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["clownfish", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert isinstance(stop.value.code, int)
        return Result(stop.value.code, captured.out, captured.err)

    return call


@pytest.fixture
def no_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in this process: quick."""
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")


@pytest.fixture(scope="session")
def shared_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared_cache")


@pytest.fixture
def shared_cache(shared_cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the cache that the runs below have filled."""
    monkeypatch.setenv("CLOWNFISH_CACHE", str(shared_cache_folder))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 handwritten digits, ten classes; do not change."""
    folder = tmp_path_factory.mktemp("digits") / "digits"
    write_demo_photos(folder, num_per_class=6)
    return folder


@pytest.fixture(scope="session")
def insects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 drawings in three classes, which hold nothing to learn; do not change."""
    return write_classes(tmp_path_factory.mktemp("insects") / "insects", {"ant": 8, "bee": 8, "cicada": 8})


@pytest.fixture(scope="session")
def messy_photos(tmp_path_factory: pytest.TempPathFactory, insects: Path) -> Path:
    """The insects with everything that real folders have: copies, conflicts, broken and foreign files."""
    root = tmp_path_factory.mktemp("messy") / "messy"
    shutil.copytree(insects, root)
    shutil.copy(root / "ant" / "00.png", root / "ant" / "copy.png")
    shutil.copy(root / "ant" / "01.png", root / "bee" / "stolen.png")
    with Image.open(root / "bee" / "02.png") as picture:
        write_photo(root / "cicada" / "alike.jpg", picture.copy(), quality=95)
    (root / "ant" / "empty.png").touch()
    (root / "ant" / "page.jpg").write_text("<html>not found</html>")
    (root / "bee" / "torn.png").write_bytes(encode(draw_photo(64, 64, seed=1))[:400])
    (root / "bee" / "notes.txt").write_text("seen at noon")
    write_photo(root / "loose.png", draw_photo(24, 24, seed=2))
    return root


@pytest.fixture(scope="session")
def digits_run(digits: Path, tmp_path_factory: pytest.TempPathFactory, shared_cache_folder: Path) -> clownfish.Run:
    """A finished training run on `digits`; do not change its folder."""
    return _train(digits, tmp_path_factory.mktemp("run") / "digits-1", shared_cache_folder)


@pytest.fixture(scope="session")
def messy_run(messy_photos: Path, tmp_path_factory: pytest.TempPathFactory, shared_cache_folder: Path) -> clownfish.Run:
    """A finished training run on `messy_photos`; do not change its folder."""
    return _train(messy_photos, tmp_path_factory.mktemp("run") / "messy-1", shared_cache_folder)


def _train(photos: Path, out: Path, cache: Path) -> clownfish.Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOWNFISH_CACHE", str(cache))
        patch.setenv("CLOWNFISH_WORKERS", "0")
        return clownfish.train(photos, out=out, quiet=True)
