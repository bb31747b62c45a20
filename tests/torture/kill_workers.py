"""Kill workers of engines while they write, then resume the job.

A job may wait for ever for a worker that is gone; `BOUND_S` is the outer bound that it
needs then. Whatever it does, --resume gives the same bytes.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager

from pipelines import build
from tests import building, processes
from tests.process_tree import list_children, list_family, list_workers

BOUND_S = 120
FLAGS = {"images_per_shard": 2, "threads": 1}


@contextmanager
def run_pool():
    """Run a worker pool; yield its process and address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pool = subprocess.Popen(
        [
            *(sys.executable, "-m", "pipelines.worker_pool"),
            f"--address=127.0.0.1:{port}",
        ],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _listens(port):
            assert pool.poll() is None
            time.sleep(0.1)
        yield pool.pid, f"localhost:{port}"
    finally:
        for child in list_children(pool.pid):
            os.kill(child, signal.SIGKILL)
        os.killpg(pool.pid, signal.SIGKILL)
        pool.wait()


def _listens(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def kill_a_worker(imagenet, tmp_path, tell, *, of_pool=None, **engine):
    """Kill a worker after its first shard and resume; return the outcome of the job."""
    whole = building.run(imagenet, tmp_path / "whole", **FLAGS)
    command = building.command_line(imagenet, tmp_path / "out", **FLAGS, **engine)
    started = processes.RunningBuild(command, tmp_path / "log")
    parts = tmp_path / "out" / "small" / ".1.0.0.partial" / "parts"
    started.wait_until(lambda: list(parts.glob("*.parquet")), BOUND_S)
    victim = list_family(of_pool or started.pid)[-1]  # Beam starts some by a shell
    os.kill(victim, signal.SIGKILL)
    try:
        started.wait_until(lambda: started.has_ended, BOUND_S)
    except AssertionError:
        started.stop(signal.SIGKILL)
        outcome = f"did not end within {BOUND_S} s, and was killed"
    else:
        outcome = f"ended with exit code {started.wait()}"
    assert not (tmp_path / "out" / "small" / "1.0.0").exists()
    tell(f"a worker was killed: the job {outcome}")
    build.main(building.command_line(imagenet, tmp_path / "out", **FLAGS, resume=True))
    resumed = tmp_path / "out" / "small" / "1.0.0"
    assert building.checksums(resumed) == building.checksums(whole)


def test_worker_of_the_portable_runner_killed(mini_imagenet, tmp_path, tell):
    with run_pool() as (pool, address):
        kill_a_worker(
            mini_imagenet,
            tmp_path,
            tell,
            of_pool=pool,
            runner="PortableRunner",
            job_endpoint="embed",
            environment_type="EXTERNAL",
            environment_config=address,
        )


def test_worker_process_of_the_embedded_engine_killed(mini_imagenet, tmp_path, tell):
    kill_a_worker(
        mini_imagenet,
        tmp_path,
        tell,
        direct_running_mode="multi_processing",
        direct_num_workers=2,
    )


def kill_own_process(started, chance):
    """Kill one of a build's processes, if any is left at that moment."""
    started.wait_until(lambda: list_workers(started.pid) or started.has_ended)
    time.sleep(chance.uniform(0, 1))
    if victims := list_workers(started.pid):
        os.kill(chance.choice(victims), signal.SIGKILL)


def test_own_processes_killed_at_any_moment(mini_index, tmp_path, request, tell):
    """Kill processes that write shards, as a system without memory does."""
    flags = {**FLAGS, "threads": 2}
    whole = building.checksums(building.run(mini_index, tmp_path / "whole", **flags))
    chance, ends = random.Random(6), Counter()
    for trial in range(request.config.getoption("kills")):
        output = tmp_path / f"out{trial}"
        command = building.command_line(mini_index, output, **flags)
        started = processes.RunningBuild(command, tmp_path / "log")
        kill_own_process(started, chance)
        code = started.wait(BOUND_S)
        assert "Traceback" not in started.said
        if code:
            assert code == 1, started.said
            assert "a process of this job was ended by SIGKILL" in started.said
            assert not (output / "small" / "1.0.0").exists()
            command.append("--resume")
            code, said = processes.run(command, tmp_path / "log")
            assert code == 0, said
            ends["error, and resumed"] += 1
        else:
            ends["killed after its last shard"] += 1
        assert building.checksums(output / "small" / "1.0.0") == whole
    tell(f"{ends.total()} own processes killed: {dict(ends)}")
