"""The report, through its public door: what it says, and what it must never do."""

import copy
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from clownfish.report import ReportContent, render_report
from clownfish.report.content import ReportMap, ReportPair
from report_pages import (
    Page,
    check_harmless,
    make_content,
    make_content_without_held_out_photos,
    make_matrix,
    make_part,
    make_photo,
    make_preview,
)

HOSTILE_NAMES = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "' onmouseover='alert(3)",
    "</style></title></svg><script>alert(4)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "]]><!--",
    "&lt;b&gt;&amp;",
    "javascript:alert(5)",
    "http://example.org/x.png",
    "\u202egpj.exe سمكة المهرج",
    "\udcff\x00\x1b[31m\ufffe",
    "very_long_" * 20,
    "--><script>alert(6)</script>",
    "`onload=alert(7)`",
    "<svg/onload=alert(8)>",
    "<iframe srcdoc='<script>alert(9)</script>'>",
    "<base href=//example.org/>",
    "<meta http-equiv=refresh content=0>",
    "<link rel=stylesheet href=//example.org/a.css>",
    "</bdi></td></tr></table>",
    "</desc></svg><svg onload=alert(10)>",
    "<![CDATA[<script>]]>",
    "<?xml version='1.0'?>",
    "<!DOCTYPE html>",
    "expression(alert(11))",
    "} body { display: none } /*",
    "data:text/html,<script>alert(12)</script>",
    "&#60;script&#62;",
    "&amp;lt;script&amp;gt;",
    "%3Cscript%3E",
    "\\u003cscript\\u003e",
    "{# comment #}{% include 'style.css' %}",
    "{{ content.__class__ }}",
    "${7*7}",
    "$\\frac{1}{2}$ x_1 ^2",
    "'; DROP TABLE photos; --",
    "=HYPERLINK(A1)",
    "..\\..\\windows\\system32",
    "../../etc/passwd",
    "a\nb\tc\rd",
    "--help --max-error",
    "Ω≈ç√∫µ≤≥÷",
    "田中さんにあげて下さい",
    "🐠🐟👩‍👩‍👧‍👦",
    "Z̮̞̠͙͔ͅḀ̗̞͈̻̗Ḷ͙͎̯̹̞͓G̻O̭̗̮",
    "\u200b\u200e\u2066\u2069",
    "\u2028line\u2029paragraph",
    "NaN",
    "None",
    "0",
]


def test_report_is_one_harmless_document() -> None:
    html = render_report(make_content())
    page = check_harmless(html)
    assert html.startswith("<!DOCTYPE html>")
    assert "http://" not in html
    assert "https://" not in html
    policy = next(meta["content"] for meta in page.find("meta") if "http-equiv" in meta)
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert [next(iter(meta)) for meta in page.find("meta")][:2] == ["charset", "http-equiv"]


def test_report_tells_the_headline_with_its_range_and_chance() -> None:
    text = Page(render_report(make_content())).text
    assert "94 % (range 89 to 97 %)" in text
    assert "each of the 150 photos was named by a classifier trained without it" in text
    assert "commonest class would be right for 35 % of all photos" in text
    assert "80 % (range 75 to 83 %)" in text
    assert "5 November 2025, 14:03" in text


def test_report_explains_concepts_with_the_numbers_of_the_run() -> None:
    text = Page(render_report(make_content())).text
    assert "one complete pass of the 120 training photos" in text
    assert "batches of 32" in text
    assert "4 iterations make one epoch" in text
    assert "3 epochs, 12 iterations in all; the model of epoch 2 was kept" in text
    assert "12 of 15 test photos" in text
    assert "it is 80 %, 20 percentage points less; in cross-validation it is 94 %, 6 percentage points less" in text
    assert "3 of 50 photos of perch (6 %) were taken for striped_bass" in text
    assert "describes each photo by 2,848 numbers; on your 120 training photos, 8,547 parameters were trained" in text


def test_report_explains_why_a_later_epoch_than_the_lowest_was_kept() -> None:
    content = make_content()
    content = replace(content, metrics={**content.metrics, "lowest_validation_loss_epoch": 1})
    assert "Their loss was lowest in epoch 1, but" in Page(render_report(content)).text


def test_report_has_its_sections_in_order() -> None:
    page = Page(render_report(make_content()))
    sections = [attributes["id"] for attributes in page.find("section")]
    assert sections == [
        "headline",
        "verdicts",
        "parts",
        "curves",
        "confusion",
        "classes",
        "mistakes",
        "where",
        "certainty",
        "unknown",
        "more",
        "labels",
        "shortcuts",
        "tests",
        "examples",
        "making",
    ]
    links = [attributes["href"] for attributes in page.find("a")]
    assert links[: len(sections)] == [f"#{section}" for section in sections]
    assert {(link or "")[1:] for link in links} == set(sections)


