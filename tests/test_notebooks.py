"""The notebooks run from top to bottom without a network, and their two forms agree."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

jupytext = pytest.importorskip("jupytext", reason="needs the extra 'docs'")
pytest.importorskip("ipykernel", reason="needs the extra 'docs'")
pytest.importorskip("matplotlib", reason="needs the extra 'docs'")
nbclient = pytest.importorskip("nbclient", reason="needs the extra 'docs'")

# Jupyter's own: sockets that are closed late, and news of its next version
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
TRAINING, TRUTH = NOTEBOOKS / "model_training.ipynb", NOTEBOOKS / "is_my_number_true.ipynb"
BOTH = [TRAINING, TRUTH]
MAX_SECONDS = 900
"""For a machine that does other things too; on two idle cores they take one minute, and half of one."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""Threads of several programs that wait for each other make a busy machine twice as slow."""
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
DATA = os.environ.get("CLOWNFISH_TEST_DATA", "")


def run_notebook(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> Any:
    """Run every cell in a kernel of its own; the notebook with its outputs."""
    for name in ("CLOWNFISH_PHOTOS", "CLOWNFISH_COURSE_FISH", "CLOWNFISH_CARABID_BEETLES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**NO_NETWORK, **ONE_THREAD, "TMPDIR": str(folder), **environment}.items():
        monkeypatch.setenv(name, value)
    notebook = jupytext.read(path)
    client = nbclient.NotebookClient(
        notebook, timeout=MAX_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    started = time.perf_counter()
    client.execute()
    print(f"{path.name}: {time.perf_counter() - started:.0f} s")
    return notebook


def list_outputs(notebook: Any) -> str:
    """All that the cells have printed and shown."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            texts.append(output.get("text", ""))
            texts.extend(text for kind, text in output.get("data", {}).items() if kind.startswith("text/"))
    return "\n".join(texts)


@pytest.mark.parametrize("path", BOTH, ids=lambda path: path.stem)
def test_both_forms_of_the_notebook_agree(path: Path) -> None:
    notebook, text = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in text.cells
    ], "run: make pictures"
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs get old; they are not kept"


@pytest.mark.parametrize("path", BOTH, ids=lambda path: path.stem)
@pytest.mark.parametrize("wheels", [[], ["clownfish-0.1.0-py3-none-any.whl"]], ids=["from PyPI", "from a wheel"])
def test_first_cell_installs_on_colab_only(
    path: Path, wheels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def note(command: list[str], *, check: bool) -> None:
        assert check
        commands.append(command)

    monkeypatch.setattr(subprocess, "run", note)
    monkeypatch.chdir(tmp_path)
    for name in wheels:
        (tmp_path / name).touch()
    cell = next(cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code")
    exec(cell, {})
    assert commands == []
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    exec(cell, {})
    ((*_, what, matplotlib),) = commands
    assert [what, matplotlib] == [*(wheels or ["clownfish"]), "matplotlib"]


def test_training_notebook_runs_on_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = run_notebook(TRAINING, tmp_path, monkeypatch)
    outputs = list_outputs(notebook)
    assert "600 photos, 10 labels" in outputs
    assert "<table>" in outputs  # the run and the classifier show themselves
    assert "20 photos: " in outputs
    match = re.search(r"cross_validated: ([\d.]+)% right", outputs)
    assert match is not None
    assert float(match[1]) > 85


def test_training_notebook_follows_the_ten_steps() -> None:
    titles = re.findall(r"^# ## (\d+)\. ", TRAINING.with_suffix(".py").read_text(encoding="utf-8"), re.MULTILINE)
    assert titles == [str(number) for number in range(1, 11)]


@pytest.mark.real
@pytest.mark.skipif(not Path(DATA, "course-fish").is_dir() or not DATA, reason="no course-fish in CLOWNFISH_TEST_DATA")
def test_training_notebook_runs_on_the_fish_of_the_course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = run_notebook(TRAINING, tmp_path, monkeypatch, CLOWNFISH_PHOTOS=str(Path(DATA, "course-fish").resolve()))
    assert "155 photos, 3 labels" in list_outputs(notebook)


def test_truth_notebook_runs_without_photos_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = list_outputs(run_notebook(TRUTH, tmp_path, monkeypatch))
    assert outputs.count("Skipped: ") == 3
    grouped = re.search(r"animals kept together: (\d+)%", outputs)
    dealt = re.search(r"photos dealt out one by one: (\d+)%", outputs)
    assert grouped is not None
    assert dealt is not None
    assert int(grouped[1]) < 75  # nothing can be learned: 50, give or take what 60 animals give
    assert int(dealt[1]) > int(grouped[1]) + 15  # the leak
    assert "a mark at the bottom right of digit_8" in outputs


@pytest.mark.real
@pytest.mark.skipif(
    not DATA or not Path(DATA, "course-fish").is_dir() or not Path(DATA, "carabid-beetles").is_dir(),
    reason="no course-fish and carabid-beetles in CLOWNFISH_TEST_DATA",
)
def test_truth_notebook_runs_on_fish_and_beetles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {
        "CLOWNFISH_COURSE_FISH": str(Path(DATA, "course-fish").resolve()),
        "CLOWNFISH_CARABID_BEETLES": str(Path(DATA, "carabid-beetles").resolve()),
    }
    outputs = list_outputs(run_notebook(TRUTH, tmp_path, monkeypatch, **places))
    assert "Skipped: " not in outputs
    by_beetle = re.search(r"each individual kept together: (\d+)%", outputs)
    by_site = re.search(r"each site kept together: (\d+)%", outputs)
    assert by_beetle is not None
    assert by_site is not None
    assert int(by_site[1]) < int(by_beetle[1]) - 10
    assert "upside down" in outputs
