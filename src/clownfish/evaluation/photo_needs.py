"""How many more photos, and of what: the learning curve in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.evaluation.curve_families import FAMILIES, fit_power2
from clownfish.evaluation.learning_curve import MAX_FACTOR, LearningCurve, Trials, make_curve
from clownfish.evaluation.verdicts import Verdict, format_share

Json = dict[str, Any]

_FACTORS = (1.0, 1.5, 2.0, float(MAX_FACTOR))
_MOST_PAIRS = 20
_ROUND_NUMBERS = (10, 20, 50, 100, 200)
"""Photos to add, in the advice for one class."""
_SMALLEST_GAIN = 0.005


def describe_needs(
    trials: Trials, curve: LearningCurve, verdict: Verdict, classes: Sequence[str], *, seed: int
) -> tuple[Json, list[str]]:
    """Tell what more photos would bring.

    Args:
        trials: of training on parts of the photos.
        curve: of the accuracy, from these trials.
        verdict: whether there are too few photos.
        classes: names.
        seed: of the draws.

    Returns:
        The numbers, for metrics.json, and sentences, most important first.
    """
    limits = np.quantile(curve.draws, [0.1, 0.9], axis=0)
    forecasts = _list_forecasts(curve)
    class_rows = _list_classes(trials, classes, seed)
    sentences = [_tell_forecast(trials, curve, forecasts, verdict)]
    pair = None
    if verdict.holds:
        named = [row for row in class_rows if row["saved_photos"] is not None and row["gain"] >= _SMALLEST_GAIN]
        if named:
            sentences.append(_tell_class(max(named, key=lambda row: row["saved_photos"])))
        pair = _find_pair(trials, classes)
        if pair is not None:
            sentences.append(_tell_pair(pair))
    return {
        "num_photos": trials.num_photos,
        "num_groups": trials.num_groups,
        "num_measured": trials.num_measured,
        "num_repeats": trials.num_repeats,
        "sizes": np.round(curve.sizes, 1).tolist(),
        "accuracies": [
            {"value": float(value), "low": float(low), "high": float(high)}
            for value, low, high in zip(curve.values, *limits, strict=True)
        ],
        "families": dict(zip(FAMILIES, np.round(curve.family_weights, 3).tolist(), strict=True)),
        "forecasts": forecasts,
        "max_photos": curve.max_photos,
        "per_class": class_rows,
        "pair": pair,
        "sentences": sentences,
    }, sentences


def _list_forecasts(curve: LearningCurve) -> list[Json]:
    rows = []
    for factor in _FACTORS:
        wanted = round(factor * curve.num_photos)
        if wanted <= curve.max_photos:
            forecast = curve.forecast(wanted)
            gain, gain_low, gain_high = curve.forecast_gain(wanted)
            rows.append(
                {
                    "factor": factor,
                    "num_photos": wanted,
                    "accuracy": {"value": forecast.value, "low": forecast.low, "high": forecast.high},
                    "gain": {"value": gain, "low": gain_low, "high": gain_high},
                }
            )
    return rows


def _list_classes(trials: Trials, classes: Sequence[str], seed: int) -> list[Json]:
    """For each class: how much of it is right now, and with a round number of photos more."""
    rows: list[Json] = []
    for number, label in enumerate(classes):
        curve = make_curve(trials, seed=seed, label=number)
        row: Json = {"label": label, "num_photos": int(trials.class_counts[number]), "more": None, "gain": None}
        row |= {"recall": None, "then": None, "saved_photos": None}
        if curve is not None and curve.num_photos < curve.max_photos:
            room = min(curve.num_photos, curve.max_photos - curve.num_photos)
            more = max((step for step in _ROUND_NUMBERS if step <= room), default=room)
            then = curve.forecast(curve.num_photos + more)
            gain, low, high = curve.forecast_gain(curve.num_photos + more)
            now = curve.forecast(curve.num_photos).value
            row |= {
                "recall": now,
                "more": more,
                "then": {"value": then.value, "low": then.low, "high": then.high},
                "gain": gain,
                "gain_low": low,
                "gain_high": high,
                "saved_photos": gain / more * curve.num_photos**2,
            }
        rows.append(row)
    return rows


def _find_pair(trials: Trials, classes: Sequence[str]) -> Json | None:
    """The two classes whose confusion would shrink the most, in photos, if there were twice as many."""
    mutual = trials.confusions + trials.confusions.transpose(0, 2, 1)
    tested = trials.confusions.sum(axis=2)
    first, second = np.triu_indices(len(classes), 1)
    order = np.argsort(-mutual[-1, first, second], kind="stable")[:_MOST_PAIRS]
    first, second = first[order], second[order]
    totals = tested[:, first] + tested[:, second]  # (num_sizes, num_pairs)
    shares: NDArray[np.float64] = (mutual[:, first, second] / np.maximum(totals, 1)).T
    sizes = trials.sizes / trials.sizes[-1]
    now = trials.num_photos / trials.sizes[-1]
    fitted = 1 - fit_power2(sizes, 1 - shares, totals.mean(axis=1), np.array([now, 2 * now]))
    saved = (fitted[:, 0] - fitted[:, 1]) * (trials.class_counts[first] + trials.class_counts[second])
    best = int(saved.argmax())
    if saved[best] < 0.5:
        return None
    return {
        "labels": [classes[first[best]], classes[second[best]]],
        "confused": float(fitted[best, 0]),
        "then": float(fitted[best, 1]),
    }


def _tell_forecast(trials: Trials, curve: LearningCurve, forecasts: Sequence[Json], verdict: Verdict) -> str:
    what = f"{trials.num_measured:,} of {trials.num_photos:,} photos" if trials.num_measured < trials.num_photos else ""
    basis = f" (Measured on {what}, to save time.)" if what else ""
    twice = [row for row in forecasts if row["factor"] == 2]
    if not twice:
        return (
            f"No forecast for {trials.num_photos:,} photos: the learning curve was measured on"
            f" {trials.num_measured:,}, and is not carried on beyond {curve.max_photos:,}."
        )
    now, then = forecasts[0]["accuracy"], twice[0]["accuracy"]
    start = {
        True: "More photos would help: with",
        False: "More photos of this kind will hardly help: with",
        None: "Whether more photos would help is not certain: with",
    }[verdict.holds]
    return (
        f"{start} twice as many ({trials.num_photos:,} more, every class alike, in new groups) accuracy would go from"
        f" {format_share(now['value'])} to {format_share(then['value'])} (probably {format_share(then['low'])} to"
        f" {format_share(then['high'])}).{basis}"
    )


def _tell_class(row: Json) -> str:
    then = row["then"]
    return (
        f"{row['label']} would profit the most: {row['more']} more photos of it, and of the others in proportion:"
        f" {format_share(row['recall'])} to {format_share(then['value'])} of it right (probably"
        f" {format_share(then['low'])} to {format_share(then['high'])})."
    )


def _tell_pair(pair: Json) -> str:
    first, second = pair["labels"]
    return (
        f"Of what is confused, {first} and {second} would gain the most from more photos:"
        f" {100 * pair['confused']:.1f} % of them are taken for each other,"
        f" with twice as many photos about {100 * pair['then']:.1f} %."
    )
