"""What is tried next; Optuna's own work is not tested."""

import importlib.util

import pytest

from clownfish.errors import MissingExtraError
from clownfish.training.search import Range, Search, check_search

RANGES = (
    Range(name="rate", low=1e-3, high=0.1, is_logarithmic=True),
    Range(name="share", low=0.0, high=0.5),
    Range(name="size", low=8, high=64, is_logarithmic=True),
)
needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs the extra 'tune'")


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clownfish.training.search.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        check_search()
    assert str(caught.value) == "--tune needs the extra 'tune'. Install it: pip install 'clownfish[tune]'"


def run_search(seed: int) -> list[dict[str, float]]:
    search = Search(RANGES, {"rate": 0.01, "share": 0.2, "size": 500}, seed=seed)
    tried = []
    for _ in range(25):
        tried.append(search.ask())
        failed = len(tried) == 3
        search.tell(None if failed else (tried[-1]["share"] - 0.4) ** 2)
    return tried


@needs_optuna
def test_it_starts_at_the_start_stays_in_range_and_depends_on_the_seed() -> None:
    tried = run_search(2**63 - 1)
    assert tried[0] == {"rate": 0.01, "share": 0.2, "size": 500}  # outside of the range, which gives way
    assert all(1e-3 <= own["rate"] <= 0.1 and 0 <= own["share"] <= 0.5 and 8 <= own["size"] <= 500 for own in tried)
    assert all(isinstance(own["size"], int) and float(f"{own['rate']:.3g}") == own["rate"] for own in tried)
    assert run_search(2**63 - 1) == tried
    assert run_search(1) != tried


@needs_optuna
def test_it_comes_closer_to_what_is_better() -> None:
    late = [abs(own["share"] - 0.4) for own in run_search(1)[15:]]
    assert sum(late) / len(late) < 0.1
