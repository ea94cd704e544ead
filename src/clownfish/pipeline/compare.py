"""`clownfish compare`: runs side by side, and which of their differences are real."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from clownfish.config import read_config
from clownfish.errors import ConfigError
from clownfish.evaluation.paired import PairedTest, adjust_for_number, compare_paired
from clownfish.files import encode_text, write_page
from clownfish.pipeline.run_folder import read_cross_validated, read_json, refuse_content
from clownfish.report.comparison import ComparedPair, ComparedRun, ComparisonContent, render_comparison

LEVEL = 0.05
"""A difference is called real if, with the other comparisons allowed for, chance makes it so large less often."""
_TOLD_OPTIONS = 12


@dataclass(frozen=True)
class Comparison:
    """Runs side by side."""

    runs: tuple[ComparedRun, ...]
    """In the order in which they were given."""
    pairs: tuple[ComparedPair, ...]
    """Every two runs, compared on the photos that both were cross-validated on."""
    messages: tuple[str, ...]
    """What the user should know."""
    path: Path | None
    """The page, if one was asked for."""

    def as_json(self) -> dict[str, Any]:
        """The numbers, for a machine."""
        return {
            "runs": [
                {"path": run.path, "name": run.name, "accuracy": run.accuracy, "num_photos": run.num_photos}
                for run in self.runs
            ],
            "pairs": [pair.as_json() for pair in self.pairs],
            "messages": list(self.messages),
        }


def compare_runs(runs: Sequence[str | Path], *, out: str | Path | None = None) -> Comparison:
    """Compare runs on the photos that they share.

    Each photo was answered, in cross-validation, by a classifier that had not seen it. Photos are the same if their
    bytes are. Photos that are in one group in either of two runs stay together in their comparison.

    Args:
        runs: two or more run folders.
        out: the HTML file to write; None to write nothing.

    Returns:
        The comparison.

    Raises:
        ConfigError: fewer than two different runs were given.
        RunFolderError: one of the folders is none of a run, or too old, or damaged.
        OutputError: the file cannot be written, or is something else than an earlier page.
    """
    folders = [Path(run) for run in runs]
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise ConfigError(
            f"To compare, at least two runs are needed, each given once; got {', '.join(map(str, folders)) or 'none'}."
            " For example: clownfish compare runs/photos-1 runs/photos-2"
        )
    answers = [_read_answers(folder) for folder in folders]
    compared = [_describe_run(folder, name) for folder, name in zip(folders, _name_runs(folders), strict=True)]
    pairs = _compare_pairs([run.name for run in compared], answers)
    messages = _list_messages(compared, pairs)
    if out is not None:
        content = ComparisonContent(
            runs=compared,
            pairs=pairs,
            messages=messages,
            options=_list_differing([_read_options(folder) for folder in folders]),
        )
        write_page(Path(out), encode_text(render_comparison(content)))
    return Comparison(
        runs=tuple(compared), pairs=tuple(pairs), messages=tuple(messages), path=None if out is None else Path(out)
    )


def _read_answers(folder: Path) -> dict[str, Mapping[str, str]]:
    """By content hash; of files with the same bytes one is enough."""
    metrics = read_json(folder, "metrics.json")
    try:
        num_photos = metrics["cross_validated"]["num_photos"]
    except (KeyError, TypeError) as error:
        raise refuse_content(folder / "metrics.json", error) from error
    return {row["sha256"]: row for row in read_cross_validated(folder, num_photos)}


def _name_runs(folders: Sequence[Path]) -> list[str]:
    """The folders' own names where these differ, else as they were given."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _describe_run(folder: Path, name: str) -> ComparedRun:
    metrics, options = read_json(folder, "metrics.json"), _read_options(folder)
    try:
        return _gather_facts(folder, name, metrics, options)
    except (KeyError, TypeError, ValueError) as error:
        raise refuse_content(folder / "metrics.json", error) from error


