import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import clownfish
from clownfish.answers.rules import STATUSES
from clownfish.cli import EXIT_SOME_UNUSABLE
from clownfish.errors import PhotosError
from clownfish.pipeline.run import Run
from pictures import write_photo
from runs import Cli, make_command, read_table, run_command, write_classes, write_table


def test_folder_becomes_a_table_in_order(cli: Cli, digits_run: Run, digits: Path) -> None:
    result = cli("predict", digits_run.path, digits)
    assert (result.code, result.err) == (0, "")
    rows = read_table(Path("predictions.csv"))
    classes = digits_run.metrics["classes"]
    assert list(rows[0]) == [
        "file",
        "label",
        "probability",
        "second",
        "second_probability",
        "status",
        "candidates",
        *classes,
    ]
    assert [row["file"] for row in rows] == [
        path.relative_to(digits).as_posix() for path in sorted(digits.glob("*/*.png"))
    ]
    for row in rows:
        values = {name: float(row[name]) for name in classes}
        assert sum(values.values()) == pytest.approx(1, abs=1e-5)
        first, second = sorted(classes, key=lambda name: -values[name])[:2]
        assert (row["label"], row["second"]) == (first, second)
        assert row["status"] in STATUSES
        candidates = row["candidates"].split(" | ")
        assert candidates == sorted(candidates, key=lambda name: -values[name])
        assert candidates[0] == first
        assert (float(row["probability"]), float(row["second_probability"])) == (values[first], values[second])
    lines = result.out.splitlines()
    assert lines[0] == "Classified 60 photos, 0 unusable."
    assert lines[-1] == "Table: predictions.csv"
    assert sum(int(line.split()[0]) for line in lines[1:-1]) == 60
    unsure = sum(row["status"] == "unsure" for row in rows)
    assert f"{unsure:>8}  unsure: such answers are wrong too often (see --max-error)" in lines


def test_single_photo_is_answered_on_the_screen(cli: Cli, digits_run: Run, digits: Path) -> None:
    photo = digits / "digit_3" / "000.png"
    result = cli("predict", digits_run.path, photo)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert 5 <= len(lines) <= 7
    assert lines[0].split() == [f"{clownfish.load(digits_run.path).predict(photo).probability:.1%}", "digit_3"]
    assert os.listdir() == []


