"""Where may one photo lie inside another? Candidates by comparing 8 x 8 cells of whole photos and of windows.

Every photo, in each of its eight flips and turns, is compared with 55 windows of every other: all of it, and
parts of 92, 84, 77 and 70 % of its sides. That is a matrix product. It finds cut-outs that features of a
network miss: on ground beetles, a cut-out of 70 % of the sides is among the 20 most similar features in 3 of
4 cases, among the five most similar windows in 99 of 100 (docs/decisions/0008-groups.md).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import run_in_threads
from clownfish.photos.near_duplicates import turn_picture

_CELLS = 8
_SCALES = ((1.0, 1), (0.92, 2), (0.84, 3), (0.77, 4), (0.7, 5))
"""Sides of windows as a share of the photo, and at how many places along a side."""
_MIN_CONTRAST = 3.0
"""Standard deviation in grey levels of the cells, below which a window is blank."""
_MAX_BEHIND = 0.06
"""How much less like than the best partner another may be: the true one is rarely far behind."""
_OPPOSITE_VIEWS = np.array([0, 1, 2, 3, 4, 6, 5, 7])
"""What undoes each view of `turn_picture`."""
_BLOCK_ROWS = 256
_BLOCK_PAIRS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """Pairs of photos, of which the first may be a part of the second, or a copy."""

    first: NDArray[np.int64]
    """Positions, shape (num_pairs,)."""
    second: NDArray[np.int64]
    views: NDArray[np.int64]
    """Which of the eight views of the first (`turn_picture`) is seen in the second."""
    windows: NDArray[np.float32]
    """Scale, top and left of the window, as shares of the second; shape (num_pairs, 3)."""


class WindowIndex:
    """The cells of all photos and of all their windows; 14 kB a photo, so for some thousands at once."""

    def __init__(self, thumbnails: NDArray[np.uint8]) -> None:
        """Compute the cells.

        Args:
            thumbnails: shape (num_photos, 32, 32), grey levels.
        """
        places, self._windows = _list_windows(thumbnails.shape[1])
        levels = thumbnails.astype(np.float32)
        # shape (num_windows, num_photos, 64): one product a window, so that its maximum is taken row by row
        self._cells = np.stack([_normalise(np.matmul(down @ levels, across.T)) for down, across in places])
        self._num_photos = len(thumbnails)

    def find_best(self, num_best: int, min_likeness: float) -> Candidates:
        """Compare everything with everything.

        Args:
            num_best: how many partners to keep for each photo.
            min_likeness: correlation of the cells that a candidate needs.

        Returns:
            The candidates.
        """

        def find(start: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
            rows = np.arange(start, min(start + _BLOCK_ROWS, self._num_photos))
            views, likeness = self._compare(rows)
            likeness[np.arange(len(rows)), rows] = -1
            best = np.argsort(-likeness, axis=1, kind="stable")[:, :num_best]
            ranked = np.take_along_axis(likeness, best, 1)
            keep = ranked >= np.maximum(min_likeness, ranked[:, :1] - _MAX_BEHIND)
            first = np.repeat(rows, best.shape[1]).reshape(best.shape)[keep]
            return first, best[keep], np.take_along_axis(views, best, 1)[keep]

        found = run_in_threads(find, range(0, self._num_photos, _BLOCK_ROWS))
        first, second, views = (np.concatenate(parts) for parts in zip(*found, strict=True))
        windows, _ = self._choose_windows(first, second, views)
        return _drop_repeated(Candidates(first=first, second=second, views=views, windows=windows))

    def locate(self, first: NDArray[np.int64], second: NDArray[np.int64], min_likeness: float) -> Candidates:
        """Find the best view and window of given pairs.

        Args:
            first: positions, shape (num_pairs,).
            second: positions, shape (num_pairs,).
            min_likeness: correlation of the cells that a candidate needs.

        Returns:
            Those of the pairs that may be copies or parts.
        """
        windows = np.empty((len(first), 3), np.float32)
        likeness = np.full(len(first), -1, np.float32)
        views = np.zeros(len(first), np.int64)
        for view in range(8):
            turned = np.full(len(first), view)
            places, likeness_of_view = self._choose_windows(first, second, turned)
            better = likeness_of_view > likeness
            likeness[better], views[better], windows[better] = likeness_of_view[better], view, places[better]
        keep = likeness >= min_likeness
        return Candidates(first=first[keep], second=second[keep], views=views[keep], windows=windows[keep])

    def _compare(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Best view and its likeness, of some photos in all photos; shape (num_rows, num_photos)."""
        likeness = np.full((len(rows), self._num_photos), -1, np.float32)
        views = np.zeros(likeness.shape, np.int64)
        product = np.empty(likeness.shape, np.float32)
        best = np.empty(likeness.shape, np.float32)
        for view in range(8):
            whole = self._turn(rows, view)
            best.fill(-1)
            for cells in self._cells:
                np.matmul(whole, cells.T, out=product)
                np.maximum(best, product, out=best)
            better = best > likeness
            views[better] = view
            np.maximum(likeness, best, out=likeness)
        return views, likeness

    def _choose_windows(
        self, first: NDArray[np.int64], second: NDArray[np.int64], views: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chosen = np.zeros(len(first), np.int64)
        likeness = np.zeros(len(first), np.float32)
        for start in range(0, len(first), _BLOCK_PAIRS):
            pairs = slice(start, start + _BLOCK_PAIRS)
            whole = self._turn_each(first[pairs], views[pairs])
            scores = np.einsum("nd,wnd->nw", whole, self._cells[:, second[pairs]])
            chosen[pairs], likeness[pairs] = scores.argmax(axis=1), scores.max(axis=1)
        return self._windows[chosen], likeness

    def _turn(self, rows: NDArray[np.int64], view: int) -> NDArray[np.float32]:
        cells = self._cells[0, rows].reshape(-1, _CELLS, _CELLS)
        return np.ascontiguousarray(turn_picture(cells, view)).reshape(len(rows), _CELLS * _CELLS)

    def _turn_each(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.float32]:
        turned = np.empty((len(rows), _CELLS * _CELLS), np.float32)
        for view in range(8):
            of_view = np.flatnonzero(views == view)
            turned[of_view] = self._turn(rows[of_view], view)
        return turned


def _drop_repeated(candidates: Candidates) -> Candidates:
    """Of two whole photos that were found from both sides, keep one finding; it halves the work on lookalikes."""
    swap = (candidates.windows[:, 0] == 1) & (candidates.first > candidates.second)
    first = np.where(swap, candidates.second, candidates.first)
    second = np.where(swap, candidates.first, candidates.second)
    views = np.where(swap, _OPPOSITE_VIEWS[candidates.views], candidates.views)
    _, kept = np.unique([first, second, views], axis=1, return_index=True)
    return Candidates(first=first[kept], second=second[kept], views=views[kept], windows=candidates.windows[kept])


def _list_windows(
    side: int,
) -> tuple[list[tuple[NDArray[np.float32], NDArray[np.float32]]], NDArray[np.float32]]:
    """For each window the averaging along both axes, and its scale, top and left; the whole photo first."""
    places, windows = [], []
    for scale, num_places in _SCALES:
        starts = np.linspace(0, 1 - scale, num_places)
        averages = [_average_cells(scale, start, side) for start in starts]
        for top, down in zip(starts, averages, strict=True):
            for left, across in zip(starts, averages, strict=True):
                places.append((down, across))
                windows.append((scale, top, left))
    return places, np.array(windows, np.float32)


def _average_cells(scale: float, start: float, side: int) -> NDArray[np.float32]:
    """Weights of the pixels in each cell along one axis, shape (8, side)."""
    edges = (start + np.arange(_CELLS + 1) * scale / _CELLS) * side
    pixels = np.arange(side)
    shares = np.clip(np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels), 0, None)
    weights: NDArray[np.float32] = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


def _normalise(cells: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of mean 0 and norm 1; of a blank window, zeros, which are like nothing."""
    rows = cells.reshape(len(cells), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    is_blank = norms < _MIN_CONTRAST * _CELLS
    normalised: NDArray[np.float32] = np.where(is_blank, np.float32(0), rows / np.maximum(norms, 1e-6))
    return normalised
