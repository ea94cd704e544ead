"""Where the command `clownfish` begins; `python -m clownfish` is the same.

Nothing is imported before Ctrl-C is looked after: the imports of the command line take a tenth of a second, in which
Python would show a traceback.
"""

import os
import signal

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
    run_command_line()


def _leave(_: int, __: "FrameType | None") -> "NoReturn":
    """At once: an exception could be caught, or shown, by whatever is being imported."""
    os.write(2, b"\nInterrupted. Nothing was begun.\n")
    os._exit(_EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
