"""How accurate `clownfish train --fine-tune` is beside fastai's `fine_tune`, in the same time.

Both get the same photos, split, pre-trained weights and cores; fastai gets the time that clownfish took. Needs
clownfish[finetune] in the Python that runs this. README.md says what is compared.
"""

import argparse
import csv
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import choose_torch_arguments, prepare_environment
from measuring import JobFailedError, run_measured, wait_for_calm
from results import count_cores, describe_conditions, make_table, publish, report_progress, show_number
from train import PEERS_FOLDER, REQUIREMENTS, find_clownfish


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one program reached on one split."""

    accuracy: float
    num_test: int
    seconds: float
    note: str
    """What it did with the time."""
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoSet:
    """Photos to compare on."""

    photos: Path
    """Folder or CSV, as `clownfish train` takes it."""
    group_by: str
    """Column of the CSV that keeps photos together; "" for none."""
    time_limit: str

    @property
    def arguments(self) -> list[str]:
        """For `clownfish train`."""
        return ["--group-by", self.group_by] if self.group_by else []


PROGRAMS = {
    "frozen": "clownfish train",
    "tuned": "clownfish train --fine-tune",
    "fastai": "fastai fine_tune",
}


def main() -> None:
    """Compare on every set and seed, and print the table."""
    options = read_options()
    python = prepare_environment("fastai", REQUIREMENTS["fastai"], options.torch)
    sections: dict[str, dict[str, list[Outcome]]] = {}
    for photo_set in options.sets:
        found: dict[str, list[Outcome]] = {name: [] for name in PROGRAMS}
        for seed in range(1, options.seeds + 1):
            if options.calm:
                wait_for_calm()
            for name, outcome in compare(photo_set, seed, options.split, python).items():
                found[name].append(outcome)
                report_progress(
                    f"{photo_set.photos.stem}, seed {seed}: {PROGRAMS[name]} {100 * outcome.accuracy:.1f} % of"
                    f" {outcome.num_test} in {outcome.seconds:.0f} s ({outcome.note})"
                )
        sections[f"{photo_set.photos.stem}{f' by {photo_set.group_by}' if photo_set.group_by else ''}"] = found
    publish("fine-tuning-accuracy", make_section(sections, options), write=options.write)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "sets",
        type=read_set,
        nargs="+",
        metavar="PHOTOS[:COLUMN]@LIMIT",
        help="such as photos@3m or beetles.csv:tube@3m",
    )
    parser.add_argument("--seeds", type=int, default=3, help="so many splits (default: %(default)s)")
    parser.add_argument("--split", default="60/10/30", help="training/validation/test (default: %(default)s)")
    parser.add_argument(
        "--torch", default=choose_torch_arguments(), help="what pip is given to install PyTorch (default: %(default)s)"
    )
    parser.add_argument("--calm", action="store_true", help="before each split, wait until no other program is busy")
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    return parser.parse_args()


def read_set(text: str) -> PhotoSet:
    """Read PHOTOS[:COLUMN]@LIMIT."""
    place, at, limit = text.rpartition("@")
    if not at:
        raise argparse.ArgumentTypeError(f"{text} names no time limit; write {text}@3m")
    photos, _, column = place.partition(":") if ".csv:" in place else (place, "", "")
    return PhotoSet(photos=Path(photos).resolve(), group_by=column, time_limit=limit)


def compare(photo_set: PhotoSet, seed: int, split: str, fastai_python: Path) -> dict[str, Outcome]:
    """Run all programs on one split.

    Args:
        photo_set: the photos.
        seed: of the split and of everything else that is drawn.
        split: shares of the parts.
        fastai_python: of fastai's environment.

    Returns:
        By name of the program.
    """
    with tempfile.TemporaryDirectory(prefix="clownfish-benchmark-") as temporary:
        folder = Path(temporary)
        common = [*photo_set.arguments, "--split", split, "--seed", str(seed)]
        frozen = run_clownfish(photo_set, common, folder / "frozen")
        limit = ["--fine-tune", "--time-limit", photo_set.time_limit]
        tuned = run_clownfish(photo_set, [*common, *limit], folder / "tuned")
        rows = read_split(folder / "tuned" / "photos.csv", photo_set.photos)
        write_rows(folder / "split.csv", rows)
        job = [str(fastai_python), str(PEERS_FOLDER / "fastai_fine_tune_job.py"), str(folder / "split.csv")]
        job += ["--seconds", f"{tuned.seconds:.0f}", "--threads", str(count_cores()), "--seed", str(seed)]
        done = run_job(job, {})
        report = json.loads(done.output.splitlines()[-1])
        fastai = Outcome(
            accuracy=report["accuracy"],
            num_test=report["num_test"],
            seconds=done.wall_seconds,
            note=f"1 + {report['epochs']} epochs",
            versions=report["versions"],
        )
        return {"frozen": frozen, "tuned": tuned, "fastai": fastai}


def run_job(command: Sequence[str], environment: dict[str, str]) -> Any:
    """Run one program; the benchmark ends where it fails."""
    try:
        return run_measured(command, environment)
    except JobFailedError as error:
        sys.exit(f"{command[0]} failed: {error}")


def run_clownfish(photo_set: PhotoSet, arguments: Sequence[str], run: Path) -> Outcome:
    """Run `clownfish train` with a cache of its own."""
    command = [find_clownfish(), "train", str(photo_set.photos), *arguments, "--out", str(run)]
    done = run_job(command, {"CLOWNFISH_CACHE": str(run.with_name(f"{run.name}-cache"))})
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    tuning = metrics.get("fine_tuning")
    note = "frozen" if tuning is None else f"{tuning['reason']} {tuning.get('epochs', 0)} epochs"
    return Outcome(
        accuracy=metrics["test"]["accuracy"]["value"],
        num_test=metrics["test"]["num_photos"],
        seconds=done.wall_seconds,
        note=note,
        versions={},
    )


def read_split(table: Path, photos: Path) -> list[dict[str, str]]:
    """The photos that clownfish used, each with its path, label and part."""
    root = photos if photos.is_dir() else photos.parent
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in ("train", "validation", "test")]
    return [{"path": str(root / row["file"]), "label": row["label"], "part": row["split"]} for row in rows]


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write a CSV for the peer."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "part"])
        writer.writeheader()
        writer.writerows(rows)


def make_section(sections: dict[str, dict[str, list[Outcome]]], options: argparse.Namespace) -> str:
    """Write the results down.

    Args:
        sections: by set and by program, one outcome a seed.
        options: the command line.

    Returns:
        Markdown.
    """
    rows = []
    versions: dict[str, str] = {}
    for name, found in sections.items():
        for program, outcomes in found.items():
            accuracies = [100 * outcome.accuracy for outcome in outcomes]
            versions |= outcomes[0].versions
            rows.append(
                [
                    f"{name}: {PROGRAMS[program]}",
                    f"{statistics.mean(accuracies):.1f}",
                    ", ".join(f"{value:.1f}" for value in accuracies),
                    str(outcomes[0].num_test),
                    show_number(statistics.mean(outcome.seconds for outcome in outcomes), 0),
                ]
            )
    header = ["", "mean test accuracy, %", "by seed", "test photos", "wall s"]
    return "\n\n".join(
        [
            "## Fine-tuning: accuracy in the same time",
            make_table(header, rows),
            f"Split {options.split}, {options.seeds} seeds; a seed is another split. All programs use the same photos,"
            " split, weights (EfficientNet-Lite0) and cores; fastai gets as long as `--fine-tune` took, and runs at"
            " least one epoch of the head and one of everything. Time limits:"
            f" {', '.join(f'{own.photos.stem} {own.time_limit}' for own in options.sets)}.",
            describe_conditions(["clownfish", "numpy"], ", ".join(f"{key} {value}" for key, value in versions.items())),
        ]
    )


if __name__ == "__main__":
    main()
