import json
import math
import tomllib
from collections import Counter
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from clownfish.pipeline.run import Run
from clownfish.records import PARTS
from runs import RUN_FILES, read_table


@pytest.fixture(params=["digits", "messy"])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue(f"{request.param}_run")
    return found


def read_strict(run: Run) -> dict[str, Any]:
    """What metrics.json holds; NaN and infinity are no JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in metrics.json")

    text = (run.path / "metrics.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return content


def test_run_folder_holds_exactly_the_files_of_the_design(run: Run) -> None:
    assert {path.name for path in run.path.iterdir()} == RUN_FILES
    assert not [path.name for path in run.path.parent.iterdir() if path.name.startswith(".partial-")]
    assert run.report == run.path / "report.html"


def test_metrics_have_exactly_the_keys_of_schema_1(run: Run) -> None:
    metrics = read_strict(run)
    assert metrics == run.metrics
    assert metrics["schema"] == 1
    assert set(metrics) == {
        *("schema", "classes", "num_photos", "num_groups", "iterations_per_epoch", "train", "validation", "test"),
        *(
            "cross_validated",
            "chance",
            "per_class",
            "confusion_matrix",
            "verdicts",
            "learning_curve",
            "seconds",
            "versions",
        ),
        *("label_conflicts", "best_epoch", "lowest_validation_loss_epoch", "weight_decay", "num_parameters"),
        *("learning_rate", "messages", "calibration", "answering", "prediction_sets", "unknowns", "hidden_classes"),
        *("verdicts", "learning_curve", "shortcuts", "label_errors", "quick_accuracy"),
    }
    part_keys = {"num_photos", "num_groups", "accuracy", "balanced_accuracy", "cross_entropy"}
    for part in PARTS:
        assert set(metrics[part]) == part_keys
    leak_keys = {"random_split", "leak"} if metrics["num_groups"] < metrics["cross_validated"]["num_photos"] else set()
    assert set(metrics["cross_validated"]) == {*part_keys, "num_folds", "per_class", "confusion_matrix", *leak_keys}
    assert set(metrics["test"]["accuracy"]) == {"value", "low", "high"}
    assert set(metrics["chance"]) == {"accuracy", "cross_entropy"}
    assert set(metrics["num_photos"]) == {"train", "validation", "test", "unusable", "left_out"}
    for row in metrics["per_class"] + metrics["cross_validated"]["per_class"]:
        counts = {"label", "num_photos", "num_groups", "tp", "fp", "fn", "tn"}
        assert set(row) == {*counts, "precision", "recall", "recall_low", "recall_high", "f1"}
    assert set(metrics["versions"]) == {"python", "clownfish", "numpy", "onnx", "onnxruntime", "pillow"}


def test_photos_add_up(run: Run) -> None:
    metrics, rows = read_strict(run), read_table(run.path / "photos.csv")
    numbers = metrics["num_photos"]
    assert sum(numbers.values()) == len(rows)
    assert Counter(row["split"] for row in rows if row["split"]) == {part: numbers[part] for part in PARTS}
    assert numbers["unusable"] == sum(row["status"] == "unusable" for row in rows)
    assert numbers["left_out"] == sum(row["status"] == "left out" for row in rows)
    assert metrics["num_groups"] == len({row["group"] for row in rows if row["status"] == "used"})
    for part in PARTS:
        assert metrics[part]["num_photos"] == numbers[part]
    assert metrics["cross_validated"]["num_photos"] == sum(numbers[part] for part in PARTS)
    assert metrics["classes"] == sorted({row["label"] for row in rows if row["label"]})


def test_no_group_crosses_the_split(run: Run) -> None:
    parts: dict[str, set[str]] = {}
    for row in read_table(run.path / "photos.csv"):
        if row["status"] == "used":
            parts.setdefault(row["group"], set()).add(row["split"])
    assert all(len(found) == 1 for found in parts.values())


def test_tables_have_the_columns_of_the_design(run: Run) -> None:
    assert list(read_table(run.path / "photos.csv")[0]) == [
        *("file", "label", "group", "group_reason", "split", "width", "height", "status", "note"),
    ]
    assert list(read_table(run.path / "predictions.csv")[0]) == [
        *("file", "split", "label", "predicted", "probability", "correct", "answered", *run.metrics["classes"]),
    ]
    assert list(read_table(run.path / "history.csv")[0]) == [
        *("epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy", "seconds"),
    ]


@pytest.mark.parametrize("where", ["test", "cross_validated"])
def test_classes_and_confusions_add_up(run: Run, where: str) -> None:
    metrics = read_strict(run)
    own = metrics if where == "test" else metrics["cross_validated"]
    confusions = np.array(own["confusion_matrix"])
    total = metrics[where]["num_photos"]
    assert confusions.sum() == total
    assert metrics[where]["accuracy"]["value"] == pytest.approx(np.trace(confusions) / total)
    assert [row["label"] for row in own["per_class"]] == metrics["classes"]
    for number, row in enumerate(own["per_class"]):
        assert row["tp"] == confusions[number, number]
        assert row["tp"] + row["fn"] == row["num_photos"] == confusions[number].sum()
        assert row["tp"] + row["fp"] == confusions[:, number].sum()
        assert row["tp"] + row["fp"] + row["fn"] + row["tn"] == total
        for name, below in (("precision", row["tp"] + row["fp"]), ("recall", row["num_photos"])):
            assert row[name] is None if below == 0 else row[name] == pytest.approx(row["tp"] / below)
    recalls = [row["recall"] for row in own["per_class"] if row["num_photos"]]
    assert metrics[where]["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls))


def test_predictions_are_those_that_the_metrics_count(run: Run) -> None:
    metrics, rows = read_strict(run), read_table(run.path / "predictions.csv")
    classes = metrics["classes"]
    assert Counter(row["split"] for row in rows) == {
        part: metrics["num_photos"][part] for part in ("validation", "test")
    }
    of_photos = {row["file"]: row for row in read_table(run.path / "photos.csv")}
    for row in rows:
        probabilities = [float(row[name]) for name in classes]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert float(row["probability"]) == max(probabilities)
        assert row["predicted"] == classes[int(np.argmax(probabilities))]
        assert row["correct"] == str(row["predicted"] == row["label"]).lower()
        certain = max(probabilities) >= (metrics["answering"]["threshold"] or 1.1) - 1e-6
        assert row["answered"] == "false" or certain
        assert (of_photos[row["file"]]["label"], of_photos[row["file"]]["split"]) == (row["label"], row["split"])
    for part in ("validation", "test"):
        own = [row for row in rows if row["split"] == part]
        labels = [classes.index(row["label"]) for row in own]
        probabilities_of = np.array([[float(row[name]) for name in classes] for row in own])
        predicted = probabilities_of.argmax(axis=1)
        found = metrics[part]
        assert found["accuracy"]["value"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
        assert found["balanced_accuracy"]["value"] == pytest.approx(
            sklearn_metrics.balanced_accuracy_score(labels, predicted)
        )
        entropy = -np.log(np.maximum(probabilities_of[np.arange(len(own)), labels], 1e-12)).mean()
        assert found["cross_entropy"] == pytest.approx(entropy, rel=1e-3)


def test_intervals_hold_their_values(run: Run) -> None:
    metrics = read_strict(run)
    for part in (*PARTS, "cross_validated"):
        for name in ("accuracy", "balanced_accuracy"):
            interval = metrics[part][name]
            assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1


def test_model_says_what_the_tables_say(run: Run) -> None:
    rows = {row["file"]: row for row in read_table(run.path / "predictions.csv")}
    config = tomllib.loads((run.path / "config.toml").read_text(encoding="utf-8"))
    file, row = next(iter(rows.items()))
    prediction = run.classifier.predict(f"{config['photos']['place']}/{file}")
    assert prediction.label == row["predicted"]
    assert prediction.probability == pytest.approx(float(row["probability"]), abs=2e-5)


def test_history_ends_where_the_metrics_say(run: Run) -> None:
    metrics, rows = read_strict(run), read_table(run.path / "history.csv")
    config = tomllib.loads((run.path / "config.toml").read_text(encoding="utf-8"))
    assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
    assert 1 <= metrics["best_epoch"] <= len(rows) <= config["training"]["epochs"]
    kept = rows[metrics["best_epoch"] - 1]
    for part, prefix in (("train", "train"), ("validation", "validation")):
        assert float(kept[f"{prefix}_accuracy"]) == pytest.approx(metrics[part]["accuracy"]["value"], abs=1e-5)
        if metrics["calibration"]["temperature"] == 1:  # the history is from before calibration
            assert float(kept[f"{prefix}_loss"]) == pytest.approx(metrics[part]["cross_entropy"], abs=1e-3)
    losses = [float(row["validation_loss"]) for row in rows]
    assert metrics["lowest_validation_loss_epoch"] == int(np.argmin(losses)) + 1
    assert all(float(row["seconds"]) >= 0 for row in rows)
    batch_size = config["training"]["batch_size"]
    assert metrics["iterations_per_epoch"] == math.ceil(metrics["num_photos"]["train"] / batch_size)


def test_chance_is_that_of_the_commonest_class(run: Run) -> None:
    metrics, rows = read_strict(run), read_table(run.path / "photos.csv")
    counts = Counter(row["label"] for row in rows if row["status"] == "used")
    assert metrics["chance"]["accuracy"] == pytest.approx(max(counts.values()) / counts.total())


def test_parameters_are_counted(digits_run: Run) -> None:
    assert digits_run.metrics["num_parameters"] == {
        "backbone": 3_350_000,
        "trained": 2849 * 10,
        "total": 3_350_000 + 2849 * 10,
    }


def test_seconds_of_the_stages_make_the_total(run: Run) -> None:
    seconds = dict(read_strict(run)["seconds"])
    total = seconds.pop("total")
    stages = ["scan", "features", "split", "train", "cross-validate", "answers", "examine", "report", "export"]
    assert list(seconds) == stages
    assert 0 < sum(seconds.values()) <= total


def test_log_tells_what_happened_when(run: Run) -> None:
    events = [json.loads(line) for line in (run.path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    times = [datetime.fromisoformat(event["time"]) for event in events]
    assert times == sorted(times) and all(time.tzinfo for time in times)
    assert events[0]["event"] == "stage started" and events[-1]["event"] == "done"
    started = [event["stage"] for event in events if event["event"] == "stage started"]
    assert started == [event["stage"] for event in events if event["event"] == "stage done"]
    found = next(event for event in events if event["event"] == "photos found")
    assert found["num_photos"] == sum(run.metrics["num_photos"].values())
    assert [event["text"] for event in events if event["event"] == "message"] == run.metrics["messages"]


def test_learned_digits_are_better_than_chance(digits_run: Run) -> None:
    metrics = digits_run.metrics
    assert metrics["cross_validated"]["accuracy"]["low"] > 0.5 > metrics["chance"]["accuracy"]
