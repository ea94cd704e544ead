"""What the page says before anybody scrolls: the answers, the next steps, and how names are written."""

from dataclasses import replace
from typing import Any

import pytest

from clownfish.report import ReportContent, render_report
from clownfish.report.names import find_binomials, write_binomial
from clownfish.report.next_steps import choose_next_steps
from report_pages import Page, check_harmless, make_content

CLASSES = ["Carabus_nemoralis", "Pasimachus_californicus", "Pasimachus_elongatus"]


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02}


def make_verdict(name: str, holds: bool | None, sentence: str) -> dict[str, Any]:
    return {"name": name, "holds": holds, "sentence": sentence, "advice": f"Advice on {name}."}


def make_full_metrics(content: ReportContent) -> dict[str, Any]:
    """With everything that the audits add, as in a run by individual."""
    cross = {
        **content.metrics["cross_validated"],
        "num_groups": 75,
        "seen_groups": {"accuracy": estimate(0.99)},
        "random_split": {"accuracy": estimate(0.99)},
        "leak": {"value": 0.05, "low": 0.03, "high": 0.07},
    }
    forecasts = [
        {"factor": factor, "num_photos": 150 * factor, "accuracy": estimate(accuracy)}
        for factor, accuracy in ((1, 0.94), (2, 0.96), (4, 0.97))
    ]
    row = {"label": CLASSES[2], "num_photos": 50, "recall": 0.9, "more": 40, "gain": 0.04, "saved_photos": 2.0}
    return {
        **content.metrics,
        "cross_validated": cross,
        "verdicts": [
            make_verdict("learned", True, "The photos tell the classes apart."),
            make_verdict("overfitting", False, "No harmful overfitting."),
            make_verdict("data_limited", True, "More photos would help."),
        ],
        "learning_curve": {
            "sizes": [20.0, 60.0, 120.0],
            "accuracies": [estimate(value) for value in (0.8, 0.88, 0.93)],
            "num_photos": 150,
            "num_repeats": 30,
            "forecasts": forecasts,
            "sentences": ["Twice as many photos would help."],
            "per_class": [{**row, "then": estimate(0.94)}],
        },
        "calibration": {
            "temperature": 0.8,
            "after": {"calibration_error": {"value": 0.02, "expected": {"low": 0.0, "high": 0.03}}},
            "bins": [
                {"certainty": certainty, "right": right, "low": right - 0.05, "high": right + 0.04, "num_groups": 30}
                for certainty, right in ((0.6, 0.62), (0.8, 0.79), (0.95, 0.94))
            ],
        },
        "answering": {
            "threshold": 0.7,
            "max_error": 0.05,
            "curve": [
                {"answered": 0.0, "error": 0.0},
                {"answered": 0.5, "error": 0.01},
                {"answered": 1.0, "error": 0.06},
            ],
            "out_of_fold": {
                "num_photos": 150,
                "num_answered": 120,
                "answered": estimate(0.8),
                "error": estimate(0.04),
            },
            "test": {"num_photos": 15, "num_answered": 12, "num_wrong": 1},
        },
        "shortcuts": {
            "sentences": [],
            "words": [],
            "marks": [{"label": CLASSES[0], "place": "top", "examples": ["a.jpg"]}],
            "probes": [],
        },
    }


@pytest.fixture(scope="module")
def page() -> Page:
    content = make_content(CLASSES)
    content = replace(
        content, metrics=make_full_metrics(content), options={**content.options, "group_by": "individual", "seed": 1}
    )
    return check_harmless(render_report(content))


