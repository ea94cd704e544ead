import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sklearn_metrics

import clownfish
from clownfish.errors import ConfigError, OutputError, PhotosError
from clownfish.pipeline import answer_groups, evaluate
from clownfish.pipeline.demo import write_demo_photos
from clownfish.pipeline.run import Run
from runs import Cli, read_table, write_classes, write_table


@pytest.fixture(scope="module")
def new_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty digits of which the run knows none."""
    everything = tmp_path_factory.mktemp("more") / "photos"
    write_demo_photos(everything, num_per_class=10)
    for path in everything.glob("*/*.png"):
        if int(path.stem) < 6:
            path.unlink()
    return everything


def test_numbers_are_those_of_sklearn(cli: Cli, digits_run: Run, new_digits: Path) -> None:
    classifier = digits_run.classifier.change_budget(0.5)
    evaluation = clownfish.evaluate(classifier, new_digits, out="evaluation", quiet=True)
    classes = digits_run.metrics["classes"]
    labels, predicted, probabilities = [], [], []
    for path in sorted(new_digits.glob("*/*.png")):
        prediction = digits_run.classifier.predict(path)
        labels.append(path.parent.name)
        predicted.append(prediction.label)
        probabilities.append([prediction.probabilities[label] for label in classes])
    metrics = evaluation.metrics
    found = metrics["evaluated"]
    assert found["num_photos"] == 40
    assert found["accuracy"]["value"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    assert found["balanced_accuracy"]["value"] == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(labels, predicted)
    )
    normed = np.array(probabilities) / np.sum(probabilities, axis=1, keepdims=True)
    assert found["cross_entropy"] == pytest.approx(sklearn_metrics.log_loss(labels, normed, labels=classes), rel=1e-4)
    expected = sklearn_metrics.confusion_matrix(labels, predicted, labels=classes)
    assert metrics["confusion_matrix"] == expected.tolist()
    assert metrics["schema"] == 1
    assert set(metrics) == {
        *("schema", "classes", "num_photos", "evaluated", "answering", "unknowns", "per_class", "confusion_matrix"),
    }
    assert evaluation.messages == ()
    assert evaluation.path == Path("evaluation")
    assert sorted(os.listdir("evaluation")) == ["metrics.json", "predictions.csv"]
    assert json.loads(Path("evaluation/metrics.json").read_text()) == metrics
    rows = read_table(Path("evaluation/predictions.csv"))
    assert list(rows[0]) == ["file", "label", "predicted", "probability", "correct", "status", "group", *classes]
    assert [row["predicted"] for row in rows] == predicted
    answered = [row for row in rows if row["status"] == "ok"]
    assert metrics["answering"]["num_answered"] == len(answered) > 0
    assert metrics["answering"]["num_wrong"] == sum(row["correct"] == "false" for row in answered)
    unlike = np.mean([row["status"] == "unlike anything seen" for row in rows])
    assert metrics["unknowns"]["of_known_labels"]["unlike"]["value"] == pytest.approx(unlike)
    assert metrics["unknowns"]["of_other_labels"]["num_photos"] == 0
    assert [row["label"] for row in rows] == labels
    assert [row["correct"] == "true" for row in rows] == [a == b for a, b in zip(labels, predicted, strict=True)]


def test_table_on_the_screen(cli: Cli, digits_run: Run, new_digits: Path) -> None:
    result = cli("evaluate", digits_run.path, new_digits)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "Photos          evaluated 40 + unusable 0"
    assert lines[1].startswith("Result          ") and lines[1].endswith(", 40 photos")
    assert lines[2].startswith("Answers         ") and lines[3].startswith("Unlike any seen ")
    assert lines[4:6] == ["", "class    photos  right  precision  recall"]
    assert [line.split()[:2] for line in lines[6:]] == [[f"digit_{digit}", "4"] for digit in range(10)]


def test_json_holds_numbers_and_messages(cli: Cli, digits_run: Run, new_digits: Path) -> None:
    result = cli("evaluate", digits_run.path / "model.onnx", new_digits, "--json")
    assert (result.code, result.err) == (0, "")
    content = result.read_json()
    assert content["messages"] == []
    assert content["evaluated"]["num_photos"] == 40


def test_quiet_prints_nothing(cli: Cli, digits_run: Run, new_digits: Path) -> None:
    result = cli("evaluate", digits_run.path, new_digits, "--quiet", "--out", "evaluation")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert Path("evaluation/metrics.json").is_file()


def test_training_photos_are_noticed(cli: Cli, digits_run: Run, digits: Path) -> None:
    result = cli("evaluate", digits_run.path, digits)
    known = digits_run.metrics["num_photos"]["train"]
    assert (
        f"Note            {known} of these photos were used to train the model: the accuracy is too good."
        " Evaluate on other photos.\n"
    ) in result.out


def test_unknown_labels_and_broken_photos_are_left_out_and_said(cli: Cli, digits_run: Run, new_digits: Path) -> None:
    photos = Path("photos").resolve()
    for digit in (1, 2):
        shutil.copytree(new_digits / f"digit_{digit}", photos / f"digit_{digit}")
    write_classes(photos, {"letter_a": 2, "letter_b": 1})
    (photos / "digit_1" / "broken.png").touch()
    result = cli("evaluate", digits_run.path, photos, "--out", "evaluation")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "Photos          evaluated 8 + unusable 1"
    assert "Note            1 photos are unusable, such as digit_1/broken.png: the file is empty (0 bytes)." in lines
    assert (
        "                3 photos have labels that the model does not know: 'letter_a' (2), 'letter_b' (1). Left out."
        in lines
    )
    assert lines[-1] == "Tables: evaluation"
    assert [line.split()[0] for line in lines[-4:-2]] == ["digit_1", "digit_2"]
    rows = read_table(Path("evaluation/predictions.csv"))
    assert len(rows) == 9
    broken = next(row for row in rows if row["file"] == "digit_1/broken.png")
    assert broken["status"] == "unusable: the file is empty (0 bytes)"
    assert {broken[name] for name in ("predicted", "probability", "correct", "digit_1")} == {""}
    metrics = json.loads(Path("evaluation/metrics.json").read_text())
    assert metrics["num_photos"] == {"evaluated": 8, "unusable": 1}
    others = metrics["unknowns"]["of_other_labels"]
    assert others["num_photos"] == 3
    assert others["unlike"]["value"] == 1  # coloured blobs are no digits
    assert lines[3].endswith(", 100 % of the 3 with labels that are no class")


def test_csv_with_one_class_can_be_evaluated(cli: Cli, digits_run: Run, new_digits: Path) -> None:
    rows = [{"file": f"digit_4/{path.name}", "label": "digit_4"} for path in (new_digits / "digit_4").iterdir()]
    write_table(Path("new.csv"), rows)
    result = cli("evaluate", digits_run.path, "new.csv", "--photos", new_digits, "--json")
    assert (result.code, result.err) == (0, "")
    assert result.read_json()["evaluated"]["num_photos"] == 4


def test_labels_that_are_all_unknown_are_refused(cli: Cli, digits_run: Run, insects: Path) -> None:
    with pytest.raises(PhotosError, match=r"None of the labels in .* is a class of the model: found ant, bee, cicada;"):
        clownfish.evaluate(digits_run.path, insects, quiet=True)
    assert cli("evaluate", digits_run.path, insects, "--out", "evaluation").code == 2
    assert not Path("evaluation").exists()


def test_photos_that_are_all_broken_are_refused(digits_run: Run, tmp_path: Path) -> None:
    (tmp_path / "digit_1").mkdir()
    (tmp_path / "digit_1" / "1.png").touch()
    with pytest.raises(PhotosError, match=r"None of the 1 photos in .* can be read: the file is empty \(0 bytes\)\."):
        clownfish.evaluate(digits_run.path, tmp_path, quiet=True)


def test_place_that_is_taken_is_refused(digits_run: Run, new_digits: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        clownfish.evaluate(digits_run.path, new_digits, out=tmp_path, quiet=True)


def test_missing_photos_are_refused(cli: Cli, digits_run: Run) -> None:
    result = cli("evaluate", digits_run.path, "nowhere")
    assert result.code == 2
    assert result.err.startswith("Error: There is no folder or file nowhere. What exists is ")


def test_copies_count_once(cli: Cli, digits_run: Run, new_digits: Path) -> None:
    photos = Path("photos").resolve()
    shutil.copytree(new_digits, photos)
    for path in sorted(photos.glob("*/*.png")):
        with Image.open(path) as picture:
            picture.resize((40, 40)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
                path.with_name(f"{path.stem}m.png")
            )
        if int(path.stem) < 8:
            shutil.copy(path, path.with_name(f"{path.stem}c.png"))
    alone = clownfish.evaluate(digits_run.path, new_digits, quiet=True)
    result = cli("evaluate", digits_run.path, photos, "--out", "evaluation")
    assert result.code == 0
    evaluated = json.loads(Path("evaluation/metrics.json").read_text())["evaluated"]
    num_groups = alone.metrics["evaluated"]["num_groups"]
    assert (evaluated["num_photos"], evaluated["num_groups"]) == (100, num_groups)
    assert f", 100 photos in {num_groups} groups" in result.out
    assert f"The intervals count {num_groups} groups, not 100 photos, since photos that belong together" in result.out
    assert "copy another or a part of it." in result.out
    rows = {row["file"]: row["group"] for row in read_table(Path("evaluation/predictions.csv"))}
    assert rows["digit_3/006.png"] == rows["digit_3/006c.png"] == rows["digit_3/006m.png"] != rows["digit_4/006.png"]
    width = evaluated["accuracy"]["high"] - evaluated["accuracy"]["low"]
    only = alone.metrics["evaluated"]["accuracy"]
    assert width > 0.85 * (only["high"] - only["low"])  # of 100 independent photos it would be 0.63


def test_groups_of_the_user_count_once(cli: Cli, digits_run: Run, new_digits: Path) -> None:
    rows = [
        {"file": f"{path.parent.name}/{path.name}", "label": path.parent.name, "site": f"site {int(path.stem) % 2}"}
        for path in sorted(new_digits.glob("*/*.png"))
    ]
    write_table(Path("new.csv"), rows)
    by_column = cli("evaluate", digits_run.path, "new.csv", "--photos", new_digits, "--group-by", "site", "--json")
    assert by_column.read_json()["evaluated"]["num_groups"] == 2
    (message,) = by_column.read_json()["messages"]
    assert message.startswith("The intervals count 2 groups, not 40 photos")
    assert "38 share the group that you name." in message
    evaluation = clownfish.evaluate(digits_run.path, new_digits, group_regex=r"digit_\d", quiet=True)
    assert evaluation.metrics["evaluated"]["num_groups"] == 10
    for digit in range(10):
        for place in ("river", "lake"):
            Path(f"nested/digit_{digit}/{place}").mkdir(parents=True)
            name = "006.png" if place == "river" else "007.png"
            shutil.copy(new_digits / f"digit_{digit}" / name, f"nested/digit_{digit}/{place}/{name}")
    nested = cli("evaluate", digits_run.path, "nested", "--group-by", "folder", "--json").read_json()
    assert (nested["evaluated"]["num_photos"], nested["evaluated"]["num_groups"]) == (20, 2)


def test_group_that_is_not_there_is_refused_before_classifying(
    cli: Cli, digits_run: Run, new_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(digits_run.classifier), "predict_pixels", None)
    result = cli("evaluate", digits_run.path, new_digits, "--group-by", "site")
    assert result.code == 2
    assert result.err == (
        "Error: --group-by site: there is no such column; there is no CSV with further columns. Give one of them, or"
        " 'folder'.\n"
    )
    with pytest.raises(ConfigError, match=r"--group-regex '\(' is not a regular expression"):
        clownfish.evaluate(digits_run.path, new_digits, group_regex="(", quiet=True)


def test_copies_of_training_photos_are_noticed_beside_them(cli: Cli, digits_run: Run, digits: Path) -> None:
    photos = Path("photos").resolve()
    shutil.copytree(digits / "digit_1", photos / "digit_1")
    trained = [path for path in sorted(photos.glob("*/*.png")) if digits_run.classifier.was_trained_on(_hash(path))]
    with Image.open(trained[0]) as picture:
        picture.resize((40, 40)).save(trained[0].with_name("smaller.png"))
    result = cli("evaluate", digits_run.path, photos, "--json")
    message = result.read_json()["messages"][0]
    assert message.startswith(f"{len(trained)} of these photos were used to train the model, and ")
    assert message.endswith(
        " more belong together with one of them: the accuracy is too good. Evaluate on other photos."
    )


def test_copies_under_two_labels_are_told(cli: Cli, digits_run: Run, new_digits: Path) -> None:
    photos = Path("photos").resolve()
    for digit in (1, 2):
        shutil.copytree(new_digits / f"digit_{digit}", photos / f"digit_{digit}")
    shutil.copy(photos / "digit_1" / "006.png", photos / "digit_2" / "stolen.png")
    messages = cli("evaluate", digits_run.path, photos, "--json").read_json()["messages"]
    assert messages[-1] == (
        "1 pair of copies have two labels, such as digit_1/006.png (digit_1) and digit_2/stolen.png (digit_2); one of"
        " them is wrong."
    )


def test_large_sets_hold_no_pictures(digits_run: Run, new_digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    monkeypatch.setattr(answer_groups, "MAX_EXHAUSTIVE", 39)
    monkeypatch.setattr(
        evaluate, "group_answers", lambda *args: found.append(args[0]) or answer_groups.group_answers(*args)
    )
    evaluation = clownfish.evaluate(digits_run.path, new_digits, quiet=True)
    assert evaluation.metrics["evaluated"]["num_photos"] == 40
    assert {answer.picture is None for answer in found[0]} == {True}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
