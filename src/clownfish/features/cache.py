"""Features by content: a photo once seen by a backbone is never decoded for it again.

One SQLite file. SQLite's journal makes it safe under `kill -9` and under several processes at once;
every row carries a checksum, because a disk can rot and a wrong feature vector would be a lie.
Keys are the SHA-256 of the file's bytes plus the hash of backbone and preprocessing, so a changed
photo or setting can never hit. When the file outgrows its limit, the rows longest unused go first.
"""

import contextlib
import hashlib
import json
import math
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from clownfish.errors import ConfigError
from clownfish.records import Inspection

DEFAULT_MAX_BYTES = 10 << 30
_FILE_NAME = "features-1.sqlite"
_BATCH_SECONDS = 1.0
_BUSY_SECONDS = 60.0
_SHRINK_TO = 0.8

_PREVIEW_KEY = "preview-1"
_PICTURE_KEY = "picture-1"
_THUMBNAIL_SHAPE = (32, 32)
_COLOURS_SHAPE = (16, 16, 3)
_NUM_THUMBNAIL_BYTES = math.prod(_THUMBNAIL_SHAPE)

INSPECTED_NAMES = tuple(
    field.name for field in fields(Inspection) if field.name not in ("content_hash", "thumbnail", "colours")
)
"""Fields of an inspection that are plain values."""

_Row = tuple[bytes, bytes, bytes]
"""Inspection as JSON; thumbnail and colours; and features or another picture."""

SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What a damaged file makes the sqlite3 module raise; the second where it quotes the damage in its message."""

_OUTER_TROUBLES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""Errors that the disk, permissions or another process cause; every other one means that the file is damaged."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    key BLOB PRIMARY KEY,
    used REAL NOT NULL,
    size INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    inspection TEXT NOT NULL,
    thumbnail BLOB NOT NULL,
    features BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_used ON entries (used, size);
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What the cache keeps of one photo."""

    inspection: Inspection
    features: NDArray[np.float32] | None
    """Shape (num_features,); None for a photo that cannot be decoded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSummary:
    """How full the cache is."""

    path: Path
    num_entries: int
    num_bytes: int
    """Size on disk."""
    max_bytes: int


def find_cache_folder() -> Path:
    """Find where the cache lives: CLOWNFISH_CACHE, or the system's place for caches."""
    chosen = os.environ.get("CLOWNFISH_CACHE")
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("clownfish", appauthor=False)


def find_max_bytes() -> int:
    """Read the limit on the cache's size: CLOWNFISH_CACHE_GB, by default 10.

    Raises:
        ConfigError: the variable holds no positive number.
    """
    text = os.environ.get("CLOWNFISH_CACHE_GB", "")
    if not text:
        return DEFAULT_MAX_BYTES
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = -1.0
    if not 0 < gigabytes < math.inf:
        raise ConfigError(f"CLOWNFISH_CACHE_GB is {text!r}; it must be a number of gigabytes above 0, such as 10.")
    return int(gigabytes * (1 << 30))


