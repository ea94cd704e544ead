"""`clownfish export --to web`, and the page as a visitor meets it, in a browser without a network."""

import base64
import csv
import functools
import gzip
import hashlib
import http.server
import importlib.util
import io
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clownfish
from browser import Browser, find_browser, start_browser
from clownfish.errors import ConfigError, ExportError, MissingExtraError
from clownfish.export import tflite_file, web_page
from clownfish.images import RESIZES, Preprocessing, decode_photo
from clownfish.pipeline.run import Run
from pictures import draw_photo, write_photo
from runs import Cli

needs_runtime = pytest.mark.skipif(not tflite_file.is_installed(), reason="needs the extra 'tflite'")
needs_browser = pytest.mark.skipif(find_browser() is None, reason="needs Chromium (or CLOWNFISH_TEST_BROWSER)")
pytestmark = pytest.mark.usefixtures("no_helpers")

LANGUAGES = {"en": "Choose photos", "es": "Elegir", "pt": "Escolher", "fr": "Choisir", "lt": "Pasirinkti"}
HOSTILE = ("</script><script>document.title='broken'</script>", '<img src=x onerror="document.title=`broken`">')
ALL_DONE = "document.querySelectorAll('.card').length == {} && !document.querySelector('.card.waiting')"
CARDS = "[...document.querySelectorAll('.card')].map(card => ({...card.dataset}))"


@pytest.fixture(scope="module")
def exported(digits_run: Run, tmp_path_factory: pytest.TempPathFactory) -> clownfish.Export:
    if not tflite_file.is_installed():
        pytest.skip("needs the extra 'tflite'")
    return clownfish.export_model(digits_run.path, "web", out=tmp_path_factory.mktemp("web") / "page.html", quiet=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if find_browser() is None:
        pytest.skip("needs Chromium (or CLOWNFISH_TEST_BROWSER)")
    with start_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, exported: clownfish.Export) -> Browser:
    browser.set_looks()
    browser.set_languages("en-GB,en")
    browser.go_offline()
    browser.requests.clear()
    browser.messages.clear()
    browser.open(exported.path.as_uri())
    assert browser.evaluate("document.body.dataset.state") == "ready"
    return browser


def test_page_is_one_small_file_with_all_inside(exported: clownfish.Export) -> None:
    text = exported.path.read_text(encoding="utf-8")
    assert exported.path.stat().st_size < 20e6
    assert not re.search(r"""(src|href)=["'](?!data:|manifest)""", re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1] and "connect-src &#39;none&#39;" in policy[1]
    assert "unsafe-inline" not in policy[1] and "unsafe-eval" not in policy[1].replace("wasm-unsafe-eval", "")
    assert "Apache License" in text and "LiteRT.js" in text
    assert exported.facts["exported"]["form"] == "web" and exported.facts["exported"]["precision"] == "int8"
    assert exported.facts["exported"]["sha256"] == hashlib.sha256(exported.path.read_bytes()).hexdigest()
    assert exported.facts["exported"]["bytes"] == exported.path.stat().st_size
    assert exported.facts["certified"]
    assert "the decoder of a browser was not part of it" in exported.facts["exported"]["page"]
    assert exported.certificate == exported.path.with_name("page.html.certificate.json")


def test_runtime_is_what_was_published() -> None:
    folder = Path(web_page.__file__).with_name("web") / "litert"
    packages = json.loads((folder / "versions.json").read_text())
    listed = {name: facts for package in packages.values() for name, facts in package["files"].items()}
    assert {f"{name}.gz" for name in listed} == {file.name for file in folder.glob("*.gz")}
    for name, facts in listed.items():
        assert hashlib.sha256(gzip.decompress((folder / f"{name}.gz").read_bytes())).hexdigest() == facts["sha256"]


def test_texts_are_complete_in_every_language() -> None:
    texts = json.loads((Path(web_page.__file__).with_name("web") / "page" / "texts.json").read_text(encoding="utf-8"))
    assert texts.keys() == LANGUAGES.keys()
    for own in texts.values():
        assert own.keys() == texts["en"].keys()
        for name, text in own.items():
            assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", texts["en"][name])), (name, text)


@needs_runtime
def test_folder_is_an_app(cli: Cli, digits_run: Run, tmp_path: Path) -> None:
    done = cli("export", digits_run.path, "--to", "web", "--folder", "--out", tmp_path / "app")
    assert (done.code, done.err) == (0, "")
    assert {file.name for file in (tmp_path / "app").iterdir()} == {
        "index.html",
        "manifest.webmanifest",
        "service-worker.js",
        "icon.svg",
        "icon.png",
    }
    assert (tmp_path / "app.certificate.json").is_file()
    manifest = json.loads((tmp_path / "app" / "manifest.webmanifest").read_text(encoding="utf-8"))
    assert manifest["display"] == "standalone" and "digit_0" not in manifest["start_url"]
    assert cli("export", digits_run.path, "--to", "web", "--folder", "--out", tmp_path / "app").code == 2


