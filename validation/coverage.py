"""Does the 95 % interval hold the accuracy that the shipped model has on photos it has not seen?

    python -m validation.coverage PHOTOS [--groups CSV --group-column NAME] [--draws 1000] [--quick]

Small sets of 20, 50 and 100 photos a class are drawn from a large one, with bursts (whole groups) and without (one
photo a group). Each goes through the product's own split, training and grouped cross-validation; the interval is set
against the accuracy of the shipped model on all photos of all other groups. That has an error of its own where the set
is not much larger than the draw, so "covered" is too low there; "allowed" adds this error to the interval's, and
"above" stands behind each. `--quick` trains by the exact solver in place of gradient descent: the same model but for
the noise of the latter, ten times faster.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.intervals import MODEL_SPREAD, compute_wilson_interval, estimate_share
from clownfish.regression.logistic import fit_layers
from clownfish.regression.rotation import rotate_features
from clownfish.splits import make_folds, match_training, split_photos
from clownfish.training.cross_validation import cross_validate
from clownfish.training.descent import TrainingSet
from clownfish.training.selection import TrainingOptions, train_head
from validation.common import PhotoSet, load_photo_set, make_parser

PER_CLASS = (20, 50, 100)
MIN_REST = 0.25
"""Share of the groups that must be left to tell the truth from."""
_PENALTY = 100.0


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One small training."""

    truth: float
    """Accuracy of the shipped model on the rest of the set."""
    truth_error: float
    """Half of its own 95 % interval."""
    value: float
    low: float
    high: float
    num_photos: int
    num_groups: int


def draw_photos(photos: PhotoSet, per_class: int, bursts: bool, random: np.random.Generator) -> NDArray[np.bool_]:
    """Choose `per_class` photos of each class, group by group; only one photo a group without bursts."""
    chosen = np.zeros(len(photos.labels), np.bool_)
    for label in range(len(photos.classes)):
        own = np.flatnonzero(photos.labels == label)
        order = random.permutation(np.unique(photos.groups[own]))
        rank = np.empty(int(photos.groups.max()) + 1)
        rank[order] = np.arange(len(order))
        own = random.permutation(own)
        own = own[np.argsort(rank[photos.groups[own]], kind="stable")]
        if not bursts:
            own = own[np.unique(photos.groups[own], return_index=True)[1]]
            own = random.permutation(own)
        chosen[own[:per_class]] = True
    return chosen


def run_training(photos: PhotoSet, chosen: NDArray[np.bool_], seed: int, *, quick: bool) -> Draw:
    """Train on what was chosen as the product does, and look at the rest."""
    own = np.flatnonzero(chosen)
    labels, groups = photos.labels[own], photos.groups[own]
    label_names, group_names = [str(label) for label in labels], [str(group) for group in groups]
    parts = split_photos(label_names, group_names, shares=(0.8, 0.1, 0.1), seed=seed).parts
    folds = make_folds(label_names, group_names, seed=seed)
    fitted = match_training(label_names, group_names, folds, parts, seed=seed)
    rest = np.flatnonzero(~np.isin(photos.groups, groups) & np.isin(photos.labels, labels))
    training = TrainingSet(
        features=photos.features[own],
        labels=labels,
        rows=np.arange(len(own)),
        num_classes=len(photos.classes),
        parts=photos.parts,
    )
    predict = _predict_quickly if quick else _predict
    out_of_fold, answers = predict(training, np.array(parts), folds, fitted, photos.features[rest], seed)
    numbers = np.unique(groups, return_inverse=True)[1]
    estimate = estimate_share(out_of_fold == labels, numbers, spread=MODEL_SPREAD)
    truth = estimate_share(answers == photos.labels[rest], photos.groups[rest])
    return Draw(
        truth=truth.value,
        truth_error=(truth.high - truth.low) / 2,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        num_photos=len(own),
        num_groups=int(numbers.max()) + 1,
    )


