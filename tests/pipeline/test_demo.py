import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from clownfish.errors import OutputError
from clownfish.pipeline.demo import write_demo_photos
from runs import RUN_FILES, Cli, read_metrics


def test_digits_are_written_one_folder_each(tmp_path: Path) -> None:
    assert write_demo_photos(tmp_path / "photos", num_per_class=2) == 20
    assert sorted(os.listdir(tmp_path / "photos")) == [f"digit_{digit}" for digit in range(10)]
    assert sorted(os.listdir(tmp_path / "photos" / "digit_7")) == ["000.png", "001.png"]


def test_digits_are_ink_on_white(tmp_path: Path) -> None:
    write_demo_photos(tmp_path, num_per_class=1)
    pictures, labels = load_digits(return_X_y=True)
    for digit in range(10):
        with Image.open(tmp_path / f"digit_{digit}" / "000.png") as picture:
            assert picture.size == (128, 128)
            small = np.asarray(picture.resize((8, 8), Image.Resampling.BOX), np.float64)
        original = pictures[np.flatnonzero(labels == digit)[0]].reshape(8, 8)
        assert np.corrcoef(small.ravel(), original.ravel())[0, 1] < -0.95


def test_digits_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_demo_photos(tmp_path / name, num_per_class=1)
        write_demo_photos(tmp_path / name, num_per_class=1)
    files = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*.png"))]
    assert len(files) == 10
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


def test_folder_that_cannot_be_written_is_refused(cli: Cli) -> None:
    Path("file").touch()
    with pytest.raises(OutputError, match=r"Cannot write .*digit_0: .+\. Choose another place\."):
        write_demo_photos(Path("file"))
    result = cli("demo", "--out", "file")
    assert result.code == 2
    assert result.err.startswith("Error: Cannot write ")


def test_demo_has_sixty_of_each_digit(tmp_path: Path) -> None:
    assert write_demo_photos(tmp_path) == 600
    assert [len(list(folder.iterdir())) for folder in tmp_path.iterdir()] == [60] * 10


def test_demo_trains_a_good_classifier(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clownfish.pipeline.demo.write_demo_photos", partial(write_demo_photos, num_per_class=20))
    result = cli("demo")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(
        f"Wrote 200 handwritten digits to {Path('clownfish-demo/photos')}, one folder a digit."
        f" Now: clownfish train {Path('clownfish-demo/photos')}\n"
    )
    run = Path("clownfish-demo/run-1")
    assert {path.name for path in run.iterdir()} == RUN_FILES
    metrics = read_metrics(run)
    assert metrics["cross_validated"]["accuracy"]["value"] > 0.85
    last = result.out.splitlines()[-1]
    assert last == f"Classify a new photo: clownfish predict {run} {Path('clownfish-demo/photos/digit_3/000.png')}"
    assert "digit_3" in cli(*last.split()[5:]).out.splitlines()[0]


def test_quiet_demo_prints_nothing_and_numbers_its_runs(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clownfish.pipeline.demo.write_demo_photos", partial(write_demo_photos, num_per_class=3))
    for number in (1, 2):
        result = cli("demo", "--quiet", "--out", "try")
        assert (result.code, result.out, result.err) == (0, "", "")
        assert sorted(os.listdir("try")) == ["photos", *(f"run-{found + 1}" for found in range(number))]