def test_single_photo_as_json(cli: Cli, digits_run: Run, digits: Path) -> None:
    photo = digits / "digit_3" / "000.png"
    content = cli("predict", digits_run.path, photo, "--json").read_json()
    assert (content["file"], content["label"]) == (str(photo), "digit_3")
    assert next(iter(content["probabilities"])) == "digit_3"
    assert sum(content["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_smaller_budget_of_errors_answers_less(cli: Cli, digits_run: Run, digits: Path) -> None:
    answered = []
    for budget in ("1%", "10%", "0.5"):
        content = cli("predict", digits_run.path, digits, "--max-error", budget, "--json", "--overwrite").read_json()
        answered.append(sum(content["counts"].values()))
    assert answered == sorted(answered)
    assert answered[0] == 0 < answered[2]  # one wrong of a hundred cannot be known from sixty photos
    photo = digits / "digit_3" / "000.png"
    result = cli("predict", digits_run.path, photo, "--max-error", "1%")
    assert "unsure: answers that are no more certain than this are wrong too often (see --max-error)" in result.out
    result = cli("predict", digits_run.path, photo, "--max-error", "all")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Error: max_error is all; it must be the share of wrong answers that you accept, ")


def test_single_photo_can_be_quiet_or_a_table(cli: Cli, digits_run: Run, digits: Path) -> None:
    photo = digits / "digit_3" / "000.png"
    assert cli("predict", digits_run.path, photo, "--quiet").out == ""
    assert cli("predict", digits_run.path, photo, "--out", "one.csv").code == 0
    assert [row["file"] for row in read_table(Path("one.csv"))] == ["000.png"]


def test_single_photo_that_is_broken_is_an_error(cli: Cli, digits_run: Run) -> None:
    Path("empty.jpg").touch()
    result = cli("predict", digits_run.path, "empty.jpg")
    assert (result.code, result.out, result.err) == (2, "", "Error: empty.jpg: the file is empty (0 bytes)\n")


def test_nested_folders_are_read(cli: Cli, digits_run: Run, insects: Path) -> None:
    picture = (insects / "ant" / "00.png").read_bytes()
    for place in ("a.png", "deep/er/b.png", "deep/a.png"):
        Path("photos", place).parent.mkdir(parents=True, exist_ok=True)
        Path("photos", place).write_bytes(picture)
    Path("photos/notes.txt").touch()
    assert cli("predict", digits_run.path, "photos", "--quiet").code == 0
    rows = read_table(Path("predictions.csv"))
    assert [row["file"] for row in rows] == ["a.png", "deep/a.png", "deep/er/b.png"]


def test_csv_says_which_photos(cli: Cli, digits_run: Run, insects: Path) -> None:
    files = ["cicada/03.png", "ant/01.png", "none.png", "ant/00.png"]
    write_table(Path("list.csv"), [{"file": file, "site": "here"} for file in files])
    result = cli("predict", digits_run.path, "list.csv", "--photos", insects)
    assert result.code == EXIT_SOME_UNUSABLE == 3
    rows = read_table(Path("predictions.csv"))
    assert [row["file"] for row in rows] == files
    assert rows[2]["status"] == "unusable: there is no such file in the photo folder (--photos says where that is)"


def test_broken_photos_become_rows(cli: Cli, digits_run: Run, messy_photos: Path) -> None:
    result = cli("predict", digits_run.path, messy_photos)
    assert (result.code, result.err) == (3, "")
    assert result.out.startswith("Classified 28 photos, 3 unusable.\n")
    assert "          ant/empty.png: unusable: the file is empty (0 bytes)\n" in result.out
    rows = read_table(Path("predictions.csv"))
    broken = [row for row in rows if row["status"] not in STATUSES]
    assert [row["file"] for row in broken] == ["ant/empty.png", "ant/page.jpg", "bee/torn.png"]
    for row in broken:
        assert row["status"].startswith("unusable: ")
        assert {cell for name, cell in row.items() if name not in ("file", "status")} == {""}


def test_summary_as_json(cli: Cli, digits_run: Run, messy_photos: Path) -> None:
    result = cli("predict", digits_run.path, messy_photos, "--json", "--out", "table.csv")
    assert (result.code, result.err) == (3, "")
    content = result.read_json()
    names = {"photos", "unusable", "unsure", "unlike", "counts", "resumed", "left_out", "messages", "table"}
    assert set(content) == names
    assert (content["photos"], content["unusable"], content["resumed"]) == (31, 3, 0)
    assert sum(content["counts"].values()) + content["unsure"] + content["unlike"] == 28
    assert content["table"] == "table.csv"


def test_table_that_exists_is_refused_unless_it_may_be_replaced(cli: Cli, digits_run: Run, insects: Path) -> None:
    Path("predictions.csv").write_text("precious")
    result = cli("predict", digits_run.path, insects)
    assert (result.code, result.err) == (
        2,
        "Error: predictions.csv exists already. Give another name with --out, or replace it with --overwrite.\n",
    )
    assert Path("predictions.csv").read_text() == "precious"
    assert cli("predict", digits_run.path, insects, "--overwrite", "--quiet").code == 0
    assert len(read_table(Path("predictions.csv"))) == 24


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "There is no folder or file nowhere. What exists is "),
        ("x" * 300, "There is no folder or file "),
        ("empty", "There is no photo in empty. Give a photo, a folder that holds some, or a CSV."),
        ("bad.csv", "The CSV bad.csv has no column 'file'; its columns are 'photo'."),
        ("void.csv", "The CSV void.csv is empty. Needed is a first line: file,label"),
    ],
)
def test_place_that_cannot_be_used_leaves_nothing_behind(cli: Cli, digits_run: Run, place: str, message: str) -> None:
    Path("empty").mkdir()
    Path("bad.csv").write_text("photo\n1.png\n")
    Path("void.csv").touch()
    before = sorted(os.listdir())
    result = cli("predict", digits_run.path, place)
    assert result.code == 2
    assert result.err.startswith(f"Error: {message}")
    assert sorted(os.listdir()) == before


