import pytest

from clownfish.photos.bursts import find_bursts
from clownfish.records import Inspection


def inspect(taken: str, camera: str = "Canon R5") -> Inspection:
    return Inspection(content_hash="ab", camera=camera, taken=taken)


def test_photos_within_a_minute_make_a_chain() -> None:
    times = ["2024-05-01T10:01:10", "2024-05-01T10:00:00", "2024-05-01T10:00:40.500", "2024-05-01T10:02:11"]
    assert find_bursts([inspect(time) for time in times]) == [(1, 2, 40.5), (2, 0, 29.5)]


def test_other_camera_or_none_is_no_burst() -> None:
    time = "2024-05-01T10:00:00"
    assert find_bursts([inspect(time), inspect(time, "Nikon Z6"), inspect(time, ""), inspect("")]) == []


@pytest.mark.parametrize("time", ["1970-01-01T00:00:10", "2000-01-01T00:05:00", "2024-05-01T00:00:00"])
def test_clock_that_was_not_set_is_no_evidence(time: str) -> None:
    assert find_bursts([inspect(time), inspect(time)]) == []


def test_one_time_for_a_whole_folder_is_no_evidence() -> None:
    stamped = [inspect("2024-05-01T10:00:00") for _ in range(30)]
    real = [inspect("2024-05-02T10:00:00"), inspect("2024-05-02T10:00:02")]
    assert find_bursts([*stamped, *real]) == [(30, 31, 2.0)]


def test_burst_within_one_second_is_found() -> None:
    assert len(find_bursts([inspect("2024-05-01T10:00:00") for _ in range(4)])) == 3
