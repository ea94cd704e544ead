"""Runs that are killed, interrupted, or started twice at once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from runs import RUN_FILES, make_command, read_metrics, run_command, write_classes

NUM_KILLS = 15
PATIENCE_SECONDS = 30.0
"""How long to wait for what takes a moment; never reached unless something is wrong."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "photos", {"ant": 6, "bee": 6}, size=48)


@contextmanager
def start(*args: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a group of processes of its own, as a shell does."""
    process = subprocess.Popen(
        make_command(*args),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "CLOWNFISH_WORKERS": "2", **environment},
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def list_helpers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for_helpers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        helpers = list_helpers(process)
        if len(helpers) == 2:
            return helpers
        time.sleep(0.002)
    raise AssertionError("no helper processes")


def wait_until_idle(helpers: list[psutil.Process]) -> None:
    deadline, before = time.monotonic() + PATIENCE_SECONDS, -1.0
    while time.monotonic() < deadline:
        spent = sum(helper.cpu_times().user for helper in helpers)
        if spent == before > 0:
            return
        before = spent
        time.sleep(1)
    raise AssertionError("the helper processes are never idle")


def assert_gone(helpers: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(helpers, timeout=PATIENCE_SECONDS)
    assert not alive


@pytest.mark.slow
def test_killed_training_leaves_nothing_half_done(photos: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    undisturbed = run_command("train", photos, "--out", tmp_path / "undisturbed", "--quiet", CLOWNFISH_WORKERS="2")
    duration = time.monotonic() - began
    assert undisturbed.code == 0, undisturbed.err
    expected = read_metrics(tmp_path / "undisturbed")
    draw = random.Random(20)
    num_killed = 0
    for number in range(NUM_KILLS):
        out = tmp_path / "runs" / f"killed-{number}"
        cache = tmp_path / f"cache-{number % 5}"  # three kills each, the first one of an empty cache
        # drawn from each fifteenth of the duration, so that every stage gets its share
        delay = duration * (number + draw.random()) / NUM_KILLS
        with start("train", photos, "--out", out, "--quiet", CLOWNFISH_CACHE=str(cache)) as process:
            time.sleep(delay)
            helpers = list_helpers(process)
            num_killed += process.poll() is None
            process.kill()
        assert_gone(helpers)
        if out.exists():
            assert {path.name for path in out.iterdir()} == RUN_FILES
            assert read_metrics(out) == expected
    assert num_killed > NUM_KILLS // 2
    for number in range(5):
        out = tmp_path / "after" / str(number)
        if number in (0, 4):  # the caches after the earliest and after the latest kills
            done = run_command(
                "train", photos, "--out", out, "--quiet", CLOWNFISH_CACHE=str(tmp_path / f"cache-{number}")
            )
            assert (done.code, done.out, done.err) == (0, "", "")
            assert read_metrics(out) == expected


@pytest.mark.parametrize("whom", ["process", "group"])
def test_interrupted_training_says_so_and_leaves_no_run(photos: Path, tmp_path: Path, whom: str) -> None:
    with start("train", photos, "--out", tmp_path / "run", "--epochs", 10_000, "--patience", 10_000) as process:
        helpers = wait_for_helpers(process)
        if whom == "group":  # what Ctrl-C in a terminal does
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "Interrupted. Nothing is half-written; the same command goes on where it was."
    assert sorted(os.listdir(tmp_path)) == ["photos"]
    assert_gone(helpers)


@pytest.mark.parametrize("is_ignored", [False, True])
def test_interruption_while_the_program_is_imported_shows_no_traceback(tmp_path: Path, is_ignored: bool) -> None:
    """A click that takes its time stands in for a slow disk."""
    (tmp_path / "click.py").write_text(
        "import time; print('importing', flush=True); time.sleep(1); raise SystemExit(7)"
    )
    handler = "SIG_IGN" if is_ignored else "default_int_handler"
    script = (
        f"import signal; signal.signal(signal.SIGINT, signal.{handler}); from clownfish.__main__ import main; main()"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    if is_ignored:  # as `nohup` or a shell's background asks
        assert (process.returncode, err) == (7, "")
    else:
        assert (process.returncode, err) == (130, "\nInterrupted. Nothing was begun.\n")


def test_training_is_interrupted_in_its_numerical_part_too(photos: Path, tmp_path: Path) -> None:
    command = ("train", photos, "--out", tmp_path / "run", "--epochs", 10_000, "--patience", 10_000)
    with start(*command) as process:
        wait_until_idle(wait_for_helpers(process))  # the photos are read then
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "Interrupted. Nothing is half-written; the same command goes on where it was."
    assert not (tmp_path / "run").exists()


def test_two_trainings_at_once_share_a_cache(photos: Path, tmp_path: Path) -> None:
    with start("train", photos, "--out", tmp_path / "a") as one, start("train", photos, "--out", tmp_path / "b") as two:
        for process in (one, two):
            _, err = process.communicate(timeout=4 * PATIENCE_SECONDS)
            assert (process.returncode, err) == (0, "")
    assert read_metrics(tmp_path / "a") == read_metrics(tmp_path / "b")


def test_two_trainings_at_once_get_runs_of_their_own(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with start("train", photos, "--json") as one, start("train", photos, "--json") as two:
        for process in (one, two):
            _, err = process.communicate(timeout=4 * PATIENCE_SECONDS)
            assert (process.returncode, err) == (0, "")
    assert sorted(os.listdir("runs")) == ["photos-1", "photos-2"]
    for name in ("photos-1", "photos-2"):
        assert set(os.listdir(Path("runs") / name)) == RUN_FILES