def test_report_says_wrong_in_words_too() -> None:
    page = Page(render_report(make_content()))
    assert page.text.count("✗ wrong perch 87 % is striped_bass") == 2
    assert page.text.count("✓ right perch 87 %") == 1


def test_report_is_accessible() -> None:
    page = Page(render_report(make_content()))
    assert all(attributes.get("alt") for attributes in page.find("img"))
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    charts = [attributes for attributes in page.find("svg") if attributes.get("role") == "img"]
    assert len(charts) == 4
    for chart in charts:
        assert set((chart["aria-labelledby"] or "").split()) <= set(identifiers)
    assert len(page.find("caption")) == len(page.find("table")) > 5
    assert len(page.find("h1")) == 1
    assert page.find("html")[0]["lang"] == "en"


def make_content_full_of(name: str) -> ReportContent:
    """The name stands wherever the user can put one."""
    content = make_content([name, "x", "trout"])
    photo = make_photo(label=name, predicted="x", file=f"{name}/{name}.jpg")
    return replace(
        content,
        name=name,
        created=name,
        messages=[name],
        test_photos=[photo],
        wrong_photos=[photo],
        example_photos=[photo],
        unusable=[(name, name)],
        options={name: name, "batch_size": 32},
        model={**content.model, "backbone": name, "licence": name},
    )


def count_elements(page: Page) -> Counter[str]:
    return Counter(tag for tag, _ in page.elements if tag != "wbr")


