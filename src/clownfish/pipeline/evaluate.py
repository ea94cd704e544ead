"""`clownfish evaluate`: a trained model on labelled photos it should not have seen."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from clownfish.displays import CLASS_HEADER, draw_accuracy, make_class_rows, make_table, write_accuracy
from clownfish.errors import PhotosError
from clownfish.evaluation.abstention import NOTHING, describe_answers, describe_share
from clownfish.evaluation.metrics import count_confusions, describe_classes, evaluate_part
from clownfish.files import check_free, encode_text, format_table, name_columns, write_folder
from clownfish.photos.groups import Grouping
from clownfish.photos.scan import scan_labelled_photos
from clownfish.pipeline.answer_groups import (
    describe_groups,
    describe_known,
    find_user_groups,
    group_answers,
    may_hold_pictures,
)
from clownfish.prediction.batch import Answer, predict_photos
from clownfish.prediction.classifier import Classifier, load_classifier
from clownfish.progress import NoProgress, Progress
from clownfish.records import PhotoFile


@dataclass(frozen=True)
class Evaluation:
    """How a model did on labelled photos."""

    metrics: dict[str, Any] = field(repr=False)
    """Accuracy and the rest, as in metrics.json."""
    messages: tuple[str, ...]
    """What the user should know."""
    path: Path | None
    """The folder with metrics.json and predictions.csv, if one was asked for."""

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        evaluated = self.metrics["evaluated"]
        title = f"{evaluated['num_photos']:,} photos: {write_accuracy(evaluated['accuracy'])} right"
        rows: list[list[object]] = [[draw_accuracy(evaluated["accuracy"])]]
        rows += [[message] for message in self.messages]
        return make_table(title, [], rows) + make_table(
            "Each class; the worst first", CLASS_HEADER, make_class_rows(self.metrics["per_class"])
        )


def evaluate_classifier(
    model: Classifier | str | Path,
    place: str | Path,
    *,
    photos_folder: str | Path | None = None,
    group_by: str = "",
    group_regex: str = "",
    out: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Classify labelled photos and compare; intervals count groups, found as for training.

    Args:
        model: a classifier, a model file or a run folder.
        place: a folder with one folder a class, or a CSV with the columns file,label.
        photos_folder: what the CSV's file names are relative to; None for the CSV's own folder.
        group_by: a column of the CSV whose equal values belong together, or "folder" for the second-level folder.
        group_regex: a regular expression on the file name; photos with the same match belong together.
        out: a folder to make, for metrics.json and predictions.csv; None to write nothing.
        progress: shows how far the work has come.

    Returns:
        The numbers.

    Raises:
        PhotosError: the photos cannot be used, none has a label that the model knows, or the groups are not there.
        ConfigError: the regular expression is not one.
        ModelFileError: the model cannot be used.
        OutputError: the folder cannot be made.
    """
    classifier = model if isinstance(model, Classifier) else load_classifier(model)
    if out is not None:
        check_free(out)
    scan = scan_labelled_photos(
        Path(place), photos_folder=Path(photos_folder) if photos_folder else None, min_classes=1
    )
    known = [photo for photo in scan.photos if photo.label in classifier.classes]
    foreign = [photo for photo in scan.photos if photo.label and photo.label not in classifier.classes]
    unknown = Counter(photo.label for photo in scan.photos if photo.label not in classifier.classes)
    if not known:
        raise PhotosError(
            [
                f"None of the labels in {place} is a class of the model: found {', '.join(sorted(unknown)[:5])};"
                f" the model knows {', '.join(classifier.classes[:10])}."
            ]
        )
    user_groups = find_user_groups([*known, *foreign], group_by=group_by, group_regex=group_regex)
    everything = _classify(classifier, [*known, *foreign], progress or NoProgress())
    answers = everything[: len(known)]
    usable = [answer for answer in answers if answer.probabilities is not None]
    if not usable:
        raise PhotosError([f"None of the {len(known)} photos in {place} can be read: {answers[0].note}."])
    seen = [answer for answer in everything if answer.probabilities is not None]
    grouping = group_answers(seen, user_groups)
    metrics = _make_metrics(classifier, usable, len(answers) - len(usable), grouping.groups[: len(usable)])
    metrics["unknowns"] = _describe_unknowns(classifier, seen, grouping.groups, len(usable))
    messages = describe_known(classifier, usable, grouping.groups[: len(usable)])
    messages += describe_groups(len(usable), metrics["evaluated"]["num_groups"], grouping)
    messages += [*_list_conflicts(seen, grouping), *_list_messages(answers, unknown)]
    if out is not None:
        content = encode_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
        table = _format_predictions(classifier, answers, grouping.groups)
        write_folder(out, {"metrics.json": content, "predictions.csv": table})
    return Evaluation(metrics=metrics, messages=tuple(messages), path=out)


