import json
import math
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest

import clownfish
from clownfish import images
from clownfish.backbones import BACKBONES
from clownfish.errors import ConfigError, OutputError, PhotosError
from clownfish.pipeline.run import Run
from pictures import draw_photo, encode, write_photo
from runs import RUN_FILES, Cli, read_metrics, read_table, run_command, write_classes, write_table

pytestmark = pytest.mark.usefixtures("shared_cache")


def train(cli: Cli, photos: Path, *options: object) -> Path:
    """Train, and give the run folder."""
    result = cli("train", photos, "--json", *options)
    assert result.code == 0, result.err
    return Path(result.read_json()["path"])


def read_messages(run: Path) -> str:
    return "\n".join(read_metrics(run)["messages"])


def read_model(path: Path) -> onnx.ModelProto:
    """A model without the time it was made."""
    model = onnx.load(path)
    properties = sorted((entry.key, entry.value) for entry in model.metadata_props if entry.key != "created")
    assert len(properties) == len(model.metadata_props) - 1
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(properties))
    return model


# ---- repeating a run


def test_same_command_gives_the_same_numbers(digits: Path, tmp_path: Path) -> None:
    runs = []
    for workers in ("1", "2"):
        runs.append(tmp_path / f"run-{workers}")
        result = run_command(
            *("train", digits, "--out", runs[-1], "--quiet"),
            CLOWNFISH_CACHE=str(tmp_path / f"cache-{workers}"),
            CLOWNFISH_WORKERS=workers,
        )
        assert result.code == 0, result.err
    one, two = runs
    assert read_metrics(one) == read_metrics(two)
    for name in ("photos.csv", "predictions.csv", "config.toml"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    first, second = read_model(one / "model.onnx"), read_model(two / "model.onnx")
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_second_run_decodes_nothing(cli: Cli, digits_run: Run, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a photo is decoded again")

    monkeypatch.setattr(images, "_decode", refuse)
    assert read_metrics(train(cli, digits)) == read_metrics(digits_run.path)


def test_config_of_a_run_repeats_it(cli: Cli, insects: Path) -> None:
    first = train(
        *(cli, insects, "--epochs", 7, "--seed", 3, "--split", "60/20/20", "--weight-decay", 0.3, "--balance"),
        *("--momentum", 0.5, "--dropout-rate", 0.1, "--learning-rate", 0.02, "--batch-size", 5, "--patience", 7),
    )
    result = cli("train", "--config", first / "config.toml", "--out", "again", "--quiet")
    assert result.code == 0, result.err
    assert read_metrics(Path("again")) == read_metrics(first)
    assert Path("again/config.toml").read_bytes() == (first / "config.toml").read_bytes()


def test_options_change_the_config_of_a_run(cli: Cli, insects: Path, digits_run: Run) -> None:
    run = train(cli, insects, "--config", digits_run.path / "config.toml", "--epochs", 2)
    assert read_metrics(run)["classes"] == ["ant", "bee", "cicada"]
    assert len(read_table(run / "history.csv")) == 2


def test_another_seed_is_another_split(cli: Cli, insects: Path) -> None:
    parts = []
    for seed in (1, 2):
        rows = read_table(train(cli, insects, "--seed", seed) / "photos.csv")
        parts.append([row["split"] for row in rows])
    assert parts[0] != parts[1]
    assert Counter(parts[0]) == Counter(parts[1])


# ---- options


def test_shares_are_as_asked(cli: Cli, insects: Path) -> None:
    numbers = read_metrics(train(cli, insects, "--split", "50/25/25"))["num_photos"]
    assert numbers == {"train": 12, "validation": 6, "test": 6, "unusable": 0, "left_out": 0}


def test_no_validation_photos_are_an_option(cli: Cli, insects: Path) -> None:
    result = cli("train", insects, "--split", "80/0/20", "--out", "run")
    assert result.code == 0, result.err
    assert "  validation" not in result.out
    metrics = read_metrics(Path("run"))
    assert metrics["validation"]["accuracy"] == {"value": None, "low": None, "high": None}
    assert metrics["lowest_validation_loss_epoch"] is None
    assert metrics["best_epoch"] == 20
    assert {row["validation_loss"] for row in read_table(Path("run/history.csv"))} == {""}


def make_csv(insects: Path, folder: Path) -> Path:
    """The insects as a CSV, with a site, a split made by hand and a remark."""
    rows = []
    for path in sorted(insects.glob("*/*.png")):
        number = int(path.stem)
        part = {6: "Validation", 7: "test"}.get(number, "train" if number else "")
        site = f"site {number % 4}"
        rows.append(
            {
                "file": f"{path.parent.name}/{path.name}",
                "label": path.parent.name.upper(),
                "site": site,
                "part": part,
                "note": "=1+1",
            }
        )
    return write_table(folder / "photos.csv", rows)


def test_split_column_is_obeyed(cli: Cli, insects: Path, tmp_path: Path) -> None:
    table = make_csv(insects, tmp_path)
    run = train(cli, table, "--photos", insects, "--split-column", "part")
    for row in read_table(run / "photos.csv"):
        number = int(Path(row["file"]).stem)
        assert row["split"] == {0: "", 6: "validation", 7: "test"}.get(number, "train")
        assert (row["status"], row["note"]) == (
            ("left out", "the split column leaves it out") if number == 0 else ("used", "")
        )
        assert row["site"] == f"site {number % 4}"
    assert read_metrics(run)["num_photos"] == {"train": 15, "validation": 3, "test": 3, "unusable": 0, "left_out": 3}


def test_column_groups_stay_together(cli: Cli, insects: Path, tmp_path: Path) -> None:
    table = make_csv(insects, tmp_path)
    run = train(cli, table, "--photos", insects, "--group-by", "site")
    assert read_metrics(run)["num_groups"] == 4
    split_of: dict[str, set[str]] = {}
    for row in read_table(run / "photos.csv"):
        assert row["group"] == f"site={row['site']}"
        split_of.setdefault(row["group"], set()).add(row["split"])
    assert all(len(parts) == 1 for parts in split_of.values())
    assert {"train", "test"} <= {part for parts in split_of.values() for part in parts}


def test_folder_groups_stay_together(cli: Cli, tmp_path: Path) -> None:
    for site in "north east south west".split():
        write_classes(tmp_path / "photos", {f"ant/{site}": 2, f"bee/{site}": 2})
    run = train(cli, tmp_path / "photos", "--group-by", "folder")
    groups = {row["group"]: row["split"] for row in read_table(run / "photos.csv")}
    assert set(groups) == {"folder=north", "folder=east", "folder=south", "folder=west"}


def test_regex_groups_stay_together(cli: Cli, insects: Path) -> None:
    run = train(cli, insects, "--group-regex", r"/(\d)(\d)")
    assert {row["group"] for row in read_table(run / "photos.csv")} == {f"regex=0 {digit}" for digit in range(8)}
    assert read_metrics(run)["num_groups"] == 8


def test_small_classes_are_left_out_on_request(cli: Cli, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", {"ant": 8, "bee": 8, "wasp": 2})
    run = train(cli, photos, "--min-photos", 3)
    assert read_metrics(run)["classes"] == ["ant", "bee"]
    assert "Left out, with fewer than 3 usable photos: wasp." in read_messages(run)
    lost = [row for row in read_table(run / "photos.csv") if row["label"] == "wasp"]
    assert [(row["status"], row["note"]) for row in lost] == [
        ("left out", "its class has fewer than 3 usable photos")
    ] * 2


def test_network_options_reach_the_model(cli: Cli, insects: Path) -> None:
    run = train(
        *(cli, insects, "--backbone", "efficientnet_lite1", "--feature-set", "last_layer", "--resize", "crop"),
        *("--epochs", 1),
    )
    classifier = clownfish.load(run)
    assert classifier.backbone["name"] == "efficientnet_lite1"
    assert classifier.backbone["feature_set"] == "last_layer"
    assert (classifier.preprocessing.size, classifier.preprocessing.resize) == (240, "crop")
    assert read_metrics(run)["num_parameters"] == {
        "backbone": 4_108_848,
        "trained": 1281 * 3,
        "total": 4_108_848 + 1281 * 3,
    }


def test_padding_and_views_are_options(cli: Cli, insects: Path) -> None:
    plain = train(cli, insects, "--resize", "pad", "--weight-decay", 0.5, "--epochs", 3)
    views = train(cli, insects, "--resize", "pad", "--weight-decay", 0.5, "--epochs", 3, "--augment")
    assert clownfish.load(views).preprocessing.resize == "pad"
    metrics = read_metrics(plain)
    assert metrics["weight_decay"] == 0.5
    assert metrics["train"]["cross_entropy"] != read_metrics(views)["train"]["cross_entropy"]
    assert "augment = true" in (views / "config.toml").read_text()


def test_weights_file_may_lie_anywhere(cli: Cli, insects: Path) -> None:
    found = BACKBONES["efficientnet_lite0"].find_weights()
    assert found is not None
    shutil.copy(found, "weights.pth")
    run = train(cli, insects, "--weights", "weights.pth", "--epochs", 1)
    assert f'weights = "{Path("weights.pth").resolve()}"' in (run / "config.toml").read_text()
    Path("weights.pth").write_bytes(b"something else")
    result = cli("train", insects, "--weights", "weights.pth", "--out", "other")
    assert result.code == 2
    assert "is not the one that efficientnet_lite0 needs" in result.err


def test_other_things_check_the_model_and_are_no_class(cli: Cli, digits: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(digits, photos)
    for number in range(8):
        write_photo(photos / "_unknown" / f"{number}.png", draw_photo(32, 32, seed=900 + number))
    result = cli("train", photos, "--out", "run")
    assert result.code == 0, result.err
    assert "Other things    100 % of 8 photos noticed\n" in result.out
    metrics = read_metrics(Path("run"))
    assert "_unknown" not in metrics["classes"]
    assert (metrics["num_photos"]["left_out"], metrics["num_photos"]["unusable"]) == (8, 0)
    folder = metrics["unknowns"]["folder"]
    assert (folder["num_photos"], folder["num_groups"], folder["caught"]["value"]) == (8, 8, 1.0)
    rows = [row for row in read_table(Path("run/photos.csv")) if row["label"] == "_unknown"]
    assert {(row["status"], row["split"]) for row in rows} == {("left out", "")}


def test_whether_other_things_are_noticed_cannot_be_told_with_few_groups(
    cli: Cli, insects: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(insects, photos)
    for number in range(8):
        write_photo(photos / "_unknown" / f"{number}.png", draw_photo(32, 32, seed=900 + number))
    result = cli("train", photos, "--out", "run")
    assert result.code == 0, result.err
    assert "Other things    cannot be told how many of 8 photos are noticed\n" in result.out
    unknowns = read_metrics(Path("run"))["unknowns"]
    assert unknowns["folder"]["num_photos"] == 8
    assert unknowns["folder"]["caught"] == unknowns["test_rejected"] == {"value": None, "low": None, "high": None}
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert "Nor how many of your 8 photos of other things would be noticed." in page
    evaluated = cli("evaluate", "run", insects)
    assert "Unlike any seen cannot be told: the model was trained on too few groups of photos\n" in evaluated.out


def test_answers_are_measured_and_kept(digits_run: Run) -> None:
    metrics = read_metrics(digits_run.path)
    assert {"calibration", "answering", "prediction_sets", "unknowns", "hidden_classes"} <= set(metrics)
    rows = [row for row in read_table(digits_run.path / "predictions.csv") if row["split"] == "test"]
    test = metrics["answering"]["test"]
    assert test["num_photos"] == len(rows)
    threshold = metrics["answering"]["threshold"] or 1.1
    assert test["num_answered"] == sum(float(row["probability"]) >= threshold for row in rows)
    assert sum(row["answered"] == "true" for row in rows) <= test["num_answered"]
    assert 0.25 <= metrics["calibration"]["temperature"] <= 4
    before, after = metrics["calibration"]["before"], metrics["calibration"]["after"]
    assert after["cross_entropy"] <= before["cross_entropy"]
    assert metrics["unknowns"]["can_tell"] is True
    assert [row["label"] for row in metrics["hidden_classes"]["per_class"]] == metrics["classes"]


def test_answers_that_cannot_be_bounded_are_said(cli: Cli, insects: Path) -> None:
    run = train(cli, insects)
    messages = read_messages(run)
    assert "No certainty is known to keep the errors among answers at 5 %, so predict calls every answer" in messages
    assert "Whether a photo is unlike anything seen cannot be told with " in messages
    assert "groups of photos; 39 are needed." in messages
    metrics = read_metrics(run)
    assert metrics["answering"]["threshold"] is None
    assert metrics["unknowns"]["can_tell"] is False
    assert {row["answered"] for row in read_table(run / "predictions.csv")} == {"false"}


def test_balance_lets_small_classes_count(cli: Cli, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", {"ant": 20, "bee": 4})
    plain = read_metrics(train(cli, photos, "--epochs", 1))
    balanced = read_metrics(train(cli, photos, "--epochs", 1, "--balance"))
    assert plain["num_photos"] == balanced["num_photos"]
    assert plain["train"]["cross_entropy"] != balanced["train"]["cross_entropy"]


@pytest.mark.parametrize(("batch_size", "iterations"), [(1, 18), (5, 4), (17, 2), (1000, 1)])
def test_iterations_are_photos_divided_by_batch_size(cli: Cli, insects: Path, batch_size: int, iterations: int) -> None:
    result = cli("train", insects, "--batch-size", batch_size, "--epochs", 1, "--out", "run")
    metrics = read_metrics(Path("run"))
    assert metrics["iterations_per_epoch"] == math.ceil(metrics["num_photos"]["train"] / batch_size) == iterations
    plural = "s" * (iterations != 1)
    assert f"1 epoch of {iterations} iteration{plural} (batches of {batch_size}); kept epoch 1\n" in result.out
    assert len(read_table(Path("run/history.csv"))) == metrics["best_epoch"] == 1


# ---- what is printed


def test_screen_tells_the_run(cli: Cli, messy_run: Run, messy_photos: Path) -> None:
    result = cli("train", messy_photos, "--out", "run")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "Photos          found 31 = used 25 + unusable 4 + left out 2; 3 classes, 23 groups"
    assert lines[-2:] == [
        f"Report          {Path('run/report.html')}",
        f"Model           {Path('run/model.onnx')}",
    ]
    starts = [line[:15].rstrip() for line in lines if not line.startswith(" ")]
    assert starts == [
        *("Photos", "Split", "Network", "Training", "Test", "Cross-validated", "Guessing", "Most confused", "Note"),
        *("Seconds", "Report", "Model"),
    ]


def test_json_is_alone_on_standard_output(digits: Path, tmp_path: Path, shared_cache: None) -> None:
    result = run_command("train", digits, "--out", tmp_path / "run", "--json")
    assert (result.code, result.err) == (0, "")
    content = result.read_json()
    assert content.pop("path") == str(tmp_path / "run")
    assert content == json.loads((tmp_path / "run" / "metrics.json").read_text())


def test_quiet_prints_nothing(cli: Cli, insects: Path) -> None:
    result = cli("train", insects, "--quiet", "--epochs", 1)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert set(os.listdir("runs")) == {"insects-1"}


def test_runs_are_numbered(cli: Cli, insects: Path) -> None:
    for _ in range(2):
        cli("train", insects, "--quiet", "--epochs", 1)
    assert set(os.listdir("runs")) == {"insects-1", "insects-2"}
    assert set(os.listdir("runs/insects-2")) == RUN_FILES


# ---- copies, conflicts and broken photos


def test_every_photo_has_a_row_that_says_what_became_of_it(messy_run: Run) -> None:
    rows = {row["file"]: row for row in read_table(messy_run.path / "photos.csv")}
    assert len(rows) == 31
    unusable = {file: row["note"] for file, row in rows.items() if row["status"] == "unusable"}
    assert set(unusable) == {"ant/empty.png", "ant/page.jpg", "bee/torn.png", "loose.png"}
    assert unusable["ant/empty.png"] == "the file is empty (0 bytes)"
    assert unusable["ant/page.jpg"] == "not a photo: the file holds a web page or other text"
    assert unusable["bee/torn.png"].startswith("damaged: ")
    for file in unusable:
        assert [rows[file][name] for name in ("group", "split", "width", "height")] == [""] * 4
    assert (rows["ant/02.png"]["width"], rows["ant/02.png"]["status"], rows["ant/02.png"]["note"]) == (
        "24",
        "used",
        "",
    )


def test_copy_stays_with_its_original(messy_run: Run) -> None:
    rows = {row["file"]: row for row in read_table(messy_run.path / "photos.csv")}
    copy, original = rows["ant/copy.png"], rows["ant/00.png"]
    assert copy["note"] == "copy of ant/00.png"
    assert (copy["group"], copy["split"], copy["status"]) == (original["group"], original["split"], "used")
    assert "3 photos are copies of others; copies stay together." in messy_run.metrics["messages"]


def test_one_picture_under_two_labels_is_not_used(messy_run: Run) -> None:
    rows = {row["file"]: row for row in read_table(messy_run.path / "photos.csv")}
    for file, other in (("ant/01.png", "bee/stolen.png (bee)"), ("bee/stolen.png", "ant/01.png (ant)")):
        assert (rows[file]["status"], rows[file]["split"]) == ("left out", "")
        assert f"label conflict: the same picture as {other}" in rows[file]["note"]
    assert (
        "Label conflict: ant/01.png (ant) and bee/stolen.png (bee) are the same picture; neither is used."
        in messy_run.metrics["messages"]
    )
    assert messy_run.metrics["label_conflicts"] == 2


def test_look_alike_under_two_labels_is_used_with_a_note(messy_run: Run) -> None:
    rows = {row["file"]: row for row in read_table(messy_run.path / "photos.csv")}
    first, second = rows["bee/02.png"], rows["cicada/alike.jpg"]
    assert first["status"] == second["status"] == "used"
    assert first["split"] == second["split"] and first["group"] == second["group"]
    assert "label conflict: looks like a copy of bee/02.png (bee)" in second["note"]
    assert (
        "Label conflict: bee/02.png (bee) and cicada/alike.jpg (cicada) look like copies; both are used."
        in messy_run.metrics["messages"]
    )


def test_files_that_are_not_used_are_mentioned(messy_run: Run) -> None:
    messages = messy_run.metrics["messages"]
    assert any(message.startswith("Unusable, with the reason in photos.csv: ") for message in messages)
    assert "Skipped 1 files that are no photos: 1 .txt." in messages


def test_unusable_cache_is_mentioned(cli: Cli, insects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv("CLOWNFISH_CACHE", str(Path("file/cache").resolve()))
    run = train(cli, insects, "--epochs", 1)
    assert "cannot be used" in read_messages(run)
    assert "nothing is kept for the next run." in read_messages(run)


# ---- small and strange sets


def test_three_photos_of_two_classes_are_enough(cli: Cli, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", {"ant": 3, "bee": 3})
    run = train(cli, photos)
    metrics = read_metrics(run)
    assert metrics["num_photos"] == {"train": 2, "validation": 2, "test": 2, "unusable": 0, "left_out": 0}
    assert metrics["cross_validated"]["num_photos"] == 6
    assert "Too few photos for an exact 80/10/10 split in: ant, bee." in read_messages(run)


def test_class_of_one_group_is_only_trained_on_and_it_says_so(cli: Cli, insects: Path) -> None:
    result = cli("train", insects, "--group-regex", r"^ant/|\w+/\d+", "--out", "run")
    assert result.code == 0, result.err
    assert "No validation and no test photos, for want of groups to spare: ant (8 photos in 1 group)." in result.out
    assert {row["split"] for row in read_table(Path("run/photos.csv")) if row["label"] == "ant"} == {"train"}


def test_nothing_to_test_on_is_said(cli: Cli, insects: Path) -> None:
    result = cli("train", insects, "--group-regex", r"^\w+/", "--out", "run")
    assert result.code == 0, result.err
    assert "All photos of a class are one group in: ant, bee, cicada." in result.out
    assert "\nTest " not in result.out
    metrics = read_metrics(Path("run"))
    assert metrics["num_photos"]["test"] == 0
    assert metrics["confusion_matrix"] == [[0] * 3] * 3
    assert clownfish.load("run").classes == ("ant", "bee", "cicada")


STRANGE_NAMES = {
    "été 日本 🐠": "unicode and spaces",
    "it's": "quote",
    "a, b; c": "separators",
    "=SUM(A1:A9)": "formula",
    "-dash": "dash",
    "x" * 200: "long",
    "label": "column name",
    "class label": "what the column name would become",
    "file": "column name",
    "100 %": "per cent",
    "{{ braces }}": "template",
}


def test_any_class_name_is_carried_through(cli: Cli, tmp_path: Path) -> None:
    names = list(STRANGE_NAMES)
    if os.name == "posix":  # Windows allows none of these
        names += ['say "ant"', "<script>alert(1)<", "back\\slash", "two\nlines"]
    photos = write_classes(tmp_path / "photos", dict.fromkeys(names, 3))
    result = cli("train", photos, "--out", "run")
    assert result.code == 0, result.err
    run = Path("run")
    classes = sorted(names)
    assert read_metrics(run)["classes"] == classes
    assert list(clownfish.load(run).classes) == classes
    header = list(read_table(run / "predictions.csv")[0])
    assert header[:7] == ["file", "split", "label", "predicted", "probability", "correct", "answered"]
    assert len(header) == 7 + len(classes)
    for row in read_table(run / "photos.csv"):
        assert not any(cell.startswith(("=", "-", "+", "@")) for cell in row.values())
    assert "<script>alert(1)" not in (run / "report.html").read_text(encoding="utf-8")
    assert cli("train", "--config", run / "config.toml", "--quiet").code == 0


@pytest.mark.skipif(os.name != "posix", reason="other systems allow text only")
def test_name_that_is_no_text_is_refused(cli: Cli, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_classes(tmp_path / "photos", {name: 3, "tea": 3})
    result = cli("train", tmp_path / "photos")
    assert (result.code, result.err) == (
        2,
        "Error: The label 'caf\\udce9' is not valid text (UTF-8). Give it another name.\n",
    )
    result = cli("train", tmp_path / "photos" / name)
    assert result.code == 2
    assert "The option place is" in result.err and "is not valid text (UTF-8)" in result.err


@pytest.mark.skipif(os.name != "posix", reason="other systems allow text only")
def test_file_name_that_is_no_text_is_written_with_escapes(cli: Cli, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", {"ant": 4, "bee": 4})
    (photos / "ant" / "00.png").rename(photos / "ant" / os.fsdecode(b"caf\xe9.png"))
    run = train(cli, photos)
    assert "ant/caf\\udce9.png" in {row["file"] for row in read_table(run / "photos.csv")}


# ---- refusals


def assert_refused(cli: Cli, *args: object) -> str:
    """The message of a run that is refused, having left nothing."""
    before = sorted(os.walk("."))
    result = cli("train", *args, "--out", "refused/run")
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("Error: ")
    assert not Path("refused/run").exists()
    assert not list(Path().rglob(".partial-*"))
    shutil.rmtree("refused", ignore_errors=True)
    assert sorted(os.walk(".")) == before
    return result.err.removeprefix("Error: ")


def test_all_small_classes_are_named_at_once(cli: Cli, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", {"ant": 1, "bee": 2, "wasp": 9})
    (photos / "wasp" / "bad.jpg").touch()
    assert assert_refused(cli, photos) == (
        "2 problems with the photos:\n"
        "  1. The class 'ant' has 1 usable photo; at least 3 are needed, one each for training, validation and testing."
        " Add photos, or leave small classes out with --min-photos 3.\n"
        "  2. The class 'bee' has 2 usable photos; at least 3 are needed, one each for training, validation and"
        " testing. Add photos, or leave small classes out with --min-photos 3.\n"
    )


def test_all_problems_of_a_folder_are_named_at_once(cli: Cli, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", {"Ant": 3, "ant ": 3, "bee": 3})
    write_classes(photos, {"BEE": 3})
    message = assert_refused(cli, photos)
    assert "1. The labels 'Ant' and 'ant ' differ only by upper case or spaces. Give them one name." in message
    assert "2. The labels 'BEE' and 'bee' differ only by upper case or spaces. Give them one name." in message


def test_one_class_is_refused(cli: Cli, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", {"ant": 4})
    assert f"All 4 photos in {photos} are of one class, 'ant'." in assert_refused(cli, photos)


def test_class_without_a_usable_photo_is_refused(cli: Cli, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", {"ant": 4, "bee": 4, "wasp": 0})
    for name in ("a.jpg", "b.jpg"):
        (photos / "wasp").mkdir(exist_ok=True)
        (photos / "wasp" / name).write_text("no photo")
    assert "None of the 2 photos of the class 'wasp' can be used (wasp/" in assert_refused(cli, photos)
    assert cli("train", photos, "--min-photos", 3, "--quiet").code == 0


def test_photos_that_are_all_broken_are_refused(cli: Cli, tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").touch()
        (tmp_path / "photos" / name / "2.jpg").write_bytes(encode(draw_photo(64, 64), "JPEG")[:100])
    message = assert_refused(cli, tmp_path / "photos")
    assert message.startswith(f"None of the 4 photos in {tmp_path / 'photos'} can be used: ")
    assert "the file is empty (0 bytes) (2)" in message


def test_empty_folder_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert f"There is no photo in {tmp_path / 'photos'} (found nothing)." in assert_refused(cli, tmp_path / "photos")


@pytest.mark.parametrize("name", ["photos", "deep/down/photos", "x" * 300])
def test_missing_folder_is_refused(cli: Cli, name: str, tmp_path: Path) -> None:
    message = assert_refused(cli, name)
    assert message == f"There is no folder or file {tmp_path / name}. What exists is {tmp_path}. Check the spelling.\n"


def test_photo_instead_of_a_folder_is_refused(cli: Cli, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "ant.png", draw_photo(24, 24))
    assert "is neither a folder nor a CSV. Give the folder that holds one folder a class." in assert_refused(cli, photo)


def test_no_place_is_refused(cli: Cli) -> None:
    assert assert_refused(cli).startswith("No photos are given.")


def test_one_group_is_refused(cli: Cli, insects: Path) -> None:
    message = assert_refused(cli, insects, "--group-regex", "png")
    assert message.startswith("All 24 photos are in one group, 'regex=png', which must not be cut.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--group-by", "folder"], "--group-by folder needs folders inside the class folders (CLASS/GROUP/photo.jpg)"),
        (["--group-by", "site"], "--group-by site: there is no such column; there is no CSV with further columns."),
        (["--group-regex", "zzz"], "--group-regex 'zzz' matches none of the file names (such as 'ant/00.png')."),
        (["--group-regex", "("], "--group-regex '(' is not a regular expression: "),
        (["--split-column", "part"], "--split-column part: there is no such column; there is no CSV with further"),
        (["--split", "90/10"], "The split '90/10' is not understood."),
        (["--epochs", "0"], "epochs is 0; it must be from 1 to 10,000."),
        (["--backbone", "vgg16"], "There is no backbone 'vgg16'. Choose one of: efficientnet_lite0, "),
        (["--resize", "squash"], "There is no resize 'squash'."),
        (["--min-photos", "1"], "min_photos is 1; it must be at least 3"),
        (["--min-photos", "9"], "has 9 usable photos; the largest has 8. Ask for fewer with --min-photos."),
        (["--weights", "none.pth"], "none.pth cannot be read: No such file or directory."),
        (["--config", "none.toml"], "The config file none.toml cannot be read: No such file or directory."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_impossible_option_is_refused(cli: Cli, insects: Path, options: list[str], message: str) -> None:
    assert message in assert_refused(cli, insects, *options)


def test_unknown_split_column_lists_those_there_are(cli: Cli, insects: Path, tmp_path: Path) -> None:
    table = make_csv(insects, tmp_path)
    message = assert_refused(cli, table, "--photos", insects, "--split-column", "fold")
    assert message == "--split-column fold: there is no such column; the columns are note, part, site.\n"


def test_place_that_is_taken_is_refused(cli: Cli, insects: Path) -> None:
    Path("run").mkdir()
    result = cli("train", insects, "--out", "run")
    assert (result.code, result.err) == (
        2,
        "Error: run exists already. Choose another place with --out, or remove it.\n",
    )
    assert os.listdir("run") == []


def test_place_that_cannot_be_written_is_refused_before_the_work(cli: Cli, insects: Path) -> None:
    Path("file").touch()
    for place in ("file/run", "x" * 300):
        result = cli("train", insects, "--out", place)
        assert result.code == 2
        assert result.err.startswith(f"Error: Cannot write {place}: ")
        assert result.err.endswith(". Choose another place with --out.\n")


# ---- Python


@pytest.mark.usefixtures("no_helpers")
def test_python_does_the_same(insects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = clownfish.train(str(insects), out="run", quiet=True, epochs=3, split="60/20/20", seed=5)
    assert run.metrics["num_photos"]["test"] == 6
    again = clownfish.train(config=run.path / "config.toml", out="again", quiet=True)
    assert read_metrics(again.path) == read_metrics(run.path)
    metrics: dict[str, Any] = json.loads((run.path / "metrics.json").read_text())
    assert metrics == run.metrics


@pytest.mark.usefixtures("no_helpers")
def test_python_raises_what_the_command_prints(tmp_path: Path, insects: Path) -> None:
    with pytest.raises(PhotosError) as error:
        clownfish.train(write_classes(tmp_path / "photos", {"ant": 1, "bee": 1}), out=tmp_path / "run")
    assert len(error.value.problems) == 2
    with pytest.raises(ConfigError, match="There is no option 'epoch'. Did you mean 'epochs'?"):
        clownfish.train(insects, epoch=3)
    with pytest.raises(OutputError, match="exists already"):
        clownfish.train(insects, out=tmp_path)


def test_learning_rate_that_would_diverge_is_limited_and_said(cli: Cli, insects: Path) -> None:
    run = train(cli, insects, "--learning-rate", "100")
    assert read_metrics(run)["learning_rate"] < 1
    assert "The learning rate of 100 was limited to 0." in read_messages(run)


def test_class_of_one_group_is_told(cli: Cli, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", {"ant": 6, "bee": 6, "wasp": 1})
    for number in range(4):
        shutil.copy(photos / "wasp" / "00.png", photos / "wasp" / f"copy{number}.png")
    messages = read_messages(train(cli, photos))
    assert "All photos of a class are one group in: wasp." in messages
    assert "count as wrong in cross-validation" in messages


def test_repeated_rows_and_columns_called_like_ours_are_kept_apart(cli: Cli, insects: Path, tmp_path: Path) -> None:
    files = sorted(path.relative_to(insects).as_posix() for path in insects.rglob("*.png"))
    rows = [{"file": file, "label": file.split("/")[0], "note": "mine", "status": "adult"} for file in files]
    run = train(cli, write_table(tmp_path / "list.csv", [*rows, rows[0]]), "--photos", insects)
    table = read_table(run / "photos.csv")
    assert {(row["csv note"], row["csv status"], row["status"]) for row in table} == {("mine", "adult", "used")}
    assert "Rows of the CSV that name a file again: 1." in read_messages(run)


def test_special_files_are_refused_without_waiting(cli: Cli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "is neither a folder nor a CSV" in assert_refused(cli, tmp_path / "pipe.jpg")
    (tmp_path / "photos.xlsx").write_bytes(b"PK\3\4\0\0")
    assert "Save the table as CSV, with the columns file,label." in assert_refused(cli, tmp_path / "photos.xlsx")


# ---- verdicts


def test_verdicts_and_learning_curve_stand_in_the_metrics(digits_run: Run) -> None:
    metrics = read_metrics(digits_run.path)
    verdicts = {row["name"]: row for row in metrics["verdicts"]}
    names = ["learned", "gap", "overfitting", "underfitting", "selection_optimism", "data_limited"]
    assert list(verdicts) == names
    for row in verdicts.values():
        assert row["holds"] in (True, False, None)
        assert row["sentence"].endswith(".") and row["advice"].endswith(".")
        assert set(row["effect"]) == {"value", "low", "high"}
    assert verdicts["learned"]["holds"]
    assert verdicts["gap"]["accuracy"]["train"] == metrics["train"]["accuracy"]["value"]
    assert verdicts["overfitting"]["sentence"] in metrics["messages"]
    # six photos a class are too few for a curve
    assert metrics["learning_curve"] is None
    assert "too few groups for a learning curve" in verdicts["data_limited"]["sentence"]


def test_photos_without_meaning_are_reported_as_not_learned(cli: Cli, insects: Path) -> None:
    assert "no evidence that anything was learned" in read_messages(train(cli, insects))


def test_fast_leaves_the_learning_curve_out(cli: Cli, digits: Path) -> None:
    metrics = read_metrics(train(cli, digits, "--fast"))
    assert metrics["learning_curve"] is None
    assert "--fast leaves the learning curve out" in metrics["verdicts"][-1]["sentence"]
