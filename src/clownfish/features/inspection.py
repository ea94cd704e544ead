"""What a helper process does with one photo: read it, hash it, decode it unless the cache has it."""

import hashlib
import sqlite3
from functools import lru_cache
from pathlib import Path

from clownfish.compute.worker import Message
from clownfish.errors import UnusablePhotoError
from clownfish.features.cache import find_entry
from clownfish.images import Preprocessing, decode_photo, read_photo_file


def inspect_photo(request: Message) -> Message:
    """Read, hash and decode one photo.

    Args:
        request: "path"; "size", "resize" and "view" for the pixels; "cache" (path of the cache file, or
            "" not to look there) and "key".

    Returns:
        "hash", and then one of: "cached" if the cache holds the photo; "note" if the photo is unusable;
        "pixel_hash", "width", "height", "note", "thumbnail" and "pixels" otherwise.
    """
    path = Path(request["path"])
    try:
        data = read_photo_file(path)
    except UnusablePhotoError as error:
        return {"hash": "", "note": str(error)}
    content_hash = hashlib.sha256(data).hexdigest()
    if request["cache"] and _is_cached(request["cache"], content_hash, request["key"]):
        return {"hash": content_hash, "cached": True}
    preprocessing = Preprocessing(size=request["size"], resize=request["resize"])
    try:
        photo = decode_photo(data, preprocessing, view=request["view"], expected_format=path.suffix)
    except UnusablePhotoError as error:
        return {"hash": content_hash, "note": str(error)}
    return {
        "hash": content_hash,
        "pixel_hash": photo.pixel_hash,
        "width": photo.width,
        "height": photo.height,
        "note": photo.note,
        "thumbnail": photo.thumbnail,
        "pixels": photo.pixels,
    }


@lru_cache(maxsize=1)
def _connect(cache: str) -> sqlite3.Connection | None:
    try:
        return sqlite3.connect(f"{Path(cache).absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    except sqlite3.Error:
        return None


def _is_cached(cache: str, content_hash: str, key: str) -> bool:
    connection = _connect(cache)
    try:
        return connection is not None and find_entry(connection, content_hash, key)
    except sqlite3.Error:  # the process that owns the cache deals with its troubles
        return False
