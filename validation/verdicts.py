"""Are the verdicts on a training right where the answer is known?

    python -m validation.verdicts PHOTOS [--groups CSV --group-column X] [--draws 100]

Clean trainings: a random part of the groups, trained with the defaults. No verdict should raise an alarm. Shuffled: the
same with labels exchanged between groups; there is nothing to learn, and no more photos would help. Spoilt: trained
with no penalty for many epochs, which overfits, and with a far too strong one, which underfits.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.learning_curve import find_group_classes, make_curve, try_sizes
from clownfish.evaluation.penalty_path import follow_path
from clownfish.evaluation.permutation import permute_labels
from clownfish.evaluation.verdicts import Verdict, judge_amount, judge_fit, judge_gap, judge_learning, judge_selection
from clownfish.regression.rotation import rotate_features
from clownfish.splits import make_folds, split_photos
from clownfish.training.cross_validation import cross_validate
from clownfish.training.descent import TrainingSet
from clownfish.training.selection import TrainingOptions, train_head
from validation.common import load_photo_set, parse_arguments
from validation.learning_curve import draw_groups

ALARMS = {
    "learned": ("no evidence of learning", False),
    "overfitting": ("harmful overfitting", True),
    "underfitting": ("underfitting", True),
    "selection_optimism": ("choosing flatters", True),
    "data_limited": ("more photos would help", True),
}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Part of a photo set."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    num_classes: int


def exchange_labels(sample: Sample, random: np.random.Generator) -> Sample:
    """Give each group the class of another group."""
    own = np.unique(sample.groups, return_inverse=True)[1].ravel()
    classes = find_group_classes(sample.labels, own, sample.num_classes)
    return Sample(
        features=sample.features,
        labels=random.permutation(classes)[own],
        groups=sample.groups,
        num_classes=sample.num_classes,
    )


def judge(sample: Sample, options: TrainingOptions, *, seed: int, with_curve: bool) -> Iterator[Verdict]:
    """Train as `clownfish train` does and give every verdict."""
    names, groups = [str(label) for label in sample.labels], [str(group) for group in sample.groups]
    parts = np.array(split_photos(names, groups, shares=(0.8, 0.1, 0.1), seed=seed).parts)
    folds = make_folds(names, groups, seed=seed)
    rows = np.arange(len(names))
    photos = TrainingSet(
        features=sample.features, labels=sample.labels, rows=rows, num_classes=sample.num_classes, views=None
    )
    training = TrainingSet(
        features=sample.features,
        labels=sample.labels,
        rows=np.flatnonzero(parts == "train"),
        num_classes=sample.num_classes,
        views=None,
    )
    trained = train_head(training, np.flatnonzero(parts == "validation"), options)
    probabilities = trained.head.predict_rows(sample.features, rows)
    out_of_fold = cross_validate(photos, folds, options)
    scores = rotate_features(sample.features, max_axes=512).scores
    penalty = trained.weight_decay * len(training.rows)
    own = (sample.labels, sample.groups)
    learned = judge_learning(permute_labels(scores, *own, sample.num_classes, seed=seed), sample.groups, seed=seed)
    yield learned
    gap = judge_gap(*own, parts, probabilities, out_of_fold, seed=seed)
    path = follow_path(scores, *own, folds, penalty, sample.num_classes, seed=seed)
    yield from judge_fit(path, *own, out_of_fold, gap=gap, seed=seed)
    yield judge_selection(path, sample.groups, seed=seed)
    if with_curve and learned.holds:  # as in the product, no curve without learning
        trials = try_sizes(scores, *own, sample.num_classes, seed=seed)
        yield judge_amount(None if trials is None else make_curve(trials, seed=seed))


def main() -> None:
    """Print the table."""
    arguments = parse_arguments(__doc__ or "")
    photos = load_photo_set(arguments.photos, groups=arguments.groups, group_column=arguments.group_column)
    random = np.random.default_rng(arguments.seed)
    num_classes = len(photos.classes)
    group_classes = find_group_classes(photos.labels, photos.groups, num_classes)
    share = min(0.5, 300 / len(photos.labels)) if len(photos.labels) > 300 else 0.8
    alarms: dict[str, Counter[str]] = {}
    spoilt = {
        "no penalty": TrainingOptions(weight_decay=0.0, epochs=300, dropout_rate=0.0, patience=300),
        "strong penalty": TrainingOptions(weight_decay=30.0),
    }
    for draw in range(arguments.draws):
        rows = draw_groups(group_classes, share, random)[photos.groups]
        clean = Sample(
            features=photos.features[rows],
            labels=photos.labels[rows],
            groups=photos.groups[rows],
            num_classes=num_classes,
        )
        kinds = {
            "clean": (clean, TrainingOptions(seed=draw)),
            "shuffled": (exchange_labels(clean, random), TrainingOptions(seed=draw)),
        }
        if draw % 10 == 0:
            kinds |= {name: (clean, options) for name, options in spoilt.items()}
        for kind, (sample, options) in kinds.items():
            for verdict in judge(sample, options, seed=draw, with_curve=kind == "shuffled"):
                if verdict.name in ALARMS:
                    alarm = verdict.holds is ALARMS[verdict.name][1]
                    alarms.setdefault(kind, Counter())[verdict.name] += alarm
        if draw % 10 == 9:
            print(f"{draw + 1} draws of about {len(clean.labels)} photos:", {k: dict(v) for k, v in alarms.items()})
    spoilt_draws = (arguments.draws + 9) // 10
    print(f"{photos.name}: {arguments.draws} draws of about {len(clean.labels)} photos")
    print("trainings                     verdict                    alarms  bar")
    for kind, name, draws, bar in (
        *(("clean", name, arguments.draws, "at most 5 %") for name in ALARMS if name != "data_limited"),
        ("shuffled", "learned", arguments.draws, "at least 95 %"),
        ("shuffled", "data_limited", arguments.draws, "at most 5 %"),
        ("no penalty", "overfitting", spoilt_draws, "most"),
        ("strong penalty", "underfitting", spoilt_draws, "most"),
    ):
        print(f"{kind:<28}  {ALARMS[name][0]:<25}  {alarms[kind][name]:>4} of {draws:<4} {bar}")


if __name__ == "__main__":
    main()
