"""Functions over many items: the one place of clownfish that knows about processes and threads.

`run_in_workers` sends items to helper processes. A helper that hangs is killed, one that crashes
or runs out of memory is replaced, and only the item it was busy with is lost: its outcome says so.
Each helper has a thread here, which may do further work (run the network) while its helper is busy
with the next item; both release Python's global lock, so all cores are used. `Helpers` starts them
ahead of their work, and keeps them from one call to the next.
"""

import contextlib
import itertools
import math
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

from clownfish.compute.worker import FUNCTION_KEY, Message, find_function, read_message, write_message
from clownfish.errors import WorkerError

__all__ = [
    "Helpers",
    "Message",
    "Outcome",
    "WorkerFailure",
    "count_cores",
    "limit_matrix_threads",
    "run_in_background",
    "run_in_threads",
    "run_in_workers",
]

TIMEOUT_SECONDS = 20.0
"""How long one item may take before its worker is killed."""
MEMORY_BYTES = 2 << 30
"""How much memory one item may take in its worker (Linux)."""

_MANY_ROWS = 2000
_START_SECONDS = 60.0
_WATCH_SECONDS = 0.25
_WORKERS_VARIABLE = "CLOWNFISH_WORKERS"
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
# Behind everything else on the path, where it shadows nothing, lies this very clownfish; -P keeps the folder that the
# user works in off the path, which may hold a random.py.
_BOOTSTRAP = (
    "import sys; sys.path.append(sys.argv[1]);"
    " from clownfish.compute.worker import serve; serve(sys.argv[2], int(sys.argv[3]))"
)
_WITHOUT = f"To work without helpers, set the environment variable {_WORKERS_VARIABLE} to 0."

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerFailure(Exception):
    """A worker did not survive an item; the message says what happened to it."""


class Helpers:
    """Helper processes that wait for work: started before they are needed, kept from one call to the next.

    A helper takes a quarter of a second to start, most of it to import numpy and Pillow. This process can do
    something else meanwhile, and the next call need not wait again.
    """

    def __init__(self, *, is_open: bool = True) -> None:
        """Begin without any.

        Args:
            is_open: keep helpers; otherwise each is ended when its call is done.
        """
        self._waiting: list[_Worker] = []
        self._lock = threading.Lock()
        self._is_open = is_open

    def start(self, num_items: int, *, function: str) -> None:
        """Start as many as a call with so many items will use, without waiting for them.

        Args:
            num_items: of the call to come.
            function: "package.module:function" of that call; its module is imported at the start.

        Raises:
            WorkerError: the system starts no process.
        """
        for _ in range(min(num_items, _choose_num_workers())):
            self.keep(_Worker(function, MEMORY_BYTES))

    def take(self) -> "_Worker | None":
        """Hand out a helper that waits; None if there is none."""
        with self._lock:
            while self._waiting:
                worker = self._waiting.pop()
                if worker.is_usable():
                    return worker
                worker.close()
        return None

    def keep(self, worker: "_Worker") -> None:
        """Let a helper wait for the next call, or end it if there will be none."""
        with self._lock:
            if self._is_open:
                self._waiting.append(worker)
                return
        worker.close()

    def __enter__(self) -> Self:
        """Keep helpers while the context lasts."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the helpers that wait."""
        with self._lock:
            self._is_open = False
            for worker in self._waiting:
                worker.close()
            self._waiting.clear()


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """What became of one item."""

    index: int
    """Position of the item in the sequence."""
    result: Result


