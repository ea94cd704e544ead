"""Fine-tuning in a run: what is kept, what is said, and that nothing is lost."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from clownfish.config import TrainConfig
from clownfish.errors import ConfigError, ModelFileError, OutputError
from clownfish.evaluation.paired import PairedTest
from clownfish.pipeline import fine_tuning
from clownfish.pipeline.fine_tuning import check_options, check_parity, describe_choice

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="fine-tuning needs the extra 'finetune'"
)


def make_test(low: float, high: float) -> PairedTest:
    return PairedTest(
        num_photos=1252,
        num_groups=600,
        only_first=10,
        only_second=20,
        difference=(low + high) / 2,
        low=low,
        high=high,
        p_value=0.1,
    )


def test_better_beyond_chance_is_kept() -> None:
    sentence = describe_choice(make_test(0.012, 0.05))
    assert sentence == "Fine-tuning was kept: +3.1 points (1.2 to 5.0) on 1,252 photos that neither had seen."


def test_what_may_be_chance_is_not_kept() -> None:
    sentence = describe_choice(make_test(-0.009, 0.017))
    assert sentence == (
        "Fine-tuning is not better: +0.4 points (-0.9 to 1.7) on 1,252 photos that neither had seen; kept the simpler"
        " model."
    )


def test_pytorch_and_onnx_may_differ_by_a_ten_thousandth() -> None:
    assert check_parity(np.array([[0.5, 0.5]]), np.array([[0.50005, 0.49995]])) == pytest.approx(5e-5)
    assert check_parity(np.empty((0, 2)), np.empty((0, 2))) == 0.0


@pytest.mark.parametrize("found", [0.5002, float("nan")])
def test_a_larger_difference_stops_the_run(found: float) -> None:
    with pytest.raises(ModelFileError, match=r"differs between PyTorch and ONNX by .* more than the 0.0001 allowed"):
        check_parity(np.array([[0.5, 0.5]]), np.array([[found, 0.5]]))


def test_features_of_the_last_layer_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--feature-set is last_layer. Leave one of the two out"):
        check_options(TrainConfig().change({"feature_set": "last_layer"}))


def test_a_second_run_of_the_same_work_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with (
        FileLock(tmp_path / "work.lock"),
        pytest.raises(OutputError, match="Another run fine-tunes the same photos"),
        fine_tuning._lock(folder),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(OutputError, match=r"Permission denied. Choose another place with --model-dir"),
        fine_tuning._lock(tmp_path / "work"),
    ):
        pass
