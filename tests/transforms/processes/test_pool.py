"""Test the process pool: requests, responses, errors and termination."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from transforms import processes
from transforms.processes import ProcessPool
from transforms.records import JobError, UsageError

_ERRORS = {
    "usage": UsageError("no such bucket"),
    "job": JobError("out of room"),
    "os": OSError(5, "bad"),
    "value": ValueError("a bug"),
}


MAIN = """
import contextlib
import signal
from tests.transforms.processes import test_pool
from transforms.processes import ProcessPool

# A shell makes jobs in the background ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
print("the main module is imported", flush=True)
if __name__ == "__main__":
    with contextlib.closing(ProcessPool(test_pool, None, 2)) as pool:
        waiting = [pool.submit(["pid", 1]) for _ in range(2)]
        for pid in waiting:
            print(pid.result(), flush=True)
        pool.submit(["wait", 60]).result()
"""


def _raise(error):
    raise error


def begin(settings):
    """Return the handler of these tests: a request names what to do."""
    works = {
        "echo": lambda value: [settings, value],
        "print": lambda value: sys.stdout.write(f"{value}\n"),
        "fail": lambda value: _raise(UsageError(value)),
        "raise": lambda name: _raise(_ERRORS[name]),
        "bug": lambda value: {}[value],
        "exit": os._exit,
        "wait": time.sleep,
        "pid": lambda seconds: time.sleep(seconds) or os.getpid(),
    }
    return lambda request: works[request[0]](request[1])


@pytest.fixture
def pool():
    with contextlib.closing(ProcessPool(sys.modules[__name__], {"é": [1]}, 2)) as two:
        yield two


@pytest.mark.parametrize(
    ("name", "expected", "is_traced"),
    [
        ("usage", UsageError("no such bucket"), False),
        ("job", JobError("out of room"), False),
        ("os", JobError("[Errno 5] bad"), False),
        ("value", JobError("ValueError: a bug"), True),
    ],
)
def test_every_error_reaches_the_job(name, expected, is_traced, pool, capfd):
    error = pool.submit(["raise", name]).exception()
    assert (type(error), str(error)) == (type(expected), str(expected))
    assert ("Traceback" in capfd.readouterr().err) == is_traced


def test_responses_go_to_their_requester(pool):
    values = ["a\nb", 7, None, "é" * 100_000, *range(50)]
    futures = [pool.submit(["echo", value]) for value in values]
    assert [future.result() for future in futures] == [[{"é": [1]}, v] for v in values]


def test_processes_print_to_stderr_only(capfd):
    with contextlib.closing(ProcessPool(sys.modules[__name__], None, 1)) as one:
        assert one.submit(["print", "{}"]).result() == 3
    out, err = capfd.readouterr()
    assert out == ""
    assert "{}" in err


def test_errors_go_to_their_requester_and_work_continues(pool):
    with pytest.raises(UsageError, match=r"^no$"):
        pool.submit(["fail", "no"]).result()
    with pytest.raises(JobError, match="KeyError: 'x'"):
        pool.submit(["bug", "x"]).result()
    assert pool.submit(["echo", 1]).result() == [{"é": [1]}, 1]


def test_end_of_a_process_is_an_error(pool):
    with pytest.raises(JobError, match="was ended with exit code 3; if memory was"):
        pool.submit(["exit", 3]).result()


def test_killed_process_is_an_error(pool):
    pid = pool.submit(["pid", 0]).result()
    os.kill(pid, signal.SIGKILL)
    asked = [pool.submit(["echo", 1]) for _ in range(2)]
    for error in [future.exception() for future in asked]:
        assert isinstance(error, JobError)
        assert "a process of this job was ended by SIGKILL" in str(error)
        assert "--resume" in str(error)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_job(tmp_path, number):
    """They lead process groups, so that only the end of the job can end them."""
    (tmp_path / "main_module.py").write_text(MAIN)
    command = [sys.executable, "-m", "main_module"]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    job = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
    )
    assert job.stdout.readline() == "the main module is imported\n"
    pids = [int(job.stdout.readline()) for _ in range(2)]
    assert len(set(pids)) == 2
    for pid in pids:
        os.kill(pid, signal.SIGINT)  # is ignored
        assert os.getpgid(pid) == pid
    job.send_signal(number)
    out, err = job.communicate(timeout=20)
    assert out == "", "a process prints to stdout, or imports the main module again"
    assert "SpawnProcess" not in err
    deadline = time.monotonic() + processes._TIME_TO_STOP_S
    for pid in pids:
        while Path(f"/proc/{pid}").exists():
            assert time.monotonic() < deadline, "a process is left"
            os.sched_yield()


def test_close_ends_running_work():
    pool = ProcessPool(sys.modules[__name__], None, 2)
    pids = [pool.submit(["pid", 0]).result() for _ in range(2)]
    waiting = [pool.submit(["wait", 60]) for _ in range(4)]
    started = time.monotonic()
    pool.close()
    assert time.monotonic() - started < processes._TIME_TO_STOP_S
    assert all(future.done() for future in waiting)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "1000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 64),
        ({"cpu.max": "nonsense\n"}, 64),
        ({"cpu.max": "100000 0\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_cores_are_limited_by_the_quota_of_the_container(
    files, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(processes, "_CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert processes.num_cores() == expected


def test_cores_are_counted_on_every_system(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "_CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5})
    assert processes.num_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert processes.num_cores() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processes.num_cores() == 1
    monkeypatch.setattr(os, "process_cpu_count", lambda: 7, raising=False)
    assert processes.num_cores() == 7
