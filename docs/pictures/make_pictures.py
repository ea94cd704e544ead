"""Make every picture of the documentation, and numbers.json, from one real run: `make pictures`.

    python docs/pictures/make_pictures.py            # write them
    python docs/pictures/make_pictures.py --check    # compare them with a new run, write nothing

Run it when the output of a command changes. Pictures are SVG and name no font and no server.
"""

import argparse
import csv
import difflib
import html
import io
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parent
DOCS = PICTURES.parent
WIDTH = 118
INK, BLUE, ORANGE, GREY = "#222222", "#0072b2", "#d55e00", "#888888"  # of Okabe & Ito, for colour-blind readers
RUN = "clownfish-demo/run-1"
PHOTOS = "clownfish-demo/photos"
COMMANDS = {
    "predict": f"clownfish predict {RUN} {PHOTOS}/digit_3/000.png",
    "table": f"clownfish predict {RUN} {PHOTOS}",
    "count": f"clownfish count {RUN} {PHOTOS}",
    "evaluate": f"clownfish evaluate {RUN} {PHOTOS}",
    "audit": f"clownfish audit {PHOTOS} --fast",
}
"""Terminal pictures beside the demo's, by name."""
TOLERANCE = 0.05
"""Of shares and losses: between machines the last digits of the network differ, and with them a photo or two."""
SAME_WORDS = 0.95
"""Share of the words of a terminal picture that have to be those of today, numbers aside: another machine may name
another digit, but a sentence that was rewritten is found."""


def main() -> None:
    """Make the run in a temporary folder, and write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with a new run, write nothing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        demo = run_command("clownfish demo", folder)
        metrics = json.loads((Path(folder) / RUN / "metrics.json").read_text(encoding="utf-8"))
        numbers = collect_numbers(metrics)
        screens = {DOCS / "screen.svg": ("clownfish demo", demo)}
        for name, command in COMMANDS.items():
            screens[PICTURES / f"{name}.svg"] = (command, run_command(command, folder))
        if check:
            compare(json.loads((DOCS / "numbers.json").read_text(encoding="utf-8")), numbers)
            for path, (command, output) in screens.items():
                compare_screen(path, draw_screen(path.stem, command, output))
            return
        for path, (command, output) in screens.items():
            path.write_text(draw_screen(path.stem, command, output), encoding="utf-8")
        with (Path(folder) / RUN / "history.csv").open(encoding="utf-8", newline="") as file:
            history = list(csv.DictReader(file))
        with (Path(folder) / RUN / "photos.csv").open(encoding="utf-8", newline="") as file:
            photos = list(csv.DictReader(file))
        draw_charts(metrics, history)
        draw_split(photos)
        draw_copies(photos, Path(folder) / PHOTOS)
    (DOCS / "numbers.json").write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def run_command(command: str, folder: str) -> str:
    """Run a clownfish command line; what it prints."""
    arguments = [sys.executable, "-m", *shlex.split(command)]
    return subprocess.run(arguments, cwd=folder, capture_output=True, encoding="utf-8", check=True).stdout


def draw_screen(name: str, command: str, output: str) -> str:
    """Draw a terminal as an SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text(output.rstrip("\n")))
    console.print()  # the last line would be cut at its lower edge
    picture = console.export_svg(title="clownfish", unique_id=name)
    # rich names fonts on a web server; whoever looks at the picture may be offline
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)


def read_screen(picture: str) -> list[str]:
    """Read the words of a terminal picture.

    Args:
        picture: SVG of `draw_screen`.

    Returns:
        Its words, each number as 0.
    """
    lines = re.findall(r"<text[^>]*clip-path[^>]*>(.*?)</text>", picture)
    text = html.unescape(" ".join(lines))
    return re.sub(r"\d+(?:[.,]\d+)*", "0", text).split()


