"""Where the command `clownfish` begins; `python -m clownfish` is the same.

Nothing is imported before Ctrl-C is looked after: the imports of the command line take a tenth of a second, in which
Python would show a traceback.
"""

import os
import signal
import sys

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

_EXIT_INTERRUPTED = 130


def main() -> "NoReturn":
    """Run the command line."""
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # otherwise the caller wants it ignored
    if is_usual:
        signal.signal(signal.SIGINT, _leave)
    from clownfish.cli import main as run_command_line

    if is_usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_command_line()
    except SystemExit as end:
        if not end.code:
            _end()
        raise


def _end() -> None:
    """End a command that has done its work, without freeing the network and all the libraries piece by piece.

    That would take a sixth of a second. Everything that the command wrote is written, and its helpers have ended.
    """
    import atexit

    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # whoever read the output has gone
        return
    atexit._run_exitfuncs()  # what the interpreter itself would call
    os._exit(0)


def _leave(_: int, __: "FrameType | None") -> "NoReturn":
    """At once: an exception could be caught, or shown, by whatever is being imported."""
    os.write(2, b"\nInterrupted. Nothing was begun.\n")
    os._exit(_EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