def count_cores() -> int:
    """Count the processors that this process may use (not those of the whole machine)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _choose_num_workers() -> int:
    text = os.environ.get(_WORKERS_VARIABLE, "")
    if not text:
        return count_cores()
    if not text.isdecimal():
        raise WorkerError(f"{_WORKERS_VARIABLE} is {text!r}; it must be a whole number, 0 for no helper processes.")
    return int(text)


def run_in_workers(
    items: Iterable[Message],
    *,
    function: str,
    finish: Callable[[Message, Message | WorkerFailure], Result],
    num_workers: int | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    memory_bytes: int = MEMORY_BYTES,
    helpers: Helpers | None = None,
) -> Generator[Outcome[Result]]:
    """Call a function on every item in helper processes, then `finish` on every answer in threads.

    Args:
        items: the requests; values that JSON can hold, and numpy arrays. Taken as they are needed.
        function: "package.module:function", called in a helper with an item, returns a message.
        finish: called in a thread of this process with the item and its answer, or with the failure
            that says why there is none.
        num_workers: helper processes; None for CLOWNFISH_WORKERS or else one a core, 0 to call the function in
            this process (no protection from hangs and crashes).
        timeout_seconds: after so long on one item, its helper is killed.
        memory_bytes: address space that a helper may add; those of `helpers` may have had another limit.
        helpers: where helper processes are taken from, and kept afterwards; None to end them.

    Yields:
        One outcome an item, in the order in which they are done.

    Raises:
        WorkerError: the helpers cannot be started.
    """
    if num_workers is None:
        num_workers = _choose_num_workers()
    if num_workers == 0:
        call = find_function(function)
        for index, item in enumerate(items):
            yield Outcome(index, finish(item, call(item)))
        return
    remaining = iter(items)
    first = list(itertools.islice(remaining, num_workers))  # no more helpers than items
    hiring = _Hiring(function, timeout_seconds, memory_bytes, helpers or Helpers(is_open=False))
    crew = _Crew(itertools.chain(first, remaining), finish, hiring)
    try:
        crew.start(len(first))
        yield from crew.collect()
    finally:
        crew.stop()


def run_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Call a function on every item in threads of this process, one a core.

    For numerical work on small matrices: numpy releases Python's global lock, and matrix products are
    kept to one thread each, because their own threads would spend more time waiting than computing.

    Args:
        function: called with one item.
        items: its arguments.

    Yields:
        The results, in the order of the items.
    """
    pool = ThreadPoolExecutor(min(count_cores(), max(1, len(items))))
    try:
        with limit_matrix_threads():
            yield from pool.map(function, items)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # an interruption must not wait for what is under way


@contextlib.contextmanager
def run_in_background(function: Callable[[Callable[[], None]], Result]) -> Iterator[Callable[[], Result]]:
    """Call a function in a thread of this process while the context does something else.

    Args:
        function: is given a check, to be called now and then, which raises once the context has been left.

    Yields:
        What waits for the result and gives it, or raises what the function raised.
    """
    is_left = threading.Event()

    def check() -> None:
        if is_left.is_set():
            raise _NotWantedError

    with ThreadPoolExecutor(1) as pool:  # leaving it waits until the thread has ended
        try:
            yield pool.submit(function, check).result
        finally:
            is_left.set()


class _NotWantedError(Exception):
    """Ends work in the background of which nobody waits for the result."""


def limit_matrix_threads(num_rows: int = 0) -> contextlib.AbstractContextManager[object]:
    """Keep matrix products to one thread while the context lasts, unless the matrices are large.

    Threads pay for large products only; for small ones they wait for each other, all the more so where another
    program is busy.

    Args:
        num_rows: of the matrices.
    """
    if num_rows > _MANY_ROWS:
        return contextlib.nullcontext()
    from threadpoolctl import threadpool_limits

    limits: contextlib.AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