def compare_screen(path: Path, picture: str) -> None:
    """Stop if the picture of a terminal shows other words than the program prints today.

    Args:
        path: the picture.
        picture: the same, made anew.
    """
    known, found = read_screen(path.read_text(encoding="utf-8")), read_screen(picture)
    same = difflib.SequenceMatcher(None, known, found, autojunk=False).ratio()
    if same < SAME_WORDS:
        difference = "\n".join(difflib.unified_diff(known, found, "picture", "program", n=1, lineterm=""))
        sys.exit(f"{path.name} shows what the program no longer prints. Run: make pictures\n{difference}")


def collect_numbers(metrics: dict[str, Any]) -> dict[str, Any]:
    """Take what the pages quote from the metrics of the run, and what follows from it."""
    tested = metrics["cross_validated"]
    hidden = sorted(metrics["hidden_classes"]["per_class"], key=lambda row: row["caught"]["value"])
    parameters = metrics["num_parameters"]
    total = parameters["backbone"] + parameters["trained"]
    kept = ("num_photos", "num_groups", "iterations_per_epoch", "best_epoch", "num_parameters", "train", "validation")
    kept += ("test", "chance", "calibration", "answering", "unknowns")
    return {
        **{name: metrics[name] for name in kept},
        "calibration": {name: value for name, value in metrics["calibration"].items() if name != "bins"},
        "answering": {name: value for name, value in metrics["answering"].items() if name != "curve"},
        "cross_validated": {
            name: value for name, value in tested.items() if name not in ("per_class", "confusion_matrix")
        },
        "hidden_classes": {"caught": metrics["hidden_classes"]["caught"]},
        "hidden_best": hidden[-1],
        "hidden_worst": hidden[0],
        "used": tested["num_photos"],
        "features": parameters["trained"] // len(metrics["classes"]) - 1,
        "input_size": 224,
        "total_parameters": total,
        "trained_share": parameters["trained"] / total,
        "example": min(tested["per_class"], key=lambda row: row["f1"]),
        "error_without_silence": 1 - tested["accuracy"]["value"],
        "strict": choose_answers(metrics["answering"]["curve"], max_error=0.02),
        "verdict": {row["name"]: {"sentence": row["sentence"]} for row in metrics["verdicts"]},
        "learning_sentence": metrics["learning_curve"]["sentences"][0],
    }


def choose_answers(curve: list[dict[str, float]], *, max_error: float) -> dict[str, float]:
    """The most answers of which at most such a share is wrong."""
    return max((row for row in curve if row["error"] <= max_error), key=lambda row: row["answered"])


def compare(known: Any, found: Any, path: str = "") -> None:
    """Stop if the documentation's numbers are not those of a new run.

    Args:
        known: of numbers.json.
        found: of the run.
        path: where in the content we are.
    """
    if isinstance(known, dict) and isinstance(found, dict):
        if known.keys() != found.keys():
            sys.exit(f"numbers.json has other keys at {path or 'its top'} than a new run. Run: make pictures")
        for key, value in known.items():
            compare(value, found[key], f"{path}.{key}".lstrip("."))
    elif isinstance(known, float) and isinstance(found, int | float):
        if abs(known - found) > TOLERANCE * max(1.0, abs(known)):
            sys.exit(f"numbers.json says {path} = {known:g}; a new run says {found:g}. Run: make pictures")
    elif type(known) is not type(found):
        sys.exit(f"numbers.json says {path} = {known!r}; a new run says {found!r}. Run: make pictures")


def draw_charts(metrics: dict[str, Any], history: list[dict[str, str]]) -> None:
    """Draw the pictures of the concepts."""
    import matplotlib as mpl

    mpl.use("svg")
    # text stays text; nothing random and no date, so that equal runs give equal files
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "clownfish", "font.family": "sans-serif"})
    mpl.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    draw_curves(metrics, history)
    draw_confusions(metrics)
    draw_intervals(metrics)
    draw_reliability(metrics)
    draw_learning_curve(metrics)
    draw_hidden_classes(metrics)
    draw_parameters(metrics)