def test_first_screen_answers_the_five_questions_in_order(page: Page) -> None:
    first_screen = page.text[: page.text.index("What to know about this run")]
    answers = [
        "About 94 of 100 photos of a new individual would be named right (89 to 97). Of one it has seen: about 99",
        "On what kind of photos? New photos of an individual that is not among these",
        "What would others claim? A random split would have claimed 99 %, 5 percentage points too much",
        "Does it overfit? No harmful overfitting.",
        "What does it confuse most? Carabus nemoralis and Pasimachus californicus: 3 of their 100 photos",
        "How many more photos are needed? 150 more, twice as many, would bring it from 94 % to 96 % (94 to 98 %).",
        "Most of all Pasimachus elongatus is in need: 40 more of it would bring it from 90 % to 94 %.",
        "Does it look at the animal? Perhaps not only.",
        "What would help most",
    ]
    found = [first_screen.replace("\u00a0", " ").find(answer) for answer in answers]
    assert -1 not in found, answers[found.index(-1)]
    assert found == sorted(found)


def test_verdicts_have_a_sign_and_a_word_beside_the_colour(page: Page) -> None:
    assert "✓ good" in page.text
    assert "! look at it" in page.text
    assert "i to know" in page.text


def test_species_are_in_italics(page: Page) -> None:
    italics = {"".join(text).strip() for path, text in page.texts if "i" in path}
    assert {"Carabus nemoralis", "Pasimachus elongatus"} <= italics


def test_charts_have_a_title_and_their_numbers_in_words(page: Page) -> None:
    charts = {(svg.get("class") or "").removeprefix("chart ") for svg in page.find("svg") if svg.get("role") == "img"}
    assert charts == {"accuracies", "accuracies-narrow", "loss", "accuracy", "reliability", "answering", "learning"}
    told = " ".join(text for path, text in page.texts if path[-1:] == ("desc",))
    assert "Claimed 60\u00a0%, right 62\u00a0% (57 to 66\u00a0%)." in told
    assert "Forecast for 300 photos: 96\u00a0% (94 to 98\u00a0%)." in told
    assert "50\u00a0% answered: 99\u00a0% right." in told


def test_methods_paragraph_holds_the_settings_and_its_references(page: Page) -> None:
    text = page.text.replace("\u00a0", " ")
    assert "A classifier of 3 classes was trained on 150 photos with clownfish 0.1.0." in text
    assert "kept in one group by individual (144 groups)" in text
    assert "All draws were made with seed 1." in text
    for reference in ("Tan, M. & Le", "Deng, J.", "Roberts, D. R.", "Wilson, E. B.", "Guo, C.", "Viering, T."):
        assert reference in text


def test_next_steps_go_from_surest_harm_to_smallest_gain() -> None:
    metrics = make_full_metrics(make_content(CLASSES))
    titles = [step.title for step in choose_next_steps(metrics, group="individual")]
    assert titles == [
        "Add photos from more of what you group by (individual)",
        "Add about 40 photos of Pasimachus_elongatus",
        "Look whether it sees the animal or its surroundings",
    ]
    metrics["verdicts"][0]["holds"] = False
    metrics["label_conflicts"] = 2
    metrics["label_errors"] = {"num_listed": 3, "num_expected_wrong": 1.2}
    assert [step.title for step in choose_next_steps(metrics)] == [
        "Check labels and photos first",
        "Decide on 2 pictures that lie under two labels",
        "Look at 3 labels that look wrong",
    ]


def test_without_audits_the_next_step_is_to_try_it_elsewhere() -> None:
    (step,) = choose_next_steps(make_content().metrics)
    assert step.title == "Try it where it will be used"


@pytest.mark.parametrize(
    ("classes", "found"),
    [
        (["Panthera_leo", "Felis catus", "Canis_lupus_familiaris"], 3),
        (["Red fox", "Grey wolf", "Red panda"], 0),
        (["perch", "trout"], 0),
        (["Vulpes vulpes", "empty"], 0),
        ([], 0),
    ],
)
def test_binomials_are_believed_if_most_names_look_like_them(classes: list[str], found: int) -> None:
    assert len(find_binomials(classes)) == found


def test_binomial_is_written_with_spaces() -> None:
    assert write_binomial("Canis_lupus_familiaris") == "Canis lupus familiaris"
