"""What the documentation says is done: every command and every block of Python on its pages runs, and every key of
metrics.json, every file and column of a run is explained.

A block that is not run says so, and for whom it is, in its title: ```python title="fastai (not run here)".
"""

import csv
import fnmatch
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image
from threadpoolctl import threadpool_limits

import clownfish
from clownfish.cli import EXIT_SOME_UNUSABLE, main
from clownfish.cli import clownfish as program
from clownfish.config import TrainConfig, read_config
from clownfish.files import find_free_folder
from clownfish.pipeline.demo import write_demo_photos
from clownfish.pipeline.train import train_classifier
from clownfish.progress import Progress
from pictures import draw_pattern, write_photo
from runs import RUN_FILES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NOT_RUN = re.compile(r'title="[^"]*\(not run [^"]+\)"|title="[^"]*\(not run[^"]*: [^"]+\)"')
CLASSES = ("perch", "trout", "bass")
PHOTOS_A_CLASS = 12
LISTINGS = ("text", "csv", "toml")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}, line {self.line}"

    @property
    def is_run(self) -> bool:
        return NOT_RUN.search(self.title) is None


def list_blocks(page: Path) -> Iterator[Block]:
    """Every block of code of a page; indented ones are an error, since nobody knows what they are."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "code_block" and "decisions" not in page.parts and not is_directive(page, line):
            raise AssertionError(f"{page}, line {line}: an indented block; use a fence with its language")
        if token.type == "fence":
            language, _, title = token.info.strip().partition(" ")
            yield Block(page=page, line=line, language=language, title=title, text=token.content)


def is_directive(page: Path, line: int) -> bool:
    """Options below a "::: name" of the reference, and the text of an admonition, are indented too."""
    before = "\n".join(page.read_text(encoding="utf-8").splitlines()[: line - 1]).rstrip()
    return before.rpartition("\n")[2].startswith((":::", "!!!"))


def draw_animal(number: int, photo: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Classes that differ in their colours, each photo with other noise: easy, but no copies."""
    random = np.random.default_rng([number, photo])
    ground = draw_pattern(64, 64, seed=int(random.integers(1000))).astype(int) // 3
    colour = np.array([[200, 60, 40], [40, 160, 60], [50, 70, 200]])[number % 3]
    grain = random.integers(-60, 60, (8, 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
    return np.clip(ground + colour + grain, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory, shared_cache_folder: Path) -> Path:
    """Whatever the pages speak of: photos, tables and a finished run. Each page gets its own copy."""
    root = tmp_path_factory.mktemp("documentation") / "work"
    rows = []
    for number, label in enumerate(CLASSES):
        for photo in range(PHOTOS_A_CLASS):
            pixels = draw_animal(number, photo)
            write_photo(root / "photos" / label / f"{photo:02}.jpg", pixels, quality=90)
            write_photo(root / "named_photos" / label / f"dive{photo // 2}_{photo:02}.jpg", pixels, quality=90)
            write_photo(
                root / "photos_by_individual" / label / f"fish_{photo // 2}" / f"{photo:02}.jpg", pixels, quality=90
            )
            write_photo(root / "photos_with_others" / label / f"{photo:02}.jpg", pixels, quality=90)
            part = "test" if photo < 3 else "validation" if photo < 6 else "train"
            rows.append([f"photos/{label}/{photo:02}.jpg", label, "ABCDEFG"[photo % 7], f"{label}-{photo // 2}", part])
        for photo in range(100, 104):
            write_photo(root / "new_photos" / f"{label}_{photo}.jpg", draw_animal(number, photo), quality=90)
            write_photo(root / "other_labelled_photos" / label / f"{photo}.jpg", draw_animal(number, photo), quality=90)
    for photo in range(6):
        noise = np.random.default_rng(photo).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        write_photo(root / "photos_with_others" / "_unknown" / f"{photo}.jpg", noise)
    write_photo(root / "new.jpg", draw_animal(0, 200))
    project = {
        "title": "Fish",
        "samplingDesign": "targeted",
        "captureMethod": ["timeLapse"],
        "individualAnimals": False,
    }
    (root / "study").mkdir()
    package = json.dumps({"contributors": [{"title": "Ana"}], "project": project})
    (root / "study" / "datapackage.json").write_text(package, encoding="utf-8")
    (root / "study" / "deployments.csv").write_text(
        "deploymentID,latitude,longitude,deploymentStart,deploymentEnd\npond,1,2,2026-03-01T12:00Z,2026-04-01T12:00Z\n",
        encoding="utf-8",
    )
    for name, table in {
        "photos.csv": [["file", "label", "site", "individual", "part"], *rows],
        "corrections.csv": [
            ["file", "old", "new", "reason"],
            ["perch/00.jpg", "perch", "trout", "spots"],
            ["perch/01.jpg", "perch", "-", "blurred"],
        ],
    }.items():
        with (root / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOWNFISH_CACHE", str(shared_cache_folder))
        patch.setenv("CLOWNFISH_WORKERS", "0")
        with threadpool_limits(1, "blas"):
            clownfish.train(root / "photos", out=root / "runs" / "photos-1", quiet=True)
    return root


class TrainOnce:
    """Trainings that several pages show are done once and copied: all pages have the same photos."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: dict[str, clownfish.Run] = {}

    def __call__(
        self, config: TrainConfig, *, out: Path | None = None, progress: Progress | None = None
    ) -> clownfish.Run:
        places = {name: Path(config.flatten()[name]).name for name in ("place", "folder", "corrections")}
        key = json.dumps({**config.flatten(), **places}, sort_keys=True)
        if key not in self._done:
            run = train_classifier(config, out=out, progress=progress)
            kept = shutil.copytree(run.path, self._folder / str(len(self._done)))
            self._done[key] = clownfish.Run(path=kept, metrics=run.metrics)
            return run
        path = out or find_free_folder(Path("runs") / Path(config.photos.place).stem)
        return clownfish.Run(path=shutil.copytree(self._done[key].path, path), metrics=self._done[key].metrics)


@pytest.fixture(scope="session")
def train_once(tmp_path_factory: pytest.TempPathFactory) -> TrainOnce:
    return TrainOnce(tmp_path_factory.mktemp("trained"))


def run_page(page: Path) -> None:
    """Run the blocks of a page one after the other; Python blocks share their names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in list_blocks(page):
        if not block.is_run:
            if block.language == "python":
                compile(block.text, block.place, "exec")
        elif block.language == "python":
            exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
        elif block.language == "bash":
            for line in block.text.replace("\\\n", " ").splitlines():
                run_line(line, block)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            Path("written.toml").write_text(block.text, encoding="utf-8")
            read_config(Path("written.toml"))
        elif block.language == "csv":
            assert len({len(row) for row in csv.reader(io.StringIO(block.text))}) == 1, block.place
        else:
            language = block.language or "no language"
            assert block.language in LISTINGS, f"{block.place}: run, or mark, what is in {language}"


def run_line(line: str, block: Block) -> None:
    """Run a command of clownfish; of others, check that they can mean something."""
    words = shlex.split(line, comments=True)
    if not words:
        return
    if words[0] == "clownfish":
        sys.argv = words
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code in (0, EXIT_SOME_UNUSABLE), f"{block.place}: {line}"
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1:]), f"{block.place}: {line}"
    elif line.split("#", maxsplit=1)[0].strip() in {"python -m venv .venv", "source .venv/bin/activate"}:
        pass
    elif words[:2] == ["pip", "install"]:
        check_install(words[2:], f"{block.place}: {line}")
    else:
        raise AssertionError(f"{block.place}: nobody runs {words[0]!r}")


def check_install(words: list[str], place: str) -> None:
    """Installing is not for a test; the extras that are named have to exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for word in words:
        match = re.fullmatch(r"(?:\.|clownfish)(?:\[([\w,]+)\])?", word)
        assert match, place
        assert set((match[1] or "").split(",")) - {""} <= set(extras), place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_the_page_runs(
    page: Path,
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    train_once: TrainOnce,
    shared_cache: None,
    no_helpers: None,
) -> None:
    if not any(block.is_run and block.language in ("bash", "python", "toml") for block in list_blocks(page)):
        run_page(page)
        return
    shutil.copytree(workspace, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "argv", sys.argv)
    for user in ("clownfish.api", "clownfish.pipeline.train"):
        monkeypatch.setattr(f"{user}.train_classifier", train_once)
    monkeypatch.setattr("clownfish.pipeline.demo.write_demo_photos", partial(write_demo_photos, num_per_class=6))
    with threadpool_limits(1, "blas"):  # these matrices are tiny, and threads that wait for each other are slow
        run_page(page)


def test_block_of_another_language_or_program_has_to_be_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    for text, message in (
        ("```r\nplot(1)\n```", "run, or mark, what is in r"),
        ("```\nx\n```", "run, or mark, what is in no language"),
        ("```bash\nrm -rf photos\n```", "nobody runs 'rm'"),
        ("text\n\n    clownfish train\n", "an indented block"),
    ):
        page.write_text(text, encoding="utf-8")
        with pytest.raises(AssertionError, match=message):
            run_page(page)
    page.write_text('```python title="fastai (not run here)"\nimport fastai\n```', encoding="utf-8")
    run_page(page)


def list_keys(content: Any, path: str = "") -> set[str]:
    """Paths to everything in metrics.json; intervals are taken as one, and rows of a list as alike."""
    if isinstance(content, dict) and content and set(content) != {"value", "low", "high"}:
        return {key for name, value in content.items() for key in list_keys(value, f"{path}.{name}".lstrip("."))}
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return {key for row in content for key in list_keys(row, path)}
    return {path}


def test_every_key_of_the_metrics_is_explained(
    workspace: Path, digits_run: clownfish.Run, messy_run: clownfish.Run
) -> None:
    page = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
    explained = re.findall(r"`([\w.*-]+)`", page)
    metrics = json.loads((workspace / "runs" / "photos-1" / "metrics.json").read_text(encoding="utf-8"))
    keys = list_keys(metrics) | list_keys(digits_run.metrics) | list_keys(messy_run.metrics)
    missing = sorted(key for key in keys if not any(fnmatch.fnmatchcase(key, pattern) for pattern in explained))
    assert missing == []


def test_every_file_and_column_of_a_run_is_explained(workspace: Path) -> None:
    page = (DOCS / "reference" / "files.md").read_text(encoding="utf-8")
    run = workspace / "runs" / "photos-1"
    assert {path.name for path in run.iterdir()} == RUN_FILES
    assert [name for name in sorted(RUN_FILES) if f"`{name}`" not in page] == []
    for table in run.glob("*.csv"):
        with table.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file))
        assert [name for name in header if name not in CLASSES and f"`{name}`" not in page] == [], table.name


def load_script(path: Path) -> ModuleType:
    """Import a script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    return load_script(DOCS / "hooks.py")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_numbers_of_the_page_are_known(page: Path, hooks: ModuleType) -> None:
    assert "{{" not in hooks.fill_numbers(page.read_text(encoding="utf-8"))


def test_every_command_and_option_is_described(hooks: ModuleType) -> None:
    text = hooks.on_page_markdown((DOCS / "reference" / "command-line.md").read_text(encoding="utf-8"))
    assert re.findall(r"^## clownfish (\w+)$", text, re.MULTILINE) == sorted(program.commands)
    for command in program.commands.values():
        for option in command.params:
            assert isinstance(option, click.Argument) or all(name in text for name in option.opts)
    assert "Sentinel" not in text
    assert "| `--group-by TEXT` | Keep together: " in text


def test_every_decision_is_in_the_list() -> None:
    files = sorted(path.name for path in (DOCS / "decisions").glob("[0-9]*.md"))
    text = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[\d+\]\((.+?)\) \|", text, re.MULTILINE)) == files


def test_page_is_made_ready_for_a_phone(hooks: ModuleType) -> None:
    html = '<p><img alt="What clownfish prints" src="screen.svg" /></p><p>5 %</p><pre>5 %</pre><code>6 %</code> 7 %'
    assert hooks.on_page_content(html) == (
        '<div class="terminal"><img alt="What clownfish prints" src="screen.svg" /></div>'
        "<p>5\N{NO-BREAK SPACE}%</p><pre>5 %</pre><code>6 %</code> 7\N{NO-BREAK SPACE}%"
    )


def test_speeds_are_those_of_the_benchmarks() -> None:
    page = (DOCS / "howto" / "many-photos.md").read_text(encoding="utf-8")
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    for told, measured in (
        (r"measured were (\d+) s for 5,000", r"^\| 5,000 \| ([\d.]+) \|"),
        (r"about (\d+) a second at\s+4000 x 3000", r"^\| made, 4000 x 3000: [^|]*\|[^|]*\|[^|]*\|[^|]*\| ([\d.]+) \|"),
    ):
        said, found = re.search(told, page), re.search(measured, results, re.MULTILINE)
        assert said is not None
        assert found is not None
        assert int(said[1]) == round(float(found[1]))


def test_commands_of_validation_and_benchmarks_exist() -> None:
    lines = [
        line
        for page in PAGES
        for block in list_blocks(page)
        if block.title.startswith(('title="validation', 'title="benchmarks'))
        for line in block.text.splitlines()
    ]
    assert len(lines) == 12
    for line in lines:
        match = re.fullmatch(r"python (?:-m (validation\.\w+)|(benchmarks/\w+\.py)) ?(.*)", line)
        assert match is not None, line
        script = ROOT / (match[2] or match[1].replace(".", "/") + ".py")
        text = script.read_text(encoding="utf-8") + (ROOT / "validation" / "common.py").read_text(encoding="utf-8")
        assert all(f'"{option}"' in text for option in re.findall(r"--[\w-]+", match[3])), line


def test_unknown_number_is_an_error(hooks: ModuleType) -> None:
    assert hooks.fill_numbers("{{ number used }} digits") == "600 digits"
    with pytest.raises(KeyError, match="no test.beauty"):
        hooks.fill_numbers("{{ percent test.beauty }}")


def test_pictures_are_found_and_fetch_nothing() -> None:
    for page in PAGES:
        for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            picture = (page.parent / name).resolve()
            assert picture.is_file(), f"{page}: {name}"
    for picture in [*DOCS.glob("*.svg"), *(DOCS / "pictures").glob("*.svg")]:
        text = picture.read_text(encoding="utf-8")
        links = set(re.findall(r"https?://[\w./-]+", text))
        assert all("w3.org" in link or "purl.org" in link or "creativecommons" in link for link in links) or (
            "rich" in text.lower()
        ), picture
        assert "@import" not in text
        assert "@font-face" not in text


def test_links_between_files_of_the_repository_lead_somewhere() -> None:
    pages = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"]
    for page in pages:
        for name in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / name).exists(), f"{page}: {name}"