def draw_curves(metrics: dict[str, Any], history: list[dict[str, str]]) -> None:
    """Loss and accuracy of each epoch."""
    figure, axes = make_figure(9, 3.2, columns=2)
    epochs = [int(row["epoch"]) for row in history]
    for axis, measure, name in zip(axes, ("loss", "accuracy"), ("cross-entropy", "accuracy"), strict=True):
        for part, colour, style in (("train", BLUE, "-"), ("validation", ORANGE, "--")):
            values = [float(row[f"{part}_{measure}"]) for row in history]
            axis.plot(epochs, values, style, color=colour, label={"train": "training"}.get(part, part))
        axis.axvline(metrics["best_epoch"], color=GREY, linestyle=":", label="kept epoch")
        axis.set(xlabel="epoch", ylabel=name)
        axis.set_ylim(bottom=0 if measure == "loss" else None)
    axes[0].legend(frameon=False)
    save(figure, "curves")


def draw_confusions(metrics: dict[str, Any]) -> None:
    """Heat map of true against predicted class."""
    figure, (axis,) = make_figure(6, 5)
    matrix, names = metrics["cross_validated"]["confusion_matrix"], metrics["classes"]
    axis.imshow([[count / sum(row) for count in row] for row in matrix], cmap="Blues", vmin=0, vmax=1)
    for true, row in enumerate(matrix):
        for predicted, count in enumerate(row):
            if count:
                axis.text(
                    predicted, true, count, ha="center", va="center", color="white" if count > sum(row) / 2 else INK
                )
    axis.set(xlabel="answer", ylabel="true class", xticks=range(len(names)), yticks=range(len(names)))
    axis.set_xticklabels(names, rotation=60, ha="right")
    axis.set_yticklabels(names)
    save(figure, "confusions")


def draw_intervals(metrics: dict[str, Any]) -> None:
    """Accuracies with their intervals."""
    figure, (axis,) = make_figure(7, 2)
    rows = [("test", metrics["test"]), ("cross-validated", metrics["cross_validated"])]
    for height, (_, part) in enumerate(rows):
        accuracy = part["accuracy"]
        axis.plot([accuracy["low"], accuracy["high"]], [height, height], color=BLUE, linewidth=6, alpha=0.4)
        axis.plot(accuracy["value"], height, "o", color=BLUE)
    axis.axvline(metrics["chance"]["accuracy"], color=GREY, linestyle=":")
    axis.text(metrics["chance"]["accuracy"] + 0.01, 0.5, "guessing", color=INK, va="center")
    axis.set(xlim=(0, 1), ylim=(-0.6, 1.6), yticks=range(2), xlabel="share named right")
    axis.set_yticklabels([f"{name}, {part['num_photos']} photos" for name, part in rows])
    save(figure, "intervals")


def draw_reliability(metrics: dict[str, Any]) -> None:
    """How certain, and how often right."""
    figure, (axis,) = make_figure(4.5, 4)
    axis.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    for row in metrics["calibration"]["bins"]:
        axis.plot([row["certainty"]] * 2, [row["low"], row["high"]], color=BLUE, alpha=0.5)
        axis.plot(row["certainty"], row["right"], "o", color=BLUE)
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="certainty of the answers", ylabel="share of them right")
    save(figure, "reliability")


def draw_learning_curve(metrics: dict[str, Any]) -> None:
    """Accuracy against number of photos, and the forecast."""
    figure, (axis,) = make_figure(6.5, 3.6)
    curve = metrics["learning_curve"]
    for size, accuracy in zip(curve["sizes"], curve["accuracies"], strict=True):
        axis.plot([size, size], [accuracy["low"], accuracy["high"]], color=BLUE, alpha=0.5)
        axis.plot(size, accuracy["value"], "o", color=BLUE)
    forecasts = curve["forecasts"]
    sizes = [row["num_photos"] for row in forecasts]
    axis.plot(sizes, [row["accuracy"]["value"] for row in forecasts], "--", color=ORANGE)
    lows, highs = ([row["accuracy"][end] for row in forecasts] for end in ("low", "high"))
    axis.fill_between(sizes, lows, highs, color=ORANGE, alpha=0.25, linewidth=0)
    axis.plot([], [], "o", color=BLUE, label="measured")
    axis.plot([], [], "--", color=ORANGE, label="forecast, and where it probably lies")
    axis.set(xlabel="training photos", ylabel="share named right", xscale="log")
    ticks = [30, 100, 300, 1000, 2000]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.legend(frameon=False, loc="lower right")
    save(figure, "learning-curve")


