import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from clownfish.errors import ConfigError
from clownfish.features.cache import (
    DEFAULT_MAX_BYTES,
    Entry,
    FeatureCache,
    find_cache_folder,
    find_entry,
    find_max_bytes,
)
from clownfish.records import Inspection

needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and limits of Linux")

WRITER = """
import sys
from pathlib import Path
import numpy as np
from clownfish.features.cache import Entry, FeatureCache
from clownfish.records import Inspection

def make_entry(number, num_features=300):
    thumbnail = np.full((32, 32), number % 256, np.uint8)
    inspection = Inspection(
        content_hash=f"{number:064x}", pixel_hash=f"{number * 7:064x}", width=number, height=5, usable=True,
        note=f"ñote {number}", thumbnail=thumbnail,
    )
    return Entry(inspection=inspection, features=np.arange(num_features, dtype=np.float32) * number)
"""


def make_entry(number: int, num_features: int = 300) -> Entry:
    inspection = Inspection(
        content_hash=f"{number:064x}",
        pixel_hash=f"{number * 7:064x}",
        width=number,
        height=5,
        usable=True,
        note=f"ñote {number}",
        thumbnail=np.full((32, 32), number % 256, np.uint8),
    )
    return Entry(inspection=inspection, features=np.arange(num_features, dtype=np.float32) * number)


def are_equal(first: Entry | None, second: Entry) -> bool:
    if first is None:
        return False
    names = ("content_hash", "pixel_hash", "width", "height", "usable", "note")
    same = all(getattr(first.inspection, name) == getattr(second.inspection, name) for name in names)
    return (
        same
        and np.array_equal(first.inspection.thumbnail, second.inspection.thumbnail)  # type: ignore[arg-type]
        and np.array_equal(first.features, second.features)  # type: ignore[arg-type]
    )


def fill(folder: Path, numbers: range, key: str = "key") -> Path:
    cache = FeatureCache(folder)
    for number in numbers:
        cache.put(key, make_entry(number))
    cache.close()
    assert cache.warning == ""
    return cache.path


def get(cache: FeatureCache, number: int, key: str = "key") -> Entry | None:
    return cache.get(f"{number:064x}", key)


# --- hits and misses -----------------------------------------------------------------------------


def test_entry_is_found_again_in_a_later_run(tmp_path: Path) -> None:
    fill(tmp_path, range(1, 20))
    cache = FeatureCache(tmp_path)
    assert all(are_equal(get(cache, number), make_entry(number)) for number in range(1, 20))
    assert get(cache, 20) is None
    cache.close()


def test_other_content_or_key_is_a_miss(tmp_path: Path) -> None:
    fill(tmp_path, range(1, 3), key="backbone/v1-224-stretch-whole")
    cache = FeatureCache(tmp_path)
    assert get(cache, 1, "backbone/v1-224-stretch-whole") is not None
    for key in ("backbone/v1-224-stretch-mirrored", "backbone/v1-224-crop-whole", "other/v1-224-stretch-whole", ""):
        assert get(cache, 1, key) is None
    cache.close()


