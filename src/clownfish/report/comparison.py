"""Runs side by side: content in, one HTML file out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from clownfish.report.charts import Mark, draw_accuracies
from clownfish.report.html import make_environment, make_prose, mark_safe
from clownfish.report.names import find_binomials
from clownfish.report.wording import clean_text, count_noun, format_accuracy, format_share, isolate, shorten

if TYPE_CHECKING:
    from jinja2 import Template

_MAX_CLASSES = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedRun:
    """One run."""

    path: str
    name: str
    """Different for every run."""
    accuracy: Mapping[str, float]
    """Cross-validated: value, low, high."""
    balanced_accuracy: Mapping[str, float]
    cross_entropy: float
    num_photos: int
    num_groups: int
    group_by: str
    """Column that the photos are grouped by; "" for groups that were found."""
    answered: float | None
    """Share of photos that `predict` would answer."""
    seconds: float
    recalls: Mapping[str, Mapping[str, Any]]
    """By class, its row of `per_class` in metrics.json."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedPair:
    """Two runs on the photos that they share."""

    first: str
    second: str
    test: Mapping[str, Any] | None
    """num_photos, num_groups, only_first, only_second, difference, low, high, p_value; None without shared photos."""
    adjusted_p: float
    """The p-value, raised for the number of comparisons."""
    is_real: bool
    num_labelled_otherwise: int
    """Shared photos that are left out because their labels differ."""

    @property
    def sentence(self) -> str:
        """What was found out."""
        first, second = isolate(self.first), isolate(self.second)
        if self.test is None:
            of_what = " with the same label" if self.num_labelled_otherwise else ""
            return f"{first} and {second} share no photo{of_what}, so nothing can be said."
        only_first, only_second = self.test["only_first"], self.test["only_second"]
        counts = (
            f"of {count_noun(self.test['num_photos'], 'shared photo')}, only {first} names {only_first:,} right, only"
            f" {second} {only_second:,}"
        )
        if not only_first and not only_second:
            return f"{first} and {second} name the same photos right."
        points = f"{abs(100 * self.test['difference']):.1f}"
        ends = sorted(abs(round(100 * self.test[end], 1)) for end in ("low", "high"))
        if self.is_real:
            better, worse = (second, first) if self.test["difference"] > 0 else (first, second)
            return f"{better} is better than {worse} by {points} points ({ends[0]:g} to {ends[1]:g}): {counts}."
        return (
            f"No difference is shown between {first} and {second}: the second is {100 * self.test['difference']:+.1f}"
            f" points ({100 * self.test['low']:+.1f} to {100 * self.test['high']:+.1f}) from the first, which chance"
            f" makes too; {counts}."
        )

    def as_json(self) -> dict[str, Any]:
        """The numbers, for a machine."""
        return {**asdict(self), "sentence": self.sentence}


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonContent:
    """Everything that the page says."""

    runs: Sequence[ComparedRun]
    pairs: Sequence[ComparedPair]
    messages: Sequence[str]
    options: Sequence[tuple[str, Sequence[Any]]]
    """Options that differ, with their value in each run."""


def render_comparison(content: ComparisonContent) -> str:
    """Write the page.

    Args:
        content: everything it says.

    Returns:
        A whole HTML document without references to anything outside itself; encode it as UTF-8.
    """
    classes = list(dict.fromkeys(label for run in content.runs for label in run.recalls))
    binomials = find_binomials(classes)
    marks = [
        Mark(
            name=shorten(run.name, 40),
            value=run.accuracy["value"],
            low=run.accuracy["low"],
            high=run.accuracy["high"],
            text=format_accuracy(run.accuracy),
        )
        for run in content.runs
    ]
    page = _load_template().render(
        content=content,
        classes=classes[:_MAX_CLASSES],
        binomials=binomials,
        prose=make_prose(binomials),
        wide=mark_safe(draw_accuracies(marks, None)),
        narrow=mark_safe(draw_accuracies(marks, None, key="accuracies-narrow", width=330)),
        write_group=lambda run: run.group_by or "groups that were found",
        format_p=_format_p,
        format_share=format_share,
    )
    return clean_text(page)


@lru_cache(maxsize=1)
def _load_template() -> "Template":
    return make_environment().get_template("comparison.html.j2")


def _format_p(value: float) -> str:
    return "under 0.001" if value < 0.001 else f"{value:.3f}"