def write_shown(name: str) -> str:
    """What HTML cannot hold is replaced."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\udcff\ufffe]", "\ufffd", name)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_report_shows_hostile_names_as_text(name: str) -> None:
    html = render_report(make_content_full_of(name), charts={})
    html.encode("utf-8")
    page = check_harmless(html)
    plain = Page(render_report(make_content_full_of("--plain" if "--" in name else "plain"), charts={}))
    found, expected = count_elements(page), count_elements(plain)
    assert {tag for tag in found if found[tag] != expected[tag]} <= {"code"}  # --option is set as code
    messages = [text for path, text in page.texts if path[-2:] == ("ul", "li") and text.strip()]
    assert messages[0] == write_shown(name) or "--" in name
    assert re.sub(r"\s+", " ", write_shown(name)) in page.text


def test_report_shows_fifty_hostile_names_at_once_also_in_its_charts() -> None:
    assert len(set(HOSTILE_NAMES)) == 50
    hostile = make_content(HOSTILE_NAMES)
    hostile = replace(hostile, options={**hostile.options, "group_by": HOSTILE_NAMES[3]})
    page = check_harmless(render_report(hostile))
    for name in HOSTILE_NAMES:
        assert re.sub(r"\s+", " ", write_shown(name)) in page.text
    # as many elements as with plain names, but in the charts, where text that needs no escaping may be split
    plain = make_content([f"plain_{number}" for number in range(50)])
    plain = replace(plain, options={**plain.options, "group_by": "site"})
    tags = ("script", "style", "svg", "title", "bdi", "td", "li", "img", "a", "i", "code")
    found, expected = count_elements(page), count_elements(Page(render_report(plain)))
    assert {tag: found[tag] for tag in tags} == {tag: expected[tag] for tag in tags}


@pytest.mark.parametrize("num_classes", [2, 6, 13, 30, 41, 60])
def test_report_shows_few_and_many_classes_with_long_names(num_classes: int) -> None:
    classes = [f"Genus{number:02d}_speciosissimus_subspecies_<b>_{'longifolius' * 12}" for number in range(num_classes)]
    html = render_report(make_content(classes))
    page = check_harmless(html)
    for name in classes:
        assert name in page.text  # in full in the table per class
    heat_tables = [table for table in page.find("table") if "heat" in (table.get("class") or "")]
    pictures = [svg for svg in page.find("svg") if (svg.get("class") or "").endswith("-matrix")]
    # counts and shares in one table, in two, or in a picture; each for cross-validation and for the test photos
    expected = (2, 0) if num_classes <= 12 else (4, 0) if num_classes <= 40 else (0, 2)
    assert (len(heat_tables), len(pictures)) == expected
    assert ("Most frequent mistakes, cross-validated." in page.text) == (num_classes > 12)
    assert len(html) < 1_500_000


def test_report_of_many_classes_with_every_kind_of_mistake_stays_small() -> None:
    classes = [f"Genus{number:03d}_minor" for number in range(300)]
    matrix = [[600 if row == column else 1 for column in range(300)] for row in range(300)]
    content = make_content(classes)
    cross = {**content.metrics["cross_validated"], "confusion_matrix": matrix}
    html = render_report(replace(content, metrics={**content.metrics, "cross_validated": cross}))
    assert len(html) < 4_000_000
    check_harmless(html)


def test_report_without_held_out_photos_says_so() -> None:
    page = check_harmless(render_report(make_content_without_held_out_photos()))
    assert "There is no accuracy to report" in page.text
    assert "There were no validation photos" in page.text
    assert "There are no validation or test photos." in page.text
    assert "There are no test photos." in page.text
    assert "without validation photos to judge by, the model of epoch 1 was kept" in page.text
    assert "Nothing unusual was noticed" in page.text
    assert "All 120 photos could be used." in page.text
    assert "None" not in page.text.replace("None of the", "")
    assert "nan" not in page.text.split()


def test_report_without_cross_validation_leads_with_the_test_photos() -> None:
    content = make_content()
    metrics = {key: value for key, value in content.metrics.items() if key != "cross_validated"}
    text = Page(render_report(replace(content, metrics=metrics))).text
    assert (
        "Between 75 and 83 of 100 new photos like these would be named right; 15 groups of photos are too few" in text
    )


def test_report_without_mistakes_says_so() -> None:
    content = make_content()
    matrix = make_matrix(3, 5, 0)
    metrics = {**content.metrics, "test": make_part(15, 15), "validation": make_part(15, 15)}
    metrics["confusion_matrix"] = matrix
    metrics["cross_validated"] = {**content.metrics["cross_validated"], "confusion_matrix": matrix}
    text = Page(render_report(replace(content, metrics=metrics, wrong_photos=[]))).text
    assert "None of the 30 validation and test photos was named wrongly." in text
    assert "None of the 15 photos was mistaken." in text


def test_report_never_rounds_up_to_everything() -> None:
    content = make_content()
    part = {**content.metrics["test"], "accuracy": {"value": 0.999, "low": 0.99, "high": 0.9995}}
    text = Page(render_report(replace(content, metrics={**content.metrics, "test": part}))).text
    assert "over 99 % (range 99 to over 99 %)" in text


def test_report_survives_numbers_that_are_none_or_not_finite() -> None:
    content = make_content()
    history = [replace(row, train_loss=float("nan"), validation_loss=float("inf")) for row in content.history]
    metrics = copy.deepcopy(dict(content.metrics))
    for row in [*metrics["per_class"], *metrics["cross_validated"]["per_class"]]:
        row.update(precision=None, recall=None, f1=None)
    metrics["chance"] = {"accuracy": None, "cross_entropy": None}
    page = check_harmless(render_report(replace(content, metrics=metrics, history=history)))
    charts = [svg.get("class") for svg in page.find("svg") if svg.get("role") == "img"]
    assert charts == ["chart accuracies", "chart accuracies-narrow", "chart accuracy"]
    assert not re.search(r"\b(nan|inf)\b", page.text)


def test_report_with_all_photos_stays_small_enough_to_mail() -> None:
    photos = [replace(make_photo(), preview=b"\xff" * 6000) for _ in range(100)]
    content = replace(make_content(), test_photos=photos, wrong_photos=photos, example_photos=photos[:25])
    html = render_report(content)
    assert len(Page(html).find("img")) == 225
    assert 50_000 < len(html) < 2_500_000


def test_report_tells_where_the_model_looks_and_how_much_that_is() -> None:
    wrong = make_photo(label="trout", predicted="perch")
    maps = [
        ReportMap(photo=make_photo(), rival="trout", picture=make_preview(), placed=3.0, unplaced=-1.0),
        ReportMap(photo=wrong, rival="trout", picture=make_preview(), placed=1.0, unplaced=0.0),
    ]
    page = check_harmless(render_report(replace(make_content(), maps=maps), charts={}))
    assert "These maps are exact, and show 80 % of what decides between the two" in page.text
    assert "✗ wrong perch and not trout, which it is" in page.text
    assert all(image.get("alt") for image in page.find("img"))
    assert "There are no pictures of this in this report." in Page(render_report(make_content(), charts={})).text


def test_report_sets_confused_pairs_side_by_side() -> None:
    content = make_content()
    pair = ReportPair(
        first="perch",
        second="striped_bass",
        first_photos=[make_photo()],
        second_photos=[make_photo(label="striped_bass")],
        confused_photos=[make_photo(label="perch", predicted="striped_bass")],
    )
    text = Page(render_report(replace(content, pairs=[pair]), charts={})).text
    assert "3 photos of perch were taken for striped_bass, and none the other way round, of 100 photos in all" in text


def test_report_shows_a_photo_without_preview() -> None:
    photo = replace(make_photo(), preview=b"")
    content = replace(make_content(), test_photos=[photo], wrong_photos=[photo], example_photos=[photo])
    page = Page(render_report(content))
    assert page.find("img") == []
    assert page.text.count("no preview") == 3


def test_report_counts_mistakes_that_are_not_shown() -> None:
    text = Page(render_report(make_content())).text
    assert "4 of the 30 validation and test photos were named wrongly; here is 1 of them" in text


def test_importing_the_report_imports_neither_jinja2_nor_matplotlib() -> None:
    command = "import sys, clownfish.report; sys.exit(any(name in sys.modules for name in %r))"
    subprocess.run([sys.executable, "-c", command % (["jinja2", "markupsafe", "matplotlib"],)], check=True)
