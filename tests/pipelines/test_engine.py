import urllib.request

import apache_beam as beam
import google.api_core.exceptions
import pytest
from apache_beam.runners.portability import prism_runner
from apache_beam.utils.subprocess_server import JavaJarServer

from pipelines import engine
from transforms.records import JobError, UsageError


@pytest.mark.parametrize(
    "flags", [[], ["--runner=DirectRunner"], ["--runner", "DirectRunner"]]
)
def test_default_engine_is_the_embedded_one(flags):
    options = engine.make_beam_options(flags)
    assert options.get_all_options()["runner"] == "FnApiRunner"
    assert options.get_all_options()["direct_running_mode"] == "in_memory"


def test_other_engines_can_be_named():
    options = engine.make_beam_options(["--runner=FlinkRunner"])
    assert options.get_all_options()["runner"] == "FlinkRunner"


TEMPLATE = "--template_location=gs://bucket/job.json"


@pytest.mark.parametrize(
    ("flags", "waits"),
    [
        ([], True),
        (["--no_wait_until_finish"], True),
        ([TEMPLATE], True),
        (["--runner=FlinkRunner", "--no_wait_until_finish"], False),
        (["--runner=FlinkRunner", TEMPLATE], True),
        (["--runner=DataflowRunner"], True),
        (["--runner=DataflowRunner", "--no_wait_until_finish"], False),
        (["--runner=DataflowRunner", TEMPLATE], False),
    ],
)
def test_launcher_leaves_if_the_job_does_not_end_here(flags, waits):
    options = engine.make_beam_options(flags)
    assert engine.waits_for_end(options) == waits


def test_embedded_engine_ends_even_if_nobody_waits():
    options = engine.make_beam_options(["--no_wait_until_finish"])
    assert engine.run(lambda root: root | beam.Create([1]), options)


def _raise(error):
    raise error


@pytest.mark.parametrize("kind", [UsageError, JobError])
@pytest.mark.parametrize(
    "flags",
    [[], ["--direct_running_mode=multi_processing", "--direct_num_workers=1"]],
    ids=["in process", "other process"],
)
def test_error_of_a_step_is_raised_unchanged(kind, flags):
    def define(root):
        _ = root | beam.Create([kind("two\nlines")]) | beam.Map(_raise)

    with pytest.raises(kind) as raised:
        engine.run(define, engine.make_beam_options(flags))
    assert str(raised.value) == "two\nlines"


def test_error_of_the_machine_fails_the_job():
    def define(root):
        _ = root | beam.Create([OSError(28, "No space left")]) | beam.Map(_raise)

    with pytest.raises(JobError, match=r"No space left"):
        engine.run(define, engine.make_beam_options([]))


@pytest.mark.parametrize(
    ("runner", "flag", "place"),
    [
        (
            "SparkRunner",
            "spark_job_server_jar",
            f"{JavaJarServer.MAVEN_CENTRAL_REPOSITORY}/org/apache/beam/",
        ),
        ("PrismRunner", "prism_location", prism_runner.GITHUB_DOWNLOAD_PREFIX),
    ],
)
def test_a_job_server_that_cannot_be_downloaded_is_named(
    tmp_path, monkeypatch, runner, flag, place
):
    monkeypatch.setattr(prism_runner.PrismJobServer, "BIN_CACHE", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(urllib.request, "_opener", None)  # made with other proxies
    flags = [f"--runner={runner}", f"--jar_cache_dir={tmp_path}"]
    with pytest.raises(JobError) as raised:
        engine.run(
            lambda root: root | beam.Create([1]), engine.make_beam_options(flags)
        )
    message = str(raised.value)
    assert message.startswith(place)
    assert "cannot be downloaded (<urlopen error" in message
    assert message.endswith(f"and name the file with --{flag}")


class _Kept:
    """A job that cannot be cancelled."""

    def __init__(self, error):
        self._error = error

    def cancel(self):
        raise self._error

    def job_id(self):
        return "2026-11-26_1"


@pytest.mark.parametrize(
    "error",
    [
        google.api_core.exceptions.PermissionDenied("no"),
        ValueError("Cannot invoke RPC on closed channel!"),
        ConnectionError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failed_cancellation_names_the_job(error):
    flags = ["--runner=DataflowRunner", "--project=a-project", "--region=europe-west4"]
    options = engine.make_beam_options(flags)
    said = engine.cancel_job(_Kept(error), options)
    assert "may continue" in said
    assert "gcloud dataflow jobs cancel 2026-11-26_1 --region=europe-west4" in said


@pytest.mark.parametrize(
    ("flags", "is_child"),
    [
        (["--runner=PrismRunner"], True),
        (["--runner=PortableRunner", "--job_endpoint=embed"], True),
        (["--runner=PortableRunner", "--job_endpoint=a-host:8099"], False),
        (["--runner=FlinkRunner"], True),
        (["--runner=FlinkRunner", "--flink_master=a-host:8081"], False),
    ],
)
def test_message_states_whether_the_engine_ends_with_the_process(flags, is_child):
    options = engine.make_beam_options(flags)
    said = engine.cancel_job(_Kept(ConnectionError("no")), options)
    assert ("end with this process" in said) == is_child
    assert ("may continue" in said) != is_child


@pytest.mark.parametrize(
    ("flags", "is_refused"),
    [
        ("PortableRunner --job_endpoint=h:1", True),
        ("PortableRunner --job_endpoint=embed --environment_type=EXTERNAL", False),
        ("PortableRunner --job_endpoint=h:1 --environment_type=docker", True),
        ("FlinkRunner --flink_master=h:8081", True),
        ("flink --flink_master=h:8081", True),
        ("FlinkRunner --flink_master=h:8081 --environment_type=LOOPBACK", False),
        ("FlinkRunner --flink_master=[local]", False),
        ("FlinkRunner", False),
        ("FlinkRunner --output_executable_path=job.jar", True),
        ("SparkRunner --spark_master_url=spark://h:7077", True),
        ("SparkRunner --spark_master_url=local[2]", False),
        ("SparkRunner", False),
        ("PrismRunner", False),
        ("DirectRunner", False),
    ],
)
def test_local_paths_are_refused_if_workers_run_in_containers(flags, is_refused):
    options = engine.make_beam_options(f"--runner={flags}".split())
    assert engine.workers_lack_local_files(options) == is_refused
    if is_refused:
        remedy = "a bucket, or --environment_type=LOOPBACK or EXTERNAL if workers share"
        with pytest.raises(UsageError, match=f"--output o: .* {remedy} this disk"):
            engine.check_reach(options, [("--output o", "/tmp/o")])
