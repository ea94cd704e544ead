import gc
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from clownfish.compute import (
    Helpers,
    WorkerFailure,
    count_cores,
    limit_matrix_threads,
    run_in_background,
    run_in_threads,
    run_in_workers,
)
from clownfish.errors import WorkerError

HERE = Path(__file__).parent
needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and limits of Linux")


@pytest.fixture(autouse=True)
def _let_workers_find_their_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.syspath_prepend(HERE)


@pytest.fixture(autouse=True)
def _leave_no_process_behind() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    gc.collect()
    left = [child for child in psutil.Process().children(recursive=True) if child not in before]
    assert not [child for child in left if child.status() != psutil.STATUS_ZOMBIE]


def run(items: Any, name: str, **options: Any) -> dict[int, Any]:
    """Outcome by position; what a helper answered, or the failure. Fails if a position comes twice."""
    found: dict[int, Any] = {}
    options.setdefault("finish", lambda item, answer: answer)
    for outcome in run_in_workers(items, function=f"worker_functions:{name}", **options):
        assert outcome.index not in found
        found[outcome.index] = outcome.result
    return found


def make_items(number: int) -> list[dict[str, Any]]:
    return [{"value": value} for value in range(number)]


# --- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [0, 1, 2, 5])
def test_every_item_gets_its_own_outcome(num_workers: int) -> None:
    found = run(make_items(40), "double", num_workers=num_workers)
    assert {index: answer["value"] for index, answer in found.items()} == {index: 2 * index for index in range(40)}


@pytest.mark.parametrize("num_workers", [0, 2, None])
def test_no_items_give_no_outcomes(num_workers: int | None) -> None:
    assert run([], "double", num_workers=num_workers) == {}


def test_no_more_helpers_start_than_there_are_items() -> None:
    found = run(make_items(2), "double", num_workers=8)
    assert os.getpid() not in {answer["pid"] for answer in found.values()} and len(found) == 2


def test_items_are_taken_only_as_needed() -> None:
    taken: list[int] = []

    def make_endless_items() -> Iterator[dict[str, Any]]:
        value = 0
        while True:
            taken.append(value)
            yield {"value": value}
            value += 1

    outcomes = run_in_workers(
        make_endless_items(), function="worker_functions:double", finish=lambda _, answer: answer, num_workers=2
    )
    assert [next(outcomes).result["value"] % 2 for _ in range(5)] == [0] * 5
    outcomes.close()  # type: ignore[attr-defined]
    assert len(taken) < 1000


def test_finish_gets_item_and_answer_in_this_process() -> None:
    def finish(item: Any, answer: Any) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        return item["value"], answer["value"], os.getpid()

    found = run(make_items(6), "double", num_workers=2, finish=finish)
    assert found == {index: (index, 2 * index, os.getpid()) for index in range(6)}


def test_error_in_finish_reaches_the_caller() -> None:
    def fail(item: Any, answer: Any) -> Any:
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        run(make_items(20), "double", num_workers=2, finish=fail)


def test_error_while_making_items_reaches_the_caller() -> None:
    def make_items_and_fail() -> Iterator[dict[str, Any]]:
        yield from make_items(5)
        raise LookupError("the folder went away")

    with pytest.raises(LookupError, match="went away"):
        run(make_items_and_fail(), "double", num_workers=2)


def test_arrays_and_text_travel_both_ways() -> None:
    found = run([{"value": 7}], "make_large_answer", num_workers=1)
    assert found[0]["pixels"].shape == (1_000_000,) and (found[0]["pixels"] == 7).all()
    assert run([{"value": "fiŝo \udcff \n\0"}], "double", num_workers=1)[0]["value"] == "fiŝo \udcff \n\0" * 2


def test_what_a_library_prints_does_not_disturb() -> None:
    found = run(make_items(5), "print_much", num_workers=2)
    assert {index: answer["value"] for index, answer in found.items()} == {index: index for index in range(5)}


# --- helpers that fail ---------------------------------------------------------------------------

