"""How near does `extract_features` come to what decoding and the network alone would allow?

The bound is 1 / (decoding seconds a photo + network seconds a photo), each measured alone in the same
run with all cores busy: what a program reaches that does both for every photo and nothing else.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clownfish.backbones import load_backbone
from clownfish.errors import UnusablePhotoError
from clownfish.features.cache import FeatureCache
from clownfish.features.extract import extract_features, make_session
from clownfish.images import PHOTO_EXTENSIONS, Preprocessing, decode_photo
from clownfish.records import Backbone, PhotoFile
from measuring import read_own_seconds, show_share, wait_for_calm, watch_others
from results import count_cores, describe_conditions, make_table, publish, report_progress, show_number
from synthetic_photos import load_sources, make_photos

MADE = {"640": ((640, 480), 400), "12MP": ((4000, 3000), 120)}
"""Name to size in pixels and default number."""
NUM_READY_PICTURES = 32
"""The network's time does not depend on what it sees."""
NUM_NETWORK_RUNS = 200
ENDS_SHARE = 0.1
"""The first and the last tenth of the photos are left out of the steady state."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one thing goes."""

    photos_a_second: float
    """With all cores together."""
    cpu_seconds: float
    """Processor seconds a photo."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One round of measurements on one set of photos."""

    decoding: Speed
    network: Speed
    achieved: Speed
    """Of `extract_features`, once it runs."""
    whole: float
    """Photos a second of `extract_features` with start and end."""
    startup_seconds: float
    """What start and end take beyond the steady state."""
    others_share: float

    @property
    def bound(self) -> float:
        """Photos a second."""
        return 1 / (1 / self.decoding.photos_a_second + 1 / self.network.photos_a_second)

    @property
    def cpu_share(self) -> float:
        """Processor time that the bound needs, as a share of what was used; other programs hardly disturb it."""
        return (self.decoding.cpu_seconds + self.network.cpu_seconds) / self.achieved.cpu_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoSet:
    """Photos to measure with."""

    name: str
    paths: list[Path]

    def describe(self) -> str:
        """Name, number and mean size of the files."""
        mean = statistics.mean(path.stat().st_size for path in self.paths)
        return f"{self.name}: {len(self.paths)} x {mean / 1000:,.0f} kB"


def main() -> None:
    """Measure every set of photos, print the table."""
    options = read_options()
    backbone = load_backbone(options.backbone)
    with tempfile.TemporaryDirectory(prefix="clownfish-benchmark-") as folder:
        photo_sets = [find_photos(place, options.number) for place in options.photos]
        photo_sets += [make_photo_set(name, Path(folder, name), options) for name in options.make]
        results = []
        for photo_set in photo_sets:
            rounds = [measure_round(photo_set, backbone, calm=options.calm) for _ in range(options.rounds)]
            results.append((photo_set, rounds))
            report_progress(f"{photo_set.describe()}: {find_achieved_share(rounds):.0%} of the bound")
        publish("features", make_section(results, backbone), write=options.write)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path, help="folders of photos")
    parser.add_argument(
        "--make", action="append", default=[], choices=sorted(MADE), help="measure with made photos too"
    )
    parser.add_argument("--number", type=int, help="photos a set (default: all; made: 400 of 640 px, 120 of 12 MP)")
    parser.add_argument("--from", dest="source", type=Path, help="photos to make others from (default: scikit-learn's)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--calm", action="store_true", help="before each round, wait until no other program is busy")
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    options = parser.parse_args()
    if not options.photos and not options.make:
        parser.error("give a folder of photos, or --make 640, or --make 12MP")
    return options