@settings(max_examples=25)
@given(
    note=st.text(),
    size=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    usable=st.booleans(),
    pictures=st.none() | st.tuples(npst.arrays(np.uint8, (32, 32)), npst.arrays(np.uint8, (16, 16, 3))),
    facts=st.fixed_dictionaries({"camera": st.text(), "taken": st.text(), "sharpness": st.floats(0, 1e9)}),
    features=st.none() | npst.arrays(np.float32, st.integers(1, 50)),
)
def test_any_entry_comes_back_as_it_was(
    note: str,
    size: tuple[int, int],
    usable: bool,
    pictures: tuple[np.ndarray, np.ndarray] | None,
    facts: dict[str, Any],
    features: np.ndarray | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    thumbnail, colours = pictures or (None, None)
    inspection = Inspection(
        content_hash="ab",
        pixel_hash="cd",
        width=size[0],
        height=size[1],
        usable=usable,
        note=note,
        thumbnail=thumbnail,
        colours=colours,
        **facts,
    )
    cache = FeatureCache(tmp_path_factory.mktemp("cache"))
    cache.put("key", Entry(inspection=inspection, features=features))
    cache.flush()
    found = cache.get("ab", "key")
    cache.close()
    assert found is not None
    assert (found.inspection.note, found.inspection.usable) == (note, usable)
    assert (found.inspection.width, found.inspection.height) == size
    assert {name: getattr(found.inspection, name) for name in facts} == facts
    inspected = found.inspection
    for ours, theirs in (
        (thumbnail, inspected.thumbnail),
        (colours, inspected.colours),
        (features, found.features),
    ):
        assert (ours is None) == (theirs is None)
        assert ours is None or theirs is None or ours.tobytes() == theirs.tobytes()


def test_grey_picture_is_kept_beside_the_features(tmp_path: Path) -> None:
    picture = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    cache = FeatureCache(tmp_path)
    cache.put("key", make_entry(1))
    cache.put_picture(f"{1:064x}", picture)
    cache.flush()
    assert np.array_equal(cache.get_picture(f"{1:064x}"), picture)  # type: ignore[arg-type]
    assert are_equal(get(cache, 1), make_entry(1)) and cache.get_picture(f"{2:064x}") is None
    cache.close()


def test_unusable_photo_is_remembered_with_its_note(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put("key", Entry(inspection=Inspection(content_hash="ab", note="damaged: cut short"), features=None))
    cache.flush()
    found = cache.get("ab", "key")
    assert found is not None and found.features is None and found.inspection.thumbnail is None
    assert (found.inspection.usable, found.inspection.note) == (False, "damaged: cut short")
    cache.close()


def test_second_entry_of_a_photo_replaces_the_first(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put("key", Entry(inspection=Inspection(content_hash="ab", note="first"), features=None))
    cache.put("key", Entry(inspection=Inspection(content_hash="ab", note="second"), features=None))
    cache.flush()
    found = cache.get("ab", "key")
    assert found is not None and found.inspection.note == "second"
    assert cache.summarise().num_entries == 1
    cache.close()


def test_previews_are_kept_beside_the_features(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put("key", make_entry(1))
    cache.put_preview(f"{1:064x}", b"\xff\xd8 a picture")
    cache.flush()
    assert cache.get_preview(f"{1:064x}") == b"\xff\xd8 a picture"
    assert cache.get_preview(f"{2:064x}") is None
    assert are_equal(get(cache, 1), make_entry(1))
    cache.close()


def test_entries_are_written_at_the_latest_after_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(tmp_path)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2)
    cache.put("key", make_entry(1))
    other = FeatureCache(tmp_path)
    assert get(other, 1) is not None
    other.close()
    cache.close()


def test_workers_see_entries_without_reading_them(tmp_path: Path) -> None:
    connection = sqlite3.connect(fill(tmp_path, range(1, 2)))
    assert find_entry(connection, f"{1:064x}", "key")
    assert not find_entry(connection, f"{1:064x}", "other key")
    connection.close()


# --- damage --------------------------------------------------------------------------------------


def change_row(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "features = zeroblob(1200)",
        "thumbnail = zeroblob(1024)",
        "inspection = replace(inspection, 'true', 'false')",
        "inspection = CAST(x'fffe80' AS TEXT)",
        "checksum = zeroblob(16)",
        "features = 5",
        "thumbnail = 'text'",
        "checksum = 1.5",
        "features = ''",
    ],
)
def test_row_that_rotted_is_a_miss_and_goes(tmp_path: Path, change: str) -> None:
    path = fill(tmp_path, range(1, 3))
    first = (
        "key = (SELECT key FROM entries WHERE inspection LIKE '%ote 1\"%' OR CAST(inspection AS TEXT) LIKE '%ote 1\"%')"
    )
    change_row(path, f"UPDATE entries SET {change} WHERE {first}")
    cache = FeatureCache(tmp_path)
    assert get(cache, 1) is None
    assert are_equal(get(cache, 2), make_entry(2))
    assert cache.warning == "" and cache.summarise().num_entries == 1
    cache.put("key", make_entry(1))
    cache.flush()
    assert are_equal(get(cache, 1), make_entry(1))
    cache.close()


def test_row_under_another_key_is_a_miss(tmp_path: Path) -> None:
    path = fill(tmp_path, range(1, 3))
    connection = sqlite3.connect(path)
    keys = [key for (key,) in connection.execute("SELECT key FROM entries")]
    for source, target in ((keys[0], b"x"), (keys[1], keys[0]), (b"x", keys[1])):
        connection.execute("UPDATE entries SET key = ? WHERE key = ?", (target, source))
    connection.commit()
    connection.close()
    cache = FeatureCache(tmp_path)
    assert get(cache, 1) is None and get(cache, 2) is None
    cache.close()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be one" * 50, b"SQLite format 3\0" + bytes(5000)]
)
def test_file_that_is_no_database_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = fill(tmp_path, range(1, 2))
    path.write_bytes(content)
    cache = FeatureCache(tmp_path)
    assert cache.warning == f"The feature cache {path} was damaged; a new one was started."
    cache.put("key", make_entry(1))
    cache.flush()
    assert are_equal(get(cache, 1), make_entry(1))
    cache.close()
    again = FeatureCache(tmp_path)
    assert again.warning == "" and get(again, 1) is not None
    again.close()


def test_file_with_other_columns_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "features-1.sqlite"
    change_row(path, "CREATE TABLE entries (key BLOB PRIMARY KEY, used REAL, size INTEGER)")
    cache = FeatureCache(tmp_path)
    assert get(cache, 1) is None
    assert cache.warning == f"The feature cache {path} was damaged; a new one was started."
    cache.put("key", make_entry(1))
    cache.flush()
    assert get(cache, 1) is not None
    cache.close()


def test_damage_of_any_kind_never_gives_wrong_data(tmp_path: Path) -> None:
    data = fill(tmp_path / "sound", range(1, 20)).read_bytes()
    chance = random.Random(0)
    for number in range(60):
        damaged = bytearray(data)
        start = chance.randrange(len(data))
        match number % 4:
            case 0:
                del damaged[start:]
            case 1:
                damaged[start : start + 9000] = bytes(len(damaged[start : start + 9000]))
            case 2:
                for _ in range(20):
                    damaged[chance.randrange(len(data))] = chance.randrange(256)
            case 3:
                for _ in range(3):
                    damaged[chance.randrange(700)] = chance.randrange(256)
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "features-1.sqlite").write_bytes(damaged)
        cache = FeatureCache(folder, max_bytes=chance.choice([None, 10_000]))
        for wanted in range(1, 20):
            found = get(cache, wanted)
            assert found is None or are_equal(found, make_entry(wanted))
        cache.put("key", make_entry(1))
        cache.put("key", make_entry(30))
        cache.clear()
        cache.close()


