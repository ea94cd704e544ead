import copy
import re
from pathlib import Path
from typing import Any

import pytest

import clownfish
from clownfish.config import read_config
from clownfish.pipeline.run import Run
from clownfish.screen import describe_evaluation, describe_messages, describe_run
from runs import read_table


@pytest.fixture
def facts(digits_run: Run) -> dict[str, Any]:
    return {
        "metrics": copy.deepcopy(digits_run.metrics),
        "path": Path("runs/digits-1"),
        "history": read_table(digits_run.path / "history.csv"),
        "options": read_config(digits_run.path / "config.toml").flatten(),
    }


def find_line(lines: list[str], name: str) -> str:
    (line,) = [line for line in lines if line.startswith(f"{name:<16}")]
    return line[16:]


def test_run_is_told_in_about_fifteen_lines(facts: dict[str, Any]) -> None:
    lines = describe_run(**facts)
    assert 12 <= len(lines) <= 18
    assert all(len(line) > 16 for line in lines)
    assert find_line(lines, "Photos") == "found 60 = used 60 + unusable 0; 10 classes, 60 groups"
    assert find_line(lines, "Split") == "40 training, 10 validation, 10 test photos"
    assert find_line(lines, "Network") == "efficientnet_lite0; 28,490 of 3,378,490 parameters trained"
    assert find_line(lines, "Training").startswith("20 epochs of 2 iterations (batches of 32); kept epoch ")
    assert re.fullmatch(r"loss \d+\.\d{3}, accuracy \d+ %", find_line(lines, "  validation"))
    few = r"between \d+ % and \d+ % right, cross-entropy \d\.\d{3}, 10 photos: too few for one number"
    assert re.fullmatch(few, find_line(lines, "Test"))
    assert re.match(r"\d+ % right \(\d+ % to \d+ %\), cross-entropy", find_line(lines, "Cross-validated"))
    assert find_line(lines, "Cross-validated").endswith(", 60 photos, 5 folds")
    assert find_line(lines, "Guessing") == ("10 % right by always saying the commonest class, cross-entropy 2.303")
    assert find_line(lines, "Report") == str(Path("runs/digits-1/report.html"))
    assert find_line(lines, "Model") == str(Path("runs/digits-1/model.onnx"))


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.004, "<1 %"),
        (1 / 200, "<1 %"),
        (0.0051, "1 %"),
        (0.5, "50 %"),
        (199 / 200, ">99 %"),
        (0.994, "99 %"),
        (0.996, ">99 %"),
        (0.99999, ">99 %"),
        (1.0, "100 %"),
    ],
)
def test_per_cents_never_claim_more_than_is_true(facts: dict[str, Any], share: float, text: str) -> None:
    facts["metrics"]["cross_validated"]["accuracy"] = {"value": share, "low": 0.25, "high": 0.75}
    found = find_line(describe_run(**facts), "Cross-validated")
    assert found.startswith(f"{text} right (25 % to 75 %)")


def test_groups_are_counted_beside_photos(facts: dict[str, Any]) -> None:
    part = facts["metrics"]["cross_validated"]
    part["num_groups"] = 25
    assert find_line(describe_run(**facts), "Cross-validated").endswith(", 60 photos in 25 groups, 5 folds")
    part["num_groups"] = 14
    found = find_line(describe_run(**facts), "Cross-validated")
    assert found.startswith("between ") and "60 photos in 14 groups: too few for one number" in found


def test_new_sites_are_told_from_those_it_has_seen(facts: dict[str, Any]) -> None:
    facts["metrics"]["cross_validated"]["seen_groups"] = {"accuracy": {"value": 0.89, "low": 0.86, "high": 0.92}}
    facts["options"]["group_by"] = "site"
    lines = describe_run(**facts)
    below = lines[[line.startswith("Cross-validated") for line in lines].index(True) + 1]
    assert below.strip() == "that is for a new site; for new photos of one it has seen: 89 % right"
    facts["options"]["group_by"] = "folder"
    assert any("that is for a new group;" in line for line in describe_run(**facts))


def test_random_split_is_shown_where_it_claims_too_much(facts: dict[str, Any]) -> None:
    part = facts["metrics"]["cross_validated"]
    part["random_split"] = {"accuracy": {"value": 0.9, "low": 0.85, "high": 0.95}}
    part["leak"] = {"value": 0.25, "low": 0.2, "high": 0.3}
    assert find_line(describe_run(**facts), "Random split") == (
        "would claim 90 %, 25 points too good: it deals a group out to both sides"
    )
    part["leak"] = {"value": 0.25, "low": -0.1, "high": 0.3}
    assert not [line for line in describe_run(**facts) if line.startswith("Random split")]


def test_lowest_loss_elsewhere_is_mentioned(facts: dict[str, Any]) -> None:
    facts["metrics"]["best_epoch"] = 9
    facts["metrics"]["lowest_validation_loss_epoch"] = 4
    assert find_line(describe_run(**facts), "Training").endswith(
        "kept epoch 9 (validation loss lowest at 4, within its error)"
    )
    facts["metrics"]["lowest_validation_loss_epoch"] = 9
    assert find_line(describe_run(**facts), "Training").endswith("kept epoch 9")


def test_most_confused_classes_come_first(facts: dict[str, Any]) -> None:
    matrix = [[0] * 10 for _ in range(10)]
    matrix[3][3], matrix[3][5], matrix[1][7], matrix[2][0] = 4, 3, 2, 1
    facts["metrics"]["cross_validated"]["confusion_matrix"] = matrix
    assert find_line(describe_run(**facts), "Most confused") == (
        "digit_3 taken for digit_5 (3 of 7), digit_1 taken for digit_7 (2 of 2)"
    )


def test_nothing_confused_is_not_mentioned(facts: dict[str, Any]) -> None:
    facts["metrics"]["cross_validated"]["confusion_matrix"] = [
        [int(row == column) for column in range(10)] for row in range(10)
    ]
    assert not [line for line in describe_run(**facts) if line.startswith("Most confused")]


def test_seconds_leave_out_what_took_no_time(facts: dict[str, Any]) -> None:
    facts["metrics"]["seconds"] = {"scan": 0.01, "features": 3.21, "export": 0.05, "total": 3.3}
    assert find_line(describe_run(**facts), "Seconds") == "3.3 (features 3.2, export 0.1)"


def test_only_the_first_message_is_marked() -> None:
    assert describe_messages(["one", "two"]) == ["Note            one", "                two"]
    assert describe_messages([]) == []


def test_evaluation_lists_the_classes_that_have_photos(digits_run: Run, digits: Path) -> None:
    evaluation = clownfish.evaluate(digits_run.path, digits, quiet=True)
    metrics = copy.deepcopy(evaluation.metrics)
    metrics["per_class"][0].update(num_photos=0, tp=0, precision=None, recall=None)
    metrics["per_class"][1].update(num_photos=7, tp=0, precision=None, recall=0.0, label="a much longer name")
    lines = describe_evaluation(metrics, ["mind this"])
    assert re.fullmatch(r"\d+ % of photos are answered, \d+ % of those wrongly", find_line(lines[:4], "Answers"))
    assert re.fullmatch(r"\d+ % of these photos", find_line(lines[:4], "Unlike any seen"))
    lines = lines[:2] + lines[4:]
    assert lines[2:5] == ["Note            mind this", "", "class               photos  right  precision  recall"]
    assert lines[5] == "a much longer name       7      0          -     0 %"
    assert len(lines) == 14
    assert len({len(line) for line in lines[4:]}) == 1
