from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clownfish.backbones import BACKBONES
from clownfish.config import TrainConfig, format_config, read_config
from clownfish.errors import ConfigError
from clownfish.images import RESIZES

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "place": TEXT,
        "folder": TEXT,
        "group_by": TEXT,
        "group_regex": TEXT,
        "min_photos": st.sampled_from([0, 3, 50]),
        "shares": st.sampled_from(["80/10/10", "70/0/30", "33.3/33.3/33.4"]),
        "split_column": TEXT,
        "backbone": st.sampled_from(sorted(BACKBONES)),
        "feature_set": st.sampled_from(["all_stages", "last_layer"]),
        "weights": TEXT,
        "resize": st.sampled_from(RESIZES),
        "augment": st.booleans(),
        "epochs": st.integers(1, 10_000),
        "batch_size": st.integers(1, 1_000_000),
        "learning_rate": st.floats(1e-9, 1e3),
        "momentum": st.floats(0, 0.999),
        "dropout_rate": st.floats(0, 0.95),
        "weight_decay": st.none() | st.floats(0, 1e6),
        "patience": st.integers(1, 10_000),
        "balance": st.booleans(),
        "seed": st.integers(0, 2**63 - 1),
        "max_error": st.floats(0.001, 0.999),
        "fine_tune": st.booleans(),
        "fine_tune_stages": st.integers(1, 7),
        "fine_tune_epochs": st.integers(1, 10_000),
        "fine_tune_learning_rate": st.floats(1e-9, 10),
        "fine_tune_optimizer": st.sampled_from(["adamw", "sgd"]),
        "fine_tune_momentum": st.floats(0, 0.999),
        "fine_tune_mix": st.floats(0.01, 1),
        "warmup_steps": st.integers(0, 1_000_000),
        "label_smoothing": st.floats(0, 0.9),
        "mixup": st.floats(0, 10),
        "flip": st.booleans(),
        "device": st.sampled_from(["auto", "cpu", "cuda", "mps"]),
        "time_limit": st.sampled_from(["", "90s", "10m", "1.5h", "20"]),
        "model_dir": TEXT,
        "tune": st.sampled_from([0, 2, 1000]),
        "find_learning_rate": st.booleans(),
        "log": st.sampled_from(["", "tensorboard", "mlflow"]),
        "log_dir": TEXT,
    },
)


@given(OPTIONS)
def test_config_reads_back_as_written(tmp_path: Path, options: dict[str, Any]) -> None:
    if options.get("split_column"):
        options.pop("shares", None)
    config = TrainConfig().change(options)
    path = tmp_path / "config.toml"
    path.write_bytes(format_config(config))
    assert read_config(path) == config
    flat = config.flatten()
    assert {name: flat[name] for name in options} == options


def test_every_option_is_in_the_round_trip() -> None:
    assert set(TrainConfig().flatten()) == {
        *("place", "folder", "group_by", "group_regex", "min_photos", "shares", "split_column", "backbone"),
        *("feature_set", "weights", "resize", "augment", "epochs", "batch_size", "learning_rate", "momentum"),
        *("dropout_rate", "weight_decay", "patience", "balance", "seed", "fast", "max_error", "corrections"),
        *("fine_tune", "fine_tune_stages", "fine_tune_epochs", "fine_tune_learning_rate", "fine_tune_optimizer"),
        *(
            "fine_tune_mix",
            "fine_tune_momentum",
            "warmup_steps",
            "label_smoothing",
            "mixup",
            "flip",
            "device",
            "time_limit",
            "model_dir",
        ),
        *("tune", "find_learning_rate", "log", "log_dir"),
    }


def test_config_says_how_to_repeat_the_run() -> None:
    text = format_config(TrainConfig()).decode()
    assert text.startswith("# Every option of this run. Repeat it: clownfish train --config THIS_FILE\n")
    assert [line for line in text.splitlines() if line.startswith("[")] == [
        "[photos]",
        "[split]",
        "[features]",
        "[training]",
        "[fine_tuning]",
        "[examination]",
        "[answering]",
        "[search]",
        "[logging]",
    ]


def test_change_leaves_the_original_alone() -> None:
    config = TrainConfig()
    assert config.change({"epochs": 3}).training.epochs == 3
    assert config.training.epochs == 20


def test_whole_number_serves_as_a_number() -> None:
    config = TrainConfig().change({"learning_rate": 1, "weight_decay": 0})
    assert (config.training.learning_rate, config.training.weight_decay) == (1.0, 0.0)


@pytest.mark.parametrize("text", ["5%", "5 %", " 0.05", 0.05])
def test_budget_of_errors_may_be_per_cent(text: str | float) -> None:
    assert TrainConfig().change({"max_error": text}).answering.max_error == 0.05