def test_damage_that_shows_only_later_is_replaced(tmp_path: Path) -> None:
    path = fill(tmp_path, range(1, 200))
    cache = FeatureCache(tmp_path)
    data = bytearray(path.read_bytes())
    data[16384:] = b"\x55" * (len(data) - 16384)
    path.write_bytes(data)
    assert not [number for number in range(1, 200) if get(cache, number)]
    assert cache.warning == f"The feature cache {path} was damaged; a new one was started."
    cache.put("key", make_entry(1))
    cache.flush()
    assert are_equal(get(cache, 1), make_entry(1))
    cache.close()


def test_damaged_file_that_cannot_be_replaced_only_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fill(tmp_path, range(1, 200))
    cache = FeatureCache(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[:16384] + b"\x55" * (len(data) - 16384))

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert not [number for number in range(1, 200) if get(cache, number)]
    assert "cannot be used (" in cache.warning and "Permission denied" in cache.warning
    cache.close()


# --- no place to write ---------------------------------------------------------------------------


def check_works_without_keeping(cache: FeatureCache) -> None:
    cache.put("key", make_entry(1))
    cache.flush()
    assert get(cache, 1) is None
    assert cache.summarise().num_entries == 0 and cache.clear() == 0
    cache.close()


def test_folder_that_cannot_be_made_only_warns(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file" / "cache")
    assert cache.warning.startswith(f"The feature cache {cache.path} cannot be used (")
    assert cache.warning.endswith("; nothing is kept for the next run.")
    check_works_without_keeping(cache)


def test_folder_in_place_of_the_file_only_warns(tmp_path: Path) -> None:
    (tmp_path / "features-1.sqlite").mkdir()
    cache = FeatureCache(tmp_path)
    assert "cannot be used (unable to open database file)" in cache.warning
    cache.close()


def run_python(code: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(WRITER) + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, **options)  # type: ignore[call-overload, no-any-return]


@needs_linux
def test_folder_without_permission_only_warns(tmp_path: Path) -> None:
    fill(tmp_path / "cache", range(1, 3))
    code = """
        import os
        folder = Path(sys.argv[1])
        os.chmod(folder / "features-1.sqlite", 0o444)
        os.chmod(folder, 0o555)
        if os.getuid() == 0:  # root may write everywhere
            os.chmod(folder.parent, 0o755)
            os.open(folder.parent, os.O_RDONLY)
            os.chdir(folder.parent)
            os.setgid(65534)
            os.setuid(65534)
            folder = Path("cache")
        cache = FeatureCache(folder)
        entry = cache.get(f"{1:064x}", "key")
        cache.put("key", make_entry(5))
        cache.flush()
        print(cache.get(f"{5:064x}", "key"))
        print(cache.warning)
        cache.close()
    """
    nothing, warning = run_python(code, tmp_path / "cache").stdout.splitlines()
    assert nothing == "None"
    assert "cannot be used (" in warning and warning.endswith("nothing is kept for the next run.")
    (tmp_path / "cache").chmod(0o755)


@needs_linux
def test_full_disk_only_warns(tmp_path: Path) -> None:
    code = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # no file grows beyond
        cache = FeatureCache(Path(sys.argv[1]))
        for number in range(1, 400):
            cache.put("key", make_entry(number))
            if number % 20 == 0:
                cache.flush()
        cache.close()
        print(cache.warning)
    """
    warning = run_python(code, tmp_path).stdout
    assert "cannot be used (" in warning and "nothing is kept for the next run." in warning
    cache = FeatureCache(tmp_path)
    found = [
        number for number in range(1, 400) if (entry := get(cache, number)) and are_equal(entry, make_entry(number))
    ]
    assert len(found) == cache.summarise().num_entries and cache.warning == ""
    cache.close()


def test_locked_file_only_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clownfish.features.cache._BUSY_SECONDS", 0.1)
    path = fill(tmp_path, range(1, 3))
    cache = FeatureCache(tmp_path)
    rival = sqlite3.connect(path, isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")
    cache.put("key", make_entry(5))
    cache.flush()
    assert (
        cache.warning
        == f"The feature cache {path} cannot be used (database is locked); nothing is kept for the next run."
    )
    rival.execute("ROLLBACK")
    rival.close()
    check_works_without_keeping(cache)
    again = FeatureCache(tmp_path)
    assert are_equal(get(again, 2), make_entry(2))  # locking is no reason to throw the file away
    again.close()


# --- several at once, and sudden death -----------------------------------------------------------


def test_threads_share_one_cache(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)

    def work(start: int) -> None:
        for number in range(start, start + 50):
            cache.put("key", make_entry(number))
            if number % 10 == 0:
                cache.flush()
            found = get(cache, number - 1)
            assert found is None or are_equal(found, make_entry(number - 1))

    threads = [threading.Thread(target=work, args=(start,)) for start in (100, 200, 300, 400)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cache.flush()
    assert cache.summarise().num_entries == 200 and cache.warning == ""
    cache.close()


def test_processes_write_at_the_same_time(tmp_path: Path) -> None:
    code = """
        import time
        start, place = int(sys.argv[1]), Path(sys.argv[2])
        while not (place / "go").exists():
            time.sleep(0.001)
        cache = FeatureCache(place / "cache")  # all make the file at the same moment
        for number in range(start, start + 60):
            cache.put("key", make_entry(number))
            if number % 3 == 0:
                cache.flush()
        cache.close()
        print(cache.warning)
    """
    command = [sys.executable, "-c", textwrap.dedent(WRITER) + textwrap.dedent(code)]
    starts = (1000, 2000, 3000)
    writers = [
        subprocess.Popen([*command, str(start), str(tmp_path)], stdout=subprocess.PIPE, text=True) for start in starts
    ]
    time.sleep(1.0)  # let most of them wait at the line
    (tmp_path / "go").touch()
    assert [writer.communicate()[0].strip() for writer in writers] == ["", "", ""]
    cache = FeatureCache(tmp_path / "cache")
    for start in starts:
        assert all(are_equal(get(cache, number), make_entry(number)) for number in range(start, start + 60))
    cache.close()


@needs_linux
def test_writer_killed_at_any_moment_leaves_a_sound_file(tmp_path: Path) -> None:
    code = """
        cache = FeatureCache(Path(sys.argv[1]), max_bytes=int(sys.argv[3]))
        print("ready", flush=True)
        number = int(sys.argv[2])
        while True:
            cache.put("key", make_entry(number))
            number += 1
            if number % 7 == 0:
                cache.flush()
            if number % 100 == 0:
                cache.clear()
    """
    command = [sys.executable, "-c", textwrap.dedent(WRITER) + textwrap.dedent(code), str(tmp_path)]
    chance = random.Random(1)
    for attempt in range(12):
        max_bytes = chance.choice([100_000, 10**9])
        writer = subprocess.Popen([*command, str(attempt * 1000 + 1), str(max_bytes)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(chance.random() * 0.08)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        cache = FeatureCache(tmp_path)
        for number in range(1, (attempt + 1) * 1000, 7):
            found = get(cache, number)
            assert found is None or are_equal(found, make_entry(number))
        cache.put("key", make_entry(500_000 + attempt))
        cache.flush()
        assert are_equal(get(cache, 500_000 + attempt), make_entry(500_000 + attempt))
        assert cache.warning == ""
        cache.close()
    connection = sqlite3.connect(tmp_path / "features-1.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


# --- size ----------------------------------------------------------------------------------------


def test_oldest_entries_go_when_the_file_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    max_bytes = 500_000
    clock = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    cache = FeatureCache(tmp_path, max_bytes=max_bytes)
    for number in range(1, 1001):
        cache.put("key", make_entry(number))
        if number % 20 == 0:
            get(cache, 1)  # used all the time, so it stays
            cache.flush()
    cache.close()
    cache = FeatureCache(tmp_path, max_bytes=max_bytes)
    kept = [number for number in range(1, 1001) if get(cache, number) is not None]
    assert 100 < len(kept) < 300
    assert kept[0] == 1 and kept[1:] == list(range(1001 - len(kept) + 1, 1001))
    summary = cache.summarise()
    assert summary.num_entries == len(kept) and summary.max_bytes == max_bytes
    assert summary.num_bytes < 2 * max_bytes
    cache.close()


def test_clearing_gives_the_space_back(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for number in range(1, 500):
        cache.put("key", make_entry(number))
    cache.flush()
    full = cache.summarise()
    assert full.num_entries == 499 and full.num_bytes > 499 * 1200
    assert cache.clear() == 499
    empty = cache.summarise()
    assert empty.num_entries == 0 and empty.num_bytes < 150_000
    assert get(cache, 1) is None
    cache.put("key", make_entry(1))
    cache.flush()
    assert get(cache, 1) is not None
    cache.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 150_000


def test_clearing_drops_what_was_not_written_yet(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put("key", make_entry(1))
    cache.clear()
    cache.close()
    cache = FeatureCache(tmp_path)
    assert get(cache, 1) is None
    cache.close()


# --- settings ------------------------------------------------------------------------------------


def test_folder_comes_from_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_CACHE", str(tmp_path / "deep" / "er"))
    assert find_cache_folder() == tmp_path / "deep" / "er"
    cache = FeatureCache()
    assert cache.path.parent == tmp_path / "deep" / "er" and cache.path.is_file()
    cache.close()


def test_folder_is_otherwise_the_system_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLOWNFISH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_cache_folder().name == "clownfish" or "clownfish" in find_cache_folder().parts


def test_limit_is_read_in_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_max_bytes() == DEFAULT_MAX_BYTES == 10 * 2**30
    monkeypatch.setenv("CLOWNFISH_CACHE_GB", "0.5")
    assert find_max_bytes() == 2**29


@pytest.mark.parametrize("text", ["0", "-1", "much", "nan", "inf", "1e999", "10GB", " "])
def test_senseless_limit_is_explained(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_CACHE_GB", text)
    with pytest.raises(ConfigError) as caught:
        find_max_bytes()
    expected = f"CLOWNFISH_CACHE_GB is {text!r}; it must be a number of gigabytes above 0, such as 10."
    assert str(caught.value) == expected