class _Worker:
    """One helper process; the crew's watchdog kills it when its deadline passes."""

    def __init__(self, function: str, memory_bytes: int) -> None:
        environment = dict(os.environ)  # numerical libraries must not start threads of their own there
        environment.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", PYTHONUTF8="1")
        self._timeout_seconds = math.inf
        self._has_started = False
        self.deadline = math.inf
        self.timed_out = False
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOTSTRAP, _PACKAGE_ROOT, function, str(memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libtiff and others complain there about files we report ourselves
                env=environment,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise WorkerError(f"Cannot start helper processes with {sys.executable}: {error}. {_WITHOUT}") from error

    def is_usable(self) -> bool:
        """False if it died while it waited; one that failed to start is for `prepare` to report."""
        return not self._has_started or self._process.poll() is None

    def prepare(self, timeout_seconds: float) -> None:
        """Wait until it has started; from now on an item may take so long."""
        self._timeout_seconds = timeout_seconds
        if self._has_started:
            return
        self.deadline = time.monotonic() + _START_SECONDS
        if self._read() is None:
            code = self._process.wait()
            raise WorkerError(f"A helper process does not start ({sys.executable}, exit code {code}). {_WITHOUT}")
        self.deadline = math.inf
        self._has_started = True

    def send(self, function: str, item: Message) -> None:
        assert self._process.stdin is not None
        self.deadline = time.monotonic() + self._timeout_seconds
        with contextlib.suppress(OSError):  # a dead helper shows when its answer is read
            write_message(self._process.stdin, {**item, FUNCTION_KEY: function})
        self.deadline = math.inf

    def receive(self) -> Message | None:
        """Wait for the answer; None if the helper hung (then it was killed) or crashed.

        The helper's time runs only while this waits: a helper whose answer fills the pipe cannot go on, and
        must not be killed because the thread here, or whoever takes the results, is slow.
        """
        self.deadline = time.monotonic() + self._timeout_seconds
        answer = self._read()
        self.deadline = math.inf
        return answer

    def _read(self) -> Message | None:
        assert self._process.stdout is not None
        return read_message(self._process.stdout)

    def describe_end(self) -> str:
        code = self._process.wait()
        if self.timed_out:
            return f"decoding took longer than {self._timeout_seconds:g} seconds"
        return f"the decoder crashed on it (exit code {code})"

    def kill_if_late(self) -> None:
        if time.monotonic() > self.deadline:
            self.timed_out = True
            self._process.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()


@dataclass(frozen=True, slots=True)
class _Hiring:
    """What a call asks of its helpers."""

    function: str
    timeout_seconds: float
    memory_bytes: int
    helpers: Helpers

    def hire(self) -> _Worker:
        return self.helpers.take() or _Worker(self.function, self.memory_bytes)


class _Crew(Generic[Result]):
    """The helpers of one call, a thread for each, and the queue between them and the caller."""

    def __init__(
        self,
        items: Iterable[Message],
        finish: Callable[[Message, Message | WorkerFailure], Result],
        hiring: _Hiring,
    ) -> None:
        self._items = enumerate(items)
        self._finish = finish
        self._hiring = hiring
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._results: queue.Queue[Outcome[Result] | BaseException | None] = queue.Queue(maxsize=256)
        self._workers: set[_Worker] = set()
        self._threads: list[threading.Thread] = []

    def start(self, num_workers: int) -> None:
        threading.Thread(target=self._watch, daemon=True).start()
        for _ in range(num_workers):
            thread = threading.Thread(target=self._run, daemon=True)
            self._threads.append(thread)
            thread.start()

    def collect(self) -> Iterator[Outcome[Result]]:
        num_running = len(self._threads)
        while num_running:
            result = self._results.get()
            if result is None:
                num_running -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result

    def stop(self) -> None:
        self._stopped.set()
        with self._lock:
            for worker in self._workers:
                worker.kill()
        for thread in self._threads:
            while thread.is_alive():
                with contextlib.suppress(queue.Empty):  # a thread may wait for room in the queue
                    self._results.get_nowait()
                thread.join(timeout=0.01)

    def _watch(self) -> None:
        while not self._stopped.wait(_WATCH_SECONDS):
            with self._lock:
                for worker in self._workers:
                    worker.kill_if_late()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 (the caller's thread raises it)
            if not self._stopped.is_set():
                self._results.put(error)
        self._results.put(None)

    def _work(self) -> None:
        """Keep the helper one item ahead: it works on the next while this thread finishes the last."""
        worker = self._start_worker()
        is_idle = False
        try:
            current = self._send_next(worker)
            while current is not None:
                answer = worker.receive()
                if self._stopped.is_set():
                    return
                if answer is None:
                    failure = WorkerFailure(worker.describe_end())
                    self._end_worker(worker)
                    worker = self._start_worker()
                following = self._send_next(worker)
                index, item = current
                self._results.put(Outcome(index, self._finish(item, failure if answer is None else answer)))
                current = following
            is_idle = True
        finally:
            self._end_worker(worker, keep=is_idle)

    def _start_worker(self) -> _Worker:
        worker = self._hiring.hire()
        with self._lock:
            self._workers.add(worker)
        try:
            worker.prepare(self._hiring.timeout_seconds)
        except WorkerError:
            self._end_worker(worker)
            raise
        return worker

    def _end_worker(self, worker: _Worker, *, keep: bool = False) -> None:
        with self._lock:
            self._workers.discard(worker)
        if keep:
            self._hiring.helpers.keep(worker)
        else:
            worker.close()

    def _send_next(self, worker: _Worker) -> tuple[int, Message] | None:
        with self._lock:
            numbered = None if self._stopped.is_set() else next(self._items, None)
        if numbered is not None:
            worker.send(self._hiring.function, numbered[1])
        return numbered
