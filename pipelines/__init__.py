"""One runnable job per file: parse the options, wire the steps, run."""

import os
import signal
import sys
from types import FrameType

from pipelines import streams


def _stop(_number: int, _frame: FrameType | None) -> None:
    sys.stderr.write("error: stopped\n")
    os._exit(130)


def stop_at_once() -> None:
    """Let Ctrl-C end the process while a job's modules are imported.

    It ends as `cli.exit_codes` would end it. The output streams accept all names.
    """
    streams.protect()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)


# Python says "-m" only while it looks for the module that it is to run.
if sys.argv[:1] == ["-m"]:
    stop_at_once()


def stop_by_exception() -> None:
    """Let Ctrl-C be an exception again, which the job handles."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)