class FeatureCache:
    """The cache file, opened. Safe to use from several threads and several processes.

    If the folder cannot be written or the disk is full, it goes on without keeping anything and
    says so in `warning`; if the file is damaged, it starts a new one.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int | None = None) -> None:
        """Open the cache, making it if need be.

        Args:
            folder: where the cache file lies; None for the usual place.
            max_bytes: limit on the size on disk; None for the usual limit.
        """
        self.path = (folder or find_cache_folder()) / _FILE_NAME
        self.max_bytes = max_bytes or find_max_bytes()
        self.warning = ""
        self._lock = threading.RLock()
        self._pending: list[tuple[object, ...]] = []
        self._used: list[bytes] = []
        self._last_commit = time.monotonic()
        self._connection: sqlite3.Connection | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect()
        except (OSError, *SQLITE_ERRORS) as error:
            self._give_up(error)

    def get(self, content_hash: str, key: str) -> Entry | None:
        """Look a photo up.

        Args:
            content_hash: SHA-256 of the file, hexadecimal.
            key: what else the features depend on (backbone, preprocessing, view).

        Returns:
            The entry, or None if it is absent or does not match its checksum.
        """
        row = self._get_row(_make_digest(content_hash, key))
        return None if row is None else _make_entry(content_hash, *row)

    def put(self, key: str, entry: Entry) -> None:
        """Keep a photo; written together with others about once a second, and by `flush`.

        Args:
            key: what the features depend on besides the file.
            entry: what to keep.
        """
        self._put_row(_make_digest(entry.inspection.content_hash, key), _take_apart(entry))

    def get_preview(self, content_hash: str) -> bytes | None:
        """Look up the small picture of a photo.

        Args:
            content_hash: SHA-256 of the file, hexadecimal.

        Returns:
            What `put_preview` kept, or None.
        """
        row = self._get_row(_make_digest(content_hash, _PREVIEW_KEY))
        return None if row is None else row[2]

    def put_preview(self, content_hash: str, preview: bytes) -> None:
        """Keep the small picture of a photo, like `put`.

        Args:
            content_hash: SHA-256 of the file, hexadecimal.
            preview: JPEG data.
        """
        self._put_row(_make_digest(content_hash, _PREVIEW_KEY), (b"", b"", preview))

    def get_picture(self, content_hash: str) -> NDArray[np.uint8] | None:
        """Look up the grey picture of a photo, by which copies are confirmed.

        Args:
            content_hash: SHA-256 of the file, hexadecimal.

        Returns:
            What `put_picture` kept, or None.
        """
        row = self._get_row(_make_digest(content_hash, _PICTURE_KEY))
        if row is None:
            return None
        side = math.isqrt(len(row[2]))
        return np.frombuffer(row[2], np.uint8).reshape(side, side)

    def put_picture(self, content_hash: str, picture: NDArray[np.uint8]) -> None:
        """Keep the grey picture of a photo, like `put`.

        Args:
            content_hash: SHA-256 of the file, hexadecimal.
            picture: shape (side, side).
        """
        self._put_row(_make_digest(content_hash, _PICTURE_KEY), (b"", b"", picture.tobytes()))

    def get_input(self, content_hash: str, key: str) -> NDArray[np.uint8] | None:
        """Look up what the network saw of a photo.

        Args:
            content_hash: SHA-256 of the file, hexadecimal.
            key: of the preprocessing.

        Returns:
            What `put_input` kept, or None.
        """
        row = self._get_row(_make_digest(content_hash, f"input/{key}"))
        if row is None:
            return None
        side = math.isqrt(len(row[2]) // 3)
        return np.frombuffer(row[2], np.uint8).reshape(side, side, 3)

    def put_input(self, content_hash: str, key: str, pixels: NDArray[np.uint8]) -> None:
        """Keep what the network saw of a photo, like `put`; for the few that a report looks into.

        Args:
            content_hash: SHA-256 of the file, hexadecimal.
            key: of the preprocessing.
            pixels: shape (side, side, 3).
        """
        self._put_row(_make_digest(content_hash, f"input/{key}"), (b"", b"", pixels.tobytes()))

    def _get_row(self, digest: bytes) -> _Row | None:
        with self._lock:
            found = self._query("SELECT checksum, inspection, thumbnail, features FROM entries WHERE key = ?", digest)
            if found is None:
                return None
            checksum, *parts = found
            row = cast(_Row, tuple(parts))
            # damage can change a value's type, too
            is_sound = all(isinstance(part, bytes) for part in row) and checksum == _compute_checksum(digest, row)
            if not is_sound:
                self._write([("DELETE FROM entries WHERE key = ?", [(digest,)])])
                return None
            self._used.append(digest)
        return row

    def _put_row(self, digest: bytes, row: _Row) -> None:
        size = sum(len(part) for part in row)
        with self._lock:
            self._pending.append((digest, time.time(), size, _compute_checksum(digest, row), *row))
            if time.monotonic() - self._last_commit > _BATCH_SECONDS:
                self.flush()

    def flush(self) -> None:
        """Write what is waiting to be written, and drop the oldest rows if the file is too large."""
        with self._lock:
            pending, used = self._pending, self._used
            self._pending, self._used = [], []
            self._last_commit = time.monotonic()
            if pending:
                self._write([("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", pending)])
                self._shrink()
            if used:
                now = time.time()
                self._write([("UPDATE entries SET used = ? WHERE key = ?", [(now, digest) for digest in used])])

    def close(self) -> None:
        """Write what is waiting and close the file."""
        self.flush()
        with self._lock:
            self._close_connection()

    def summarise(self) -> CacheSummary:
        """Count what the cache holds."""
        with self._lock:
            row = self._query("SELECT COUNT(*) FROM entries")
        return CacheSummary(
            path=self.path,
            num_entries=cast(int, row[0]) if row else 0,
            num_bytes=self._measure(),
            max_bytes=self.max_bytes,
        )

    def clear(self) -> int:
        """Drop everything; returns the number of rows dropped."""
        with self._lock:
            self._pending, self._used = [], []
            num_entries = self.summarise().num_entries
            self._write([("DELETE FROM entries", [()])])
            self._give_space_back()
        return num_entries

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._open()
        except SQLITE_ERRORS as error:
            if not _is_damage(error):
                raise
            return self._start_anew()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=32
        )
        connection.text_factory = bytes  # damaged text need not be valid UTF-8
        try:
            connection.execute("PRAGMA page_size = 16384")  # a row is 12 kB
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            # with the write-ahead log, readers never wait; a kill loses at most the last second, never the file
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA)
        except SQLITE_ERRORS:
            connection.close()
            raise
        return connection

    def _query(self, statement: str, *values: object) -> tuple[object, ...] | None:
        return next(self._query_all(statement, *values), None)

    def _query_all(self, statement: str, *values: object) -> Iterator[tuple[object, ...]]:
        if self._connection is None:
            return
        try:
            yield from self._connection.execute(statement, values)
        except SQLITE_ERRORS as error:
            self._handle(error)

    def _write(self, statements: Iterable[tuple[str, list[tuple[object, ...]]]]) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement, rows in statements:
                self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")
        except SQLITE_ERRORS as error:
            self._handle(error)

    def _shrink(self) -> None:
        if not self._is_large():  # cheap to ask; only then are the rows added up
            return
        row = self._query("SELECT TOTAL(size) FROM entries")
        surplus = float(str(row[0])) - self.max_bytes if row else 0.0
        if surplus <= 0:
            return
        surplus += (1 - _SHRINK_TO) * self.max_bytes
        doomed: list[tuple[object, ...]] = []
        for digest, size in self._query_all("SELECT key, size FROM entries ORDER BY used"):
            if surplus <= 0:
                break
            doomed.append((digest,))
            surplus -= size if isinstance(size, (int, float)) else 0
        self._write([("DELETE FROM entries WHERE key = ?", doomed)])
        self._give_space_back()

    def _is_large(self) -> bool:
        return self._measure() > self.max_bytes

    def _measure(self) -> int:
        """Size on disk, with the write-ahead log."""
        total = 0
        for path in self.path.parent.glob(f"{_FILE_NAME}*"):
            with contextlib.suppress(OSError):  # another process may just have removed its log
                total += path.stat().st_size
        return total

    def _give_space_back(self) -> None:
        if self._connection is not None:
            # where another process is reading, the file shrinks at a later time; damage shows when it is read
            with contextlib.suppress(*SQLITE_ERRORS):
                # as a script, because `execute` takes one step of it only, which frees one page
                self._connection.executescript("PRAGMA incremental_vacuum")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _handle(self, error: Exception) -> None:
        """A damaged file is replaced; anything else (disk full, no permission) ends the keeping."""
        if _is_damage(error):
            self._close_connection()
            try:
                self._connection = self._start_anew()
            except (OSError, *SQLITE_ERRORS) as further:
                self._give_up(further)
        else:
            self._give_up(error)

    def _start_anew(self) -> sqlite3.Connection:
        for path in self.path.parent.glob(f"{_FILE_NAME}*"):
            path.unlink(missing_ok=True)
        self.warning = f"The feature cache {self.path} was damaged; a new one was started."
        return self._open()

    def _give_up(self, error: Exception) -> None:
        """Go on without the cache: slower next time, but this run must not fail for it."""
        self.warning = f"The feature cache {self.path} cannot be used ({error}); nothing is kept for the next run."
        self._close_connection()

    def _close_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def find_entry(connection: sqlite3.Connection, content_hash: str, key: str) -> bool:
    """Tell whether a cache file holds a photo, without reading its features.

    Args:
        connection: to the cache file; read-only is enough.
        content_hash: SHA-256 of the file, hexadecimal.
        key: what else the features depend on.

    Returns:
        True if there is a row, whose checksum `FeatureCache.get` has still to verify.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    digest = _make_digest(content_hash, key)
    return connection.execute("SELECT 1 FROM entries WHERE key = ?", (digest,)).fetchone() is not None


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, UnicodeDecodeError) or (code is not None and code & 0xFF not in _OUTER_TROUBLES)


