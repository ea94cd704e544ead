"""The questions that a reader has first, each answered in a sentence or two."""

from collections.abc import Mapping
from typing import Any

from clownfish.report.confusion import find_mutual_pairs
from clownfish.report.content import ReportContent
from clownfish.report.findings import Finding, Mood, list_shortcuts, list_verdicts
from clownfish.report.headline import Headline
from clownfish.report.wording import count_noun, format_range, format_share

_SMALLEST_GAIN = 0.005
_MUCH_CONFUSED = 0.05


def list_answers(content: ReportContent, headline: Headline | None) -> list[Finding]:
    """Answer the first questions.

    Args:
        content: of the report.
        headline: how good the classifier is; None if nothing was measured.

    Returns:
        One finding a question, in the order of the questions; those without an answer are left out.
    """
    verdicts = {finding.name: finding for finding in list_verdicts(content.metrics)}
    found = [
        verdicts["learned"] if "learned" in verdicts and verdicts["learned"].mood != "good" else None,
        Finding(name="parts", question="On what kind of photos?", mood="note", sentence=headline.kind)
        if headline
        else None,
        _tell_claim(headline),
        _tell_fit(verdicts),
        _tell_pair(content.metrics),
        _tell_needs(content.metrics, verdicts),
        _tell_shortcuts(content.metrics),
    ]
    return [finding for finding in found if finding is not None]


def _tell_claim(headline: Headline | None) -> Finding | None:
    if headline is None or not headline.is_leaky:
        return None
    return Finding(name="parts", question="What would others claim?", mood="look", sentence=headline.claim)


def _tell_fit(verdicts: Mapping[str, Finding]) -> Finding | None:
    """Overfitting; underfitting instead where it is the one that holds."""
    over, under = verdicts.get("overfitting"), verdicts.get("underfitting")
    if over is None:
        return None
    worse = under if under is not None and under.mood == "look" and over.mood != "bad" else over
    return Finding(
        name="verdicts", question=worse.question, mood=worse.mood, sentence=worse.sentence, advice=worse.advice
    )


def _tell_pair(metrics: Mapping[str, Any]) -> Finding | None:
    matrix = (metrics.get("cross_validated") or {}).get("confusion_matrix") or metrics["confusion_matrix"]
    if not matrix or not any(map(sum, matrix)):
        return None
    pairs = find_mutual_pairs(metrics["classes"], matrix)
    question = "What does it confuse most?"
    if not pairs:
        return Finding(name="confusion", question=question, mood="good", sentence="No photo was mistaken.")
    pair = pairs[0]
    sentence = (
        f"{pair.first} and {pair.second}: {pair.count:,} of their {count_noun(pair.num_photos, 'photo')}"
        f" ({format_share(pair.share)}) {'was' if pair.count == 1 else 'were'} taken for the other."
    )
    mood: Mood = "look" if pair.share >= _MUCH_CONFUSED else "note"
    return Finding(name="confusion", question=question, mood=mood, sentence=sentence)


def _tell_needs(metrics: Mapping[str, Any], verdicts: Mapping[str, Finding]) -> Finding | None:
    verdict, needs = verdicts.get("data_limited"), metrics.get("learning_curve")
    question = "How many more photos are needed?"
    twice = next((row for row in needs["forecasts"] if row["factor"] == 2), None) if needs else None
    if needs is None or twice is None:
        if verdict is None:
            return None
        advice = "Train once without it." if "--fast" in verdict.sentence else verdict.advice
        return Finding(name="more", question=question, mood=verdict.mood, sentence=verdict.sentence, advice=advice)
    helps = next((row["holds"] for row in metrics.get("verdicts") or [] if row["name"] == "data_limited"), None)
    lead = "" if helps else "That is not certain: " if helps is None else "More of the same kind will hardly help: "
    more = twice["num_photos"] - needs["num_photos"]
    now = needs["forecasts"][0]["accuracy"]["value"]
    sentence = (
        f"{lead}{more:,} more, twice as many, would bring it from {format_share(now)} to"
        f" {format_share(twice['accuracy']['value'])} ({format_range(twice['accuracy'])})."
    )
    rows = [row for row in needs["per_class"] if row.get("saved_photos") and (row.get("gain") or 0) >= _SMALLEST_GAIN]
    if rows and helps:
        row = max(rows, key=lambda found: float(found["saved_photos"]))
        sentence += (
            f" Most of all {row['label']} is in need: {row['more']} more of it would bring it from"
            f" {format_share(row['recall'])} to {format_share(row['then']['value'])}."
        )
    mood: Mood = "good" if helps is False else "note" if helps else "unknown"
    return Finding(name="more", question=question, mood=mood, sentence=sentence)


def _tell_shortcuts(metrics: Mapping[str, Any]) -> Finding | None:
    if not metrics.get("shortcuts"):
        return None
    question = "Does it look at the animal?"
    found = list_shortcuts(metrics)
    if not found:
        return Finding(
            name="shortcuts", question=question, mood="good", sentence="No shortcut around the animal was found."
        )
    surest = next((finding for finding in found if finding.mood == "bad"), found[0])
    more = f" {len(found) - 1} more {'sign was' if len(found) == 2 else 'signs were'} found." if len(found) > 1 else ""
    return Finding(
        name="shortcuts",
        question=question,
        mood=surest.mood,
        sentence=f"Perhaps not only. {surest.sentence}{more}",
    )
