"""One runnable job per file: parse the options, wire the steps, run."""

import os
import signal
import sys
from types import FrameType

from pipelines import streams


def _stop(_number: int, _frame: FrameType | None) -> None:
    sys.stderr.write("error: stopped\n")
    os._exit(130)


# Python says "-m" only while it looks for the module that it is to run.
if sys.argv[:1] == ["-m"]:
    streams.protect()
    # While a job's modules are imported it ends as `cli.exit_codes` would end it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)


def stop_by_exception() -> None:
    """Let Ctrl-C be an exception again, which the job handles."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)