def _classify(classifier: Classifier, photos: Sequence[PhotoFile], progress: Progress) -> list[Answer]:
    """One answer a photo; of large sets without the pictures by which parts of photos are found."""
    answers: list[Answer] = []
    with progress.show_stage("Classifying", len(photos)) as advance:
        for answer in predict_photos(classifier, photos):
            answers.append(answer if may_hold_pictures(len(photos)) else replace(answer, picture=None))
            advance()
    return answers


def _make_metrics(
    classifier: Classifier, usable: Sequence[Answer], num_unusable: int, groups: Sequence[str]
) -> dict[str, Any]:
    number_of = {label: number for number, label in enumerate(classifier.classes)}
    labels = np.array([number_of[answer.photo.label] for answer in usable], np.int64)
    probabilities = np.array([answer.probabilities for answer in usable], np.float64)
    return {
        "schema": 1,
        "classes": list(classifier.classes),
        "num_photos": {"evaluated": len(usable), "unusable": num_unusable},
        "evaluated": evaluate_part(labels, probabilities, groups),
        "answering": describe_answers(
            np.array([answer.status == "ok" for answer in usable]),
            probabilities.argmax(axis=1) != labels,
            np.array(groups),
        ),
        "per_class": describe_classes(labels, probabilities, groups, classifier.classes),
        "confusion_matrix": count_confusions(labels, probabilities, len(classifier.classes)).tolist(),
    }


def _describe_unknowns(
    classifier: Classifier, seen: Sequence[Answer], groups: Sequence[str], num_known: int
) -> dict[str, Any]:
    """How many photos are called unlike anything seen: of the classes, which come first, and of other labels."""
    novelty = None if classifier.rules is None else classifier.rules.novelty
    can_tell = novelty is not None and bool(np.isfinite(novelty.threshold))
    flagged = np.array([answer.status == "unlike anything seen" for answer in seen], np.bool_)
    names = np.array(groups)

    def describe(rows: slice) -> dict[str, Any]:
        unlike = describe_share(flagged[rows], names[rows]) if can_tell else NOTHING
        return {"num_photos": len(flagged[rows]), "unlike": unlike}

    return {
        "can_tell": can_tell,
        "of_known_labels": describe(slice(num_known)),
        "of_other_labels": describe(slice(num_known, None)),
    }


def _format_predictions(classifier: Classifier, answers: Sequence[Answer], groups: Sequence[str]) -> bytes:
    """The rows; `groups` are those of the photos that can be read, in their order."""
    fixed = ["file", "label", "predicted", "probability", "correct", "status", "group"]
    rows: list[list[object]] = []
    names = iter(groups)
    for answer in answers:
        photo = answer.photo
        if answer.answered is None or answer.probabilities is None:
            nothing = [None] * len(classifier.classes)
            rows.append([photo.file, photo.label, None, None, None, f"unusable: {answer.note}", None, *nothing])
            continue
        best = int(answer.probabilities.argmax())
        predicted = classifier.classes[best]
        cells = [photo.file, photo.label, predicted, float(answer.probabilities[best]), predicted == photo.label]
        cells += [answer.answered.status, next(names)]
        rows.append([*cells, *map(float, answer.probabilities)])
    return format_table([*fixed, *name_columns(classifier.classes, fixed)], rows)


def _list_conflicts(seen: Sequence[Answer], grouping: Grouping) -> list[str]:
    """Copies of one picture under two labels: one of the two answers counts as wrong whatever the model says."""
    pairs = sorted({tuple(sorted((conflict.first, conflict.second))) for conflict in grouping.conflicts})
    if not pairs:
        return []
    first, second = (seen[position].photo for position in pairs[0])
    count = f"{len(pairs)} pair{'s' * (len(pairs) != 1)} of copies have two labels"
    return [f"{count}, such as {first.file} ({first.label}) and {second.file} ({second.label}); one of them is wrong."]


def _list_messages(answers: Sequence[Answer], unknown: Counter[str]) -> list[str]:
    messages = []
    unusable = [answer for answer in answers if answer.probabilities is None]
    if unusable:
        first = unusable[0]
        messages.append(f"{len(unusable)} photos are unusable, such as {first.photo.file}: {first.note}.")
    if unknown:
        names = ", ".join(f"{label or 'none'!r} ({count})" for label, count in unknown.most_common(5))
        messages.append(f"{sum(unknown.values())} photos have labels that the model does not know: {names}. Left out.")
    return messages
