"""The options of fine-tuning, and what they may be."""

import re
from dataclasses import dataclass

from clownfish.errors import ConfigError

NUM_STAGES = 7
OPTIMIZERS = ("adamw", "sgd")
DEVICES = ("auto", "cpu", "cuda", "mps")
_TIME_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuningOptions:
    """Whether and how the network's own weights learn too."""

    fine_tune: bool = False
    fine_tune_stages: int = NUM_STAGES
    """How many of the network's stages learn, from the top; 7 for the whole network."""
    fine_tune_epochs: int = 6
    fine_tune_learning_rate: float = 3e-4
    """Of the layer on top; each stage further down learns with a smaller one."""
    fine_tune_optimizer: str = "adamw"
    fine_tune_momentum: float = 0.9
    warmup_steps: int = 20
    """Steps in which the learning rate rises to its full size."""
    fine_tune_mix: float = 0.5
    """How far the weights go from where they start to where fine-tuning leads: 1 for all the way."""
    label_smoothing: float = 0.05
    mixup: float = 0.4
    """How strongly pairs of photos are mixed: alpha of the beta distribution; 0 for not at all."""
    flip: bool = True
    """Show mirrored photos too."""
    device: str = "auto"
    """What computes: cpu, cuda (NVIDIA), mps (Apple), or auto for the quickest that there is."""
    time_limit: str = ""
    """Such as 10m: fewer epochs where more would take longer; "" for no limit."""
    model_dir: str = ""
    """Where checkpoints are kept while it lasts; "" for the cache folder."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a value is out of its range.
        """
        limits: tuple[tuple[str, float, float, str], ...] = (
            ("fine_tune_stages", 1, NUM_STAGES, f"from 1 to {NUM_STAGES}"),
            ("fine_tune_epochs", 1, 10_000, "from 1 to 10,000"),
            ("fine_tune_learning_rate", 1e-9, 10.0, "from 0.000000001 to 10"),
            ("fine_tune_momentum", 0.0, 0.999, "from 0 to 0.999"),
            ("warmup_steps", 0, 1_000_000, "from 0 to 1,000,000"),
            ("fine_tune_mix", 0.01, 1.0, "from 0.01 to 1"),
            ("label_smoothing", 0.0, 0.9, "from 0 to 0.9"),
            ("mixup", 0.0, 10.0, "from 0 to 10"),
        )
        for name, lowest, highest, words in limits:
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ConfigError(f"{name} is {value}; it must be {words}.")
        if self.fine_tune_optimizer not in OPTIMIZERS:
            raise ConfigError(
                f"There is no fine_tune_optimizer {self.fine_tune_optimizer!r}. Choose one of: {', '.join(OPTIMIZERS)}."
            )
        if self.device not in DEVICES:
            raise ConfigError(f"There is no device {self.device!r}. Choose one of: {', '.join(DEVICES)}.")
        parse_time_limit(self.time_limit)

    @property
    def first_stage(self) -> int:
        """The first stage that learns, counted from 0; 0 for the whole network."""
        return NUM_STAGES - self.fine_tune_stages


def parse_time_limit(text: str) -> float | None:
    """Read a duration.

    Args:
        text: a number with s, m or h; minutes without a unit; "" for no limit.

    Returns:
        Seconds, or None.

    Raises:
        ConfigError: it is no duration.
    """
    if not text:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if found is None or float(found[1]) == 0:
        raise ConfigError(f"time_limit is {text!r}; it must be a duration such as 90s, 10m or 1h.")
    return float(found[1]) * _TIME_UNITS[found[2] or "m"]