def _predict(
    training: TrainingSet,
    parts: NDArray[np.str_],
    folds: NDArray[np.int64],
    fitted: NDArray[np.bool_],
    rest: NDArray[np.float32],
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    options = TrainingOptions(seed=seed)
    own = replace(training, rows=np.flatnonzero(parts == "train"))
    shipped = train_head(own, np.flatnonzero(parts == "validation"), options).head
    out_of_fold = cross_validate(training, folds, options, training=fitted)
    return out_of_fold.argmax(axis=1), shipped.predict_probabilities(rest).argmax(axis=1)


def _predict_quickly(
    training: TrainingSet,
    parts: NDArray[np.str_],
    folds: NDArray[np.int64],
    fitted: NDArray[np.bool_],
    rest: NDArray[np.float32],
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    del seed

    def fit(own: NDArray[np.bool_], others: NDArray[np.float32]) -> NDArray[np.int64]:
        rotation = rotate_features(training.features[own], parts=training.parts)
        layers = fit_layers(
            rotation.scores,
            training.labels[own],
            np.ones((1, own.sum()), np.float32),
            np.array([_PENALTY], np.float32),
            training.num_classes,
            tolerance=2e-3,
        )
        return layers.predict_log_probabilities(rotation.apply(others))[0].argmax(axis=1)

    out_of_fold = np.empty_like(training.labels)
    for row, number in enumerate(np.unique(folds)):
        out_of_fold[folds == number] = fit(fitted[row], training.features[folds == number])
    return out_of_fold, fit(parts == "train", rest)


def describe(draws: list[Draw]) -> str:
    """One row of the table."""
    truth, value = (np.array([getattr(draw, name) for draw in draws]) for name in ("truth", "value"))
    low, high = (np.array([getattr(draw, name) for draw in draws]) for name in ("low", "high"))
    oracle = [compute_wilson_interval(draw.truth, draw.num_groups, quantile=1.96) for draw in draws]
    width = (high - low).mean() / np.mean([upper - lower for lower, upper in oracle])
    covered, above = ((low <= truth) & (truth <= high)).mean(), (low > truth).mean()
    error = np.array([draw.truth_error for draw in draws])
    lowest, highest = value - np.hypot(value - low, error), value + np.hypot(high - value, error)
    allowed, allowed_above = ((lowest <= truth) & (truth <= highest)).mean(), (lowest > truth).mean()
    return (
        f"{np.mean([draw.num_photos for draw in draws]):7.0f} {np.mean([draw.num_groups for draw in draws]):7.0f}"
        f" {len(draws):6d} {100 * truth.mean():7.1f} {100 * (value - truth).mean():+6.1f}"
        f" {100 * (value - truth).std():6.1f} {100 * covered:8.1f} {100 * above:7.1f}"
        f" {100 * allowed:8.1f} {100 * allowed_above:7.1f} {width:7.2f}"
    )


def main() -> None:
    """Print the table."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--quick", action="store_true", help="train by the exact solver")
    parser.set_defaults(num_per_class=PER_CLASS)
    arguments = parser.parse_args()
    photos = load_photo_set(arguments.photos, groups=arguments.groups, group_column=arguments.group_column)
    print(f"{photos.name}: bars: 93-97 % covered, at most 2.5 % above, width at most 1.5 of the oracle's")
    print(
        "a class bursts  photos  groups  draws  truth %   bias     SD  covered   above  allowed   above   width"
        "   seconds"
    )
    bursts_too = len(np.unique(photos.groups)) < 0.95 * len(photos.groups)
    for per_class in arguments.num_per_class:
        for bursts in (False, True) if bursts_too else (False,):
            random = np.random.default_rng(arguments.seed)
            started, draws = time.perf_counter(), []
            for _ in range(arguments.draws):
                chosen = draw_photos(photos, per_class, bursts, random)
                left = 1 - len(np.unique(photos.groups[chosen])) / len(np.unique(photos.groups))
                if left < MIN_REST:
                    break
                draws.append(run_training(photos, chosen, int(random.integers(1 << 31)), quick=arguments.quick))
            if draws:
                seconds = time.perf_counter() - started
                print(f"{per_class:7d} {'yes' if bursts else 'no':>6} {describe(draws)} {seconds:9.0f}", flush=True)


if __name__ == "__main__":
    main()
