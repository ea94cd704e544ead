import os
import subprocess
import sys
from pathlib import Path

import pytest

import clownfish
from clownfish.backbones import BACKBONES
from clownfish.config import read_config
from clownfish.errors import ConfigError, ModelFileError
from clownfish.pipeline.run import Run
from runs import read_metrics


@pytest.mark.usefixtures("shared_cache", "no_helpers")
def test_paths_are_kept_whole_so_that_a_run_can_be_repeated_from_anywhere(
    insects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = BACKBONES["efficientnet_lite0"].find_weights()
    assert found is not None
    monkeypatch.chdir(found.parent)
    photos = Path(os.path.relpath(insects))
    run = clownfish.train(photos, out=tmp_path / "run", weights=found.name, epochs=1, quiet=True)
    config = read_config(run.path / "config.toml")
    assert (config.photos.place, config.features.weights) == (str(insects.resolve()), str(found.resolve()))
    monkeypatch.chdir(tmp_path)
    again = clownfish.train(config="run/config.toml", out="again", quiet=True)
    assert read_metrics(again.path) == read_metrics(run.path)


@pytest.mark.usefixtures("shared_cache", "no_helpers")
def test_run_holds_its_folder_numbers_and_classifier(digits_run: Run, digits: Path) -> None:
    assert digits_run.report.read_text(encoding="utf-8").startswith("<!")
    assert digits_run.classifier is digits_run.classifier
    assert digits_run.classifier.predict(digits / "digit_0" / "000.png").label == "digit_0"
    assert repr(digits_run) == f"Run(path={digits_run.path!r})"


@pytest.mark.usefixtures("shared_cache", "no_helpers")
def test_progress_stays_off_standard_output(insects: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = clownfish.train(insects, out=tmp_path / "run", epochs=1)
    clownfish.predict(run.path, insects, tmp_path / "table.csv")
    clownfish.evaluate(run.path, insects)
    assert capfd.readouterr().out == ""


def test_options_of_the_command_line_have_their_names_in_the_config() -> None:
    with pytest.raises(ConfigError, match="There is no option 'batchsize'. Did you mean 'batch_size'?"):
        clownfish.train("photos", batchsize=4)
    with pytest.raises(ConfigError, match="The split '1/2/3' is not understood"):
        clownfish.train("photos", split="1/2/3")
    with pytest.raises(ConfigError, match="No photos are given"):
        clownfish.train()


def test_model_that_is_absent_is_an_error(tmp_path: Path) -> None:
    for call in (clownfish.predict, clownfish.evaluate):
        with pytest.raises(ModelFileError, match="cannot be read"):
            call(tmp_path / "none.onnx", tmp_path)  # type: ignore[operator]


def test_nothing_is_told_about_the_computer(digits_run: Run, digits: Path, tmp_path: Path) -> None:
    """ONNX Runtime writes an identifier into the home folder when imported, unless it is told not to."""
    photo = next(digits.rglob("*.png"))
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    code = f"import clownfish; print(clownfish.load({str(digits_run.path)!r}).predict({str(photo)!r}).label)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == []


def test_plain_script_needs_no_main_guard(insects: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import clownfish\n"
        f"run = clownfish.train({str(insects)!r}, out='run', quiet=True, epochs=1)\n"
        f"print(run.classifier.predict({str(insects / 'ant' / '00.png')!r}).label in run.metrics['classes'])\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "CLOWNFISH_WORKERS": "2"},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
