"""Processes that work side by side: what goes to them, and what comes back."""

import contextlib
import json
import os
import signal
import sys
import time

import pytest

from transforms import process_worker
from transforms import processes as pool
from transforms.records import JobError, UsageError


def begin(settings):
    """Make the work of the processes of these tests, by the name of what is asked."""
    works = {
        "echo": lambda value: [settings, value],
        "print": lambda value: sys.stdout.write(f"{value}\n"),
        "fail": lambda value: (_ for _ in ()).throw(UsageError(value)),
        "bug": lambda value: {}[value],
        "exit": os._exit,
        "wait": time.sleep,
        "pid": lambda _: os.getpid(),
    }
    return lambda request: works[request[0]](request[1])


@pytest.fixture
def processes():
    made = pool.ProcessPool(sys.modules[__name__], {"é": [1]}, 2)
    with contextlib.closing(made):
        yield made


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("error", "expected", "is_traced"),
    [
        (UsageError("no such bucket"), {"usage_error": "no such bucket"}, False),
        (JobError("out of room"), {"job_error": "out of room"}, False),
        (OSError(5, "bad"), {"job_error": "[Errno 5] bad"}, False),
        (ValueError("a bug"), {"job_error": "ValueError: a bug"}, True),
    ],
)
def test_every_error_is_an_answer(error, expected, is_traced, capfd):
    assert json.loads(json.dumps(process_worker.answer(_raise, error))) == expected
    assert ("Traceback" in capfd.readouterr().err) == is_traced


def test_answers_come_to_who_asked(processes):
    values = ["a\nb", 7, None, "é" * 100_000, *range(50)]
    futures = [processes.submit(["echo", value]) for value in values]
    assert [future.result() for future in futures] == [[{"é": [1]}, v] for v in values]


def test_what_is_printed_is_no_answer(capfd):
    with contextlib.closing(pool.ProcessPool(sys.modules[__name__], None, 1)) as one:
        assert one.submit(["print", "{}"]).result() == 3
    assert "{}" in capfd.readouterr().err


def test_errors_reach_who_asked_and_work_goes_on(processes):
    with pytest.raises(UsageError, match=r"^no$"):
        processes.submit(["fail", "no"]).result()
    with pytest.raises(JobError, match="KeyError: 'x'"):
        processes.submit(["bug", "x"]).result()
    assert processes.submit(["echo", 1]).result() == [{"é": [1]}, 1]


def test_end_of_a_process_is_an_error(processes):
    with pytest.raises(JobError, match="was ended with exit code 3; if memory was"):
        processes.submit(["exit", 3]).result()


def test_killed_process_is_an_error(processes):
    pid = processes.submit(["pid", 0]).result()
    os.kill(pid, signal.SIGKILL)
    asked = [processes.submit(["echo", 1]) for _ in range(2)]
    (error,) = [e for future in asked if (e := future.exception())]
    assert isinstance(error, JobError)
    assert "a process of this job was ended by SIGKILL" in str(error)


def test_close_ends_what_is_at_work():
    processes = pool.ProcessPool(sys.modules[__name__], None, 2)
    pids = [processes.submit(["pid", 0]).result() for _ in range(2)]
    waiting = [processes.submit(["wait", 60]) for _ in range(4)]
    started = time.monotonic()
    processes.close()
    assert time.monotonic() - started < processes._TIME_TO_STOP_S
    assert all(future.done() for future in waiting)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
