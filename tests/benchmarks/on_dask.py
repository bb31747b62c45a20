"""Compare builds on a Dask cluster of two worker processes with the default engine."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.dask_engine.cluster import connect
from tests.benchmarks import children, photographs, throughput
from tests.benchmarks.children import Usage
from tests.benchmarks.settings import Row, Settings

NUM_WORKERS = 2
MAX_RATIO = 1.15


def measure(settings: Settings) -> list[Row]:
    """Time builds of photographs, and of 2.5 × as many small images as by default."""
    small = photographs.shrink(settings)
    with _run_cluster() as address:
        return [
            _compare(small, int(2.5 * settings.images), "small images", address),
            _compare(settings, int(0.3 * settings.images), "photographs", address),
        ]


@contextmanager
def _run_cluster() -> Iterator[str]:
    """Run a scheduler and worker processes of one thread on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "tcp://127.0.0.1:{1}".format(*taken.getsockname())
    start = [sys.executable, "-m", "dask"]
    alone = ["--host=127.0.0.1", "--no-dashboard"]
    port = address.rpartition(":")[2]
    worker = [*start, "worker", address, *alone, "--nthreads=1", "--no-nanny"]
    commands = [[*start, "scheduler", f"--port={port}", *alone]]
    commands += [worker] * NUM_WORKERS
    cluster = [subprocess.Popen(c, stderr=subprocess.DEVNULL) for c in commands]
    try:
        with connect(address) as client:
            client.wait_for_workers(NUM_WORKERS)
        yield address
    finally:
        for process in cluster:
            process.kill()
            process.wait()


def _build(folder, output, address: str) -> Usage:
    """Build on the cluster; add its CPU time to that of the launcher."""
    flags = ("--runner", "DaskRunner", "--dask_client_address", address)
    with connect(address) as client:

        def read_cpu_s() -> float:
            workers = client.run(time.process_time)
            return client.run_on_scheduler(time.process_time) + sum(workers.values())

        before_s = read_cpu_s()
        usage = throughput.build(folder, output, *flags)
        return usage._replace(cpu_s=usage.cpu_s + read_cpu_s() - before_s)


def _compare(settings: Settings, num_images: int, what: str, address: str) -> Row:
    folder = photographs.make_archive(settings, num_images)
    output = settings.work / "on_dask"
    taken = children.alternate(
        {
            "here": lambda: throughput.build(folder, output),
            "dask": lambda: _build(folder, output, address),
        },
        settings.repetitions,
    )
    seconds = children.divide(taken["dask"], taken["here"], "seconds")
    cpu = children.divide(taken["dask"], taken["here"], "cpu_s")
    return Row(
        what=f"build of {num_images:,} {what} on Dask, {NUM_WORKERS} workers: time",
        measured=f"{children.show(seconds)} × the default engine; CPU time "
        f"{children.show(cpu)} ×",
        target=f"≤ {MAX_RATIO} ×",
        reached=children.median(seconds) <= MAX_RATIO,
        figures=children.list_times(taken),
    )
