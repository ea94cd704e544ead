"""What notebooks show: tables and bars, with names of any origin made harmless."""

import html
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

import clownfish
from clownfish.displays import Html, draw_accuracy, make_table, write_accuracy, write_share, write_text

NASTY = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a\" onmouseover='alert(1)",
    "</td></table><h1>",
    "&lt;b&gt;",
    "]]>--><!--",
    "javascript:alert(1)",
    "a\x00b\x1b[31m",
    "\udce9t\udce9",
    "\u202egnp.exe",
    "{{ 7 * 7 }}",
    "å" * 5000,
]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def list_tags(text: str) -> _Tags:
    parser = _Tags()
    parser.feed(text)
    return parser


@pytest.mark.parametrize("name", NASTY)
def test_hostile_names_stay_text(name: str) -> None:
    table = make_table(name, [name], [[name, 3]], note=name)
    found = list_tags(table)
    assert found.tags <= {"table", "caption", "b", "bdi", "thead", "tbody", "tr", "th", "td", "p"}
    assert found.attributes <= {"scope"}
    table.encode("utf-8")  # a notebook is a file of UTF-8
    assert len(table) < 4000


def test_name_is_shown_as_it_is() -> None:
    assert write_text("Épinoche & Ça") == "<bdi>Épinoche &amp; Ça</bdi>"
    assert write_text(None) == "<bdi>–</bdi>"
    assert html.unescape(write_text("<b>")) == "<bdi><b></bdi>"


def test_only_what_this_module_made_is_put_in_as_html() -> None:
    assert "<b>bold</b>" in make_table("", [], [[Html("<b>bold</b>")]])
    assert "<b>bold</b>" not in make_table("", [], [["<b>bold</b>"]])


def test_long_tables_are_cut() -> None:
    table = make_table("", [], [[number] for number in range(45)])
    assert table.count("<tr>") == 30
    assert "and 15 more" in table


def test_shares_are_never_rounded_to_all_or_nothing() -> None:
    assert [write_share(share) for share in (None, 0.0, 0.001, 0.5, 0.999, 1.0)] == [
        "–",
        "0 %",
        "under 1 %",
        "50 %",
        "over 99 %",
        "100 %",
    ]
    assert write_accuracy({"value": 0.94, "low": 0.89, "high": 0.97}) == "94 % (89 % to 97 %)"
    assert write_accuracy({"value": None, "low": None, "high": None}) == "–"


def test_bar_is_valid_svg_in_its_frame() -> None:
    bar = draw_accuracy({"value": 0.5, "low": 0.25, "high": 0.75}, chance=0.1)
    root = ElementTree.fromstring(bar)
    circle = root.find("{http://www.w3.org/2000/svg}circle")
    assert circle is not None
    assert circle.get("cx") == "150.0"
    assert root.get("aria-label") == "Accuracy 50 % (25 % to 75 %), guessing 10 %"
    assert draw_accuracy({"value": None, "low": None, "high": None}) == ""


def test_run_and_classifier_show_themselves(digits_run: clownfish.Run) -> None:
    shown = digits_run._repr_html_()
    assert "10 classes, 60 photos" in shown
    assert shown.count("<svg") == 4
    assert "digit_3" in shown
    of_classifier = digits_run.classifier._repr_html_()
    assert "Classifier of 10 classes" in of_classifier
    assert "digit_9" in of_classifier
    assert of_classifier.count("<svg") == 1


def test_run_with_hostile_labels_shows_them_as_text(digits_run: clownfish.Run) -> None:
    rows = [{**row, "label": "<script>x</script>"} for row in digits_run.metrics["cross_validated"]["per_class"]]
    metrics = {**digits_run.metrics, "cross_validated": {**digits_run.metrics["cross_validated"], "per_class": rows}}
    shown = clownfish.Run(path=digits_run.path, metrics=metrics)._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_evaluation_shows_itself(digits_run: clownfish.Run, digits: object, no_helpers: None) -> None:
    evaluation = clownfish.evaluate(digits_run.classifier, str(digits), quiet=True)
    shown = evaluation._repr_html_()
    assert "60 photos: " in shown
    assert "were used to train the model" in shown
    assert shown.count("<svg") == 1
