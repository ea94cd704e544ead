"""Grey pictures of photos, by which copies are confirmed; kept in the cache, not in memory."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import Message, WorkerFailure, run_in_workers
from clownfish.features.cache import FeatureCache
from clownfish.images import Preprocessing, decode_file
from clownfish.photo_facts import PICTURE_SIZE

_PREPROCESSING = Preprocessing(size=PICTURE_SIZE * 2)


def load_pictures(photos: Sequence[tuple[str, str]], cache: FeatureCache) -> NDArray[np.uint8]:
    """Get the grey pictures of photos that were decoded before.

    Args:
        photos: content hash and path of each.
        cache: where pictures are kept since the photos were first decoded.

    Returns:
        Shape (num_photos, 64, 64), each the whole photo squeezed to a square; black, which is like nothing, where a
        photo cannot be read any more.
    """
    pictures = np.zeros((len(photos), PICTURE_SIZE, PICTURE_SIZE), np.uint8)
    missing: list[Message] = []
    for position, (content_hash, path) in enumerate(photos):
        picture = cache.get_picture(content_hash)
        if picture is None:
            missing.append({"position": position, "hash": content_hash, "path": path})
        else:
            pictures[position] = picture
    function = "clownfish.features.pictures:make_picture_reply"
    with closing(run_in_workers(missing, function=function, finish=_take_picture)) as outcomes:
        for outcome in outcomes:
            picture = outcome.result
            if picture is not None:
                pictures[missing[outcome.index]["position"]] = picture
                cache.put_picture(missing[outcome.index]["hash"], picture)
    cache.flush()
    return pictures


def make_picture_reply(request: Message) -> Message:
    """Make one grey picture; runs in a helper process.

    Args:
        request: "path", and "hash", which the file must still have.

    Returns:
        "picture", shape (64, 64); nothing if the photo cannot be read, or is another one by now.
    """
    answer = decode_file(Path(request["path"]), _PREPROCESSING)
    return {"picture": answer["picture"]} if "picture" in answer and answer["hash"] == request["hash"] else {}


def _take_picture(request: Message, answer: Message | WorkerFailure) -> NDArray[np.uint8] | None:
    return None if isinstance(answer, WorkerFailure) else answer.get("picture")
