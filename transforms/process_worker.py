"""Main program of the processes of `processes.ProcessPool`.

    python -m transforms.process_worker MODULE

The first line of standard input has the settings, each further line a request; each
answer is a line on standard output, all as JSON. The process ends with its standard
input, so that it never outlives the job.
"""

import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, TextIO

from transforms.records import JSON, JobError, UsageError

_TIME_TO_STOP_S = 2.0


def main(module: str) -> None:
    """Work as long as there is any."""
    # A shell's background jobs ignore it, and so would what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answers = _take_stdout()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    try:
        threading.Thread(target=_read_lines, args=(lines,), daemon=True).start()
        work = importlib.import_module(module).begin(json.loads(lines.get()))
        while True:
            answers.write(json.dumps(answer(work, json.loads(lines.get()))) + "\n")
            answers.flush()
    except KeyboardInterrupt:
        os._exit(0)  # nobody waits for it, and nothing of it is left


def _take_stdout() -> TextIO:
    """Keep the pipe for answers; what else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return answers


def _read_lines(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os.kill(os.getpid(), signal.SIGINT)  # what is at work is discarded
    time.sleep(_TIME_TO_STOP_S)
    os._exit(1)


def answer(work: Callable[[Any], JSON], request: JSON) -> dict[str, JSON]:
    """Do a piece of work; an error is an answer too."""
    try:
        return {"done": work(request)}
    except UsageError as error:
        return {"usage_error": str(error)}
    except (JobError, OSError) as error:
        return {"job_error": str(error)}
    except Exception as error:  # noqa: BLE001  # told to whoever waits
        traceback.print_exc()
        return {"job_error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main(sys.argv[1])
