"""Select the Beam runner, run pipelines and translate runner errors."""

import contextlib
import logging
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    TestOptions,
)
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.runner import PipelineState
from apache_beam.runners.worker import sdk_worker

from pipelines import dataflow, stopping
from pipelines.dask_engine import cluster as dask_cluster
from pipelines.dask_engine import runner as dask_runner
from transforms import storage
from transforms.records import JobError, UsageError
from transforms.storage.clients import CarriedSettings

FILES_APPEAR_S = 60  # on other machines; the default of NFS for attributes of folders
_INTERVAL_S = 0.5
_WHERE = re.compile(r" \[while running .*?\]$", re.DOTALL)
_RAISED = re.compile(
    r"^(?:\w+\.)*(UsageError|JobError|\w+Error): (.*?)(?= \[while running|\n\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
# Beam's DirectRunner may switch to Prism and download it; this runner never does.
_EMBEDDED = "FnApiRunner"
_LOCAL_FLINK = {"[local]", "[auto]"}
RUNNERS = (*StandardOptions.KNOWN_RUNNER_NAMES, "DaskRunner")
_NO_SERVER = re.compile(
    "Unable to fetch remote (job server jar|prism binary) at ([^ ]*): (.*?>)"
)


def find_unknown_flags(flags: Sequence[str]) -> tuple[set[str], set[str]]:
    """Return the names of unknown flags among `flags`, and of all Beam flags."""
    # Beam warns of unknown flags; the caller reports them as errors.
    logging.getLogger(pipeline_options.__name__).addFilter(_is_not_about_flags)
    options = PipelineOptions(list(flags))
    known = set(options.get_all_options())
    unknown = set(options.get_all_options(retain_unknown_options=True)) - known
    return unknown, known


def _is_not_about_flags(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Discarding unparseable args")


def find_unknown_runner(flags: Sequence[str]) -> str | None:
    """Return the name of the runner in the flags if it is not known."""
    name = PipelineOptions(list(flags)).view_as(StandardOptions).runner or _EMBEDDED
    if "." in name or is_dask(PipelineOptions(list(flags))):
        return None
    # Beam accepts any case, and names without "Runner".
    names = {name.lower(), f"{name.lower()}runner"}
    of_beam = {runner.lower() for runner in StandardOptions.KNOWN_RUNNER_NAMES}
    return None if names & of_beam else name


def find_flag_problems(flags: Sequence[str]) -> list[str]:
    """Return messages about invalid Beam flags and missing files or servers.

    A mode in which Beam loses images also counts as invalid.
    """
    options = PipelineOptions(list(flags))
    problems = [f"{word}: not a flag" for word in _stray_words(flags)]
    if options.view_as(DirectOptions).direct_running_mode == "multi_threading":
        problems.append(
            "--direct_running_mode multi_threading: loses images; use --threads, "
            "or multi_processing"
        )
    problems += dataflow.find_flag_problems(options)
    return [*problems, *find_unreachable(options)]


def make_beam_options(flags: Sequence[str]) -> PipelineOptions:
    """Create Beam's options from checked flags."""
    options = PipelineOptions(list(flags))
    standard = options.view_as(StandardOptions)
    if standard.runner in {None, "DirectRunner"}:
        standard.runner = _EMBEDDED
    return options


def is_embedded(options: PipelineOptions) -> bool:
    """Return whether the job uses the embedded runner, on this machine."""
    return options.view_as(StandardOptions).runner == _EMBEDDED


def is_dask(options: PipelineOptions) -> bool:
    """Return whether the job runs on a Dask cluster."""
    runner = str(options.view_as(StandardOptions).runner)
    return runner.rpartition(".")[2].lower() == "daskrunner"


def has_one_process(options: PipelineOptions) -> bool:
    """Return whether all steps run in this process."""
    direct = options.view_as(DirectOptions)
    return is_embedded(options) and direct.direct_running_mode == "in_memory"


def waits_for_end(options: PipelineOptions) -> bool:
    """Return whether the launcher waits until the job has ended.

    The embedded runner always does. A template is a file that another launcher submits.
    """
    no_wait = options.view_as(StandardOptions).no_wait_until_finish
    return is_embedded(options) or not (no_wait or _writes_template(options))


def _writes_template(options: PipelineOptions) -> bool:
    google = options.view_as(GoogleCloudOptions)
    return dataflow.is_dataflow(options) and bool(google.template_location)


def requests_accelerator(options: PipelineOptions) -> bool:
    """Return whether Beam's flags request workers with GPUs or TPUs."""
    values = options.get_all_options()
    hints = [
        *(values["resource_hints"] or []),
        *(values["dataflow_service_options"] or []),
    ]
    return any("accelerator" in hint for hint in hints)


def use_embedded_runner(flags: Sequence[str]) -> list[str]:
    """Return Beam's flags with the runner replaced by the embedded one.

    There are none for a job on Dask, which needs no other flags.
    """
    if is_dask(PipelineOptions(list(flags))):
        return []
    return [*flags, f"--runner={_EMBEDDED}"]


def _stray_words(flags: Sequence[str]) -> list[str]:
    """Find the words that are neither a flag nor the value of the flag before them."""
    before = ["", *flags]
    return [
        flag
        for flag, last in zip(flags, before, strict=False)
        if not flag.startswith("-") and (not last.startswith("-") or "=" in last)
    ]


def run(
    define: Callable[[beam.Pipeline], Any],
    options: PipelineOptions,
    *,
    is_complete: Callable[[], bool] = lambda: True,
) -> bool:
    """Build a pipeline, and run it to completion or only submit it.

    Args:
      define: adds the steps to a pipeline.
      options: Beam's options.
      is_complete: returns whether the last step has run; called when the job has ended.

    Returns:
      Whether the job has ended; False if the launcher does not wait for the end.

    Raises:
      UsageError: flags contradict each other, or a step raised it, on any runner.
      JobError: a step raised it, or the runner failed or skipped steps.
    """
    pipeline = _make_pipeline(define, options)
    # Errors of steps are raised here too, so Beam's log would only repeat them.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    silence()
    try:
        result = pipeline.run()
        # A short job may have ended already, and Beam counts a template as ended.
        if not waits_for_end(options) or not PipelineState.is_terminal(result.state):
            sys.stderr.write(f"{describe_job(result, options)}\n")
        if not waits_for_end(options):
            return False
        _wait(result, options)
    except (UsageError, JobError) as error:
        raise type(error)(_WHERE.sub("", str(error))) from error
    except list_errors(options) as error:
        raise _translate(error) from error
    if not _wait_for_files(is_complete, options):
        raise JobError(
            "the engine skipped the last step, so nothing is committed; run again, "
            "and without --runner if this repeats"
        )
    return True


def _wait_for_files(is_complete: Callable[[], bool], options: PipelineOptions) -> bool:
    """Return whether the last step has run.

    A network file system may show a worker's new file to this machine only later.
    """
    deadline = time.monotonic() + (0 if is_embedded(options) else FILES_APPEAR_S)
    while not (done := is_complete()) and time.monotonic() < deadline:
        time.sleep(_INTERVAL_S)
    return done


def _wait(result: Any, options: PipelineOptions) -> None:
    """Wait for a job; on Ctrl-C, cancel it, so that a remote job does not continue."""
    try:
        result.wait_until_finish()
    except KeyboardInterrupt:
        if not is_embedded(options):
            sys.stderr.write("cancelling the job\n")
            with stopping.patience():
                sys.stderr.write(f"{cancel_job(result, options)}\n")
        raise


def make_job(
    define: Callable[[beam.Pipeline], Any], options: PipelineOptions
) -> beam_runner_api_pb2.Pipeline:
    """Build a pipeline as its runner would receive it, without running it."""
    options.view_as(TestOptions).dry_run = True
    pipeline = _make_pipeline(define, options)
    if dataflow.is_dataflow(options):
        result: Any = pipeline.run()  # each runner has its own type
        return result.job.proto_pipeline
    return pipeline.to_runner_api()


def _make_pipeline(
    define: Callable[[beam.Pipeline], Any], options: PipelineOptions
) -> beam.Pipeline:
    runner = dask_runner.DaskRunner() if is_dask(options) else None
    try:
        pipeline = beam.Pipeline(runner, options)
    except ValueError as error:  # flags that contradict each other
        raise UsageError(str(error)) from error
    define(pipeline)
    pipeline.visit(_CarryStoreSettings())
    return pipeline


class _CarryStoreSettings(PipelineVisitor):
    """Attach the store settings to every step, because any worker may run any step."""

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        if isinstance(transform_node.transform, beam.ParDo):
            transform_node.transform.fn.carried_settings = CarriedSettings()


def _translate(error: Exception) -> BaseException:
    """Recover the error that a step raised from the message of a runner's error."""
    if str(error).startswith("KeyboardInterrupt"):
        return KeyboardInterrupt()
    if no_server := _NO_SERVER.match(str(error)):
        kind, url, reason = no_server.groups()
        flag = "spark_job_server_jar" if "spark" in url else "flink_job_server_jar"
        flag = "prism_location" if kind == "prism binary" else flag
        return JobError(
            f"{url} cannot be downloaded ({reason}); download it elsewhere, and name "
            f"the file with --{flag}"
        )
    if isinstance(error, grpc.RpcError):
        what = error.details() if isinstance(error, grpc.Call) else str(error)
        return JobError(
            f"connection to the engine lost ({what}); run again; --resume continues a "
            "build"
        )
    found = list(_RAISED.finditer(str(error)))
    for match in reversed(found):
        message = _WHERE.sub("", match.group(2))
        if match.group(1) == "UsageError":
            return UsageError(message)
        if match.group(1) == "JobError":
            return JobError(message)
    return JobError(found[-1].group(0) if found else str(error))


_FILES = ("prism_location", "flink_job_server_jar", "spark_job_server_jar")
_TIMEOUT_S = 5.0
_READER = "read_grpc_client_inputs"  # of apache_beam's data plane


def find_unreachable(options: PipelineOptions) -> Iterator[str]:
    """Yield a message for each missing file or unreachable server named by a flag."""
    values = options.get_all_options()
    for flag in _FILES:
        place = values[flag]
        if place and "://" not in place and not Path(place).is_file():
            yield f"--{flag} {place}: no such file"
    endpoint = values["job_endpoint"]
    if values["runner"] == "PortableRunner" and not endpoint:
        yield (
            "--runner PortableRunner: needs --job_endpoint, the address of a job "
            "server; embed starts one in this process"
        )
    if endpoint and endpoint != "embed" and not _accepts_connections(endpoint):
        yield f"--job_endpoint {endpoint}: connection failed; start the job server"
    # For other runners, the address need not be reachable from this machine.
    is_here = endpoint == "embed" or values["runner"] == "PrismRunner"
    pool = values["environment_config"]
    if (
        is_here
        and values["environment_type"] == "EXTERNAL"
        and not _accepts_connections(pool)
    ):
        yield (
            f"--environment_config {pool}: connection failed; start a worker pool: "
            "python -m pipelines.worker_pool --address=HOST:PORT"
        )
    if is_dask(options):
        yield from _find_dask_problems(options)
    else:
        given = options.view_as(dask_cluster.DaskOptions).get_all_options(
            drop_default=True, current_only=True
        )
        yield from (
            f"--{name}: applies only with --runner=DaskRunner" for name in given
        )


def _find_dask_problems(options: PipelineOptions) -> Iterator[str]:
    """Yield a message for each invalid flag and each problem of the cluster."""
    if options.view_as(StandardOptions).no_wait_until_finish:
        yield (
            "--no_wait_until_finish: this process runs the stages of a job on Dask one "
            "after another; leave the flag out"
        )
    try:
        address = dask_cluster.find_address(options)
        # Dask's client tries a closed port for seconds before it reports it.
        if not _accepts_connections(address.rpartition("://")[2]):
            raise dask_cluster.no_connection(address)
        dask_cluster.check_workers(address)
    except UsageError as error:
        yield str(error)


def silence() -> None:
    """Suppress the duplicate error messages of job servers and their client threads."""
    # Setting its level is not enough: Beam resets it when the server starts.
    logging.getLogger("PrismJobServer").disabled = True
    logging.getLogger().addFilter(_is_not_a_job_servers)
    # If steps run in this process (LOOPBACK), Beam also prints the errors. A name in
    # the module hides the builtin.
    vars(sdk_worker)["print"] = _ignore
    # Beam's reader threads fail if the engine ends before them, e.g. after an error or
    # Ctrl-C.
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _report_unless_readers


def _is_not_a_job_servers(record: logging.LogRecord) -> bool:
    """Return False for log records that Beam forwards from job servers."""
    return record.module != "portable_runner"


def _ignore(*_: object, **__: object) -> None:
    """Accept the arguments of `print` and print nothing."""


def _report_unless_readers(failed: threading.ExceptHookArgs) -> None:
    is_reader = failed.thread is not None and failed.thread.name == _READER
    if not is_reader and not issubclass(failed.exc_type, grpc.RpcError):
        threading.__excepthook__(failed)


def _accepts_connections(address: str | None) -> bool:
    """Return whether a server accepts connections at host:port."""
    host, _, port = (address or "").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True


def workers_lack_local_files(options: PipelineOptions) -> bool:
    """Return whether workers cannot read this machine's files.

    True for Dataflow and Docker containers. False for all other workers, which may run
    on this machine or share its file system.
    """
    return dataflow.is_dataflow(options) or _starts_containers(options)


def _starts_containers(options: PipelineOptions) -> bool:
    """Return whether workers run in Docker containers, the default of most runners.

    Source: `default_environment` of Beam's portable runners.
    """
    values = options.get_all_options()
    if kind := values["environment_type"]:
        return "DOCKER" in kind.upper()
    runs_here = {
        "portable": False,
        "flink": values["flink_master"] in _LOCAL_FLINK,
        "spark": re.match(r"local(\[.+\])?$", values["spark_master_url"]),
        "prism": True,
        "kafkastreams": True,
    }
    name = str(values["runner"]).rpartition(".")[2].lower().removesuffix("runner")
    return name in runs_here and bool(
        values["output_executable_path"] or not runs_here[name]
    )


def can_check_reach(options: PipelineOptions) -> bool:
    """Return whether `check_reach` can find files that workers cannot reach."""
    return workers_lack_local_files(options) or is_dask(options)


def check_reach(options: PipelineOptions, places: Iterable[tuple[str, str]]) -> None:
    """Check that workers can reach every path.

    Args:
      options: Beam's options.
      places: pairs of a description, e.g. "--output subsets", and the path.

    Raises:
      UsageError: lists every path that workers cannot reach.
    """
    if is_dask(options):
        _check_dask_folders(options, places)
    if not workers_lack_local_files(options):
        return
    runner = options.view_as(StandardOptions).runner
    remedy = "use a path in a bucket"
    if not dataflow.is_dataflow(options):
        remedy += (
            ", or --environment_type=LOOPBACK or EXTERNAL if workers share this disk"
        )
    problems = [
        f"{what}: {storage.absolute(path)} is on this machine, where workers of "
        f"--runner={runner} cannot reach it; {remedy}"
        for what, path in places
        if not storage.is_remote(path)
    ]
    if problems:
        raise UsageError("\n".join(problems))


def _check_dask_folders(
    options: PipelineOptions, places: Iterable[tuple[str, str]]
) -> None:
    """Check that the present workers see local paths, or the folder of a new one."""
    with contextlib.ExitStack() as stack:
        paths = {}
        for what, path in places:
            place = Path(storage.absolute(path))
            if storage.is_remote(path):
                continue
            if not place.exists():
                above = next(parent for parent in place.parents if parent.exists())
                with contextlib.suppress(OSError):  # the job reports it
                    place = Path(
                        stack.enter_context(tempfile.TemporaryDirectory(dir=above))
                    )
            paths[str(place)] = what
        dask_cluster.check_folders(dask_cluster.find_address(options), paths)


def describe_job(result: Any, options: PipelineOptions) -> str:
    """Describe a submitted job and how to monitor it."""
    runner = options.view_as(StandardOptions).runner
    google = options.view_as(GoogleCloudOptions)
    if is_dask(options):
        return (
            f"running on the Dask scheduler {result.address} with {result.num_workers} "
            f"workers; dashboard: {result.dashboard}"
        )
    if not dataflow.is_dataflow(options):
        return f"submitted to {runner}, which shows the job's progress"
    if _writes_template(options):
        return f"the job was written to {google.template_location}"
    job = result.job_id()
    return (
        f"submitted to Dataflow as job {job}\n"
        f"  watch:  https://console.cloud.google.com/dataflow/jobs/{google.region}/"
        f"{job}?project={google.project}\n"
        f"  state:  gcloud dataflow jobs describe {job} --region={google.region} "
        f"--project={google.project}\n"
        f"  cancel: gcloud dataflow jobs cancel {job} --region={google.region} "
        f"--project={google.project}"
    )


def cancel_job(result: Any, options: PipelineOptions) -> str:
    """Cancel a job; return a message about the outcome."""
    runner = options.view_as(StandardOptions).runner
    if _ends_with_this_process(options):
        return f"{runner} and its job end with this process"
    try:
        result.cancel()
        if is_dask(options):
            rest = dask_runner.describe_running(result.num_running)
            return f"the job is cancelled, and {rest}"
    except Exception as error:  # noqa: BLE001  # each runner and its client has others
        return (
            f"the job could not be cancelled ({error}) and may continue\n"
            f"{describe_job(result, options)}"
        )
    return f"the job is cancelled; {runner} may take a while to stop it"


def _ends_with_this_process(options: PipelineOptions) -> bool:
    """Return whether the runner is a child of this process, or part of it."""
    values = options.get_all_options()
    if values["job_endpoint"]:
        return values["job_endpoint"] == "embed"
    name = str(values["runner"]).rpartition(".")[2]
    if name == "FlinkRunner":
        return values["flink_master"] in _LOCAL_FLINK
    return name == "PrismRunner"


def list_errors(options: PipelineOptions) -> tuple[type[Exception], ...]:
    """Return the types of exceptions that the runner raises when a job fails."""
    if not dataflow.is_dataflow(options):
        return RuntimeError, grpc.RpcError
    # They take a while to import, and only Dataflow raises them.
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    return RuntimeError, DataflowRuntimeException, GoogleAPIError, GoogleAuthError
