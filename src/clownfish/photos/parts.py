"""Find photos that show the same as others: a part cut out, also flipped or turned, or the same scene a moment later.

Candidates come from windows of the pixels (`windows`), in large sets from features (`similarity`); what decides is
whether fine detail agrees after alignment (`registration`), first on thumbnails, then on larger pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import run_in_threads
from clownfish.photos.near_duplicates import turn_picture
from clownfish.photos.registration import Registration, make_maps, register_pictures
from clownfish.photos.similarity import find_similar
from clownfish.photos.windows import Candidates, WindowIndex

PictureLoader = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Positions of photos to their grey pictures, shape (num_positions, 64, 64)."""

MIN_AGREEMENT = 0.94
"""Above what photos of different things reach: 0.93 for fish on one measuring board, 0.86 for beetles."""
MAX_EXHAUSTIVE = 3000
"""Up to so many photos, all are compared with all."""
MAX_COMPARISONS = 25_000_000
"""In larger sets, so many pairs within classes are compared, small classes first; features name other candidates."""
_MIN_ROUGH_AGREEMENT = 0.76
_MIN_LIKENESS = 0.75
_NUM_BEST = 8
_NUM_SIMILAR = 10
_BLOCK_LOADED = 1024
_BLOCK_PAIRS = 64
_BLOCK_LOCATED = 2048
_NUM_DEVIATIONS = 4
_MAX_BAR = 0.97
_PART_SCALE = 0.93


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """Two photos that show the same."""

    first: int
    """Position of the photo that is shown in the other, or of an equal one."""
    second: int
    view: int
    """Which of the eight views of the first (`turn_picture`) lies in the second."""
    scale: float
    """Side of the first as a share of the second's."""
    agreement: float
    """Correlation of detail."""

    @property
    def is_part(self) -> bool:
        """The first shows clearly less than the second."""
        return self.scale < _PART_SCALE


def find_matches(
    thumbnails: NDArray[np.uint8],
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    components: NDArray[np.int64],
    load_pictures: PictureLoader,
) -> list[Match]:
    """Find photos that show the same in part or from nearly the same place.

    Args:
        thumbnails: shape (num_photos, 32, 32), grey levels.
        features: shape (num_photos, num_features).
        labels: class numbers, shape (num_photos,).
        components: numbers of what is known to belong together already; shape (num_photos,).
        load_pictures: gives larger pictures of a few photos.

    Returns:
        The pairs, of those that are not in one component yet.
    """
    candidates = _find_candidates(thumbnails, features, labels)
    candidates = _take(candidates, components[candidates.first] != components[candidates.second])
    rough, maps = _register(candidates, make_maps(candidates.windows), lambda positions: thumbnails[positions])
    keep = rough >= _MIN_ROUGH_AGREEMENT
    candidates = _take(candidates, keep)
    agreement, maps = _register(candidates, maps[keep], load_pictures)
    bar = _learn_bar(rough[keep], agreement, labels[candidates.first] != labels[candidates.second])
    scales = np.sqrt(np.abs(np.linalg.det(maps[:, :2, :2])))
    return [
        Match(
            first=int(candidates.first[pair]),
            second=int(candidates.second[pair]),
            view=int(candidates.views[pair]),
            scale=float(scales[pair]),
            agreement=float(agreement[pair]),
        )
        for pair in np.flatnonzero(agreement >= bar).tolist()
    ]


def _find_candidates(
    thumbnails: NDArray[np.uint8], features: NDArray[np.float32], labels: NDArray[np.int64]
) -> Candidates:
    if len(thumbnails) <= MAX_EXHAUSTIVE:
        return WindowIndex(thumbnails).find_best(_NUM_BEST, _MIN_LIKENESS)
    found = [_find_by_features(thumbnails, features, labels)]
    budget = MAX_COMPARISONS
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for photos in sorted(classes, key=len):
        budget -= len(photos) ** 2
        if budget < 0:
            break
        inside = WindowIndex(thumbnails[photos]).find_best(_NUM_BEST, _MIN_LIKENESS)
        found.append(replace(inside, first=photos[inside.first], second=photos[inside.second]))
    return _join(found)


def _find_by_features(
    thumbnails: NDArray[np.uint8], features: NDArray[np.float32], labels: NDArray[np.int64]
) -> Candidates:
    pairs = find_similar(features, labels, num_best=_NUM_SIMILAR)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])  # either may be the part
    nothing = np.empty(0, np.int64)
    found = [Candidates(first=nothing, second=nothing, views=nothing, windows=np.empty((0, 3), np.float32))]
    for start in range(0, len(pairs), _BLOCK_LOCATED):
        photos, places = np.unique(pairs[start : start + _BLOCK_LOCATED], return_inverse=True)
        first, second = places.reshape(-1, 2).T
        located = WindowIndex(thumbnails[photos]).locate(first, second, _MIN_LIKENESS)
        found.append(replace(located, first=photos[located.first], second=photos[located.second]))
    return _join(found)


def _join(found: Sequence[Candidates]) -> Candidates:
    return Candidates(
        first=np.concatenate([candidates.first for candidates in found]),
        second=np.concatenate([candidates.second for candidates in found]),
        views=np.concatenate([candidates.views for candidates in found]),
        windows=np.concatenate([candidates.windows for candidates in found]),
    )


def _take(candidates: Candidates, keep: NDArray[np.bool_]) -> Candidates:
    return Candidates(
        first=candidates.first[keep],
        second=candidates.second[keep],
        views=candidates.views[keep],
        windows=candidates.windows[keep],
    )


def _register(
    candidates: Candidates, maps: NDArray[np.float32], load: PictureLoader
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Agreement and maps of all candidates, block by block."""
    agreement, refined = np.zeros(len(maps), np.float32), maps.copy()
    for start in range(0, len(maps), _BLOCK_LOADED):
        block = slice(start, start + _BLOCK_LOADED)
        photos, places = np.unique([candidates.first[block], candidates.second[block]], return_inverse=True)
        found = _register_pairs(load(photos), places.reshape(2, -1), candidates.views[block], maps[block])
        agreement[block] = np.concatenate([registration.agreement for registration in found])
        refined[block] = np.concatenate([registration.maps for registration in found])
    return agreement, refined


def _register_pairs(
    pictures: NDArray[np.uint8], places: NDArray[np.int64], views: NDArray[np.int64], maps: NDArray[np.float32]
) -> list[Registration]:
    """Register pairs of pictures, in blocks whose numbers stay in a core's own cache memory."""

    def register(start: int) -> Registration:
        block = slice(start, start + _BLOCK_PAIRS)
        first, second = pictures[places[:, block]]
        for view in range(1, 8):
            own = views[block] == view
            first[own] = turn_picture(first[own], view)
        return register_pictures(first, second, maps[block])

    return list(run_in_threads(register, range(0, len(maps), _BLOCK_PAIRS)))


def _learn_bar(rough: NDArray[np.float32], agreement: NDArray[np.float32], differ: NDArray[np.bool_]) -> float:
    """Raise the bar where photos with different labels agree much: four deviations above their median.

    Medians, because copies of one picture with two labels may be among them.
    """
    known = agreement[differ & (rough > 0)]
    if len(known) < 30:
        return MIN_AGREEMENT
    median = float(np.median(known))
    deviation = float(np.quantile(known, 0.84)) - median
    return float(np.clip(median + _NUM_DEVIATIONS * deviation, MIN_AGREEMENT, _MAX_BAR))
