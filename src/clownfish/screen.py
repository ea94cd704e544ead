"""Numbers to the lines that a person reads in the terminal. Nothing here prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clownfish.evaluation.intervals import MIN_GROUPS

_WIDTH = 16


def describe_run(
    metrics: Mapping[str, Any], path: Path, history: Sequence[Mapping[str, str]], options: Mapping[str, Any]
) -> list[str]:
    """Tell a training run in about fifteen lines.

    Args:
        metrics: as in metrics.json.
        path: the run folder.
        history: rows of history.csv.
        options: as in config.toml, flat.

    Returns:
        The lines.
    """
    photos, part = metrics["num_photos"], metrics["test"]
    used = sum(photos[name] for name in ("train", "validation", "test"))
    kept = history[metrics["best_epoch"] - 1]
    parameters = metrics["num_parameters"]
    lines = [
        _line(
            "Photos",
            f"found {used + photos['unusable'] + photos['left_out']} = used {used} + unusable {photos['unusable']}"
            f"{_describe_left_out(photos['left_out'])};"
            f" {len(metrics['classes'])} classes, {metrics['num_groups']} groups",
        ),
        _line("Split", f"{photos['train']} training, {photos['validation']} validation, {photos['test']} test photos"),
        _line(
            "Network",
            f"{options['backbone']}; {parameters['trained']:,} of {parameters['total']:,} parameters trained",
        ),
        _line("Training", _describe_training(metrics, len(history), options)),
        _line("  training", _describe_epoch(kept["train_loss"], kept["train_accuracy"])),
    ]
    if photos["validation"]:
        lines.append(_line("  validation", _describe_epoch(kept["validation_loss"], kept["validation_accuracy"])))
    if photos["test"]:
        lines.append(_line("Test", _describe_part(part)))
    lines += [
        _line("Cross-validated", f"{_describe_part(metrics['cross_validated'])}, {_count_folds(metrics)}"),
        *_describe_seen_groups(metrics["cross_validated"], options),
        *_describe_leak(metrics["cross_validated"]),
        _line("Guessing", _describe_chance(metrics)),
        *_describe_answers(metrics),
        *_describe_confusions(metrics),
        *describe_messages(metrics["messages"]),
        _line("Seconds", _describe_seconds(metrics["seconds"])),
        _line("Report", str(path / "report.html")),
        _line("Model", str(path / "model.onnx")),
    ]
    return lines


def describe_evaluation(metrics: Mapping[str, Any], messages: Sequence[str]) -> list[str]:
    """Tell how a model did on labelled photos.

    Args:
        metrics: of `pipeline.evaluate`.
        messages: what the user should know.

    Returns:
        The lines, with a table of classes.
    """
    photos = metrics["num_photos"]
    names = [row["label"] for row in metrics["per_class"] if row["num_photos"]]
    width = max(len(name) for name in names)
    lines = [
        _line("Photos", f"evaluated {photos['evaluated']} + unusable {photos['unusable']}"),
        _line("Result", _describe_part(metrics["evaluated"])),
        _line("Answers", _describe_answered(metrics["answering"])),
        *_describe_unlike(metrics["unknowns"]),
        *describe_messages(messages),
        "",
        f"{'class':<{width}}  photos  right  precision  recall",
    ]
    for row in metrics["per_class"]:
        if row["num_photos"]:
            shares = f"{_percent(row['precision']):>9}  {_percent(row['recall']):>6}"
            lines.append(f"{row['label']:<{width}}  {row['num_photos']:>6}  {row['tp']:>5}  {shares}")
    return lines


def describe_audit(metrics: Mapping[str, Any], messages: Sequence[str]) -> list[str]:
    """Tell an audit in about twenty lines.

    Args:
        metrics: as in audit.json.
        messages: what the user should know.

    Returns:
        The lines.
    """
    photos, sides, copies = metrics["num_photos"], metrics["longest_side"], metrics["copies"]
    counts = sorted((row["num_photos"], row["label"]) for row in metrics["classes"])
    groups = sorted((row["num_groups"], row["label"]) for row in metrics["classes"])
    accuracy, chance = metrics["quick_accuracy"]["accuracy"], metrics["chance"]["accuracy"]
    return [
        _line(
            "Photos",
            f"found {photos['found']} = used {photos['used']} + unusable {photos['unusable']}"
            f"{_describe_left_out(photos['left_out'])}; {len(counts)} classes, {metrics['num_groups']} groups",
        ),
        _line(
            "Classes",
            f"{counts[0][0]} ({counts[0][1]}) to {counts[-1][0]} ({counts[-1][1]}) photos,"
            f" {groups[0][0]} to {groups[-1][0]} groups",
        ),
        _line(
            "Longest side",
            f"{sides['smallest']} to {sides['largest']} pixels, half of them up to {sides['median']:.0f}",
        ),
        _line("Copies", f"{copies['num_pairs']} pairs; {metrics['label_conflicts']} under two labels"),
        *(_line("", f"{first} and {second} ({how})") for first, second, how in copies["examples"][:2]),
        _line(
            "Quick test",
            f"a classifier gets {_percent(accuracy['value'])} right on photos it has not seen"
            f" ({_percent(accuracy['low'])} to {_percent(accuracy['high'])}), guessing {_percent(chance)}",
        ),
        _line("Shortcuts", f"{metrics['shortcuts']['found'] or 'none'} found; alone, of the classes right:"),
        *_describe_probes(metrics["shortcuts"]["probes"]),
        _line("Labels", _describe_suspicious(metrics["label_errors"])),
        *(
            _line(outliers["name"].capitalize(), f"{outliers['num_photos']}: {', '.join(outliers['files'][:3])}")
            for outliers in metrics["outliers"]
        ),
        *(_line("Unusable", f"{file}: {note}") for file, note in metrics["unusable"][:3]),
        *describe_messages(messages),
    ]


def describe_comparison(
    accuracies: Mapping[str, Mapping[str, float]], sentences: Sequence[str], messages: Sequence[str]
) -> list[str]:
    """Tell how runs differ.

    Args:
        accuracies: by name of the run, cross-validated: value, low, high.
        sentences: one a pair of runs.
        messages: what the user should know.

    Returns:
        The lines.
    """
    width = max(map(len, accuracies))
    return [
        *(
            f"{name:<{width}}  {_percent(own['value'])} right ({_percent(own['low'])} to {_percent(own['high'])})"
            for name, own in accuracies.items()
        ),
        "",
        *(sentence.replace("\u2068", "").replace("\u2069", "") for sentence in sentences),
        *describe_messages(messages),
    ]


def _describe_probes(probes: Sequence[Mapping[str, Any]]) -> list[str]:
    texts = [f"{probe['name']} {_percent(probe['balanced_accuracy']['value'])}" for probe in probes]
    return [_line("", f"{', '.join(texts)} (guessing {_percent(probes[0]['chance'])})")] if probes else []


def _describe_suspicious(errors: Mapping[str, Any]) -> str:
    count = errors["num_listed"]
    if not count:
        text = "none looks wrong"
    else:
        text = f"{count} to look at, about {max(1, round(errors['num_expected_wrong']))} of them wrong"
    test = errors["self_test"]
    if test:
        text += f"; of {test['num_flipped']} made wrong on purpose, {_percent(test['recall'])} were found"
    return text


def describe_messages(messages: Sequence[str]) -> list[str]:
    """Mark the sentences that the user should not miss."""
    return [_line("Note" if number == 0 else "", message) for number, message in enumerate(messages)]


def _line(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}{text}"


def _describe_left_out(count: int) -> str:
    return f" + left out {count}" if count else ""


def _describe_training(metrics: Mapping[str, Any], num_epochs: int, options: Mapping[str, Any]) -> str:
    iterations = metrics["iterations_per_epoch"]
    text = (
        f"{num_epochs} epoch{'s' * (num_epochs != 1)} of {iterations} iteration{'s' * (iterations != 1)}"
        f" (batches of {options['batch_size']});"
        f" kept epoch {metrics['best_epoch']}"
    )
    lowest = metrics["lowest_validation_loss_epoch"]
    if lowest not in (None, metrics["best_epoch"]):
        text += f" (validation loss lowest at {lowest}, within its error)"
    return text


def _describe_epoch(loss: str, accuracy: str) -> str:
    return f"loss {float(loss):.3f}, accuracy {_percent(float(accuracy))}"


def _describe_part(part: Mapping[str, Any]) -> str:
    accuracy, num_photos, num_groups = part["accuracy"], part["num_photos"], part["num_groups"]
    low, high = _percent(accuracy["low"]), _percent(accuracy["high"])
    counts = f"{num_photos} photos" + (f" in {num_groups} groups" if num_groups < num_photos else "")
    loss = f"cross-entropy {part['cross_entropy']:.3f}"
    if num_groups < MIN_GROUPS:  # one number would be believed
        return f"between {low} and {high} right, {loss}, {counts}: too few for one number"
    return f"{_percent(accuracy['value'])} right ({low} to {high}), {loss}, {counts}"


def _describe_seen_groups(cross_validated: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """The line above is for new groups of the user's; this one for those that were trained on."""
    seen = cross_validated.get("seen_groups")
    if seen is None:
        return []
    name = options["group_by"] if options["group_by"] not in ("", "folder") else "group"
    share = _percent(seen["accuracy"]["value"])
    return [_line("", f"that is for a new {name}; for new photos of one it has seen: {share} right")]


