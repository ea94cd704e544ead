"""Find copies of a photo that were saved anew, made smaller or brighter, mirrored, flipped or turned.

Two steps. A perceptual hash (the signs of the 64 lowest frequencies of a 32 x 32 thumbnail's cosine
transform, Zauner 2010) names candidates; the correlation of the thumbnails themselves confirms them.
Mirroring and turning only change signs and order of the transform, so all eight views of a photo cost
one transform. Candidates share 16 of the hash's 64 bits, in two of eight blocks, which finds all pairs
up to six different bits without comparing every photo with every other.

Measured on three sets (docs/decisions/0002-groups.md): at a correlation of 0.98, none of 966,000 pairs of
different beetles on white ground is merged, and at least 99 in 100 copies of each kind above are found.
"""

from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Level = TypeVar("Level", np.uint8, np.float32)

MAX_DIFFERENT_BITS = 8
MIN_CORRELATION = 0.98
MIN_CONTRAST = 2.0
"""Standard deviation in grey levels below which a thumbnail is blank: noise correlates with nothing."""

_NUM_BLOCKS = 8
_NUM_LEADERS = 16
_CHUNK_ROWS = 4096


def find_near_duplicates(thumbnails: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Find pairs of photos that show the same picture, also mirrored, flipped or turned by quarters.

    Args:
        thumbnails: shape (num_photos, 32, 32), grey levels of the whole photo squeezed to a square.

    Returns:
        Pairs of positions, shape (num_pairs, 2). Where many photos are alike, not every pair is listed,
        but enough to connect them.
    """
    contrast = np.array([thumbnail.std() for thumbnail in thumbnails])
    eligible = np.flatnonzero(contrast >= MIN_CONTRAST)
    if len(eligible) < 2:
        return np.empty((0, 2), np.int64)
    spectra = _compute_spectra(thumbnails[eligible])
    hashes = [_hash_spectra(_turn_spectra(spectra, view)) for view in range(8)]
    pairs = np.empty((0, 2), np.int64)
    components = np.arange(len(eligible))
    for blocks in combinations(range(_NUM_BLOCKS), 2):
        buckets = _Buckets(_take_bits(hashes[0], blocks))
        found = []
        for view, turned in enumerate(hashes):
            left, right = buckets.find_partners(_take_bits(turned, blocks))
            num_different = np.bitwise_count(hashes[0][left] ^ turned[right])
            # what is connected already needs no further proof; this keeps sets full of copies cheap
            keep = (num_different <= MAX_DIFFERENT_BITS) & (components[left] != components[right])
            candidates = np.stack([left[keep], right[keep]], axis=1)
            found.append(_confirm(thumbnails, eligible, candidates, view))
        pairs = np.concatenate([pairs, *found])
        components = label_components(len(eligible), pairs)
    return np.unique(np.sort(eligible[pairs], axis=1), axis=0)


def turn_picture(picture: NDArray[Level], view: int) -> NDArray[Level]:
    """Show one of the eight views of square pictures: transposed (view & 4), flipped (& 2), mirrored (& 1).

    Args:
        picture: shape (..., side, side).
        view: 0 to 7; 0 changes nothing.

    Returns:
        The same shape.
    """
    if view & 4:
        picture = np.swapaxes(picture, -1, -2)
    if view & 2:
        picture = np.flip(picture, axis=-2)
    if view & 1:
        picture = np.flip(picture, axis=-1)
    return picture


def _compute_spectra(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The 8 x 8 lowest frequencies of the cosine transform (type II); shape (num_photos, 8, 8)."""
    side = thumbnails.shape[1]
    # row k holds cos(pi k (2 x + 1) / (2 side))
    waves = np.cos(np.pi / (2 * side) * np.outer(np.arange(8), 2 * np.arange(side) + 1)).astype(np.float32)
    spectra = np.empty((len(thumbnails), 8, 8), np.float32)
    for start in range(0, len(thumbnails), _CHUNK_ROWS):
        chunk = slice(start, start + _CHUNK_ROWS)
        spectra[chunk] = waves @ thumbnails[chunk].astype(np.float32) @ waves.T
    return spectra


def _turn_spectra(spectra: NDArray[np.float32], view: int) -> NDArray[np.float32]:
    """The spectra of `turn_picture`: mirroring changes the sign of every odd frequency along its axis."""
    signs = np.where(np.arange(8) % 2, np.float32(-1), np.float32(1))
    if view & 4:
        spectra = np.swapaxes(spectra, 1, 2)
    if view & 2:
        spectra = spectra * signs[:, None]
    if view & 1:
        spectra = spectra * signs
    return spectra


def _hash_spectra(spectra: NDArray[np.float32]) -> NDArray[np.uint64]:
    """One bit a frequency: above the median or not; shape (num_photos,)."""
    flat = spectra.reshape(len(spectra), 64)
    bits = np.packbits(flat > np.median(flat, axis=1, keepdims=True), axis=1)
    return bits.view(np.uint64)[:, 0]


def _take_bits(hashes: NDArray[np.uint64], blocks: tuple[int, int]) -> NDArray[np.int64]:
    """Sixteen bits of each hash: two of its eight bytes."""
    first, second = ((hashes >> np.uint64(8 * block)) & np.uint64(255) for block in blocks)
    return (first << np.uint64(8) | second).astype(np.int64)


class _Buckets:
    """Photos by sixteen bits of their hash."""

    def __init__(self, keys: NDArray[np.int64]) -> None:
        self._order = np.argsort(keys.astype(np.uint16), kind="stable")
        self._ends = np.cumsum(np.bincount(keys, minlength=1 << 16))

    def find_partners(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs (photo in the bucket, position in `keys`); of a crowded bucket, only its first photos.

        Comparing everyone with the first few connects those that belong together.
        """
        starts = np.where(keys > 0, self._ends[keys - 1], 0)
        lengths = np.minimum(self._ends[keys] - starts, _NUM_LEADERS)
        right = np.repeat(np.arange(len(keys)), lengths)
        offsets = np.arange(len(right)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        left = self._order[np.repeat(starts, lengths) + offsets]
        return left, right


def _confirm(
    thumbnails: NDArray[np.uint8], eligible: NDArray[np.int64], pairs: NDArray[np.int64], view: int
) -> NDArray[np.int64]:
    """Keep the pairs whose thumbnails correlate, the second one turned."""
    kept = [np.empty((0, 2), np.int64)]
    for start in range(0, len(pairs), _CHUNK_ROWS):
        chunk = pairs[start : start + _CHUNK_ROWS]
        left = _normalise(thumbnails[eligible[chunk[:, 0]]])
        right = _normalise(turn_picture(thumbnails[eligible[chunk[:, 1]]], view))
        kept.append(chunk[np.einsum("ij,ij->i", left, right) >= MIN_CORRELATION])
    return np.concatenate(kept)


def label_components(num_photos: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the connected components of a graph.

    Args:
        num_photos: number of nodes.
        pairs: edges, shape (num_pairs, 2).

    Returns:
        Shape (num_photos,), the number of each photo's component.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = (np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1]))
    graph = coo_array(edges, shape=(num_photos, num_photos))
    numbers: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return numbers


def _normalise(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rows of mean 0 and norm 1."""
    rows = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
