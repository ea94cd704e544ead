"""Six questions about a training, each answered in a sentence with the user's own numbers and one piece of advice.

A gap between training and unseen photos diagnoses nothing by itself: a linear layer on many numbers knows all its
training photos by heart and may be as good as it gets on others (Deng, Kammoun & Thrampoulidis 2022, Information
and Inference 11). So overfitting is called harmful only where a model that is held back more is shown to be better.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.learning_curve import LearningCurve
from clownfish.evaluation.penalty_path import PenaltyPath, compare_losses, draw_means, measure_optimism
from clownfish.evaluation.permutation import NUM_PERMUTATIONS, PermutationTest

_LEVEL = 0.01
"""Of p; below it, chance is no explanation."""
_MIN_GROUPS = 10
"""Fewer groups say nothing about a difference."""
_OVERFITTING_MATTERS = 0.02
_UNDERFITTING_MATTERS = 0.1
"""What a better penalty has to save to matter, relative to the cross-entropy of knowing nothing. More is asked of a
weaker one, because the choice of the penalty leans to the strong side on purpose (the one-standard-error rule)."""
_POINT = 0.01
_SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The answer to one question."""

    name: str
    holds: bool | None
    """None where the photos cannot tell."""
    value: float | None
    """Size of the effect."""
    low: float | None
    high: float | None
    p: float | None
    sentence: str
    """What was found, for a reader without statistics."""
    advice: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The verdict as a row of metrics.json."""
        return {
            "name": self.name,
            "holds": self.holds,
            "effect": {"value": self.value, "low": self.low, "high": self.high},
            "p": self.p,
            "sentence": self.sentence,
            "advice": self.advice,
            **self.details,
        }


def judge_learning(test: PermutationTest, groups: NDArray[np.int64], *, seed: int) -> Verdict:
    """Has anything been learned?

    Args:
        test: the permutation test.
        groups: number of each photo's group, shape (num_photos,).
        seed: of the draws for the interval.

    Returns:
        The verdict; the effect is accuracy above that with exchanged labels.
    """
    chance = float(test.exchanged.mean())
    low, high = _find_interval(test.right[None].astype(np.float64), groups[test.rows], seed)[0]
    numbers = (
        f"A quick fit names {format_share(test.accuracy)} of unseen photos right. When the labels are exchanged between"
        f" groups, so that nothing can be learned, it names {format_share(chance)} right"
    )
    holds: bool | None = test.p <= _LEVEL
    if test.smallest_p > _LEVEL:
        holds = None
        sentence = f"There are too few groups to tell whether anything was learned. {numbers}."
        advice = "Add photos of other individuals, days or places; more photos of the same ones do not help."
    elif holds:
        sentence = (
            f"The photos tell the classes apart. {numbers}, and in"
            f" {round(test.p * (NUM_PERMUTATIONS + 1)) - 1 or 'none'} of {NUM_PERMUTATIONS} tries it does as well."
        )
        advice = "Nothing to do."
    else:
        sentence = f"There is no evidence that anything was learned. {numbers}: that is no clear difference."
        advice = (
            "Do not use this model. Look whether the labels are right and whether a person could tell the classes apart"
            " on these photos; then add photos."
        )
    return Verdict(
        name="learned",
        holds=holds,
        value=test.accuracy - chance,
        low=low - chance,
        high=high - chance,
        p=test.p,
        sentence=sentence,
        advice=advice,
        details={"accuracy": test.accuracy, "accuracy_with_exchanged_labels": chance},
    )


def judge_gap(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    parts: NDArray[np.str_],
    probabilities: NDArray[np.float64],
    out_of_fold: NDArray[np.float64],
    *,
    seed: int,
) -> Verdict:
    """How much better is the model on the photos it was trained on?

    Args:
        labels: shape (num_photos,).
        groups: number of each photo's group, shape (num_photos,).
        parts: train, validation or test, shape (num_photos,).
        probabilities: of the trained model, shape (num_photos, num_classes).
        out_of_fold: of cross-validation, same shape.
        seed: of the draws.

    Returns:
        The verdict; the effect is the accuracy on training photos minus that on the same photos out of fold.
    """
    trained = parts == "train"
    own = labels[trained]
    inside, outside = probabilities[trained], out_of_fold[trained]
    right = (inside.argmax(axis=1) == own).astype(float) - (outside.argmax(axis=1) == own)
    loss = compute_losses(own, outside) - compute_losses(own, inside)
    (low, high), (loss_low, loss_high) = _find_interval(np.stack([right, loss]), groups[trained], seed)
    value = float(right.mean())
    shares = {
        part: float((probabilities[parts == part].argmax(axis=1) == labels[parts == part]).mean())
        for part in ("train", "validation", "test")
        if (parts == part).any()
    }
    names = {"train": "the photos it was trained on", "validation": "validation photos", "test": "test photos"}
    table = ", ".join(f"{format_share(share)} of {names[part]}" for part, share in shares.items())
    known = len(np.unique(groups[trained])) >= _MIN_GROUPS
    between = f" (between {_format_points(low, unit=False)} and {_format_points(high)})" if known else ""
    return Verdict(
        name="gap",
        holds=low > 0 if known else None,
        value=value,
        # draws of a few groups hardly differ, which would look like certainty
        low=low if known else None,
        high=high if known else None,
        p=None,
        sentence=(
            f"Named right by the model: {table}. The same training photos, predicted by models that have not seen them,"
            f" are {_format_points(value)} less often right{between}. One sign of overfitting is doing much better on"
            " the training photos than on others, but a gap alone tells nothing: this kind of model knows its training"
            " photos almost by heart even when it is as good as it can be on new ones."
        ),
        advice="Do not judge by the training photos. Whether the gap does harm stands under overfitting.",
        details={
            "cross_entropy": {
                "value": float(loss.mean()),
                "low": loss_low if known else None,
                "high": loss_high if known else None,
            },
            "accuracy": shares,
        },
    )


def judge_fit(
    path: PenaltyPath,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    out_of_fold: NDArray[np.float64],
    *,
    gap: Verdict,
    seed: int,
) -> tuple[Verdict, Verdict]:
    """Would the model be better on unseen photos if it followed the training photos less, or more?

    Args:
        path: out-of-fold losses with other penalties.
        labels: shape (num_photos,).
        groups: number of each photo's group, shape (num_photos,).
        out_of_fold: probabilities of cross-validation, shape (num_photos, num_classes).
        gap: the verdict on the gap, for its numbers.
        seed: of the draws.

    Returns:
        The verdicts on harmful overfitting and on underfitting; their effects are cross-entropy saved.
    """
    chance = _compute_entropy(labels)
    trained = compute_losses(labels, out_of_fold)[path.rows]
    # a path over a share of the photos is no match for a model that was trained on all of them
    whole = path.complete
    converged = path.losses[path.own]
    reference = np.minimum(trained.mean(), converged.mean()) if whole else converged.mean()
    better = trained if whole and trained.mean() < converged.mean() else converged
    own_groups = groups[path.rows]
    known = len(np.unique(own_groups)) >= _MIN_GROUPS
    stronger, weaker = path.losses[path.own + 1 :], path.losses[: path.own]

    over = compare_losses(better, stronger, own_groups, seed=seed) if len(stronger) else None
    overfits = over is not None and over.low > 0 and over.value > _OVERFITTING_MATTERS * chance
    # longer training at the same penalty ends at the converged fit
    freer = np.vstack([weaker, converged]) if whole else weaker
    worse = trained if whole else converged
    under = compare_losses(worse, freer, own_groups, seed=seed) if len(freer) else None
    underfits = not overfits and under is not None and under.low > 0 and under.value > _UNDERFITTING_MATTERS * chance

    accuracy = gap.details["accuracy"]["train"]
    unseen = float((out_of_fold.argmax(axis=1) == labels).mean())
    facts = f"it names {format_share(accuracy)} of its training photos right, and {format_share(unseen)} of unseen ones"
    if over is None:
        overfitting = "Whether a stronger penalty would help was not tried, because the strongest was used."
    elif not known:
        overfitting = f"There are too few groups to tell whether the model overfits: {facts}."
    elif overfits:
        overfitting = (
            f"The model overfits, it corresponds too closely to its training photos: {facts}. Held back by a penalty of"
            f" {path.penalties[path.own + 1 + over.candidate]:g} instead of {path.penalties[path.own]:g}, its"
            f" cross-entropy on unseen photos falls from {reference:.3f} to {reference - over.value:.3f}."
        )
    else:
        overfitting = (
            f"No harmful overfitting: {facts}, but holding it back with a stronger penalty would not make it"
            f" clearly better on unseen photos (cross-entropy {reference:.3f}, at best {reference - over.value:.3f})."
        )
    first = Verdict(
        name="overfitting",
        holds=overfits if known and over is not None else None,
        value=None if over is None else over.value,
        low=None if over is None else over.low,
        high=None if over is None else over.high,
        p=None,
        sentence=overfitting,
        advice=(
            "Leave out --weight-decay, so that it is chosen on validation photos, or give a larger one; fewer --epochs"
            " help too."
            if overfits
            else "Nothing to do."
        ),
        details={"penalties": path.penalties.tolist(), "cross_entropies": path.losses.mean(axis=1).tolist()},
    )
    return first, _describe_underfitting(under, known=known, underfits=underfits, path=path, before=float(worse.mean()))


def judge_selection(path: PenaltyPath, groups: NDArray[np.int64], *, seed: int) -> Verdict:
    """How much too good is the best of several cross-validated accuracies?

    Args:
        path: out-of-fold answers with several penalties.
        groups: number of each photo's group, shape (num_photos,).
        seed: of the draws.

    Returns:
        The verdict; the effect is a share of photos.
    """
    own_groups = groups[path.rows]
    value, (low, high) = measure_optimism(path.right, own_groups, seed=seed)
    winner = path.right[path.right.mean(axis=1).argmax()]
    ((winner_low, winner_high),) = _find_interval(winner[None].astype(np.float64), own_groups, seed)
    # less than a standard error of the accuracy itself is lost in what is not known anyway
    matters = max(_POINT, (winner_high - winner_low) / 4)
    known = len(np.unique(own_groups)) >= _MIN_GROUPS
    best = float(winner.mean())
    numbers = (
        f"the best of {len(path.penalties)} penalties names {format_share(best)} of unseen photos right, which is"
        f" {_format_points(value)} too good, because it is the best by chance too"
    )
    flatters = known and value > matters
    if flatters:
        sentence = f"Choosing flatters: {numbers}."
        advice = "Quote the cross-validated accuracy; in it the choice is made anew inside each fold."
    else:
        sentence = f"Choosing does not flatter: {numbers}." if known else f"Too few groups to tell, but {numbers}."
        advice = "Nothing to do. The cross-validated accuracy is free of this, since it chooses inside each fold."
    return Verdict(
        name="selection_optimism",
        holds=flatters if known else None,
        value=value,
        low=low,
        high=high,
        p=None,
        sentence=sentence,
        advice=advice,
    )


def judge_amount(curve: LearningCurve | None, *, reason: str = "") -> Verdict:
    """Are there too few photos?

    Args:
        curve: of the accuracy; None where there is none.
        reason: why there is no curve.

    Returns:
        The verdict; the effect is accuracy per doubling of the photos, by the upper half of the learning curve.
    """
    if curve is None:
        return Verdict(
            name="data_limited",
            holds=None,
            value=None,
            low=None,
            high=None,
            p=None,
            sentence=f"Whether more photos would help is not known: {reason}.",
            advice="Give each class at least ten groups (individuals, days or places).",
        )
    slope, low, high = curve.measure_slope()
    twice = min(2 * curve.num_photos, curve.max_photos)
    gain = curve.forecast_gain(twice)[0]
    last = (
        f"the last doublings of the photos brought {_format_points(slope)} each (between"
        f" {_format_points(low, unit=False)} and {_format_points(high)}), and {twice:,} photos would bring about"
        f" {_format_points(gain)}"
    )
    if min(slope, gain) < _POINT:
        holds: bool | None = False
        sentence = f"More photos of this kind will hardly help: {last}."
        advice = "Rather than more, take other photos: other places, days, light and cameras."
    elif low > 0:
        holds, sentence = True, f"More photos would still help: {last}."
        advice = "Add photos, first of the classes that are confused."
    else:
        holds, sentence = None, f"Whether more photos would help is not certain: {last}."
        advice = "Add some photos in new groups, and train again."
    return Verdict(
        name="data_limited", holds=holds, value=slope, low=low, high=high, p=None, sentence=sentence, advice=advice
    )


def compute_losses(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cross-entropy of each photo, shape (num_photos,)."""
    of_truth = probabilities[np.arange(len(labels)), labels]
    losses: NDArray[np.float64] = -np.log(np.maximum(of_truth, _SMALLEST_PROBABILITY))
    return losses


