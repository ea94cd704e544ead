"""Are corrected counts nearer to the truth than plain ones, and do their intervals hold it?

    python -m validation.counts PHOTOS [--groups CSV --group-column NAME] [--draws 10]

Half of the groups train a classifier and measure its confusions (five grouped folds); from the other half, folders
of new photos are drawn in which the shares of the classes are others than in training. Shares are drawn from a
Dirichlet distribution: with concentration 1 any shares are as likely, with 0.3 a few classes have nearly all.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from clownfish.evaluation.counts import Counts, estimate_counts
from validation.common import PhotoSet, load_photo_set, parse_arguments

NUM_FOLDERS = 20
"""New folders a training and concentration."""
MAX_PHOTOS = 120
CONCENTRATIONS = (0.3, 1.0)


@dataclass(frozen=True, kw_only=True)
class Training:
    """A classifier's confusions, and its answers to photos it has not seen."""

    confusions: NDArray[np.int64]
    num_groups: NDArray[np.int64]
    labels: NDArray[np.int64]
    """True classes of the new photos."""
    answers: NDArray[np.int64]


def train(photos: PhotoSet, seed: int) -> Training:
    """Train on half of the groups, and answer for the other half."""
    random = np.random.default_rng(seed)
    own = np.isin(photos.groups, random.permutation(np.unique(photos.groups))[::2])
    mean, deviation = photos.features[own].mean(axis=0), photos.features[own].std(axis=0) + 1e-6
    scaled = ((photos.features - mean) / deviation).astype(np.float64)
    # a rotation to as many components as photos loses nothing under an L2 penalty, and is far smaller
    rotated = scaled @ np.linalg.svd(scaled[own], full_matrices=False)[2].T
    features, labels, groups = rotated[own], photos.labels[own], photos.groups[own]
    out_of_fold = np.empty_like(labels)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for fitted, held_out in folds.split(features, labels, groups):
        out_of_fold[held_out] = _fit(features[fitted], labels[fitted]).predict(features[held_out])
    num_classes = len(photos.classes)
    confusions = np.bincount(labels * num_classes + out_of_fold, minlength=num_classes**2)
    return Training(
        confusions=confusions.reshape(num_classes, num_classes),
        num_groups=np.array([len(np.unique(groups[labels == number])) for number in range(num_classes)]),
        labels=photos.labels[~own],
        answers=_fit(features, labels).predict(rotated[~own]),
    )


def _fit(features: NDArray[np.float64], labels: NDArray[np.int64]) -> LogisticRegression:
    return LogisticRegression(C=0.01, max_iter=300).fit(features, labels)


def draw_folders(
    training: Training, concentration: float, random: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], Counts]]:
    """True and estimated counts of new folders whose classes have other shares than in training."""
    num_classes = len(training.confusions)
    available = np.bincount(training.labels, minlength=num_classes)
    for number in range(NUM_FOLDERS):
        shares = random.dirichlet(np.full(num_classes, concentration))
        truth = np.minimum(random.multinomial(min(MAX_PHOTOS, len(training.labels) // 2), shares), available)
        chosen = [
            random.choice(np.flatnonzero(training.labels == label), size, replace=False)
            for label, size in enumerate(truth)
        ]
        counted = np.bincount(training.answers[np.concatenate(chosen)], minlength=num_classes)
        yield truth, estimate_counts(training.confusions, training.num_groups, counted, seed=number)


def describe(concentration: float, folders: list[tuple[NDArray[np.int64], Counts]]) -> str:
    """One row of the table; errors in per cent of a folder's photos, means over classes and folders."""
    plain, corrected, within, width = [], [], [], []
    for truth, counts in folders:
        known = ~np.isnan(counts.corrected)
        plain.append(np.abs(counts.counted - truth)[known].mean() / truth.sum())
        corrected.append(np.abs(counts.corrected - truth)[known].mean() / truth.sum())
        within += ((counts.low <= truth) & (truth <= counts.high))[known].tolist()
        width.append((counts.high - counts.low)[known].mean())
    numbers = f"{100 * np.mean(plain):8.2f} {100 * np.mean(corrected):10.2f} {100 * np.mean(within):9.1f}"
    return f"{concentration:>13} {len(folders):>8} {numbers} {np.mean(width):6.1f}"


def main() -> None:
    """Print the table."""
    arguments = parse_arguments("Errors of plain and corrected counts, and the coverage of the intervals.")
    photos = load_photo_set(arguments.photos, groups=arguments.groups, group_column=arguments.group_column)
    trainings = [train(photos, arguments.seed + number) for number in range(arguments.draws)]
    print(f"{photos.name}: {arguments.draws} trainings; errors in % of a folder's photos, a class; width in photos")
    print("concentration  folders    plain  corrected  % within  width")
    for concentration in CONCENTRATIONS:
        random = np.random.default_rng(arguments.seed)
        print(
            describe(
                concentration, [one for training in trainings for one in draw_folders(training, concentration, random)]
            )
        )


if __name__ == "__main__":
    main()