def test_wrong_choices_are_explained(digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"--folder is for --to web; --to onnx writes one file\. Leave it out\."):
        clownfish.export_model(digits_run.path, "onnx", folder=True, quiet=True)
    with pytest.raises(ConfigError, match=r"--to web has no --quantize dynamic\. Choose one of: float32, float16"):
        clownfish.export_model(digits_run.path, "web", quantize="dynamic", quiet=True)
    monkeypatch.setattr(tflite_file, "is_installed", lambda: False)
    with pytest.raises(MissingExtraError, match=r"pip install 'clownfish\[tflite\]'"):
        clownfish.export_model(digits_run.path, "web", quiet=True)


@needs_runtime
def test_too_large_page_is_refused(digits_run: Run, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"The page would have 2\d\.\d MB, more than the 20 that one file may have\."):
        clownfish.export_model(digits_run.path, "web", quantize="float32", out=tmp_path / "a.html", quiet=True)
    assert list(tmp_path.iterdir()) == []


# ---- in the browser


def choose(page: Browser, photos: list[Path]) -> list[dict[str, str]]:
    page.choose_files("#chosen", photos)
    page.wait_for(ALL_DONE.format(len(photos)))
    cards: list[dict[str, str]] = page.evaluate(CARDS)
    return cards


def test_page_says_what_predict_says(page: Browser, digits_run: Run, digits: Path) -> None:
    photos = sorted(digits.rglob("*.png"))[:50]
    cards = choose(page, photos)
    answers = [digits_run.classifier.predict(photo) for photo in photos]
    pairs = list(zip(answers, cards, strict=True))
    assert sum(answer.label == card["label"] for answer, card in pairs) >= 0.98 * len(photos)
    assert sum(answer.status == card["status"] for answer, card in pairs) >= 0.9 * len(photos)
    assert np.median([abs(answer.probability - float(card["probability"])) for answer, card in pairs]) < 0.02
    counted = page.evaluate("document.getElementById('counts').textContent")
    assert int(re.search(r"\d+", counted)[0]) == len(photos) and " of " not in counted  # type: ignore[index]
    assert page.evaluate("document.getElementById('progress').hidden")
    assert page.messages == []
    assert [address for address in page.requests if not address.startswith("file:")] == []
    assert len(page.requests) == 1
    assert page.evaluate("document.querySelectorAll('.heat').length") == 0


def test_maps_are_found_for_the_photos_that_are_looked_at(page: Browser, digits: Path) -> None:
    photos = sorted(digits.rglob("*.png"))[:50]
    choose(page, photos)
    page.evaluate("document.getElementById('looks').click()")
    page.wait_for("document.querySelector('.card .heat')")
    assert page.evaluate("document.querySelectorAll('.heat').length") < len(photos)
    page.evaluate("document.querySelector('.card:last-child').scrollIntoView()")
    page.wait_for("document.querySelector('.card:last-child .heat')")
    assert page.messages == []


@needs_browser
@needs_runtime
def test_page_does_without_workers(exported: clownfish.Export, digits: Path) -> None:
    with start_browser() as browser:
        browser.go_offline()
        browser.call("Page.addScriptToEvaluateOnNewDocument", source="delete window.Worker")
        browser.open(exported.path.as_uri())
        cards = choose(browser, sorted(digits.rglob("*.png"))[:3])
        assert all(card["label"].startswith("digit_") for card in cards)
        assert browser.messages == []


