"""Test Ctrl-C with remote engines: the job is cancelled and can be resumed."""

import signal

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from pipelines.dask_engine import cluster
from tests import building, processes
from tests.engines import install, page

PRISM = f".engines/prism-{install.BEAM}"
# A separate server outlives the job, as that of Flink or a cluster would.
SERVER = page.Engine(
    name="Prism, as a server",
    servers=(f"{PRISM} --job_port=8099 --serve_http=false",),
    flags=(
        "--runner=PortableRunner",
        "--job_endpoint=localhost:8099",
        "--environment_type=LOOPBACK",
    ),
)
DASK = next(e for e in page.read_engines() if "DaskRunner" in " ".join(e.flags))
# Those that a job starts itself.
CHILDREN = [e for e in page.read_engines() if "PrismRunner" in " ".join(e.flags)]


def _list_states(flags):
    address = flags[1].partition("=")[2]
    with grpc.insecure_channel(address) as channel:
        jobs = beam_job_api_pb2_grpc.JobServiceStub(channel)
        found = jobs.GetJobs(beam_job_api_pb2.GetJobsRequest())
    return [beam_job_api_pb2.JobState.Enum.Name(j.state) for j in found.job_info]


def _interrupt(imagenet, tmp_path, flags):
    """Send Ctrl-C while shards are written; return the output."""
    command = building.command_line(imagenet, tmp_path / "out", images_per_shard=1)
    build = processes.RunningBuild([*command, *flags], tmp_path / "log")
    parts = tmp_path / "out" / "small" / ".1.0.0.partial" / "parts"
    build.wait_until(lambda: parts.exists() and list(parts.glob("*.parquet")))
    assert build.stop(signal.SIGINT) == 130, build.said
    assert (
        "error: stopped; run the same command with --resume to continue" in build.said
    )
    assert "Traceback" not in build.said
    return build.said


@pytest.mark.timeout(300)
def test_job_of_a_remote_engine_is_cancelled(engines, mini_imagenet, tmp_path):
    flags = engines.start(SERVER)
    assert "the job is cancelled" in _interrupt(mini_imagenet, tmp_path, flags)
    assert _list_states(flags) == ["CANCELLED"]


@pytest.mark.timeout(300)
def test_nothing_runs_on_dask_after_the_job(engines, mini_imagenet, tmp_path):
    flags = engines.start(DASK)
    said = _interrupt(mini_imagenet, tmp_path, flags)
    assert "the job is cancelled, and no task is running" in said
    with cluster.connect(flags[-1].partition("=")[2]) as client:
        assert client.processing() == dict.fromkeys(client.processing(), ())
    assert not list(tmp_path.glob("**/complete.json"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", CHILDREN, ids=lambda e: e.name)
def test_engine_started_by_the_job_ends_with_it(
    engine, engines, mini_imagenet, tmp_path
):
    said = _interrupt(mini_imagenet, tmp_path, engines.start(engine))
    assert "end with this process" in said
