import socket

import pytest

from pipelines import engine

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
