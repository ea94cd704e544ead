"""The answer to "how good is it, and on what": a sentence, what it is true of, and what others would have claimed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clownfish.report.charts import Mark
from clownfish.report.content import ReportContent
from clownfish.report.wording import (
    add_article,
    clean_text,
    count_noun,
    format_accuracy,
    format_of_hundred,
    format_points,
    format_range,
    format_range_of_hundred,
    format_share,
    is_number,
    shorten,
)

_SMALLEST_POINTS = 0.005


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """How good the classifier is."""

    sentence: str
    """With the interval."""
    basis: str
    """How that was measured."""
    kind: str
    """On what kind of new photos it holds, and on what not."""
    claim: str
    """What a random split would have claimed; "" if that was not tried."""
    is_leaky: bool
    """The random split would have claimed clearly too much."""
    marks: tuple[Mark, ...]
    """Rows of the chart."""


def make_headline(content: ReportContent) -> Headline | None:
    """Put the headline into words.

    Args:
        content: of the report.

    Returns:
        The words; None if nothing was measured.
    """
    metrics = content.metrics
    cross, test = metrics.get("cross_validated") or {}, metrics["test"]
    if is_number(cross.get("accuracy", {}).get("value")):
        part, is_cross = cross, True
    elif is_number(test["accuracy"].get("value")):
        part, is_cross = test, False
    else:
        return None
    noun = name_group(content)
    seen = cross.get("seen_groups") if is_cross else None
    sentence = _write_sentence(part, f"photos of a new {noun}" if seen else "new photos like these", content.min_groups)
    if seen:
        sentence += f" {_write_seen(seen['accuracy'], is_few=_count_groups(cross) < content.min_groups)}"
    claim, is_leaky = _write_claim(cross, noun)
    return Headline(
        sentence=sentence,
        basis=_write_basis(part, noun, is_cross=is_cross),
        kind=_write_kind(noun, is_new_group=bool(seen)),
        claim=claim,
        is_leaky=is_leaky,
        marks=tuple(_list_marks(cross, test, noun, content.min_groups)),
    )


def name_group(content: ReportContent) -> str:
    """Name what the photos are grouped by: the user's column, or "group"."""
    column = str(content.options.get("group_by") or "")
    return shorten(clean_text(column), 30) or "group"


def _write_sentence(part: Mapping[str, Any], what: str, min_groups: int) -> str:
    accuracy = part["accuracy"]
    between = format_range_of_hundred(accuracy)
    num_groups = _count_groups(part)
    if num_groups < min_groups and between:
        return (
            f"Between {between.replace(' to ', ' and ')} of 100 {what} would be named right;"
            f" {count_noun(num_groups, 'group')} of photos {'is' if num_groups == 1 else 'are'} too few for one number."
        )
    return f"{format_of_hundred(accuracy['value'])} {what} would be named right{f' ({between})' if between else ''}."


def _write_seen(accuracy: Mapping[str, Any], *, is_few: bool) -> str:
    """The second sentence, for groups that were trained on."""
    between = format_range_of_hundred(accuracy)
    if is_few and between:
        return f"Of one it has seen: between {between.replace(' to ', ' and ')}."
    of_hundred = format_of_hundred(accuracy["value"]).removesuffix(" of 100")
    return f"Of one it has seen: {of_hundred[0].lower()}{of_hundred[1:]}{f' ({between})' if between else ''}."


def _count_groups(part: Mapping[str, Any]) -> int:
    return int(part.get("num_groups", part["num_photos"]))


def _write_basis(part: Mapping[str, Any], noun: str, *, is_cross: bool) -> str:
    num_photos, num_groups = part["num_photos"], _count_groups(part)
    counted = count_noun(num_photos, "photo")
    if not is_cross:
        return f"This was measured on the {count_noun(num_photos, 'test photo')}, which it was not trained on."
    if num_groups < num_photos:
        return (
            f"This is the cross-validated accuracy: each of the {counted} was named by a classifier trained without it"
            f" and without the rest of its {noun}; the range counts {num_groups:,} groups, not {num_photos:,} photos."
        )
    return f"This is the cross-validated accuracy: each of the {counted} was named by a classifier trained without it."


def _write_kind(noun: str, *, is_new_group: bool) -> str:
    if is_new_group:
        return (
            f"New photos of {add_article(noun)} that is not among these, taken in the same way. Nothing is promised for"
            " other places, seasons or cameras, nor for species that are not among the classes."
        )
    return (
        "New photos taken like these: the same places, seasons and cameras, and only the classes below. Nothing is"
        " promised for others."
    )


def _write_claim(cross: Mapping[str, Any], noun: str) -> tuple[str, bool]:
    leak, random_split = cross.get("leak"), cross.get("random_split")
    if not leak or not random_split or not is_number(random_split["accuracy"].get("value")):
        return "", False
    claimed = format_share(random_split["accuracy"]["value"])
    if leak["low"] > 0 and leak["value"] >= _SMALLEST_POINTS:
        points = format_points(round(leak["value"], 2))
        return (
            f"A random split would have claimed {claimed}, {points} too much: it puts photos of one {noun} on both"
            " sides, so that the classifier is tested on what it has learned by heart.",
            True,
        )
    return (
        f"A random split, which tears {add_article(noun)} apart, would have claimed {claimed}: no clear difference"
        " here.",
        False,
    )


def _list_marks(cross: Mapping[str, Any], test: Mapping[str, Any], noun: str, min_groups: int) -> list[Mark]:
    seen, random_split = cross.get("seen_groups"), cross.get("random_split")
    rows = [
        (f"a new {noun}, cross-validated" if seen else "cross-validated", cross, False),
        (f"{add_article(noun)} it has seen", {**cross, **seen} if seen else {}, False),
        ("a random split would claim", random_split or {}, True),
        ("test photos", test, False),
    ]
    marks = []
    for name, part, is_claim in rows:
        accuracy = part.get("accuracy", {})
        if not is_number(accuracy.get("value")):
            continue
        is_few = part.get("num_groups", min_groups) < min_groups and not is_claim
        text = format_share(accuracy["value"]) if is_claim else format_accuracy(accuracy)
        marks.append(
            Mark(
                name=name,
                value=None if is_few else accuracy["value"],
                low=accuracy.get("low"),
                high=accuracy.get("high"),
                text=format_range(accuracy) if is_few else text,
                is_claim=is_claim,
            )
        )
    return marks