FAILURES = {
    "exit": r"^the decoder crashed on it \(exit code 7\)$",
    "quit": r"^the decoder crashed on it \(exit code 3\)$",
    "raise": r"^the decoder crashed on it \(exit code 1\)$",
    "segfault": r"^the decoder crashed on it \(exit code -11\)$",
    "null pointer": r"^the decoder crashed on it \(exit code -11\)$",
    "hang": r"^decoding took longer than 1 seconds$",
    "spin": r"^decoding took longer than 1 seconds$",
    "memory": r"^the decoder crashed on it \(exit code 1\)$",
    "half an answer": r"^the decoder crashed on it \(exit code 0\)$",
}


@needs_linux
@pytest.mark.parametrize("how", FAILURES)
def test_helper_that_fails_costs_its_item_only(how: str) -> None:
    items: list[dict[str, Any]] = make_items(9)
    items[4]["how"] = how
    found = run(items, "misbehave", num_workers=2, timeout_seconds=1.0, memory_bytes=200 << 20)
    assert sorted(found) == list(range(9))
    assert isinstance(found[4], WorkerFailure)
    assert re.search(FAILURES[how], str(found[4]))
    assert all(found[index]["value"] == index for index in range(9) if index != 4)


@needs_linux
def test_all_items_failing_still_give_outcomes() -> None:
    items = [{"value": value, "how": "exit"} for value in range(5)]
    found = run(items, "misbehave", num_workers=2)
    assert sorted(found) == list(range(5))
    assert all(isinstance(answer, WorkerFailure) for answer in found.values())


def test_limit_on_memory_can_be_lifted() -> None:
    found = run([{"value": 1, "how": "memory"}], "misbehave", num_workers=1, memory_bytes=0)
    assert found[0]["value"] == 1


def test_time_spent_finishing_is_not_the_helper_s() -> None:
    def finish_slowly(item: Any, answer: Any) -> Any:
        time.sleep(1.5)  # meanwhile the helper waits with a full pipe
        return answer

    found = run(make_items(2), "make_large_answer", num_workers=1, timeout_seconds=0.7, finish=finish_slowly)
    assert not [answer for answer in found.values() if isinstance(answer, WorkerFailure)]


def test_slow_reader_loses_nothing() -> None:
    num_items = 600  # more than wait in the queue
    outcomes = run_in_workers(
        make_items(num_items),
        function="worker_functions:make_large_answer",
        finish=lambda _, answer: answer if isinstance(answer, WorkerFailure) else answer["value"],
        num_workers=2,
        timeout_seconds=0.8,
    )
    found = [next(outcomes).result]
    time.sleep(2)
    found += [outcome.result for outcome in outcomes]
    assert sorted(map(str, found)) == sorted(map(str, range(num_items)))


def test_items_that_come_slowly_are_no_fault_of_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clownfish.compute._START_SECONDS", 1.5)

    def make_items_slowly() -> Iterator[dict[str, Any]]:
        yield {"value": 0}
        time.sleep(2.5)
        yield {"value": 1}

    found = run(make_items_slowly(), "double", num_workers=1, timeout_seconds=0.5)
    assert [found[index]["value"] for index in range(2)] == [0, 2]


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [None, "hang", "raise"])
def test_closing_early_leaves_no_process(how: str | None) -> None:
    items: list[dict[str, Any]] = make_items(50)
    for item in items[3:]:
        item["how"] = how
    outcomes = run_in_workers(
        items, function="worker_functions:misbehave", finish=lambda _, answer: answer, num_workers=2
    )
    assert next(outcomes).index in (0, 1, 2)
    assert psutil.Process().children(recursive=True)
    outcomes.close()  # type: ignore[attr-defined]
    assert not [child for child in psutil.Process().children(recursive=True) if child.is_running()]


def test_error_in_the_caller_leaves_no_process() -> None:
    def use() -> None:
        outcomes = run_in_workers(
            make_items(500),
            function="worker_functions:make_large_answer",
            finish=lambda _, answer: answer,
            num_workers=2,
        )
        for _ in outcomes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()


@needs_linux
def test_helpers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            """
            from clownfish.compute import run_in_workers
            items = [{"value": value, "seconds": 0.05} for value in range(10000)]
            for outcome in run_in_workers(
                items, function="worker_functions:sleep_and_answer", finish=lambda i, a: a, num_workers=2
            ):
                print(outcome.result["pid"], flush=True)
            """
        )
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = {int(parent.stdout.readline()) for _ in range(12)}
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- helpers that are kept -----------------------------------------------------------------------


