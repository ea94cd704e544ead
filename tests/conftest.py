"""What every test shares: no cache but its own, nothing random that is not seeded."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# the helper modules beside this file (pictures.py) are importable whatever pytest's import mode is
sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["runs"]  # fixtures: finished training runs and the command line

settings.register_profile(
    "clownfish",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("clownfish")


@pytest.fixture(autouse=True)
def _keep_cache_apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_CACHE", str(tmp_path_factory.mktemp("cache")))
    for name in ("CLOWNFISH_CACHE_GB", "CLOWNFISH_WORKERS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _seed_everything() -> None:
    random.seed(0)
    np.random.seed(0)
