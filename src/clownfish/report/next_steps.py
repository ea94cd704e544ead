"""Which three things would help most: one rule, from the surest harm to the smallest gain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clownfish.report.findings import list_shortcuts
from clownfish.report.wording import count_noun, format_range, format_share, is_number

MAX_STEPS = 3
_LARGE_LOSS = 0.05
"""Of accuracy, from groups that were seen to new ones."""
_SMALLEST_GAIN = 0.005


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing to do."""

    title: str
    reason: str
    section: str
    """Identifier of the section that shows why."""


def choose_next_steps(metrics: Mapping[str, Any], *, group: str = "group", min_groups_of_class: int = 5) -> list[Step]:
    """Choose what would help most.

    The order is fixed: first what makes the number untrue (nothing learned, one picture under two labels, shortcuts),
    then labels that look wrong, then what makes the classifier worse than it could be (new groups, overfitting, too few
    groups of a class, too few photos), and at last how to live with the mistakes that are left.

    Args:
        metrics: of the run; any key of an audit may be missing or None.
        group: what the photos are grouped by, in one word.
        min_groups_of_class: with fewer groups of a class nothing is known about it.

    Returns:
        At most three, the most helpful first.
    """
    verdicts = {verdict["name"]: verdict for verdict in metrics.get("verdicts") or []}
    rules: Sequence[Callable[[], Step | None]] = (
        lambda: _check_verdict(verdicts, "learned", False, "Check labels and photos first"),
        lambda: _settle_conflicts(metrics),
        lambda: _remove_shortcuts(metrics, "bad"),
        lambda: _check_labels(metrics),
        lambda: _add_groups(metrics, group),
        lambda: _check_verdict(verdicts, "overfitting", True, "Hold the model back"),
        lambda: _check_verdict(verdicts, "underfitting", True, "Train more closely"),
        lambda: _fill_classes(metrics, group, min_groups_of_class),
        lambda: _add_photos(metrics, verdicts),
        lambda: _remove_shortcuts(metrics, "look"),
        lambda: _say_unsure(metrics),
        lambda: _measure_all(verdicts),
        lambda: _check_verdict(verdicts, "data_limited", False, "Take other photos rather than more"),
        lambda: Step(
            title="Try it where it will be used",
            reason=(
                "Label some photos from another place, season or camera and run clownfish evaluate on them: nothing"
                " here tells how good the classifier is there."
            ),
            section="headline",
        ),
    )
    steps = (rule() for rule in rules)
    return [step for step in steps if step is not None][:MAX_STEPS]


def _check_verdict(verdicts: Mapping[str, Mapping[str, Any]], name: str, bad: bool, title: str) -> Step | None:
    verdict = verdicts.get(name)
    if verdict is None or verdict["holds"] is not bad:
        return None
    return Step(title=title, reason=verdict["advice"], section="verdicts")


def _settle_conflicts(metrics: Mapping[str, Any]) -> Step | None:
    count = metrics.get("label_conflicts") or 0
    if not count:
        return None
    return Step(
        title=f"Decide on {count_noun(count, 'picture')} that {'lies' if count == 1 else 'lie'} under two labels",
        reason="The notes name them: somebody has to say which label is true.",
        section="verdicts",
    )


def _remove_shortcuts(metrics: Mapping[str, Any], mood: str) -> Step | None:
    found = [finding for finding in list_shortcuts(metrics) if finding.mood == mood]
    if not found:
        return None
    more = (
        f" {len(found) - 1} more of this kind {'was' if len(found) == 2 else 'were'} found." if len(found) > 1 else ""
    )
    title = (
        "Remove what gives the class away" if mood == "bad" else "Look whether it sees the animal or its surroundings"
    )
    return Step(title=title, reason=f"{found[0].sentence} {found[0].advice}".strip() + more, section="shortcuts")