def _make_digest(content_hash: str, key: str) -> bytes:
    return hashlib.sha256(f"{content_hash}/{key}".encode()).digest()


def _compute_checksum(digest: bytes, row: _Row) -> bytes:
    inspection, thumbnail, features = row
    checksum = hashlib.blake2b(digest, digest_size=16)
    for part in (inspection, thumbnail, features):
        checksum.update(part)
    return checksum.digest()


def _take_apart(entry: Entry) -> _Row:
    inspection = entry.inspection
    text = json.dumps({name: getattr(inspection, name) for name in INSPECTED_NAMES})
    pictures = b"".join(
        picture.tobytes() for picture in (inspection.thumbnail, inspection.colours) if picture is not None
    )
    return text.encode(), pictures, b"" if entry.features is None else entry.features.tobytes()


def _make_entry(content_hash: str, inspection: bytes, pictures: bytes, features: bytes) -> Entry:
    facts = json.loads(inspection)
    for name in ("format", "mode", "camera"):
        facts[name] = sys.intern(facts[name])  # the same few in all photos
    # copies: a view would keep all of the row in memory
    grey = np.frombuffer(pictures, np.uint8)[:_NUM_THUMBNAIL_BYTES].copy()
    colours = np.frombuffer(pictures, np.uint8)[_NUM_THUMBNAIL_BYTES:].copy()
    values = np.frombuffer(features, np.float32)
    return Entry(
        inspection=Inspection(
            content_hash=content_hash,
            thumbnail=grey.reshape(_THUMBNAIL_SHAPE) if len(grey) else None,
            colours=colours.reshape(_COLOURS_SHAPE) if len(colours) else None,
            **facts,
        ),
        features=values if len(values) else None,
    )
