from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from clownfish.errors import OutputError
from clownfish.photos.scan import scan_photos
from clownfish.pipeline.run import Run
from clownfish.prediction.batch import Answer
from clownfish.prediction.classifier import Answered
from clownfish.prediction.table import FIXED_COLUMNS, make_header, make_row, write_predictions
from clownfish.records import PhotoFile
from runs import read_table

CLASSES = ("ant", "bee", "cicada")


@pytest.fixture(autouse=True)
def _without_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")


def make_answer(probabilities: list[float] | None, note: str = "", file: str = "a.png") -> Answer:
    answered = None
    if probabilities is not None:
        values = np.array(probabilities, np.float32)
        answered = Answered(probabilities=values, status="unsure", candidates=("cicada", "ant"))
    return Answer(photo=PhotoFile(file=file, path=file, label=""), content_hash="", answered=answered, note=note)


def test_row_names_the_two_most_probable_classes() -> None:
    assert make_header(CLASSES) == [*FIXED_COLUMNS, "ant", "bee", "cicada"]
    assert make_row(make_answer([0.25, 0.125, 0.625]), CLASSES) == [
        *("a.png", "cicada", "0.625", "ant", "0.25", "unsure", "cicada | ant", "0.25", "0.125", "0.625"),
    ]


def test_row_of_an_unusable_photo_says_why() -> None:
    row = make_row(make_answer(None, "the file is empty (0 bytes)"), CLASSES)
    assert row == ["a.png", "", "", "", "", "unusable: the file is empty (0 bytes)", "", "", "", ""]


def test_ties_go_to_the_first_class() -> None:
    assert make_row(make_answer([0.25, 0.25, 0.25]), CLASSES)[1:5] == ["ant", "0.25", "bee", "0.25"]


@given(st.lists(st.sampled_from([*FIXED_COLUMNS, "class label", "class file", "ant"]), unique=True, min_size=2))
def test_columns_never_collide(classes: list[str]) -> None:
    header = make_header(classes)
    assert len(set(header)) == len(header) == len(FIXED_COLUMNS) + len(classes)


def test_interrupted_table_is_continued_wherever_it_was_torn(digits_run: Run, insects: Path, tmp_path: Path) -> None:
    classifier = digits_run.classifier
    photos = list(scan_photos(insects))[:5]
    table = tmp_path / "table.csv"
    write_predictions(classifier, photos, table)
    whole = table.read_bytes()
    partial = tmp_path / f"table.csv.partial-{classifier.hash[:8]}"
    table.unlink()
    lines = whole.splitlines(keepends=True)
    for end in range(0, len(whole), 97):
        partial.write_bytes(whole[:end])
        rows: list[str] = []
        summary = write_predictions(classifier, photos, table, on_row=lambda cells, rows=rows: rows.append(cells[0]))  # type: ignore[misc]
        assert table.read_bytes() == whole
        assert summary.num_resumed == max(0, whole[:end].count(b"\n") - 1)
        assert (summary.num_photos, summary.num_unusable) == (5, 0)
        assert sum(summary.counts.values()) + summary.num_unsure + summary.num_unlike == 5
        assert rows == [photo.file for photo in photos]
        assert not partial.exists()
        table.unlink()
    assert len(lines) == 6


def test_interruption_keeps_the_rows_that_are_done(digits_run: Run, insects: Path, tmp_path: Path) -> None:
    photos = list(scan_photos(insects))[:6]
    seen: list[str] = []

    def stop_after_three(cells: object) -> None:
        seen.append(str(cells))
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions(digits_run.classifier, photos, tmp_path / "table.csv", on_row=stop_after_three)
    assert not (tmp_path / "table.csv").exists()
    summary = write_predictions(digits_run.classifier, photos, tmp_path / "table.csv")
    assert (summary.num_resumed, summary.num_photos) == (3, 6)
    assert [row["file"] for row in read_table(tmp_path / "table.csv")] == [photo.file for photo in photos]