def _describe_leak(cross_validated: Mapping[str, Any]) -> list[str]:
    """What a random split would have claimed, where that is clearly too much."""
    leak = cross_validated.get("leak")
    if leak is None or leak["low"] <= 0 or round(100 * leak["value"]) < 1:
        return []
    points = round(100 * leak["value"])
    claimed = _percent(cross_validated["random_split"]["accuracy"]["value"])
    text = f"would claim {claimed}, {points} point{'s' * (points != 1)} too good: it deals a group out to both sides"
    return [_line("Random split", text)]


def _count_folds(metrics: Mapping[str, Any]) -> str:
    return f"{metrics['cross_validated']['num_folds']} folds"


def _describe_chance(metrics: Mapping[str, Any]) -> str:
    chance = metrics["chance"]
    loss = f"cross-entropy {chance['cross_entropy']:.3f}"
    return f"{_percent(chance['accuracy'])} right by always saying the commonest class, {loss}"


def _describe_answers(metrics: Mapping[str, Any]) -> list[str]:
    """What `predict` will do with new photos: answer, be unsure, notice unknown species."""
    answering, unknowns = metrics["answering"], metrics["unknowns"]
    lines = []
    if answering["threshold"] is not None:
        wanted = f"at most {100 * answering['max_error']:g} % wanted"
        lines.append(_line("Answers", f"{_describe_answered(answering['out_of_fold'])} ({wanted})"))
    hidden = metrics.get("hidden_classes", {}).get("per_class")
    if unknowns["can_tell"] and hidden:
        shares = [row["caught"]["value"] for row in hidden]
        lines.append(
            _line(
                "Unknown species",
                f"{_percent(sum(shares) / len(shares))} noticed where a class was hidden"
                f" ({_percent(min(shares))} to {_percent(max(shares))}, by class);"
                f" {_percent(unknowns['promised_rejected'])} of known photos are taken for unknown",
            )
        )
    if unknowns["folder"] is not None:
        caught, num_photos = unknowns["folder"]["caught"]["value"], unknowns["folder"]["num_photos"]
        told = "cannot be told how many" if caught is None else _percent(caught)
        lines.append(_line("Other things", f"{told} of {num_photos} photos {'are ' * (caught is None)}noticed"))
    return lines