def list_children() -> set[int]:
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE}


def test_helpers_started_ahead_do_the_work_of_several_calls() -> None:
    with Helpers() as helpers:
        helpers.start(2, function="worker_functions:double")
        started = list_children()
        pids = set()
        for name in ("double", "misbehave"):
            found = run(make_items(30), name, num_workers=2, helpers=helpers)
            assert found[7]["value"] == (14 if name == "double" else 7)
            pids |= {answer["pid"] for answer in found.values()}
        assert pids <= started and len(started) == 2
    assert not list_children() & started


def test_helpers_are_not_more_than_items_or_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list_children()
    with Helpers() as helpers:
        helpers.start(0, function="worker_functions:double")
        monkeypatch.setenv("CLOWNFISH_WORKERS", "0")
        helpers.start(5, function="worker_functions:double")
        assert list_children() == before
        monkeypatch.setenv("CLOWNFISH_WORKERS", "3")
        helpers.start(1, function="worker_functions:double")
        assert len(list_children() - before) == 1


def test_helper_that_died_while_waiting_costs_no_item() -> None:
    with Helpers() as helpers:
        run(make_items(3), "double", num_workers=1, helpers=helpers)
        for pid in list_children():
            psutil.Process(pid).kill()
            psutil.Process(pid).wait()
        found = run(make_items(3), "double", num_workers=1, helpers=helpers)
    assert [found[index]["value"] for index in range(3)] == [0, 2, 4]


def test_helper_that_hangs_is_not_kept() -> None:
    with Helpers() as helpers:
        helpers.start(1, function="worker_functions:misbehave")
        items = [{"value": 0, "how": "hang"}, {"value": 1}]
        found = run(items, "misbehave", num_workers=1, timeout_seconds=0.5, helpers=helpers)
        assert str(found[0]) == "decoding took longer than 0.5 seconds" and found[1]["value"] == 1
        assert run(make_items(1), "double", num_workers=1, helpers=helpers)[0]["pid"] == found[1]["pid"]


def test_time_between_start_and_first_call_is_no_fault_of_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clownfish.compute._START_SECONDS", 0.5)
    with Helpers() as helpers:
        helpers.start(1, function="worker_functions:double")
        time.sleep(1.5)
        started = list_children()
        assert run(make_items(1), "double", num_workers=1, helpers=helpers)[0]["pid"] in started


def test_helpers_that_cannot_start_are_reported_by_the_call() -> None:
    with Helpers() as helpers:
        helpers.start(1, function="worker_functions:no_such_function")
        time.sleep(1)
        with pytest.raises(WorkerError, match="A helper process does not start"):
            run(make_items(1), "double", num_workers=1, helpers=helpers)


def test_closing_early_leaves_none_of_the_kept_helpers() -> None:
    with Helpers() as helpers:
        outcomes = run_in_workers(
            make_items(50),
            function="worker_functions:double",
            finish=lambda _, answer: answer,
            num_workers=2,
            helpers=helpers,
        )
        next(outcomes)
        outcomes.close()
        assert run(make_items(2), "double", num_workers=1, helpers=helpers)[1]["value"] == 2
    assert not list_children()


# --- settings ------------------------------------------------------------------------------------


def test_variable_of_zero_works_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", "0")
    found = run(make_items(3), "double")
    assert {answer["pid"] for answer in found.values()} == {os.getpid()}


def test_variable_sets_the_number_of_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", "1")
    found = run(make_items(10), "double")
    assert len({answer["pid"] for answer in found.values()}) == 1