def test_strange_file_names_are_recognised_when_the_work_goes_on(
    digits_run: Run, insects: Path, tmp_path: Path
) -> None:
    source = next(scan_photos(insects))
    names = ['a,"b".png', "=1+1.png", "two\nlines.png", "caf\udce9.png", "été 🐠.png", " "]
    photos = [PhotoFile(file=name, path=source.path, label="") for name in names]
    table = tmp_path / "table.csv"
    write_predictions(digits_run.classifier, photos, table)
    whole = table.read_bytes()
    table.rename(tmp_path / f"table.csv.partial-{digits_run.classifier.hash[:8]}")
    assert write_predictions(digits_run.classifier, photos, table).num_resumed == len(names)
    assert table.read_bytes() == whole


def test_interrupted_table_of_other_photos_is_refused(digits_run: Run, insects: Path, tmp_path: Path) -> None:
    photos = list(scan_photos(insects))
    table = tmp_path / "table.csv"
    partial = tmp_path / f"table.csv.partial-{digits_run.classifier.hash[:8]}"
    write_predictions(digits_run.classifier, photos[:3], partial)
    for others in (photos[1:4], photos[:2], []):
        with pytest.raises(OutputError) as error:
            write_predictions(digits_run.classifier, others, table)
        assert str(error.value).startswith(f"{partial} holds an interrupted table of other photos ('ant/0")
        assert str(error.value).endswith("is not where it was). Remove that file to start anew.")
        assert partial.exists() and not table.exists()


def test_interrupted_table_of_another_model_is_left_alone(
    digits_run: Run, messy_run: Run, insects: Path, tmp_path: Path
) -> None:
    photos = list(scan_photos(insects))[:2]
    other = tmp_path / f"table.csv.partial-{messy_run.classifier.hash[:8]}"
    other.write_bytes(b"file,label\n")
    assert write_predictions(digits_run.classifier, photos, tmp_path / "table.csv").num_resumed == 0
    assert other.read_bytes() == b"file,label\n"


def test_table_that_exists_is_replaced_only_on_request(digits_run: Run, insects: Path, tmp_path: Path) -> None:
    photos = list(scan_photos(insects))[:2]
    table = tmp_path / "deep" / "table.csv"
    write_predictions(digits_run.classifier, photos, table)
    with pytest.raises(OutputError, match=r"table\.csv exists already\. Give another name with --out, or replace it"):
        write_predictions(digits_run.classifier, photos[:1], table)
    assert len(read_table(table)) == 2
    write_predictions(digits_run.classifier, photos[:1], table, overwrite=True)
    assert len(read_table(table)) == 1


@pytest.mark.parametrize("name", ["file/table.csv", "x" * 300])
def test_table_that_cannot_be_written_is_refused(digits_run: Run, insects: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"Cannot write .*: .+\. Give another place with --out\."):
        write_predictions(digits_run.classifier, scan_photos(insects), tmp_path / name)


def test_table_that_another_process_writes_is_refused(digits_run: Run, insects: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    lock = FileLock(tmp_path / f"table.csv.partial-{digits_run.classifier.hash[:8]}.lock")
    with (
        lock,
        pytest.raises(OutputError, match=r"^Another clownfish is writing this table \(.*\)\. Wait for it, or use"),
    ):
        write_predictions(digits_run.classifier, list(scan_photos(insects))[:2], table)
    assert write_predictions(digits_run.classifier, list(scan_photos(insects))[:2], table).num_photos == 2
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_only_a_file_can_be_replaced_by_a_table(digits_run: Run, insects: Path, tmp_path: Path) -> None:
    photos = list(scan_photos(insects))[:2]
    with pytest.raises(OutputError, match="is not a file that can be replaced by a table"):
        write_predictions(digits_run.classifier, photos, tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="^/dev/null is not a file that can be replaced"):
        write_predictions(digits_run.classifier, photos, Path("/dev/null"), overwrite=True)