def format_share(share: float) -> str:
    """Whole per cents; never 100 where something is wrong, nor 0 where something is right."""
    percent = round(100 * share)
    if percent == 100 and share < 1:
        return "over 99 %"
    if percent == 0 and share > 0:
        return "under 1 %"
    return f"{percent} %"


def _describe_underfitting(under: Any, *, known: bool, underfits: bool, path: PenaltyPath, before: float) -> Verdict:
    if under is None:
        sentence = "Whether a weaker penalty would help was not tried, because the weakest was used."
    elif not known:
        sentence = "There are too few groups to tell whether the model underfits."
    elif underfits:
        longer = under.candidate == path.own
        change = (
            "Trained until nothing changes any more"
            if longer
            else (
                f"Trained until nothing changes any more with a penalty of {path.penalties[under.candidate]:g} instead"
                f" of {path.penalties[path.own]:g}"
            )
        )
        sentence = (
            "The model underfits, it follows its training photos too little:"
            f" {change[0].lower()}{change[1:]}, its cross-entropy on unseen photos falls from {before:.3f} to"
            f" {before - under.value:.3f}."
        )
    else:
        sentence = (
            "No underfitting: following the training photos more closely would not make the model clearly better on"
            f" unseen photos (cross-entropy {before:.3f}, at best {before - under.value:.3f})."
        )
    return Verdict(
        name="underfitting",
        holds=underfits if known and under is not None else None,
        value=None if under is None else under.value,
        low=None if under is None else under.low,
        high=None if under is None else under.high,
        p=None,
        sentence=sentence,
        advice="Train for more --epochs, or with a smaller --weight-decay." if underfits else "Nothing to do.",
    )


def _find_interval(values: NDArray[np.float64], groups: NDArray[np.int64], seed: int) -> list[tuple[float, float]]:
    """95 % intervals of the means of rows (num_quantities, num_photos), with groups drawn with replacement."""
    own = np.unique(groups, return_inverse=True)[1].ravel()
    sums = np.stack([np.bincount(own, row) for row in values], axis=1).astype(np.float64)
    drawn = draw_means(sums, np.bincount(own).astype(np.float64), seed=seed)
    limits = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [(float(low), float(high)) for low, high in limits.T]


def _compute_entropy(labels: NDArray[np.int64]) -> float:
    shares = np.bincount(labels) / len(labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def _format_points(share: float, *, unit: bool = True) -> str:
    text = f"{100 * share:.1f}"
    return f"{text} points" if unit else text
