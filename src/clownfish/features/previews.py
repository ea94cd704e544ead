"""Small pictures of photos for the report, kept in the cache like features."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from clownfish.compute import Helpers, Message, WorkerFailure, run_in_workers
from clownfish.features.cache import FeatureCache
from clownfish.images import make_preview
from clownfish.records import Photo


def load_previews(photos: Sequence[Photo], cache: FeatureCache, *, helpers: Helpers | None = None) -> dict[str, bytes]:
    """Get the small pictures of photos that were decoded before.

    Args:
        photos: which ones.
        cache: where previews are kept between runs.
        helpers: helper processes that are there already.

    Returns:
        JPEG data by content hash; b"" for a photo that cannot be read any more.
    """
    previews: dict[str, bytes] = {}
    missing: dict[str, str] = {}
    for photo in photos:
        preview = cache.get_preview(photo.content_hash)
        if preview is None:
            missing[photo.content_hash] = photo.path
        else:
            previews[photo.content_hash] = preview
    requests = [{"hash": content_hash, "path": path} for content_hash, path in missing.items()]
    function = "clownfish.features.previews:make_preview_reply"
    with closing(run_in_workers(requests, function=function, finish=_take_preview, helpers=helpers)) as outcomes:
        for outcome in outcomes:
            content_hash, preview = outcome.result
            previews[content_hash] = preview
            if preview:
                cache.put_preview(content_hash, preview)
    cache.flush()
    return previews


def make_preview_reply(request: Message) -> Message:
    """Make one small picture; runs in a helper process.

    Args:
        request: "path".

    Returns:
        "preview", the JPEG's bytes as an array.
    """
    return {"preview": np.frombuffer(make_preview(Path(request["path"])), np.uint8)}


def _take_preview(request: Message, answer: Message | WorkerFailure) -> tuple[str, bytes]:
    return request["hash"], b"" if isinstance(answer, WorkerFailure) else answer["preview"].tobytes()
