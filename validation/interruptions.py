"""Does fine-tuning come to the same numbers when it is killed again and again?

    python -m validation.interruptions PHOTOS [--times 20] [further options of clownfish train]

Needs clownfish[finetune]. One run goes through; another, with the same command and a cache of its own, is killed
(SIGKILL on POSIX) with all its processes at random moments of its fine-tuning, and started again each time. At the
end metrics.json, apart from times, and model.onnx, apart from its date, must be the same to the bit.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import onnx

from validation.common import print_table

_TIMES = ("seconds",)
"""Keys of metrics.json, at any depth, that no two runs share."""
_START_SECONDS = 8.0
"""So long the process that fine-tunes takes until it learns, about."""


def main() -> None:
    """Compare a run with one that was interrupted."""
    options = read_options()
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="clownfish-validation-") as temporary:
        folder = Path(temporary)
        whole = Attempt(options, folder, "whole")
        whole.start()
        seconds = whole.wait()
        broken = Attempt(options, folder, "broken")
        moments, points = 0, []
        while moments < options.times:
            broken.start()
            # some attempts are killed before they learn, but on average they have to get on
            latest = _START_SECONDS + seconds / options.times
            if not broken.kill_after(generator.uniform(0.0, latest), points):
                break
            moments += 1
        if broken.is_running or not (broken.run / "metrics.json").exists():
            broken.start()
            broken.wait()
        same_metrics = whole.read_metrics() == broken.read_metrics()
        same_model = whole.read_model() == broken.read_model()
        print_table(
            f"{options.photos.name}: fine-tuning killed {moments} times",
            [
                ("seconds without interruption", f"{seconds:.0f}", ""),
                ("killed after so many epochs", ", ".join(map(str, points)), ""),
                ("same metrics.json", str(same_metrics), "True"),
                ("same model.onnx, but for its date", str(same_model), "True"),
            ],
        )
    sys.exit(0 if same_metrics and same_model and moments == options.times else 1)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder with one folder a class")
    parser.add_argument("--times", type=int, default=20, help="how often to kill it")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    options, further = parser.parse_known_args()
    options.further = further
    return options


class Attempt:
    """A run under way, or over."""

    def __init__(self, options: argparse.Namespace, folder: Path, name: str) -> None:
        self.run, self._cache = folder / name / "run", folder / name / "cache"
        self._checkpoints = folder / name / "checkpoints"
        self._command = [sys.executable, "-m", "clownfish", "train", str(options.photos), "--fine-tune", "--quiet"]
        self._command += ["--out", str(self.run), "--model-dir", str(self._checkpoints), *options.further]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        environment = {**os.environ, "CLOWNFISH_CACHE": str(self._cache)}
        self._process = subprocess.Popen(self._command, env=environment, start_new_session=True)

    def wait(self) -> float:
        """Wait for its end; returns how long it fine-tuned, in seconds."""
        assert self._process is not None
        if self._process.wait():
            sys.exit("clownfish failed; see above")
        return float(json.loads((self.run / "metrics.json").read_bytes())["seconds"]["fine-tune"])

    def kill_after(self, seconds: float, points: list[int]) -> bool:
        """Kill it so long after its fine-tuning has begun; False if it was done before."""
        assert self._process is not None
        known = self._find_newest()
        while self.is_running and self._find_newest() == known:  # a new attempt first writes its plan anew
            time.sleep(0.02)
        end = time.monotonic() + seconds
        while self.is_running and time.monotonic() < end:
            time.sleep(0.02)
        if not self.is_running:
            return False
        points.append(self._count_epochs())
        if os.name == "posix":
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()
        return True

    def _find_newest(self) -> int:
        """When the folder of the checkpoints was last changed, in nanoseconds."""
        times = [0]
        for path in self._checkpoints.rglob("*.*"):
            with contextlib.suppress(OSError):  # it may be a file that is just being replaced
                times.append(path.stat().st_mtime_ns)
        return max(times)

    def _count_epochs(self) -> int:
        """Epochs of all fits together that are stored."""
        done: dict[Path, int] = {}
        for path in self._checkpoints.rglob("epoch-*.json"):
            done[path.parent] = max(done.get(path.parent, 0), int(path.name[6:11]))
        return sum(done.values())

    def read_metrics(self) -> Any:
        return _drop_times(json.loads((self.run / "metrics.json").read_bytes()))

    def read_model(self) -> bytes:
        model = onnx.load(self.run / "model.onnx")
        kept = [entry for entry in model.metadata_props if entry.key != "created"]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        return bytes(model.SerializeToString(deterministic=True))


def _drop_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _drop_times(own) for key, own in value.items() if key not in _TIMES}
    return [_drop_times(own) for own in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
