"""Made-up features of photos that come in groups."""

import numpy as np


def make_photos(num_groups=60, group_size=2, num_classes=3, signal=1.0, num_axes=20, seed=0):
    """Scores, labels and groups: classes lie `signal` apart, and a group's photos lie close together."""
    random = np.random.default_rng(seed)
    group_classes = np.arange(num_groups) % num_classes
    centres = random.standard_normal((num_classes, num_axes)) * signal
    own = centres[group_classes] + random.standard_normal((num_groups, num_axes))
    groups = np.repeat(np.arange(num_groups), group_size)
    scores = own[groups] + 0.3 * random.standard_normal((len(groups), num_axes))
    scores -= scores.mean(axis=0)
    return scores.astype(np.float32), group_classes[groups].astype(np.int64), groups.astype(np.int64)


def make_folds(groups, num_folds=5):
    return (groups // 3 % num_folds).astype(np.int64)