def test_check_of_the_site_finds_what_does_not_work(tmp_path: Path) -> None:
    check = load_script(DOCS / "check_site.py")
    assert check.list_faults(tmp_path) == [f"{tmp_path}: no pages"]
    (tmp_path / "a b.html").write_text('<h1 id="here">A</h1><a href="https://example.org">out</a><a href="#here">h</a>')
    (tmp_path / "b.html").write_text('<a href="a%20b.html#here">fine</a><link rel="canonical" href="https://x.org">')
    assert check.list_faults(tmp_path) == []
    (tmp_path / "c.html").write_text(
        '<a href="a%20b.html#there">x</a><a href="none.html">x</a><img src="x.png">'
        '<script src="//cdn.org/x.js"></script>'
    )
    assert check.list_faults(tmp_path) == [
        "c.html: fetches //cdn.org/x.js",
        "c.html: no such file as none.html",
        "c.html: no such file as x.png",
        "c.html: no such place as a%20b.html#there",
    ]


def test_picture_of_a_terminal_that_is_out_of_date_is_found(tmp_path: Path) -> None:
    make_pictures = load_script(DOCS / "pictures" / "make_pictures.py")
    lines = [f"Line {number}: the accuracy of <class> is 9{number}.5 %" for number in range(6)]
    picture = tmp_path / "screen.svg"
    picture.write_text(make_pictures.draw_screen("screen", "clownfish demo", "\n".join(lines)), encoding="utf-8")
    assert make_pictures.read_screen(picture.read_text(encoding="utf-8"))[:6] == "$ clownfish demo Line 0: the".split()
    other_numbers = "\n".join(lines).replace("9", "8")
    make_pictures.compare_screen(picture, make_pictures.draw_screen("screen", "clownfish demo", other_numbers))
    other_words = "\n".join([*lines[:-1], "Something else is said here, in other words"])
    with pytest.raises(SystemExit, match=r"screen\.svg shows what the program no longer prints\. Run: make pictures"):
        make_pictures.compare_screen(picture, make_pictures.draw_screen("screen", "clownfish demo", other_words))


def test_workspace_is_worth_learning_from(workspace: Path) -> None:
    metrics = json.loads((workspace / "runs" / "photos-1" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["cross_validated"]["accuracy"]["value"] > 0.9
    with Image.open(workspace / "new.jpg") as picture:
        assert picture.size == (64, 64)
    assert os.listdir(workspace / "runs") == ["photos-1"]
