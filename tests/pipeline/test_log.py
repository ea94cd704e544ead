import json
from datetime import datetime

import pytest

from clownfish.pipeline.log import RunLog


def test_stages_and_events_become_lines() -> None:
    log = RunLog()
    with log.time_stage("scan"):
        log.add("photos found", num_photos=3, skipped={".txt": 1})
    log.add("message", text="été 🐠\nsecond line")
    lines = log.format().decode().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["stage started", "photos found", "stage done", "message"]
    assert events[1]["skipped"] == {".txt": 1}
    assert events[2]["stage"] == "scan" and events[2]["seconds"] >= 0
    assert events[3]["text"] == "été 🐠\nsecond line"
    assert "été 🐠" in lines[3]
    assert all(datetime.fromisoformat(event["time"]).tzinfo for event in events)


def test_seconds_of_a_repeated_stage_add_up() -> None:
    log = RunLog()
    for _ in range(2):
        with log.time_stage("report"):
            pass
    with log.time_stage("export"):
        pass
    seconds = log.summarise_seconds()
    assert list(seconds) == ["report", "export", "total"]
    assert seconds["report"] + seconds["export"] <= seconds["total"]


def test_failing_stage_is_not_marked_as_done() -> None:
    log = RunLog()
    with pytest.raises(ValueError, match="no"), log.time_stage("train"):
        raise ValueError("no")
    assert b"stage done" not in log.format()
    assert list(log.summarise_seconds()) == ["total"]


def test_names_that_are_no_text_are_escaped() -> None:
    log = RunLog()
    log.add("message", text="caf\udce9")
    assert b"caf\\udce9" in log.format()


def test_time_of_the_run_has_a_zone() -> None:
    assert datetime.fromisoformat(RunLog().created).tzinfo
