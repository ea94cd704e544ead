"""What the helper processes of test_workers.py are asked to do; they import it by name."""

import ctypes
import os
import signal
import sys
import time
from typing import Any

import numpy as np


def double(request: dict[str, Any]) -> dict[str, Any]:
    return {"value": 2 * request["value"], "pid": os.getpid()}


def misbehave(request: dict[str, Any]) -> dict[str, Any]:
    """Do what the request says, and answer if still able to."""
    match request.get("how"):
        case "exit":
            os._exit(7)
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "null pointer":
            ctypes.string_at(0)
        case "hang":
            time.sleep(60)
        case "spin":
            while True:
                pass
        case "raise":
            raise RuntimeError("bad photo")
        case "quit":
            sys.exit(3)
        case "memory":
            np.ones(300 << 20, np.uint8)
        case "half an answer":
            _write_half_an_answer()
    return {"value": request["value"], "pid": os.getpid()}


def _answers() -> Any:
    frame = sys._getframe()
    while frame is not None:
        if "answers" in frame.f_locals:
            return frame.f_locals["answers"]
        frame = frame.f_back  # type: ignore[assignment]
    raise LookupError("answers")


def _write_half_an_answer() -> None:
    stream = _answers()
    stream.write((50).to_bytes(4, "little") + b'{"plain": {"value')
    stream.flush()
    os._exit(0)


def print_much(request: dict[str, Any]) -> dict[str, Any]:
    print("something a library says", flush=True)
    os.write(1, b"something a C library says\n")
    os.write(2, b"and an error message\n")
    return {"value": request["value"]}


def make_large_answer(request: dict[str, Any]) -> dict[str, Any]:
    return {"value": request["value"], "pixels": np.full(1_000_000, request["value"] % 256, np.uint8)}


def sleep_and_answer(request: dict[str, Any]) -> dict[str, Any]:
    time.sleep(request["seconds"])
    return {"value": request["value"], "pid": os.getpid()}


def describe_surroundings(request: dict[str, Any]) -> dict[str, Any]:
    import random

    return {
        "modules": [module.__file__ for module in (np, random)],
        "folder": os.getcwd(),
        "threads": os.environ["OMP_NUM_THREADS"],
    }


def warn(request: dict[str, Any]) -> dict[str, Any]:
    import warnings

    warnings.warn("libraries do", UserWarning, stacklevel=1)
    return {"value": request["value"]}


not_a_function = 5