@pytest.mark.parametrize("text", ["-1", "two", "1.5", " ", "0x2"])
def test_bad_number_of_helpers_is_explained(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOWNFISH_WORKERS", text)
    with pytest.raises(WorkerError) as caught:
        run(make_items(1), "double")
    assert str(caught.value) == f"CLOWNFISH_WORKERS is {text!r}; it must be a whole number, 0 for no helper processes."


@pytest.mark.parametrize("name", ["no_such_function", "not_a_function"])
def test_unknown_function_is_an_error_not_an_endless_wait(name: str) -> None:
    if name == "not_a_function":
        assert isinstance(run(make_items(1), name, num_workers=1)[0], WorkerFailure)
        return
    with pytest.raises(WorkerError) as caught:
        run(make_items(3), name, num_workers=2)
    assert str(caught.value) == (
        f"A helper process does not start ({sys.executable}, exit code 1)."
        " To work without helpers, set the environment variable CLOWNFISH_WORKERS to 0."
    )


def test_python_that_cannot_be_started_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(
        WorkerError, match=r"^Cannot start helper processes with .*no-python: .*No such file.*CLOWNFISH_WORKERS to 0\.$"
    ):
        run(make_items(3), "double", num_workers=2)


def test_helper_that_does_not_get_ready_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(60)\ndef answer(request): return request\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("clownfish.compute._START_SECONDS", 1.0)
    with pytest.raises(WorkerError, match="A helper process does not start"):
        list(run_in_workers([{}], function="slow_to_import:answer", finish=lambda _, answer: answer, num_workers=1))


def test_strict_warnings_do_not_stop_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    assert run([{"value": 3}], "warn", num_workers=1)[0]["value"] == 3


# --- where it is called from ---------------------------------------------------------------------


def test_plain_script_needs_no_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from clownfish.compute import run_in_workers
            print("once")
            items = [{"value": value} for value in range(4)]
            outcomes = run_in_workers(
                items, function="worker_functions:double", finish=lambda i, a: a["value"], num_workers=2
            )
            print(sorted(outcome.result for outcome in outcomes))
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout == "once\n[0, 2, 4, 6]\n" and done.stderr == ""


def test_files_in_the_folder_do_not_shadow_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numpy", "random", "json", "PIL", "clownfish"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    answer = run([{}], "describe_surroundings", num_workers=1)[0]
    assert answer["folder"] == str(tmp_path)
    assert not [file for file in answer["modules"] if file.startswith(str(tmp_path))]
    assert answer["threads"] == "1"


def test_call_from_another_thread_works() -> None:
    found: dict[int, Any] = {}
    thread = threading.Thread(target=lambda: found.update(run(make_items(4), "double", num_workers=2)))
    thread.start()
    thread.join()
    assert sorted(found) == [0, 1, 2, 3]


def test_two_calls_at_once_do_not_mix() -> None:
    first = run_in_workers(
        make_items(8), function="worker_functions:double", finish=lambda _, a: a["value"], num_workers=1
    )
    second = run_in_workers(
        [{"value": -value} for value in range(8)],
        function="worker_functions:double",
        finish=lambda _, a: a["value"],
        num_workers=1,
    )
    pairs = [(one.result, two.result) for one, two in zip(first, second, strict=True)]
    assert pairs == [(2 * value, -2 * value) for value in range(8)]


# --- threads -------------------------------------------------------------------------------------


def test_threads_give_results_in_order() -> None:
    def square(value: int) -> int:
        time.sleep(0.01 * (value % 3))
        return value * value

    assert list(run_in_threads(square, range(20))) == [value * value for value in range(20)]
    assert list(run_in_threads(square, [])) == []


def test_error_in_a_thread_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_in_threads(lambda value: 1 / value, [1, 0, 2]))


def test_background_gives_its_result_when_asked() -> None:
    with run_in_background(lambda check: check() or 42) as wait:
        assert wait() == 42


def test_error_in_the_background_reaches_who_asks() -> None:
    with run_in_background(lambda check: 1 / 0) as wait, pytest.raises(ZeroDivisionError):
        wait()


def test_background_ends_when_nobody_waits_any_more() -> None:
    steps: list[int] = []

    def count(check: Callable[[], None]) -> None:
        for step in range(10_000):
            check()
            steps.append(step)
            time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt), run_in_background(count):
        raise KeyboardInterrupt
    assert len(steps) < 10_000


def test_large_matrices_keep_their_threads() -> None:
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))

    def count() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = count()
    with limit_matrix_threads(num_rows=1_000_000):
        assert count() == before


def test_matrix_products_are_limited_to_one_thread() -> None:
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    with limit_matrix_threads():
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}


def test_cores_counted_are_those_allowed() -> None:
    assert 1 <= count_cores() <= (os.cpu_count() or 1)


def test_cores_are_counted_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_cores() == 1
