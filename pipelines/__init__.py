"""Define the jobs; each is a module that runs as `python -m pipelines.JOB`."""

import os
import signal
import sys
from types import FrameType

from pipelines import streams

_is_job = False


def is_job() -> bool:
    """Return whether this process runs a job, and not tests or a user's program."""
    return _is_job


def _stop(_number: int, _frame: FrameType | None) -> None:
    sys.stderr.write("error: stopped\n")
    os._exit(130)


def stop_at_once() -> None:
    """Protect the standard streams, and exit immediately on Ctrl-C during imports.

    The message and exit code are those of `cli.exit_codes`.
    """
    global _is_job  # noqa: PLW0603  # set once, at the start of the process
    _is_job = True
    streams.protect()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)


# sys.argv[0] is "-m" only while Python locates the module to run.
if sys.argv[:1] == ["-m"]:
    stop_at_once()


def stop_by_exception() -> None:
    """Make Ctrl-C raise KeyboardInterrupt again, so that the job can handle it."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)
