"""The helper process: reads requests on standard input, answers on standard output.

Messages go both ways in one form: the length of a JSON header as 4 bytes, the header, then the raw
bytes of the arrays that the header lists. No pickle is involved, and nothing of the caller's main
script is imported, so plain scripts, notebooks and R need no `if __name__ == "__main__"`.
"""

import importlib
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import IO, Any

import numpy as np

Message = dict[str, Any]
"""JSON values and numpy arrays by name."""
FUNCTION_KEY = "function"
"""Name in a request that says which function to call; no item may use it for something else."""


def write_message(stream: IO[bytes], message: Mapping[str, Any]) -> None:
    """Write one message.

    Args:
        stream: where to write, binary.
        message: values that JSON can hold, and numpy arrays.
    """
    plain: Message = {}
    arrays: list[tuple[str, str, tuple[int, ...]]] = []
    chunks: list[bytes] = []
    for name, value in message.items():
        if isinstance(value, np.ndarray):
            arrays.append((name, value.dtype.str, value.shape))
            chunks.append(value.tobytes())
        else:
            plain[name] = value
    header = json.dumps({"plain": plain, "arrays": arrays}).encode()
    stream.write(b"".join([len(header).to_bytes(4, "little"), header, *chunks]))
    stream.flush()


def read_message(stream: IO[bytes]) -> Message | None:
    """Read one message.

    Args:
        stream: where to read, binary.

    Returns:
        The message, or None at the end of the stream (the other side is gone).
    """
    size = stream.read(4)
    if len(size) < 4:
        return None
    num_bytes = int.from_bytes(size, "little")
    raw = stream.read(num_bytes)
    if len(raw) < num_bytes:
        return None
    header = json.loads(raw)
    message: Message = header["plain"]
    for name, dtype, shape in header["arrays"]:
        num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        raw = stream.read(num_bytes)
        if len(raw) < num_bytes:
            return None
        message[name] = np.frombuffer(raw, dtype).reshape(shape)
    return message


@lru_cache
def find_function(name: str) -> Callable[[Message], Message]:
    """Import the function called "package.module:function"."""
    module, _, function = name.partition(":")
    found: Callable[[Message], Message] = getattr(importlib.import_module(module), function)
    return found


def serve(function_name: str, memory_bytes: int) -> None:
    """Answer requests until the other side closes the pipe.

    Args:
        function_name: "package.module:function", imported at the start. Each request names the function that it
            is for, mostly this one; called with the request, it returns the answer.
        memory_bytes: address space that a request may add to what the process starts with; 0 for no limit.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    warnings.simplefilter("ignore")
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a decoder prints must not end up between the messages
    find_function(function_name)
    _limit_memory(memory_bytes)
    write_message(answers, {"ready": True})
    while (request := read_message(requests)) is not None:
        write_message(answers, find_function(request.pop(FUNCTION_KEY))(request))


def _limit_memory(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the limits on pixels are what bounds memory there
        return
    if not memory_bytes:
        return
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            in_use = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + memory_bytes, in_use + memory_bytes))
    except (OSError, ValueError):  # macOS has neither the file nor the limit
        return
