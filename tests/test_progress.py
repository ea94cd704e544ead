"""What stands behind a bar."""

import io

import pytest
import rich.console

from clownfish.progress import BarProgress, NoProgress, describe_epoch


@pytest.mark.parametrize(
    ("loss", "accuracy", "text"),
    [
        (0.3124, 0.918, "loss 0.312, 92 % right"),
        (None, 0.5, ""),
        (0.5, None, ""),
        (float("nan"), 0.5, ""),
        (0.5, float("nan"), ""),
    ],
)
def test_an_epoch_is_told_in_a_few_words(loss: float | None, accuracy: float | None, text: str) -> None:
    assert describe_epoch(loss, accuracy) == text


def test_the_bar_shows_the_last_text(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    make = rich.console.Console
    monkeypatch.setattr(
        "rich.console.Console", lambda **_: make(file=written, force_terminal=True, width=120, color_system=None)
    )
    with BarProgress().show_stage("Tuning folds", 3) as advance:
        advance("fold 1 of 3, loss 0.312, 92 % right")
        advance()
    last = written.getvalue()
    assert "Tuning folds" in last
    assert "2/3" in last
    assert "fold 1 of 3, loss 0.312, 92 % right" in last


def test_without_a_bar_texts_are_taken_too() -> None:
    with NoProgress().show_stage("Tuning", None) as advance:
        advance("loss 0.3")
        advance()