def test_weight_decay_goes_back_to_being_chosen() -> None:
    config = TrainConfig().change({"weight_decay": 0.5})
    assert config.change({"weight_decay": "auto"}).training.weight_decay is None
    assert config.change({"weight_decay": None}).training.weight_decay is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 3}, "There is no option 'epoch'. Did you mean 'epochs'?"),
        (
            {"zzz": 3},
            "There is no option 'zzz'. Known: augment, backbone, balance, batch_size, corrections, device, ",
        ),
        ({"epochs": 2.5}, "The option epochs is 2.5; it must be a whole number."),
        ({"epochs": True}, "The option epochs is True; it must be a whole number."),
        ({"epochs": "20"}, "The option epochs is '20'; it must be a whole number."),
        ({"learning_rate": "fast"}, "The option learning_rate is 'fast'; it must be a number."),
        ({"weight_decay": True}, "The option weight_decay is True; it must be a number."),
        ({"balance": 1}, "The option balance is 1; it must be true or false."),
        ({"place": 5}, "The option place is 5; it must be text."),
        (
            {"place": "caf\udce9"},
            "The option place is 'caf\\udce9', which is not valid text (UTF-8). Give another name.",
        ),
        ({"epochs": 0}, "epochs is 0; it must be from 1 to 10,000."),
        ({"batch_size": 0}, "batch_size is 0; it must be from 1 to 1,000,000."),
        ({"learning_rate": 0}, "learning_rate is 0.0; it must be from 0.000000001 to 1,000."),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it must be from 0.000000001 to 1,000."),
        ({"momentum": 1}, "momentum is 1.0; it must be from 0 to 0.999."),
        ({"dropout_rate": 1}, "dropout_rate is 1.0; it must be from 0 to 0.95."),
        ({"patience": 0}, "patience is 0; it must be from 1 to 10,000."),
        ({"seed": -1}, "seed is -1; it must be a whole number from 0 to 9,223,372,036,854,775,807."),
        ({"weight_decay": -1}, "weight_decay is -1.0; it must be from 0 to 1,000,000, or left out."),
        ({"weight_decay": float("inf")}, "weight_decay is inf; it must be from 0 to 1,000,000, or left out."),
        ({"max_error": "none"}, "max_error is none; it must be the share of wrong answers that you accept, above 0"),
        ({"max_error": 0}, "max_error is 0.0; it must be the share of wrong answers that you accept, above 0"),
        ({"max_error": "100%"}, "max_error is 100%; it must be the share of wrong answers that you accept, above 0"),
        ({"max_error": True}, "The option max_error is True; it must be a number."),
        ({"min_photos": 2}, "min_photos is 2; it must be at least 3 (or 0 for no limit)."),
        ({"min_photos": -1}, "min_photos is -1; it must be at least 3 (or 0 for no limit)."),
        ({"shares": "80/20"}, "The split '80/20' is not understood. Give three per cents that sum to 100, "),
        (
            {"backbone": "vgg"},
            "There is no backbone 'vgg'. Choose one of: efficientnet_lite0, efficientnet_lite1, efficientnet_lite2,"
            " mobilenetv2, resnet50, or a model of timm, such as timm:convnextv2_atto.",
        ),
        ({"feature_set": "all"}, "There is no feature_set 'all'. Choose one of: all_stages, last_layer."),
        ({"resize": "squash"}, "There is no resize 'squash'. Choose one of: stretch, crop, pad."),
    ],
)
def test_impossible_option_is_explained(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig().change(options)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epochs = ", "is not valid TOML: "),
        (b"\xff\xff", "is not valid TOML: "),
        (b"[training]\nepochs = " + b"9" * 5_000, "is not valid TOML: "),
        (b"[training]\nepochs = " + b"[" * 100_000, "is not valid TOML: "),
        (
            b"[trainig]\nepochs = 3",
            "has an unknown table [trainig]. Known: photos, split, features, training, fine_tuning,"
            " examination, answering, search, logging.",
        ),
        (b"training = 3", "sets training = 3; it must be a table [training]."),
        (
            b"[training]\nepoch = 3",
            "config.toml, table [training]: There is no option 'epoch'. Did you mean 'epochs'?",
        ),
        (b"[training]\nepochs = 0", "config.toml, table [training]: epochs is 0; it must be from 1 to 10,000."),
        (
            b"[training]\nepochs = 'many'",
            "config.toml, table [training]: The option epochs is 'many'; it must be a whole number.",
        ),
        (
            b"[photos]\nepochs = 3",
            "config.toml, table [photos]: The option 'epochs' belongs into the table [training]. Move it there.",
        ),
        (
            b"[split]\nshares = '70/15/15'\nsplit_column = 'part'",
            "config.toml, table [split]: The photos cannot be divided by shares (70/15/15) and by the column 'part' at",
        ),
    ],
)
def test_impossible_file_is_explained(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_config(path)
    assert message in str(error.value)


def test_shares_beside_a_column_that_divides_are_refused() -> None:
    message = (
        "The photos cannot be divided by shares (80/10/10) and by the column 'part' at once. Leave out --split, or"
        " --split-column (in a config.toml: shares or split_column)."
    )
    with pytest.raises(ConfigError) as error:
        TrainConfig().change({"shares": "80/10/10", "split_column": "part"})
    assert str(error.value) == message
    by_column = TrainConfig().change({"split_column": "part"})
    with pytest.raises(ConfigError, match=r"by shares \(70/15/15\) and by the column 'part' at once"):
        by_column.change({"shares": "70/15/15"})
    assert by_column.change({"split_column": "", "shares": "70/15/15"}).split.shares == "70/15/15"
    by_shares = TrainConfig().change({"shares": "70/15/15", "split_column": ""})
    assert by_shares.change({"split_column": "part"}) == by_column


def test_file_that_is_absent_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The config file .*none\.toml cannot be read: No such file or directory\."):
        read_config(tmp_path / "none.toml")


def test_file_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbf[training]\r\nepochs = 3\r\n")
    assert read_config(tmp_path / "config.toml") == TrainConfig().change({"epochs": 3})