def _describe_answered(answering: Mapping[str, Any]) -> str:
    share, error = answering["answered"]["value"], answering["error"]["value"]
    if error is None:
        return "none is certain enough"
    return f"{_percent(share)} of photos are answered, {_percent(error)} of those wrongly"


def _describe_unlike(unknowns: Mapping[str, Any]) -> list[str]:
    if not unknowns["can_tell"]:
        return [_line("Unlike any seen", "cannot be told: the model was trained on too few groups of photos")]
    known, other = unknowns["of_known_labels"], unknowns["of_other_labels"]
    text = f"{_percent(known['unlike']['value'])} of these photos"
    if other["num_photos"]:
        text += f", {_percent(other['unlike']['value'])} of the {other['num_photos']} with labels that are no class"
    return [_line("Unlike any seen", text)]


def _describe_confusions(metrics: Mapping[str, Any], most: int = 2) -> list[str]:
    matrix, classes = metrics["cross_validated"]["confusion_matrix"], metrics["classes"]
    pairs = sorted(
        (
            (count, classes[true], classes[predicted], sum(row))
            for true, row in enumerate(matrix)
            for predicted, count in enumerate(row)
            if true != predicted and count
        ),
        key=lambda pair: -pair[0],
    )
    texts = [f"{true} taken for {predicted} ({count} of {total})" for count, true, predicted, total in pairs[:most]]
    return [_line("Most confused", ", ".join(texts))] if texts else []


def _describe_seconds(seconds: Mapping[str, float]) -> str:
    stages = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items() if name != "total" and value >= 0.05)
    return f"{seconds['total']:.1f} ({stages})"


def _percent(share: float | None) -> str:
    """Whole per cents; never 100 where something is wrong, nor 0 where something is right."""
    if share is None:
        return "-"
    if 0.995 <= share < 1:  # 199 of 200 would be rounded to 100
        return ">99 %"
    if 0 < share <= 0.005:
        return "<1 %"
    return f"{100 * share:.0f} %"
