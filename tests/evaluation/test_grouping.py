"""Draws that keep small classes whole."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clownfish.evaluation.grouping import draw_evenly


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.integers(1, 300), st.integers(0, 9))
def test_large_classes_give_up_photos_before_small_ones(counts: list[int], most: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = draw_evenly(labels, most, seed=seed)
    assert (np.diff(rows) > 0).all()
    kept = np.bincount(labels[rows], minlength=len(counts))
    num_classes = np.count_nonzero(counts)
    if sum(counts) <= most:
        assert kept.tolist() == counts
        return
    # a photo of each class even if they are more than wanted; else no more, and less than one a class is missing
    assert len(rows) <= max(most, num_classes)
    assert len(rows) > most - num_classes or most < num_classes
    quota = kept.max(initial=0)
    assert kept.tolist() == [min(count, quota) for count in counts]
