"""Do calibration, the error budget and prediction sets keep what they promise on photos that were not drawn?

python -m validation.answering PHOTOS [--groups CSV --group-column X] [--draws 20] [--num-per-class 20 50]
"""

import numpy as np

from clownfish.evaluation.calibration import describe_calibration_error
from clownfish.evaluation.grouping import weigh_by_group
from validation.common import PhotoSet, draw_training, load_photo_set, parse_arguments, print_table

MAX_ERROR = 0.05
ANSWERED = 0.8


def measure(photos: PhotoSet, num_per_class: int, seed: int) -> dict[str, float]:
    drawing = draw_training(photos, num_per_class, max_error=MAX_ERROR, seed=seed)
    labels, groups = photos.labels[drawing.rest], photos.groups[drawing.rest]
    weights = weigh_by_group(groups)
    certainty = drawing.probabilities.max(axis=1)
    wrong = drawing.probabilities.argmax(axis=1) != labels
    answered = certainty >= drawing.answers.rules.threshold
    best = np.argsort(-certainty, kind="stable")[: round(ANSWERED * len(certainty))]
    raw = apply_inverse(drawing.probabilities, drawing.answers.temperature)
    best_raw = np.argsort(-raw.max(axis=1), kind="stable")[: round(ANSWERED * len(certainty))]
    rows = np.arange(len(labels))
    plain = (drawing.probabilities >= drawing.answers.rules.set_thresholds)[rows, labels]
    candidates = drawing.answers.rules.find_candidates(drawing.probabilities)
    coverage = [np.average(plain[labels == label], weights=weights[labels == label]) for label in np.unique(labels)]
    before = describe_calibration_error(raw, labels, groups, seed=seed)
    after = describe_calibration_error(drawing.probabilities, labels, groups, seed=seed)
    return {
        "answered": float(np.average(answered, weights=weights)),
        "answered_groups": float((weights * answered).sum()),
        "wrong_groups": float((weights * answered * wrong).sum()),
        "error_at_80": float(wrong[best].mean()),
        "plain_error_at_80": float(wrong[best_raw].mean()),
        "coverage": float(np.average(plain, weights=weights)),
        "worst_class": float(min(coverage)),
        "size": float(candidates.sum(axis=1).mean()),
        "before": before["value"],
        "after": after["value"],
        "inside": float(after["value"] <= after["expected"]["high"]),
        "own_inside": float(
            (own := drawing.answers.metrics["calibration"]["after"]["calibration_error"])["value"]
            <= own["expected"]["high"]
        ),
        "temperature": drawing.answers.temperature,
    }


def apply_inverse(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities before calibration."""
    raised = np.maximum(probabilities, 1e-300) ** temperature
    return raised / raised.sum(axis=1, keepdims=True)


def main() -> None:
    options = parse_arguments(__doc__ or "")
    photos = load_photo_set(options.photos, groups=options.groups, group_column=options.group_column)
    for num_per_class in options.num_per_class:
        draws = [measure(photos, num_per_class, options.seed + draw) for draw in range(options.draws)]
        values = {name: np.array([draw[name] for draw in draws]) for name in draws[0]}
        mean = {name: float(own.mean()) for name, own in values.items()}
        some = values["answered_groups"] > 0
        errors = values["wrong_groups"][some] / values["answered_groups"][some]
        pooled = values["wrong_groups"].sum() / max(values["answered_groups"].sum(), 1e-9)
        spread = float(errors.std(ddof=1)) / len(errors) ** 0.5 if len(errors) > 1 else 0.0
        kept = f"{pooled:.1%} (sd of a draw {errors.std():.1%})" if len(errors) else "none is answered"
        of_draws = f"{errors.mean():.1%} +- {spread:.1%}" if len(errors) else "none is answered"
        print_table(
            f"{photos.name}, {num_per_class} photos a class, {options.draws} draws",
            [
                ("errors among answered", kept, "<= 5 % + sampling error"),
                ("mean of draws, standard error", of_draws, "<= 5 % + sampling error"),
                ("answered", f"{mean['answered']:.0%}, budget kept in {some.mean():.0%}", ""),
                (
                    "error at 80 % answered",
                    f"{mean['error_at_80']:.2%} (uncalibrated {mean['plain_error_at_80']:.2%})",
                    "no worse than uncalibrated",
                ),
                ("coverage of sets", f"{mean['coverage']:.1%} (size {mean['size']:.2f})", "88 to 92 %"),
                ("coverage of worst class", f"{mean['worst_class']:.1%}", ">= 85 % at >= 50 groups a class"),
                ("calibration error on the rest", f"{mean['before']:.1%} -> {mean['after']:.1%}", ""),
                ("inside null band, own photos", f"{mean['own_inside']:.0%} of draws", ">= 95 %"),
                ("inside null band, the rest", f"{mean['inside']:.0%} of draws", "(a far sharper test)"),
                ("temperature", f"{mean['temperature']:.2f}", ""),
            ],
        )


if __name__ == "__main__":
    main()
