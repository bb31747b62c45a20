"""Ctrl-C ends a job in buckets within two seconds, wherever it waits."""

import re
import signal
import subprocess
import sys
import time

import pytest

from tests import building, processes
from tests.stores.conftest import KEYS
from tests.stores.copying import upload

BUCKET = "s3://photographs"
SLOW_S = 30.0  # longer than any test waits
LIMIT_S = 2.0


def stop_when(faulty, request, job, command, log):
    """Start a job, and interrupt it when the store keeps it waiting.

    Returns:
      The exit code, what the job said, and how long it took to end.
    """
    take_fault = faulty.take_fault
    is_waiting = []

    def wait(method, key):
        fault = take_fault(method, key)
        if re.fullmatch(request, f"{method} {key}"):
            is_waiting.append(key)
            return "slow"
        return fault

    faulty.slow_s, faulty.take_fault = SLOW_S, wait
    environment = {**KEYS, "AWS_ENDPOINT_URL": faulty.address}
    running = processes.RunningBuild(command, log, environment, job)
    running.wait_until(lambda: is_waiting)
    start = time.monotonic()
    code = running.stop(signal.SIGINT)
    return code, running.said, time.monotonic() - start


MOMENTS = {  # job, request that takes long
    "finding": ("index", "GET "),
    "listing": ("index", "GET .*train.tar"),
    "inspecting": ("index", "GET .*1.JPEG"),
    "writing an index": ("index", "PUT .*"),
    "reading": ("build", "GET .*1.JPEG"),
    "writing": ("build", "PUT .*tar"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_stopped_job_ends_within_two_seconds(
    faulty, mini_imagenet, class_folders, tmp_path, moment
):
    job, request = MOMENTS[moment]
    is_listed = moment == "listing"
    source = upload(mini_imagenet if is_listed else class_folders, f"{BUCKET}/in")
    command = [f"--input={source}", f"--output={BUCKET}/i.parquet", "--inspect"]
    if job == "build":
        command = building.command_line(source, f"{BUCKET}/out")
    code, said, end_s = stop_when(faulty, request, job, command, tmp_path / "log")
    assert (code, end_s < LIMIT_S) == (130, True), f"{end_s} s: {said}"
    assert "error: stopped" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_timeout_of_sockets_does_not_end_the_watch():
    """Google's clients set a default, which new sockets have."""
    code = (
        "import os, signal, socket, threading\n"
        "socket.setdefaulttimeout(0.01)\n"
        "from pipelines import stopping\n"
        "from transforms.storage import clients\n"
        "clients.is_any_open = lambda: True\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "with stopping.watch('stopped'):\n"
        "    threading.Event().wait(0.1)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    threading.Event().wait(30)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (130, "\nerror: stopped\n")