def _gather_facts(folder: Path, name: str, metrics: Mapping[str, Any], options: Mapping[str, Any]) -> ComparedRun:
    cross = metrics["cross_validated"]
    return ComparedRun(
        path=str(folder),
        name=name,
        accuracy={end: float(cross["accuracy"][end]) for end in ("value", "low", "high")},
        balanced_accuracy=cross["balanced_accuracy"],
        cross_entropy=cross["cross_entropy"],
        num_photos=cross["num_photos"],
        num_groups=cross["num_groups"],
        group_by=str(options.get("group_by") or ""),
        answered=metrics["answering"]["out_of_fold"]["answered"]["value"],
        seconds=metrics["seconds"]["total"],
        recalls={row["label"]: row for row in cross["per_class"]},
    )


def _read_options(folder: Path) -> dict[str, Any]:
    return read_config(folder / "config.toml").flatten()


def _list_differing(options: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Options that are not the same in all runs."""
    names = [name for name in options[0] if len({str(own.get(name)) for own in options}) > 1]
    return [(name, [own.get(name) for own in options]) for name in names[:_TOLD_OPTIONS]]


def _compare_pairs(names: Sequence[str], answers: Sequence[Mapping[str, Mapping[str, str]]]) -> list[ComparedPair]:
    tests = [(one, two, _test(answers[one], answers[two])) for one, two in combinations(range(len(answers)), 2)]
    adjusted = iter(adjust_for_number([test.p_value for _, _, (test, _) in tests if test is not None]))
    return [
        ComparedPair(
            first=names[one],
            second=names[two],
            test=None if test is None else _as_numbers(test),
            adjusted_p=1.0 if test is None else (own := next(adjusted)),
            is_real=test is not None and own < LEVEL,
            num_labelled_otherwise=num_otherwise,
        )
        for one, two, (test, num_otherwise) in tests
    ]


def _as_numbers(test: PairedTest) -> dict[str, Any]:
    return {name: getattr(test, name) for name in PairedTest.__dataclass_fields__}


def _test(
    first: Mapping[str, Mapping[str, str]], second: Mapping[str, Mapping[str, str]]
) -> tuple[PairedTest | None, int]:
    """The comparison, and how many shared photos are left out because their labels differ."""
    both = sorted(first.keys() & second.keys())
    shared = [photo for photo in both if first[photo]["label"] == second[photo]["label"]]
    if not shared:
        return None, len(both)
    right = [np.array([own[photo]["correct"] == "true" for photo in shared]) for own in (first, second)]
    groups = _join_groups([[own[photo]["group"] for photo in shared] for own in (first, second)])
    return compare_paired(right[0], right[1], groups), len(both) - len(shared)


def _join_groups(groupings: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Number groups so that photos which are together in any grouping are together."""
    num_photos = len(groupings[0])
    ends = np.concatenate(list(_number_groups(groupings, num_photos)))
    photos = np.tile(np.arange(num_photos), len(groupings))
    num_nodes = int(ends.max()) + 1
    graph = coo_array((np.ones(len(ends), np.int8), (photos, ends)), shape=(num_nodes, num_nodes))
    labels: NDArray[np.int64] = connected_components(graph, directed=False)[1][:num_photos].astype(np.int64)
    return labels


def _number_groups(groupings: Sequence[Sequence[str]], start: int) -> Iterator[NDArray[np.int64]]:
    """Each grouping's groups as numbers that nothing else has."""
    for grouping in groupings:
        names, numbers = np.unique(np.array(grouping), return_inverse=True)
        yield start + numbers.astype(np.int64)
        start += len(names)


def _list_messages(runs: Sequence[ComparedRun], pairs: Sequence[ComparedPair]) -> list[str]:
    messages = []
    kinds = Counter(run.group_by or "groups that were found" for run in runs)
    if len(kinds) > 1:
        messages.append(
            f"The runs were grouped differently ({', '.join(kinds)}), so their accuracies answer different questions,"
            " such as new sites and new individuals. A difference between them is no sign that one model is better."
        )
    if any(pair.test is None for pair in pairs):
        messages.append("Some runs share no photo with the same label; between these nothing can be tested.")
    num_otherwise = max((pair.num_labelled_otherwise for pair in pairs), default=0)
    if num_otherwise:
        messages.append(f"Up to {num_otherwise:,} shared photos carry other labels in another run, and are left out.")
    return messages
