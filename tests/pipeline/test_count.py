import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clownfish
from clownfish.errors import ModelFileError, OutputError, PhotosError
from clownfish.pipeline.count import describe_counts
from clownfish.pipeline.run import Run
from clownfish.prediction.classifier import Classifier, load_classifier
from runs import Cli, read_table

SayConfusions = Callable[[object], Classifier]


@pytest.fixture
def say(digits_run: Run) -> SayConfusions:
    """The model of the run, with other metadata."""

    def make(held: object) -> Classifier:
        classifier = load_classifier(digits_run.path)
        classifier._metadata["confusions"] = json.dumps(held)
        return classifier

    return make


@pytest.fixture
def confusions() -> dict[str, Any]:
    matrix = np.eye(10, dtype=int) * 90
    matrix[3, 5] = 10
    return {"matrix": matrix.tolist(), "rejected": [3] * 10, "num_groups": [90] * 9 + [3]}


def test_table_holds_every_class(say: SayConfusions, confusions: dict[str, Any], digits: Path, cli: Cli) -> None:
    table = clownfish.count(say(confusions), digits, out="counts.csv", quiet=True)
    rows = read_table(Path("counts.csv"))
    assert list(rows[0]) == ["label", "counted", "corrected", "low", "high", "note"]
    assert [row["label"] for row in rows] == list(table.classes)
    assert table.num_photos == sum(1 for _ in digits.rglob("*.png"))
    assert sum(int(row["counted"]) for row in rows) == table.num_photos - table.num_unlike
    for row in rows[:9]:
        assert int(row["low"]) <= int(row["corrected"]) <= int(row["high"]) and row["note"] == ""
    assert [rows[9][name] for name in ("corrected", "low", "high")] == ["", "", ""]
    assert rows[9]["note"] == "only 3 groups of photos when the model was evaluated; 5 needed"
    with pytest.raises(OutputError, match=r"^counts.csv exists already. Give another name with --out\.$"):
        clownfish.count(say(confusions), digits, out="counts.csv", quiet=True)


@pytest.mark.parametrize("out", ["counts.csv/table.csv", "x" * 300], ids=["below a file", "too long"])
def test_table_that_cannot_be_written_is_told_before_the_work(
    say: SayConfusions, confusions: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("counts.csv").touch()
    with pytest.raises(OutputError, match=r"^Cannot write .+: .+ Choose another place with --out\.$"):
        clownfish.count(say(confusions), "no photos are looked for", out=out, quiet=True)


def test_photos_unlike_anything_seen_are_under_no_answer(
    say: SayConfusions, confusions: dict[str, Any], digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clownfish.prediction.batch.Answer.status", property(lambda _: "unlike anything seen"))
    table = clownfish.count(say(confusions), digits, quiet=True)
    assert table.num_unlike == table.num_photos > 0
    low, probably, high = table.counts.unlike
    assert low <= probably <= high < table.num_unlike / 2
    assert describe_counts(table)[-1].startswith(
        f"Of the {table.num_unlike} photos unlike anything seen, about {probably} ({low} to {high}) are of these"
    )
    assert table.counts.counted.sum() == 0


def test_unusable_photos_are_counted_apart(say: SayConfusions, confusions: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "broken.jpg").write_bytes(b"no photo")
    table = clownfish.count(say(confusions), tmp_path / "new", quiet=True)
    assert (table.num_photos, table.num_unusable, int(table.counts.counted.sum())) == (1, 1, 0)
    assert table.unusable[0].startswith("broken.jpg: ")


def test_command_tells_counts_or_json(
    say: SayConfusions, confusions: dict[str, Any], digits: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clownfish.pipeline.count.load_classifier", lambda _: say(confusions))
    done = cli("count", "model.onnx", digits / "digit_3", "--out", "table.csv")
    assert done.code == 0
    assert "class    answers  probably  95 % interval" in done.out
    assert "unknown: only 3 groups" in done.out and "Table: table.csv" in done.out
    facts = json.loads(cli("count", "model.onnx", digits / "digit_3", "--json").out)
    assert facts["unusable"] == 0 and len(facts["counts"]) == 10
    assert set(facts["unlike_of_classes"]) == {"low", "value", "high"}
    assert facts["counts"][9]["corrected"] is None
    Path("broken.jpg").write_bytes(b"no photo")
    assert cli("count", "model.onnx", "broken.jpg", "--quiet").code == 3


@pytest.mark.parametrize("held", [None, {"matrix": [[1] * 10] * 10, "num_groups": [9] * 10}])
def test_model_without_confusions_asks_for_a_new_training(say: SayConfusions, held: object, digits: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        clownfish.count(say(held), digits, quiet=True)
    assert str(caught.value).endswith(
        "does not hold how often its classes are confused, which counting needs. Train again with this version of"
        " clownfish."
    )


@pytest.mark.parametrize(
    "held",
    [
        {"num_groups": [1]},
        {"matrix": [[1]], "rejected": [1]},
        {"matrix": [[1]], "rejected": [1], "num_groups": [1]},
        {"matrix": [[1] * 10] * 10, "rejected": [-1] * 10, "num_groups": [1] * 10},
        {"matrix": "x", "rejected": [], "num_groups": []},
        [],
        {"matrix": [[1], []], "rejected": []},
    ],
)
def test_damaged_confusions_are_refused(say: SayConfusions, digits: Path, held: object) -> None:
    with pytest.raises(ModelFileError, match="The metadata of .* is damaged: "):
        clownfish.count(say(held), digits, quiet=True)


def test_folder_without_photos_is_explained(say: SayConfusions, confusions: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match="There is no photo in .* Give a photo, a folder that holds some, or a CSV"):
        clownfish.count(say(confusions), tmp_path, quiet=True)
