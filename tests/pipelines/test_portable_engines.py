import os
import signal
import socket
import subprocess
import sys

import apache_beam as beam
import pytest

from pipelines import engine
from transforms.records import JobError

PRISM = "--runner=PrismRunner"
EXTERNAL = "--environment_type=EXTERNAL"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ([PRISM, "--prism_location=/none"], "--prism_location /none: no such file"),
        (
            ["--flink_job_server_jar=a.jar"],
            "--flink_job_server_jar a.jar: no such file",
        ),
        (
            ["--job_endpoint=localhost:1"],
            "--job_endpoint localhost:1: connection failed",
        ),
        (["--job_endpoint=8099"], "--job_endpoint 8099: connection failed"),
        (
            [PRISM, EXTERNAL, "--environment_config=localhost:1"],
            "--environment_config localhost:1: connection failed; start a worker",
        ),
        (
            ["--job_endpoint=embed", EXTERNAL],
            "--environment_config None: connection failed",
        ),
    ],
)
def test_engine_that_cannot_start_is_reported_at_launch(flags, problem):
    (found,) = engine.find_flag_problems(flags)
    assert found.startswith(problem)


def test_engine_that_can_start_is_accepted(tmp_path):
    program = tmp_path / "prism"
    program.touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
        flags = [
            *(PRISM, f"--prism_location={program}", f"--job_endpoint={address}"),
            *(EXTERNAL, f"--environment_config={address}"),
        ]
        assert engine.find_flag_problems(flags) == []


def test_worker_pool_of_a_cluster_is_not_checked_locally():
    flags = ["--runner=FlinkRunner", "--flink_master=localhost:1", EXTERNAL]
    assert engine.find_flag_problems([*flags, "--environment_config=pool:1"]) == []


# Beam's reader threads lose the connection too; `engine` reports it once.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_engine_killed_during_a_job_is_an_error():
    """A step kills the job server."""
    module = "apache_beam.runners.portability.local_job_service_main"
    server = subprocess.Popen(
        [sys.executable, "-m", module], stderr=subprocess.PIPE, text=True
    )

    def define(root):
        _ = root | beam.Create([server.pid]) | beam.Map(os.kill, signal.SIGKILL)

    with server:
        try:
            said = next(line for line in server.stderr if "jobs on port" in line)
            address = f"localhost:{said.split()[-1].strip('.')}"
            flags = ["--runner=PortableRunner", f"--job_endpoint={address}"]
            options = engine.make_beam_options([*flags, "--environment_type=LOOPBACK"])
            with pytest.raises(
                JobError, match=r"connection to the engine lost .*--res"
            ):
                engine.run(define, options)
        finally:
            server.kill()
