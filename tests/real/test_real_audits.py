"""What the audit must say, and must not say, of real photos."""

import os
from pathlib import Path

import pytest

import clownfish

DATA = Path(os.environ.get("CLOWNFISH_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
SETS = ("course-fish", "monkeys10", "carabid-beetles")

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((DATA / name).is_dir() for name in SETS), reason=f"no photo sets in {DATA} (set CLOWNFISH_TEST_DATA)"
    ),
]


@pytest.fixture(autouse=True)
def _keep_cache_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_CACHE", str(tmp_path / "cache"))


def test_fish_that_lie_upside_down_are_named() -> None:
    audit = clownfish.audit(DATA / "course-fish", quiet=True)
    (found,) = audit.metrics["shortcuts"]["orientation"]["upside_down"]
    assert found["label"] == "striped_bass"
    assert sum("vertical-flip_" in file for file in found["examples"]) >= 9
    (copies,) = audit.metrics["shortcuts"]["flipped_copies"]
    assert (copies["label"], copies["num_pairs"]) == ("striped_bass", 5)
    assert audit.metrics["shortcuts"]["words"][0]["word"] == "vertical-flip"


def test_clean_photos_are_left_alone() -> None:
    audit = clownfish.audit(DATA / "monkeys10", quiet=True)
    assert audit.metrics["shortcuts"]["found"] == 0
    assert audit.metrics["label_errors"]["num_listed"] == 0
    assert audit.metrics["label_errors"]["self_test"]["recall"] >= 0.85


def test_beetles_that_were_swapped_are_listed() -> None:
    audit = clownfish.audit(DATA / "carabid-beetles", quiet=True)
    listed = {row["file"]: row["suggested"] for row in audit.metrics["label_errors"]["suspicious"]}
    assert listed["Carabus_nemoralis_nemoralis/JPGImagesTREE_01_VENTRAL.5.jpg"] == "Synuchus_impunctatus"
    assert listed["Synuchus_impunctatus/JPGImagesTREE_01_VENTRAL.6.jpg"] == "Carabus_nemoralis_nemoralis"
    assert len(listed) <= 15
    assert any(probe["name"] == "size" and probe["found"] for probe in audit.metrics["shortcuts"]["probes"])