def draw_hidden_classes(metrics: dict[str, Any]) -> None:
    """Share of each hidden class that is noticed."""
    rows = sorted(metrics["hidden_classes"]["per_class"], key=lambda row: row["caught"]["value"])
    figure, (axis,) = make_figure(6.5, 3.4)
    for height, row in enumerate(rows):
        caught = row["caught"]
        axis.plot([caught["low"], caught["high"]], [height, height], color=BLUE, linewidth=6, alpha=0.4)
        axis.plot(caught["value"], height, "o", color=BLUE)
    axis.axvline(metrics["unknowns"]["promised_rejected"], color=GREY, linestyle=":", label="of known photos")
    axis.legend(frameon=False, loc="lower right")
    axis.set(xlim=(0, 1), yticks=range(len(rows)), xlabel="share called unlike anything seen", ylabel="hidden class")
    axis.set_yticklabels([row["label"] for row in rows])
    save(figure, "hidden-classes")


def draw_parameters(metrics: dict[str, Any]) -> None:
    """How many numbers of the model are trained, and how many are used as they are."""
    parameters = metrics["num_parameters"]
    figure, (axis,) = make_figure(7, 1.6)
    axis.barh(["trained", "pre-trained"], [parameters["trained"], parameters["backbone"]], color=[ORANGE, BLUE])
    for height, name in enumerate(("trained", "backbone")):
        axis.text(parameters[name], height, f" {parameters[name]:,}", va="center", color=INK)
    axis.set(xlim=(0, 1.25 * parameters["backbone"]), xticks=[], xlabel="numbers of the model")
    save(figure, "parameters")


def draw_split(photos: list[dict[str, str]]) -> None:
    """Photos of each class in each part."""
    labels = sorted({row["label"] for row in photos})
    figure, (axis,) = make_figure(7, 3.4)
    start = [0] * len(labels)
    for part, colour in (("train", BLUE), ("validation", ORANGE), ("test", GREY)):
        counts = [sum(row["label"] == label and row["split"] == part for row in photos) for label in labels]
        name = {"train": "training"}.get(part, part)
        axis.barh(labels, counts, left=start, color=colour, label=name, edgecolor="white")
        start = [before + count for before, count in zip(start, counts, strict=True)]
    axis.invert_yaxis()
    axis.set(xlabel="photos")
    axis.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    save(figure, "split")


def draw_copies(photos: list[dict[str, str]], folder: Path) -> None:
    """The pictures of the first groups that hold more than one."""
    from PIL import Image

    groups: dict[str, list[str]] = {}
    for row in photos:
        groups.setdefault(row["group"], []).append(row["file"])
    pairs = [files[:2] for files in groups.values() if len(files) > 1][:3]
    figure, axes = make_figure(7, 1.7, columns=2 * len(pairs))
    for axis, file in zip(axes, [file for pair in pairs for file in pair], strict=True):
        with Image.open(folder / file) as picture:
            axis.imshow(picture.convert("RGB"))
        axis.set_title(file, fontsize=7)
        axis.axis("off")
    save(figure, "copies")


def make_figure(width: float, height: float, *, columns: int = 1) -> tuple[Any, list[Any]]:
    """A figure with white ground, so that it can be read on a dark page too."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def save(figure: Any, name: str) -> None:
    """Write a figure as an SVG."""
    figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