def _check_labels(metrics: Mapping[str, Any]) -> Step | None:
    errors = metrics.get("label_errors") or {}
    count = errors.get("num_listed") or 0
    if not count:
        return None
    expected = min(count, max(1, round(errors["num_expected_wrong"])))
    return Step(
        title=f"Look at {count_noun(count, 'label')} that {'looks' if count == 1 else 'look'} wrong",
        reason=f"About {expected} of them really {'is' if expected == 1 else 'are'}. Correct them with --corrections.",
        section="labels",
    )


def _add_groups(metrics: Mapping[str, Any], group: str) -> Step | None:
    cross = metrics.get("cross_validated") or {}
    seen = (cross.get("seen_groups") or {}).get("accuracy", {}).get("value")
    new = (cross.get("accuracy") or {}).get("value")
    if not is_number(seen) or not is_number(new) or seen - new < _LARGE_LOSS:
        return None
    return Step(
        title=f"Add photos from more of what you group by ({group})",
        reason=(
            f"Where it has seen the {group}, {format_share(seen)} are right; where the {group} is new,"
            f" {format_share(new)}. More photos of the same ones do not help that."
        ),
        section="parts",
    )


def _fill_classes(metrics: Mapping[str, Any], group: str, min_groups: int) -> Step | None:
    rows = (metrics.get("cross_validated") or {}).get("per_class") or []
    few = [row["label"] for row in rows if row.get("num_groups", min_groups) < min_groups]
    if not few:
        return None
    names = ", ".join(few[:3]) + (f" and {len(few) - 3} more" if len(few) > 3 else "")
    return Step(
        title=f"Add groups of photos to {count_noun(len(few), 'class', 'classes')}",
        reason=f"With fewer than {min_groups} groups ({group}) nothing can be said about {names}.",
        section="classes",
    )


def _add_photos(metrics: Mapping[str, Any], verdicts: Mapping[str, Mapping[str, Any]]) -> Step | None:
    needs = metrics.get("learning_curve")
    if not needs or verdicts.get("data_limited", {}).get("holds") is not True:
        return None
    rows = [row for row in needs["per_class"] if row.get("saved_photos") and (row.get("gain") or 0) >= _SMALLEST_GAIN]
    twice = next((row for row in needs["forecasts"] if row["factor"] == 2), None)
    if rows:
        row = max(rows, key=lambda found: float(found["saved_photos"]))
        return Step(
            title=f"Add about {row['more']} photos of {row['label']}",
            reason=(
                f"And of the others in proportion: then {format_share(row['then']['value'])} of it would be right"
                f" ({format_range(row['then'])}), now {format_share(row['recall'])}."
            ),
            section="more",
        )
    if twice is None:
        return None
    return Step(
        title=f"Add photos: {twice['num_photos'] - needs['num_photos']:,} more would help",
        reason=(
            f"Accuracy would be about {format_share(twice['accuracy']['value'])} ({format_range(twice['accuracy'])})."
        ),
        section="more",
    )


def _measure_all(verdicts: Mapping[str, Mapping[str, Any]]) -> Step | None:
    if "--fast" not in verdicts.get("data_limited", {}).get("sentence", ""):
        return None
    return Step(
        title="Train once without --fast",
        reason="Then it is measured what more photos would bring, and how many of an unseen species would be noticed.",
        section="more",
    )


def _say_unsure(metrics: Mapping[str, Any]) -> Step | None:
    answering = metrics.get("answering") or {}
    answers = answering.get("out_of_fold") or {}
    share, error = (answers.get(name, {}).get("value") for name in ("answered", "error"))
    if not is_number(share) or not is_number(error) or share >= 1:
        return None
    return Step(
        title="Look yourself at what it is unsure of",
        reason=(
            f"predict answers {format_share(share)} of photos, {format_share(error)} of those wrongly, and calls the"
            " rest unsure. Move that limit with --max-error."
        ),
        section="certainty",
    )