def find_photos(folder: Path, number: int | None) -> PhotoSet:
    """Take the photos of a folder, or a number of them spread over it."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_EXTENSIONS)
    if not paths:
        raise SystemExit(f"There is no photo in {folder}.")
    step = max(1, len(paths) // (number or len(paths)))
    return PhotoSet(name=folder.resolve().name, paths=paths[::step][:number])


def make_photo_set(name: str, folder: Path, options: argparse.Namespace) -> PhotoSet:
    """Make photos of a size."""
    size, number = MADE[name]
    number = options.number or number
    report_progress(f"making {number} photos of {size[0]} x {size[1]} pixels ...")
    paths = make_photos(folder, load_sources(options.source), number, size)
    return PhotoSet(name=f"made, {size[0]} x {size[1]}", paths=paths)


def measure_round(photo_set: PhotoSet, backbone: Backbone, *, calm: bool = False) -> Round:
    """Measure decoding alone, the network alone, and `extract_features`.

    Args:
        photo_set: the photos.
        backbone: the network.
        calm: wait until no other program is busy.

    Returns:
        The round.
    """
    if calm:
        wait_for_calm()
    preprocessing = Preprocessing(size=backbone.input_size)
    paths = photo_set.paths
    few = paths[: count_cores()]
    with watch_others() as load:
        decoding = measure_decoding(paths, preprocessing)
        network = measure_network(paths, backbone, preprocessing)
        startup_cpu, _, _ = run_extraction(few, backbone, preprocessing)
        cpu, total, done_at = run_extraction(paths, backbone, preprocessing)
    skipped = min(max(int(len(paths) * ENDS_SHARE), 2 * count_cores()), len(paths) // 3)
    steady = (len(paths) - 1 - 2 * skipped) / (done_at[-1 - skipped] - done_at[skipped])
    return Round(
        decoding=decoding,
        network=network,
        achieved=Speed(steady, (cpu - startup_cpu) / (len(paths) - len(few))),
        whole=len(paths) / total,
        startup_seconds=total - len(paths) / steady,
        others_share=load.share,
    )


def measure_decoding(paths: Sequence[Path], preprocessing: Preprocessing) -> Speed:
    """Decode from bytes in memory, one process a core."""
    context = multiprocessing.get_context("spawn")
    num_processes = min(count_cores(), len(paths))
    barrier, speeds = context.Barrier(num_processes), context.Queue()
    processes = [
        context.Process(target=_decode_share, args=(paths[start::num_processes], preprocessing, barrier, speeds))
        for start in range(num_processes)
    ]
    for process in processes:
        process.start()
    total = add_speeds([speeds.get(timeout=600) for _ in processes])
    for process in processes:
        process.join()
    return total


def add_speeds(speeds: Sequence[Speed]) -> Speed:
    """Combine the speeds of things that run side by side."""
    return Speed(sum(speed.photos_a_second for speed in speeds), statistics.mean(speed.cpu_seconds for speed in speeds))


def _decode_share(
    paths: Sequence[Path], preprocessing: Preprocessing, barrier: Barrier, speeds: "Queue[Speed]"
) -> None:
    contents = [path.read_bytes() for path in paths]
    _decode(contents[0], preprocessing)
    barrier.wait()
    start, cpu_start = time.perf_counter(), time.process_time()
    for content in contents:
        _decode(content, preprocessing)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    speeds.put(Speed(len(contents) / wall, cpu / len(contents)))


def _decode(content: bytes, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    try:
        return decode_photo(content, preprocessing).pixels
    except UnusablePhotoError:  # it took its time all the same
        return np.zeros((preprocessing.size, preprocessing.size, 3), np.uint8)


def measure_network(paths: Sequence[Path], backbone: Backbone, preprocessing: Preprocessing) -> Speed:
    """Run the network on ready pixels, one photo at a time, one thread a core."""
    session = make_session(backbone.onnx)
    pictures = [_decode(path.read_bytes(), preprocessing)[None] for path in paths[:NUM_READY_PICTURES]]

    def run_share() -> Speed:
        session.run(["features"], {"image": pictures[0]})
        barrier.wait()
        start, cpu_start = time.perf_counter(), time.thread_time()
        for number in range(NUM_NETWORK_RUNS):
            session.run(["features"], {"image": pictures[number % len(pictures)]})
        wall, cpu = time.perf_counter() - start, time.thread_time() - cpu_start
        return Speed(NUM_NETWORK_RUNS / wall, cpu / NUM_NETWORK_RUNS)

    barrier = threading.Barrier(count_cores())
    with ThreadPoolExecutor(count_cores()) as pool:
        return add_speeds([running.result() for running in [pool.submit(run_share) for _ in range(count_cores())]])


def run_extraction(
    paths: Sequence[Path], backbone: Backbone, preprocessing: Preprocessing
) -> tuple[float, float, list[float]]:
    """Run `extract_features` with an empty cache.

    Args:
        paths: the photos.
        backbone: the network.
        preprocessing: how photos become its input.

    Returns:
        Processor seconds (helpers included), seconds it took, and when each photo was done.
    """
    photos = [PhotoFile(file=path.name, path=str(path), label="") for path in paths]
    done_at: list[float] = []
    with tempfile.TemporaryDirectory(prefix="clownfish-benchmark-") as folder:
        cache = FeatureCache(Path(folder))
        cpu_start, start = read_own_seconds(), time.perf_counter()
        extract_features(photos, backbone, preprocessing, cache, on_photo=lambda: done_at.append(time.perf_counter()))
        total, cpu = time.perf_counter() - start, read_own_seconds() - cpu_start
        cache.close()
    return cpu, total, done_at


def make_section(results: Sequence[tuple[PhotoSet, Sequence[Round]]], backbone: Backbone) -> str:
    """Write the results down as Markdown."""
    header = [
        "photos",
        "decoding alone, photos/s",
        "network alone, photos/s",
        "bound, photos/s",
        "achieved, photos/s",
        "of the bound",
        "of the bound, by CPU time",
        "with startup, photos/s",
        "of the bound",
        "startup s",
        "others' load",
    ]
    num_rounds = len(results[0][1])
    return "\n\n".join(
        [
            "## Features: how near to the bound",
            make_table(header, [make_row(photo_set, rounds) for photo_set, rounds in results]),
            f"Medians of {num_rounds} rounds, shares are medians of each round's share; {backbone.name},"
            f" {backbone.num_features:,} numbers a photo, nothing cached before. bound = 1 / (1 / decoding + 1 /"
            f" network), all of it on all cores. Others' load: the most that other programs took of the processors.",
            describe_conditions(["clownfish", "onnxruntime", "numpy", "pillow"]),
        ]
    )


def make_row(photo_set: PhotoSet, rounds: Sequence[Round]) -> list[str]:
    """One row of the table."""
    medians = [
        statistics.median(values)
        for values in zip(
            *[
                (one.decoding.photos_a_second, one.network.photos_a_second, one.bound, one.achieved.photos_a_second)
                for one in rounds
            ],
            strict=True,
        )
    ]
    return [
        photo_set.describe(),
        *map(show_number, medians),
        show_share(find_achieved_share(rounds)),
        show_share(statistics.median(one.cpu_share for one in rounds)),
        show_number(statistics.median(one.whole for one in rounds)),
        show_share(statistics.median(one.whole / one.bound for one in rounds)),
        show_number(statistics.median(one.startup_seconds for one in rounds), 2),
        show_share(max(one.others_share for one in rounds)),
    ]


def find_achieved_share(rounds: Sequence[Round]) -> float:
    """Median of each round's share of its bound."""
    return statistics.median(one.achieved.photos_a_second / one.bound for one in rounds)


if __name__ == "__main__":
    main()
