"""What the audits found, as sentences with a sign and a word, so that colour never tells it alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clownfish.report.wording import format_share

Mood = Literal["good", "note", "look", "bad", "unknown"]

_WORDS: Mapping[Mood, tuple[str, str]] = {
    "good": ("✓", "good"),
    "note": ("i", "to know"),
    "look": ("!", "look at it"),
    "bad": ("✗", "problem"),
    "unknown": ("?", "not known"),
}
_QUESTIONS = {
    "learned": "Was anything learned?",
    "gap": "Is it better on its training photos?",
    "overfitting": "Does it overfit?",
    "underfitting": "Does it underfit?",
    "selection_optimism": "Does choosing flatter?",
    "data_limited": "Would more photos help?",
}
_MOODS: Mapping[str, tuple[Mood, Mood]] = {
    "learned": ("good", "bad"),
    "gap": ("note", "good"),
    "overfitting": ("bad", "good"),
    "underfitting": ("look", "good"),
    "selection_optimism": ("note", "good"),
    "data_limited": ("note", "good"),
}
"""By verdict, what it means if it holds, and if it does not."""
_MIN_PAIRS, _MOST_PAIRS = 5, 0.8
"""Turned copies in one class matter if they are many, and hardly any other class has them."""
_CLUES = {
    "size": "the size and shape of the photo",
    "format": "the file's format",
    "camera": "what the camera wrote into the file",
    "detail": "the amount of detail (bytes a pixel and sharpness)",
    "border": "the outermost edge of the photo",
    "thumbnail": "a picture of 8 x 8 pixels",
}
_WORD_TITLES = {"name": "File names.", "format": "Format.", "turned": "Turned by EXIF.", "camera": "Camera."}
_WORD_KINDS = {
    "name": "The file names with “{word}”",
    "format": "Files of the kind {word}",
    "turned": "Photos {word}",
    "camera": "Photos by the camera {word}",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was found out."""

    name: str
    question: str
    mood: Mood
    sentence: str
    advice: str = ""
    files: tuple[str, ...] = ()
    """Photos that show it."""

    @property
    def sign(self) -> str:
        """One character."""
        return _WORDS[self.mood][0]

    @property
    def word(self) -> str:
        """The same as the colour says."""
        return _WORDS[self.mood][1]


def list_verdicts(metrics: Mapping[str, Any]) -> list[Finding]:
    """List the verdicts of metrics.json, the worst first.

    Args:
        metrics: of the run; verdicts may be missing.

    Returns:
        One finding a verdict.
    """
    findings = []
    for verdict in metrics.get("verdicts") or []:
        holds, name = verdict["holds"], verdict["name"]
        moods = _MOODS.get(name, ("look", "good"))
        advice = "" if verdict["advice"].startswith("Nothing to do") else verdict["advice"]
        findings.append(
            Finding(
                name=name,
                question=_QUESTIONS.get(name, name.replace("_", " ").capitalize()),
                mood="unknown" if holds is None else moods[0] if holds else moods[1],
                sentence=verdict["sentence"],
                advice=advice,
            )
        )
    order: list[Mood] = ["bad", "look", "unknown", "note", "good"]
    return sorted(findings, key=lambda finding: order.index(finding.mood))


def list_shortcuts(metrics: Mapping[str, Any]) -> list[Finding]:
    """List the shortcuts of metrics.json, the surest first, with the photos that show them.

    Args:
        metrics: of the run; shortcuts may be missing.

    Returns:
        A finding each, in fewer words than the messages have.
    """
    shortcuts = metrics.get("shortcuts") or {}
    words = shortcuts.get("words") or []
    told = {word["kind"] for word in words}
    sure = [*_list_orientation(shortcuts), *map(_tell_word, words)]
    marks = [
        Finding(
            name="mark",
            question="Something at a fixed place.",
            mood="look",
            sentence=(
                f"Many photos of {mark['label']} have something in common at the {mark['place']}: a stamp, a frame or a"
                " board, or in tight cut-outs the ends of the animals."
            ),
            files=tuple(mark["examples"]),
        )
        for mark in shortcuts.get("marks") or []
    ]
    probes = [
        _tell_probe(probe, metrics)
        for probe in shortcuts.get("probes") or []
        if probe["found"] and probe["name"] not in told
    ]
    return [*sure, *marks, *probes]


def _list_orientation(shortcuts: Mapping[str, Any]) -> list[Finding]:
    """Classes that are stored upside down, and classes with turned copies that no other class has."""
    copies = {row["label"]: row for row in shortcuts.get("flipped_copies") or []}
    orientation = shortcuts.get("orientation") or {}
    findings = []
    for row in orientation.get("upside_down") or []:
        pairs = copies.pop(row["label"], {"num_pairs": 0})["num_pairs"]
        beside = f" {pairs:,} {'lies' if pairs == 1 else 'lie'} beside their original." if pairs else ""
        mutual = " (or the other way round)" if orientation["is_mutual"] else ""
        findings.append(
            Finding(
                name="orientation",
                question="Which way up.",
                mood="bad",
                sentence=f"Photos of {row['label']} are upside down compared with the others{mutual}.{beside}",
                advice="Turn them upright, remove the copies, and train again.",
                files=tuple(row["examples"][:6]),
            )
        )
    total = sum(row["num_pairs"] for row in copies.values())
    for row in copies.values():
        if row["num_pairs"] >= _MIN_PAIRS and row["num_pairs"] >= _MOST_PAIRS * total:
            findings.append(
                Finding(
                    name="flipped copies",
                    question="Turned copies.",
                    mood="look",
                    sentence=(
                        f"{row['num_pairs']:,} pairs of photos of {row['label']} are one picture, turned or upside"
                        " down."
                    ),
                    advice="Keep one of each pair.",
                    files=tuple(file for pair in row["examples"][:3] for file in pair),
                )
            )
    return findings


def _tell_word(word: Mapping[str, Any]) -> Finding:
    what = _WORD_KINDS.get(word["kind"], "Files with {word}").replace("{word}", str(word["word"]))
    return Finding(
        name=word["kind"],
        question=_WORD_TITLES.get(word["kind"], "Files."),
        mood="bad",
        sentence=(
            f"{what} are {format_share(word['share_inside'])} of {word['label']}, and"
            f" {format_share(word['share_outside'])} of the other photos."
        ),
        advice="Get photos of all classes from the same sources, and prepare them alike.",
        files=tuple(word["examples"]),
    )


def _tell_probe(probe: Mapping[str, Any], metrics: Mapping[str, Any]) -> Finding:
    clue = _CLUES.get(probe["name"], probe["name"])
    labels = [row["label"] for row in probe["classes"][:3]]
    quick = (metrics.get("quick_accuracy") or {}).get("balanced_accuracy", {}).get("value")
    compared = f"guessing {format_share(probe['chance'])}"
    if quick is not None:
        compared += f", the photos themselves {format_share(quick)}"
    above_all = f", above all {_join(labels)}" if labels else ""
    return Finding(
        name=probe["name"],
        question=f"{probe['name'].capitalize()}.",
        mood="look",
        sentence=(
            f"{clue[0].upper()}{clue[1:]} alone names {format_share(probe['balanced_accuracy']['value'])} right"
            f" ({compared}){above_all}."
        ),
        advice="If that is not the animal itself, get photos of all classes from the same sources.",
        files=tuple(file for row in probe["classes"][:3] for file in row["examples"][:2]),
    )


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""
