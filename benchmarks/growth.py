"""Does `clownfish train` stay linear? Time a photo and peak memory from 500 to 50,000 photos."""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from measuring import JobFailedError, Measurement, run_measured, show_share, wait_for_calm
from results import describe_conditions, make_table, publish, report_progress, show_megabytes, show_number
from synthetic_photos import load_sources, make_photos
from train import find_clownfish

PHOTO_SIZE = (256, 240)
REFERENCE = 5000


def main() -> None:
    """Make the photos, train on ever more of them, print the table."""
    options = read_options()
    sizes = sorted(int(size) for size in options.sizes.split(","))
    with keep_or_remove(options.keep) as folder:
        report_progress(f"making {max(sizes):,} photos in {folder} ...")
        sources = load_sources(options.source)
        photos = make_photos(folder / "photos", sources, max(sizes), PHOTO_SIZE)
        mean_bytes = sum(path.stat().st_size for path in photos) / len(photos)
        measurements = []
        for size in sizes:
            subset = link_photos(folder / f"first-{size}", folder / "photos", photos[:size])
            if options.calm:
                wait_for_calm()
            measurements.append(train_on(subset))
            shutil.rmtree(subset)
            report_progress(f"{size:,} photos: {measurements[-1].wall_seconds:.1f} s")
    num_classes = len({source.label for source in sources})
    text = make_section(sizes, measurements, num_classes=num_classes, mean_bytes=mean_bytes)
    publish("growth", text, write=options.write)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="500,5000,50000", help="numbers of photos, with commas: %(default)s")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        help="photos to make others from, one folder a class (default: scikit-learn's)",
    )
    parser.add_argument("--keep", type=Path, help="make the photos here and leave them for the next time")
    parser.add_argument("--calm", action="store_true", help="before each run, wait until no other program is busy")
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    return parser.parse_args()


@contextlib.contextmanager
def keep_or_remove(folder: Path | None) -> Iterator[Path]:
    """The folder given, or a temporary one that is removed in the end."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="clownfish-benchmark-") as temporary:
        yield Path(temporary)


def link_photos(target: Path, root: Path, photos: Sequence[Path]) -> Path:
    """Make a folder that holds only these photos, without copying where the system can link.

    Args:
        target: the folder to make.
        root: what the photos' paths are taken relative to.
        photos: the files.

    Returns:
        The folder made.
    """
    shutil.rmtree(target, ignore_errors=True)
    for photo in photos:
        link = target / photo.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(photo, link)
        except OSError:
            shutil.copyfile(photo, link)
    return target


def train_on(photos: Path) -> Measurement:
    """Run `clownfish train` with an empty cache."""
    with tempfile.TemporaryDirectory(prefix="clownfish-benchmark-") as folder:
        command = [find_clownfish(), "train", str(photos), "--out", str(Path(folder, "run"))]
        try:
            return run_measured(command, {"CLOWNFISH_CACHE": str(Path(folder, "cache"))})
        except JobFailedError as error:
            sys.exit(f"clownfish failed: {error}")


def make_section(
    sizes: Sequence[int], measurements: Sequence[Measurement], *, num_classes: int, mean_bytes: float
) -> str:
    """Write the results down.

    Args:
        sizes: numbers of photos.
        measurements: one a size.
        num_classes: of the photos.
        mean_bytes: of the files.

    Returns:
        Markdown.
    """
    reference = sizes.index(REFERENCE) if REFERENCE in sizes else len(sizes) // 2
    reference_time = measurements[reference].wall_seconds / sizes[reference]
    rows = []
    for size, done in zip(sizes, measurements, strict=True):
        time = done.wall_seconds / size
        rows.append(
            [
                f"{size:,}",
                show_number(done.wall_seconds),
                show_number(1000 * time, 2),
                f"{time / reference_time - 1:+.0%}",
                show_number(done.cpu_seconds),
                show_megabytes(done.largest_process_bytes),
                show_megabytes(done.all_processes_bytes),
                show_share(done.others_share),
            ]
        )
    compared = f"ms a photo, against {sizes[reference]:,}"
    header = ["photos", "wall s", "ms a photo", compared, "CPU s", "largest process MB", "all MB", "others' load"]
    return "\n\n".join(
        [
            "## Growth: `clownfish train` on ever more photos",
            make_table(header, rows),
            f"{num_classes} classes, JPEGs of {PHOTO_SIZE[0]} x {PHOTO_SIZE[1]} pixels and {mean_bytes / 1000:.0f} kB,"
            " one run each, nothing cached before.",
            describe_conditions(["clownfish", "onnxruntime", "numpy", "scipy", "pillow"]),
        ]
    )


if __name__ == "__main__":
    main()
