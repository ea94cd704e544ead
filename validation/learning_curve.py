"""Do the forecasts of the learning curve come true?

    python -m validation.learning_curve PHOTOS [--groups CSV --group-column X] [--draws 20]

From the photo set a part is drawn (an eighth, a quarter, two fifths of the groups of each class), and the accuracy
with twice as many photos is foretold from this part alone. The truth is the mean accuracy of layers trained on
parts of twice the size and tested on all other photos. "12 axes" is the same with features that keep only their 12
strongest axes: harder sets with other curves. The part lies inside the set that gives the truth, so with two fifths the
band should hold the truth a little more often than in 80 of 100.
"""

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.learning_curve import PENALTY, find_group_classes, make_curve, try_sizes
from clownfish.regression.logistic import fit_layers
from clownfish.regression.rotation import rotate_features
from validation.common import load_photo_set, parse_arguments

SHARES = (0.125, 0.25, 0.4)
NUM_TRUE_TRAININGS = 20


def draw_groups(group_classes: NDArray[np.int64], share: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a share of the groups of each class; shape (num_groups,)."""
    drawn = np.zeros(len(group_classes), bool)
    for label in np.unique(group_classes):
        own = random.permutation(np.flatnonzero(group_classes == label))
        drawn[own[: int(share * len(own) + random.random())]] = True
    return drawn


def measure_truth(
    scores: NDArray[np.float32], labels: NDArray[np.int64], trained: NDArray[np.bool_], num_classes: int
) -> float:
    """Accuracy on all photos that were not trained on."""
    ones = np.ones((1, int(trained.sum())), np.float32)
    layers = fit_layers(scores[trained], labels[trained], ones, np.array([PENALTY], np.float32), num_classes)
    predicted = layers.predict_log_probabilities(scores[~trained])[0].argmax(axis=1)
    return float((predicted == labels[~trained]).mean())


def main() -> None:
    """Print the table."""
    arguments = parse_arguments(__doc__ or "")
    photos = load_photo_set(arguments.photos, groups=arguments.groups, group_column=arguments.group_column)
    random = np.random.default_rng(arguments.seed)
    num_classes = len(photos.classes)
    group_classes = find_group_classes(photos.labels, photos.groups, num_classes)
    all_scores = rotate_features(photos.features, max_axes=512).scores
    print(f"{photos.name}: {len(photos.labels)} photos, {len(group_classes)} groups; {arguments.draws} draws a row")
    print("axes  photos  truth  foretold  mean error  no change  band holds  width")
    every = []
    for num_axes in (all_scores.shape[1], 12):
        scores = np.ascontiguousarray(all_scores[:, :num_axes])
        for share in SHARES:
            larger = [draw_groups(group_classes, 2 * share, random) for _ in range(NUM_TRUE_TRAININGS)]
            truth = float(
                np.mean([measure_truth(scores, photos.labels, own[photos.groups], num_classes) for own in larger])
            )
            rows = []
            for draw in range(arguments.draws):
                part = draw_groups(group_classes, share, random)[photos.groups]
                labels, groups = photos.labels[part], photos.groups[part]
                trials = try_sizes(scores[part], labels, groups, num_classes, seed=draw)
                curve = None if trials is None else make_curve(trials, seed=draw)
                if curve is not None:
                    forecast = curve.forecast(2 * len(labels))
                    rows.append((len(labels), forecast.value, forecast.low, forecast.high, curve.values[-1]))
            if not rows:
                print(f"{num_axes:4}  share {share}: too few groups for a curve")
                continue
            size, value, low, high, now = np.array(rows).T
            error, holds = np.abs(value - truth), (low <= truth) & (truth <= high)
            every += list(zip(error, holds, strict=True))
            print(
                f"{num_axes:4}  {size.mean():6.0f}  {truth:5.3f}  {value.mean():8.3f}  {100 * error.mean():10.1f}"
                f"  {100 * np.abs(now - truth).mean():9.1f}  {100 * holds.mean():8.0f} %"
                f"  {100 * (high - low).mean():5.1f}",
                flush=True,
            )
    error, holds = np.array(every, float).T
    print(f"all {len(every)} curves: mean error {100 * error.mean():.2f} points (bar: at most 2)")
    print(f"all {len(every)} curves: the 80 % band holds the truth in {100 * holds.mean():.0f} % (bar: 75 to 85)")


if __name__ == "__main__":
    main()