def test_table_is_that_of_predict(page: Browser, cli: Cli, digits_run: Run, tmp_path: Path) -> None:
    for number in range(3):
        write_photo(tmp_path / "in" / f"photo, {number}.png", draw_photo(300, 200, seed=number))
    (tmp_path / "in" / "=broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    photos = sorted((tmp_path / "in").iterdir())
    choose(page, photos)
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.evaluate("document.getElementById('save').click()")
    table = tmp_path / "predictions.csv"
    for _ in range(200):
        if table.exists() and table.stat().st_size:
            break
        threading.Event().wait(0.05)
    found = list(csv.reader(io.StringIO(table.read_text(encoding="utf-8"))))
    cli("predict", digits_run.path, tmp_path / "in", "--out", tmp_path / "theirs.csv", "--quiet")
    expected = list(csv.reader(io.StringIO((tmp_path / "theirs.csv").read_text(encoding="utf-8"))))
    assert found[0] == expected[0]
    assert [row[0] for row in found] == [row[0] for row in expected]
    assert [bool(row[1]) for row in found] == [bool(row[1]) for row in expected]
    assert found[1][0] == "'=broken.jpg" and found[1][5].startswith("unusable: ")


@pytest.mark.parametrize(("language", "word"), LANGUAGES.items())
def test_page_speaks_the_language_of_the_browser(
    browser: Browser, exported: clownfish.Export, language: str, word: str
) -> None:
    browser.set_languages(f"{language}-XX,{language}")
    browser.open(exported.path.as_uri())
    assert browser.evaluate("document.documentElement.lang") == language
    assert word in browser.evaluate("document.getElementById('choose').textContent")


def test_narrow_screen_needs_no_scrolling_sideways(page: Browser, digits: Path) -> None:
    page.set_looks(width=360, height=740, phone=True)
    choose(page, sorted(digits.rglob("*.png"))[:3])
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_keyboard_reaches_everything(page: Browser, digits: Path) -> None:
    choose(page, sorted(digits.rglob("*.png"))[:2])
    page.evaluate("document.body.focus()")
    reached = set()
    for _ in range(14):
        page.press("Tab", 9)
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.show || ''"))
    assert {"choose", "looks", "save", "clear", "all", "ok", "unsure", "unlike"} <= reached


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(page: Browser, digits: Path, tmp_path: Path, dark: bool) -> None:
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("needs axe-core-python")
    page.set_looks(dark=dark)
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    write_photo(tmp_path / "noise.png", draw_photo(200, 300, seed=4))
    choose(page, [*sorted(digits.rglob("*.png"))[:2], tmp_path / "broken.jpg", tmp_path / "noise.png"])
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate("document.getElementById('looks').click()")
    page.evaluate(Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8") + "; true")
    results = page.evaluate("axe.run(document).then(found => found.violations)")
    grave = [one for one in results if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in grave] == []


@needs_runtime
def test_hostile_names_stay_text(browser: Browser, exported: clownfish.Export, digits: Path, tmp_path: Path) -> None:
    model, facts = read_page(exported.path)
    facts["labels"] = [*HOSTILE, *facts["labels"][2:]]
    path = tmp_path / "hostile.html"
    path.write_bytes(web_page.build_page(model, facts, HOSTILE[0]))
    browser.open(path.as_uri())
    assert browser.evaluate("document.title") == HOSTILE[0]
    photo = write_photo(tmp_path / "<b>bold.png", draw_photo(60, 60))
    photos = [*sorted(digits.rglob("*.png"))[:12], photo]
    cards = choose(browser, photos)
    assert {card["label"] for card in cards} & set(HOSTILE)
    assert browser.evaluate("document.querySelectorAll('#photos b, #photos script, img[onerror]').length") == 0
    assert browser.evaluate("document.title") == HOSTILE[0]


def read_page(path: Path) -> tuple[bytes, dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    parts = dict(re.findall(r'<script type="application/[^"]*" id="([^"]*)">([^<]*)</script>', text))
    return gzip.decompress(base64.b64decode(parts["model"])), json.loads(parts["facts"])


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("size", [(1900, 700), (333, 501), (40, 31)], ids=str)
def test_browser_prepares_photos_as_pillow_does(
    page: Browser, tmp_path: Path, resize: Any, size: tuple[int, int]
) -> None:
    """To the last bit but one, for files without loss; JPEGs are made smaller by another decoder."""
    file = write_photo(tmp_path / "photo.png", draw_photo(*size))
    expected = decode_photo(file.read_bytes(), Preprocessing(size=224, resize=resize)).pixels
    encoded = base64.b64encode(file.read_bytes()).decode()
    program = page.evaluate("document.getElementById('work').textContent")
    functions = program[: program.index("// ---- answers.js")]
    found = page.evaluate(
        f"""(async () => {{ {functions}
        const bytes = Uint8Array.from(atob("{encoded}"), letter => letter.charCodeAt(0));
        const photo = await decodePhoto(new Blob([bytes]));
        return [...prepareSquare(photo, {{size: 224, resize: "{resize}"}}, false)]; }})()"""
    )
    difference = np.abs(np.array(found).reshape(224, 224, 3) - expected.astype(np.int64))
    assert difference.max() <= 1


@needs_browser
@needs_runtime
def test_app_works_offline_after_the_first_visit(digits_run: Run, digits: Path, tmp_path: Path) -> None:
    clownfish.export_model(digits_run.path, "web", folder=True, out=tmp_path / "app", quiet=True)
    handler = functools.partial(QuietHandler, directory=str(tmp_path / "app"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    with start_browser() as browser:
        try:
            browser.open(address)
            browser.wait_for("navigator.serviceWorker.controller")
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        browser.messages.clear()
        browser.open(address)
        assert browser.evaluate("document.body.dataset.state") == "ready"
        (card,) = choose(browser, sorted(digits.rglob("*.png"))[:1])
        assert card["status"] in ("ok", "unsure", "unlike anything seen")
        assert browser.messages == []


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass
