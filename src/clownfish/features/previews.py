"""Small pictures of photos for the report, kept in the cache like features."""

from collections.abc import Sequence
from pathlib import Path

from clownfish.compute import run_in_threads
from clownfish.features.cache import FeatureCache
from clownfish.images import make_preview
from clownfish.records import Photo


def load_previews(photos: Sequence[Photo], cache: FeatureCache) -> dict[str, bytes]:
    """Get the small pictures of photos that were decoded before.

    Args:
        photos: which ones.
        cache: where previews are kept between runs.

    Returns:
        JPEG data by content hash; b"" for a photo that cannot be read any more.
    """
    previews: dict[str, bytes] = {}
    missing: dict[str, Path] = {}
    for photo in photos:
        preview = cache.get_preview(photo.content_hash)
        if preview is None:
            missing[photo.content_hash] = Path(photo.path)
        else:
            previews[photo.content_hash] = preview
    for content_hash, preview in zip(missing, run_in_threads(make_preview, list(missing.values())), strict=True):
        previews[content_hash] = preview
        if preview:
            cache.put_preview(content_hash, preview)
    cache.flush()
    return previews