def test_model_that_is_none_is_refused(cli: Cli, insects: Path) -> None:
    Path("model.onnx").write_text("no model")
    result = cli("predict", "model.onnx", insects)
    assert (result.code, result.err) == (2, "Error: model.onnx is not an ONNX model, or it is damaged.\n")


def test_classes_called_like_columns_keep_columns_of_their_own(cli: Cli, tmp_path: Path, shared_cache: None) -> None:
    photos = write_classes(tmp_path / "photos", {"label": 3, "file": 3, "status": 3})
    assert cli("train", photos, "--out", "run", "--epochs", 2, "--quiet").code == 0
    assert cli("predict", "run", photos, "--quiet").code == 0
    rows = read_table(Path("predictions.csv"))
    assert list(rows[0])[7:] == ["class file", "class label", "class status"]
    assert {row["label"] for row in rows} <= {"label", "file", "status"}
    assert cli("evaluate", "run", photos, "--quiet", "--out", "evaluation").code == 0
    assert "class label" in read_table(Path("evaluation/predictions.csv"))[0]


@pytest.mark.usefixtures("no_helpers")
def test_python_does_the_same(digits_run: Run, digits: Path, tmp_path: Path) -> None:
    for number, model in enumerate((digits_run.classifier, digits_run.path, str(digits_run.path / "model.onnx"))):
        out = tmp_path / f"{number}.csv"
        summary = clownfish.predict(model, str(digits), out, quiet=True)
        assert (summary.num_photos, summary.num_unusable, summary.num_resumed) == (60, 0, 0)
        assert sum(summary.counts.values()) + summary.num_unsure + summary.num_unlike == 60
        assert out.read_bytes() == (tmp_path / "0.csv").read_bytes()
    with pytest.raises(PhotosError, match="There is no folder or file"):
        clownfish.predict(digits_run.path, tmp_path / "nowhere", tmp_path / "x.csv", quiet=True)


@pytest.mark.usefixtures("no_helpers")
def test_killed_prediction_goes_on_where_it_was(digits_run: Run, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    for number in range(20):  # noise is slow to decode
        pixels = random.integers(0, 256, (600, 600, 3), dtype=np.uint8)
        write_photo(tmp_path / "photos" / f"{number:02}.png", pixels, compress_level=1)
    command = ("predict", digits_run.path, tmp_path / "photos", "--out", tmp_path / "table.csv")
    expected = tmp_path / "expected.csv"
    clownfish.predict(digits_run.path, tmp_path / "photos", expected, quiet=True)
    partial = tmp_path / f"table.csv.partial-{digits_run.classifier.hash[:8]}"
    process = subprocess.Popen(make_command(*command), env={**os.environ, "CLOWNFISH_WORKERS": "1"})
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.read_bytes().count(b"\n") > 4) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (tmp_path / "table.csv").exists()
    num_done = partial.read_bytes().count(b"\n") - 1
    assert num_done >= 4
    result = run_command(*command, CLOWNFISH_WORKERS="1")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"Classified 20 photos ({num_done} of them before the interruption), 0 unusable.\n")
    assert (tmp_path / "table.csv").read_bytes() == expected.read_bytes()
    assert not partial.exists()


def test_prediction_needs_no_training_libraries(digits_run: Run, digits: Path) -> None:
    banned = "pandas matplotlib sklearn scipy onnx torch tensorflow jinja2 tomli_w sqlite3 rich hypothesis"
    script = f"""
import sys
from clownfish.cli import main
sys.argv = ["clownfish", "predict", {str(digits_run.path)!r}, {str(digits / "digit_1" / "000.png")!r}]
try:
    main()
finally:
    print(sorted(set({banned.split()!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "digit_1" in done.stdout.splitlines()[0]
