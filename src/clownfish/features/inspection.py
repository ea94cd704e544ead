"""What a helper process does with one photo: read it, hash it, decode it unless the cache has it."""

import sqlite3
from functools import lru_cache
from pathlib import Path

from clownfish.compute.worker import Message
from clownfish.features.cache import SQLITE_ERRORS, find_entry
from clownfish.images import Preprocessing, decode_file


def inspect_photo(request: Message) -> Message:
    """Read, hash and decode one photo.

    Args:
        request: "path"; "size", "resize" and "view" for the pixels; "cache" (path of the cache file, or
            "" not to look there) and "key".

    Returns:
        See `images.decode_file`; "known" if the cache holds the photo.
    """
    cache, key = request["cache"], request["key"]
    return decode_file(
        Path(request["path"]),
        Preprocessing(size=request["size"], resize=request["resize"]),
        view=request["view"],
        is_known=lambda content_hash: bool(cache) and _is_cached(cache, content_hash, key),
    )


@lru_cache(maxsize=1)
def _connect(cache: str) -> sqlite3.Connection | None:
    try:
        return sqlite3.connect(f"{Path(cache).absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    except SQLITE_ERRORS:
        return None


def _is_cached(cache: str, content_hash: str, key: str) -> bool:
    connection = _connect(cache)
    try:
        return connection is not None and find_entry(connection, content_hash, key)
    except SQLITE_ERRORS:  # the process that owns the cache deals with its troubles
        return False
