"""Exported models on every photo of real sets, also those of the training: do they say what the original says?"""

import os
from pathlib import Path

import pytest

import clownfish
from browser import find_browser, start_browser
from clownfish.photos.scan import scan_labelled_photos
from clownfish.pipeline.certificate import EXACT, ROUNDED, certify
from clownfish.pipeline.run_photos import RunPhoto
from clownfish.progress import NoProgress

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra 'tflite'")

DATA = Path(os.environ.get("CLOWNFISH_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
SETS = ("course-fish", "monkeys10", "carabid-beetles")

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((DATA / name).is_dir() for name in SETS), reason=f"no photo sets in {DATA} (set CLOWNFISH_TEST_DATA)"
    ),
]


@pytest.mark.parametrize("name", SETS)
def test_exports_agree_on_every_photo(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_CACHE", str(tmp_path / "cache"))
    run = clownfish.train(DATA / name, out=tmp_path / "run", fast=True, quiet=True)
    photos = [
        RunPhoto(photo=photo, part="test", group="", content_hash="")
        for photo in scan_labelled_photos(DATA / name).photos
    ]
    sizes = {}
    for quantize, bar in (("float32", EXACT), ("int8", ROUNDED)):
        exported = clownfish.export_model(run.path, "tflite", quantize=quantize, quiet=True)
        assert exported.facts["certified"]
        is_last = quantize == "int8"  # phones make photos smaller in one way, whatever the precision
        certificate = certify(
            run.classifier, clownfish.load(exported.path), photos, bar, NoProgress(), is_for_phones=is_last
        )
        assert certificate.failures == ()
        sizes[quantize] = exported.path.stat().st_size
    assert certificate.facts["resized_by_phone"]["agreement"]["value"] >= 0.985
    assert certificate.facts["accuracy"]["difference"]["value"] >= -0.01
    assert certificate.facts["same_status"] >= 0.9
    assert sizes["int8"] <= min(4.2e6, 0.35 * sizes["float32"])


@pytest.mark.skipif(find_browser() is None, reason="needs Chromium")
def test_page_answers_fifty_photos_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_CACHE", str(tmp_path / "cache"))
    run = clownfish.train(DATA / "course-fish", out=tmp_path / "run", fast=True, quiet=True)
    exported = clownfish.export_model(run.path, "web", out=tmp_path / "page.html", quiet=True)
    photos = sorted((DATA / "course-fish").rglob("*.jpg"))[::3][:50]
    with start_browser() as browser:
        browser.go_offline()
        browser.open(exported.path.as_uri())
        browser.choose_files("#chosen", photos)
        browser.wait_for(f"document.querySelectorAll('.card[data-label]').length == {len(photos)}")
        labels = browser.evaluate("[...document.querySelectorAll('.card')].map((card) => card.dataset.label)")
        assert browser.messages == []
        assert browser.requests == [exported.path.as_uri()]
    predicted = [run.classifier.predict(photo).label for photo in photos]
    same = sum(own == other for own, other in zip(labels, predicted, strict=True))
    assert same >= 0.98 * len(photos)
