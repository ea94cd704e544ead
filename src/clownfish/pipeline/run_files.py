"""Everything a run leaves behind: the model, the numbers, the tables, the report."""

import json
import platform
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clownfish.compute import Helpers
from clownfish.config import TrainConfig, format_config
from clownfish.evaluation.intervals import MODEL_SPREAD
from clownfish.evaluation.metrics import (
    count_confusions,
    describe_chance,
    describe_classes,
    describe_leak,
    evaluate_part,
)
from clownfish.export.model_file import ModelDescription, build_model
from clownfish.files import encode_text, format_table, name_columns
from clownfish.pipeline.answering import Answers
from clownfish.pipeline.chart_drawer import ChartDrawer
from clownfish.pipeline.cross_validation import CrossValidation
from clownfish.pipeline.examination import Examination
from clownfish.pipeline.log import RunLog
from clownfish.pipeline.material import Material
from clownfish.pipeline.report_content import ReportMaterial, add_maps, make_report_content
from clownfish.records import PARTS, Catalog
from clownfish.report.drawing import list_charts
from clownfish.report.html import load_template, render_report
from clownfish.report.store import write_content
from clownfish.splits import Split
from clownfish.training.selection import Trained, TrainingOptions

METRICS_SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOutcome:
    """What the stages of a training run have come to."""

    name: str
    config: TrainConfig
    material: Material
    split: Split
    trained: Trained
    """With the temperature folded into its head."""
    cross_validation: CrossValidation
    answers: Answers
    examination: Examination

    @property
    def catalog(self) -> Catalog:
        """The photos."""
        return self.material.catalog

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of the trained model, for every used photo: shape (num_used, num_classes)."""
        return self.answers.probabilities

    @property
    def out_of_fold(self) -> NDArray[np.float64]:
        """Of cross-validation, calibrated, for every used photo: shape (num_used, num_classes)."""
        return self.answers.out_of_fold


def make_run_files(
    outcome: TrainingOutcome, log: RunLog, *, helpers: Helpers, drawer: ChartDrawer
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Make the content of every file of the run folder.

    Args:
        outcome: of the stages.
        log: of the run; its events become log.jsonl.
        helpers: helper processes that read photos.
        drawer: draws the charts, or has done so.

    Returns:
        The metrics, and the content by file name.
    """
    metrics = make_metrics(outcome)
    messages = list_messages(outcome)

    # onnx and ONNX Runtime leave Python free, so pictures and charts are made while they work; the seconds of "export"
    # are those that it takes longer than that
    with ThreadPoolExecutor(2) as pool:
        exported = pool.submit(_make_model, outcome, metrics, log.created)
        with log.time_stage("report"):
            material = _gather_report(outcome, metrics, messages, log.created)
            content = make_report_content(material, helpers)
            drawn = pool.submit(drawer.draw, list_charts(content))
            content = add_maps(content, material, helpers)
            load_template()
        with log.time_stage("export"):
            model = exported.result()
        with log.time_stage("report"):
            charts = drawn.result()
    with log.time_stage("report"):
        metrics["seconds"] = log.summarise_seconds()
        report = render_report(content, charts)
    metrics["seconds"] = log.summarise_seconds()
    for message in messages:
        log.add("message", text=message)
    log.add("done")
    metrics["messages"] = messages
    return metrics, {
        "model.onnx": model,
        "report.html": encode_text(report),
        "report.json": encode_text(write_content(content)),
        "metrics.json": encode_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n"),
        "photos.csv": _format_photos(outcome),
        "predictions.csv": _format_predictions(outcome),
        "cross_validated.csv": _format_cross_validated(outcome),
        "history.csv": _format_history(outcome.trained),
        "config.toml": format_config(outcome.config),
        "log.jsonl": log.format(),
        **outcome.examination.files,
    }


def make_metrics(outcome: TrainingOutcome) -> dict[str, Any]:
    """Compute every number of metrics.json but the seconds.

    Args:
        outcome: of the stages.

    Returns:
        The content of metrics.json, schema 1.
    """
    catalog, trained = outcome.catalog, outcome.trained
    classes, labels = catalog.classes, catalog.labels
    groups = np.array(catalog.groups)
    parts = np.array(outcome.split.parts)
    test = parts == "test"
    test_confusions = count_confusions(labels[test], outcome.probabilities[test], len(classes))
    statuses = Counter(photo.status for photo in catalog.photos)
    return {
        "schema": METRICS_SCHEMA,
        "classes": list(classes),
        "num_photos": {
            **{part: int((parts == part).sum()) for part in PARTS},
            "unusable": statuses["unusable"],
            "left_out": statuses["left out"],
        },
        "num_groups": len(np.unique(groups)),
        "label_conflicts": catalog.num_label_conflicts,
        "iterations_per_epoch": trained.iterations_per_epoch,
        "best_epoch": trained.best_epoch,
        "lowest_validation_loss_epoch": trained.lowest_loss_epoch,
        "weight_decay": trained.weight_decay,
        "learning_rate": trained.learning_rate,
        "num_parameters": {
            "backbone": outcome.material.backbone.num_parameters,
            "trained": trained.num_trained_parameters,
            "total": outcome.material.backbone.num_parameters + trained.head.weights.size + trained.head.bias.size,
        },
        **{
            part: evaluate_part(
                labels[parts == part], outcome.probabilities[parts == part], groups[parts == part].tolist()
            )
            for part in PARTS
        },
        "cross_validated": _describe_cross_validation(outcome),
        "chance": describe_chance(labels, len(classes)),
        "per_class": describe_classes(labels[test], outcome.probabilities[test], groups[test].tolist(), classes),
        "confusion_matrix": test_confusions.tolist(),
        **outcome.answers.metrics,
        **outcome.examination.metrics,
        "versions": _list_versions(),
    }


def _describe_cross_validation(outcome: TrainingOutcome) -> dict[str, Any]:
    catalog, labels, validated = outcome.catalog, outcome.catalog.labels, outcome.cross_validation
    groups, classes = catalog.groups, catalog.classes

    def evaluate(probabilities: NDArray[np.float64]) -> dict[str, Any]:
        return evaluate_part(labels, probabilities, groups, spread=MODEL_SPREAD)

    facts = {
        **evaluate(outcome.out_of_fold),
        "num_folds": validated.num_folds,
        "per_class": describe_classes(labels, outcome.out_of_fold, groups, classes, spread=MODEL_SPREAD),
        "confusion_matrix": count_confusions(labels, outcome.out_of_fold, len(classes)).tolist(),
    }
    for name, probabilities in (
        ("random_split", validated.of_random_folds),
        ("seen_groups", validated.of_seen_groups),
    ):
        if probabilities is not None:
            shares = evaluate(probabilities)
            facts[name] = {measure: shares[measure] for measure in ("accuracy", "balanced_accuracy")}
    if validated.of_random_folds is not None:
        seed = outcome.config.training.seed
        facts["leak"] = describe_leak(labels, validated.out_of_fold, validated.of_random_folds, groups, seed=seed)
    return facts


def list_messages(outcome: TrainingOutcome) -> list[str]:
    """Collect what the user should know, most important first."""
    scan, trained = outcome.material.scan, outcome.trained
    messages = [*outcome.catalog.notes, *outcome.split.notes, *outcome.examination.messages]
    unusable = [photo for photo in outcome.catalog.photos if photo.status == "unusable"]
    if unusable:
        examples = "; ".join(f"{photo.file}: {photo.note}" for photo in unusable[:2])
        more = f"; and {len(unusable) - 2} more" if len(unusable) > 2 else ""
        messages.append(f"Unusable, with the reason in photos.csv: {examples}{more}.")
    if scan.empty_classes:
        messages.append(f"Folders without photos, which are no classes: {', '.join(scan.empty_classes[:5])}.")
    if scan.num_repeated:
        messages.append(f"Rows of the CSV that name a file again: {scan.num_repeated}. The first row of a file counts.")
    messages += outcome.answers.messages
    asked = outcome.config.training.learning_rate
    if asked != TrainingOptions().learning_rate and trained.learning_rate < asked:
        messages.append(
            f"The learning rate of {asked:g} was limited to {trained.learning_rate:.2g}, the largest that surely"
            " converges."
        )
    if scan.skipped:
        kinds = ", ".join(f"{count} {ending}" for ending, count in sorted(scan.skipped.items()))
        messages.append(f"Skipped {sum(scan.skipped.values())} files that are no photos: {kinds}.")
    if outcome.material.cache.warning:
        messages.append(outcome.material.cache.warning)
    return messages


def _make_model(outcome: TrainingOutcome, metrics: dict[str, Any], created: str) -> bytes:
    catalog = outcome.catalog
    training_photos = [
        catalog.photos[position].content_hash
        for position, part in zip(catalog.used, outcome.split.parts, strict=True)
        if part == "train"
    ]
    description = ModelDescription(
        classes=catalog.classes,
        preprocessing=outcome.material.preprocessing,
        created=created,
        version=version("clownfish"),
        training_photos=training_photos,
        properties=outcome.answers.properties,
        further={
            "num_photos": metrics["num_photos"],
            "num_groups": metrics["num_groups"],
            "test_accuracy": metrics["test"]["accuracy"],
            "cross_validated_accuracy": metrics["cross_validated"]["accuracy"],
        },
    )
    return build_model(outcome.material.backbone, outcome.trained.head, description, outcome.answers.embedding)


def _format_photos(outcome: TrainingOutcome) -> bytes:
    """One row a photo; the user's own columns behind ours."""
    parts = dict(zip(outcome.catalog.used.tolist(), outcome.split.parts, strict=True))
    fixed = ["file", "label", "group", "group_reason", "split", "width", "height", "status", "note"]
    further = outcome.material.scan.columns
    rows = [
        [
            photo.file,
            photo.label,
            photo.group,
            photo.group_reason,
            parts.get(position, ""),
            photo.width or None,
            photo.height or None,
            photo.status,
            photo.note,
            *(photo.columns[name] for name in further),
        ]
        for position, photo in enumerate(outcome.catalog.photos)
    ]
    return format_table([*fixed, *name_columns(further, fixed, prefix="csv")], rows)


def _format_predictions(outcome: TrainingOutcome) -> bytes:
    """One row a held-out photo: validation, then test."""
    catalog = outcome.catalog
    fixed = ["file", "split", "label", "predicted", "probability", "correct", "answered"]
    rows = []
    for part in ("validation", "test"):
        for row, own in enumerate(outcome.split.parts):
            if own != part:
                continue
            probabilities = outcome.probabilities[row]
            predicted = int(probabilities.argmax())
            label = int(catalog.labels[row])
            file = catalog.photos[catalog.used[row]].file
            cells = [file, part, catalog.classes[label], catalog.classes[predicted], float(probabilities[predicted])]
            answered = outcome.answers.statuses[row] == "ok"
            rows.append([*cells, predicted == label, answered, *map(float, probabilities)])
    return format_table([*fixed, *name_columns(catalog.classes, fixed)], rows)


def _format_cross_validated(outcome: TrainingOutcome) -> bytes:
    """One row a used photo: how it was answered by a model that had not seen it."""
    catalog = outcome.catalog
    header = ["file", "sha256", "group", "label", "predicted", "probability", "correct"]
    rows = []
    for row, probabilities in enumerate(outcome.out_of_fold):
        photo, predicted = catalog.photos[catalog.used[row]], int(probabilities.argmax())
        facts = [photo.file, photo.content_hash, photo.group, photo.label, catalog.classes[predicted]]
        rows.append([*facts, float(probabilities[predicted]), predicted == int(catalog.labels[row])])
    return format_table(header, rows)


def _format_history(trained: Trained) -> bytes:
    header = ["epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy", "seconds"]
    return format_table(header, [[getattr(row, name) for name in header] for row in trained.history])


def _list_versions() -> dict[str, str]:
    packages = ("clownfish", "numpy", "onnx", "onnxruntime", "pillow")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


def _gather_report(
    outcome: TrainingOutcome, metrics: dict[str, Any], messages: Sequence[str], created: str
) -> ReportMaterial:
    return ReportMaterial(
        name=outcome.name,
        created=created,
        metrics=metrics,
        messages=messages,
        catalog=outcome.catalog,
        parts=outcome.split.parts,
        probabilities=outcome.probabilities,
        out_of_fold=outcome.out_of_fold,
        trained=outcome.trained,
        backbone=outcome.material.backbone,
        preprocessing=outcome.material.preprocessing,
        features=outcome.material.features,
        options=outcome.config.flatten(),
        cache=outcome.material.cache,
    )
