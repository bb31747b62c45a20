"""Beam's options → what an engine on other machines needs, and how to watch its job."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)

from transforms import storage
from transforms.records import UsageError

_BUCKET_FOLDER = re.compile(r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9]/.*")


def is_dataflow(options: PipelineOptions) -> bool:
    """Tell whether the job is Google's to run."""
    runner = options.view_as(StandardOptions).runner or ""
    return runner.lower().rpartition(".")[2] == "dataflowrunner"


def has_own_files(options: PipelineOptions) -> bool:
    """Tell whether workers surely see none of this machine's files.

    Dataflow's machines and any engine's containers never do. Other workers may be
    processes of this machine, or share a file system with it: their engine cannot tell.
    """
    kind = options.view_as(PortableOptions).environment_type or ""
    return is_dataflow(options) or kind.upper() == "DOCKER"


def find_dataflow_problems(options: PipelineOptions) -> Iterator[str]:
    """Name what Dataflow needs; Beam would ask Google for it, or make it up."""
    if not is_dataflow(options):
        return
    google = options.view_as(GoogleCloudOptions)
    if not google.project:
        yield "--project: is required with --runner=DataflowRunner (the project's id)"
    if not google.region:
        yield (
            "--region: is required with --runner=DataflowRunner; name the one that the "
            "buckets lie in, e.g. europe-west4"
        )
    places = {"temp_location": google.temp_location}
    if google.staging_location:
        places["staging_location"] = google.staging_location
    for name, place in places.items():
        if not _BUCKET_FOLDER.fullmatch(place or ""):
            yield (
                f"--{name} {place or ''}".rstrip() + ": must be a folder in a bucket "
                "with --runner=DataflowRunner, gs://BUCKET/FOLDER"
            )


def check_reach(options: PipelineOptions, places: Iterable[tuple[str, str]]) -> None:
    """See that no worker would look in vain for what lies on this machine.

    Args:
      options: Beam's.
      places: what is there, e.g. "--output subsets", and its path.

    Raises: UsageError: every place that workers cannot reach.
    """
    if not has_own_files(options):
        return
    runner = options.view_as(StandardOptions).runner
    problems = [
        f"{what}: {storage.absolute(path)} is on this machine, where workers of "
        f"--runner={runner} cannot reach it; name a place in a bucket"
        for what, path in places
        if not storage.is_remote(path)
    ]
    if problems:
        raise UsageError("\n".join(problems))


def find_own_folder_problems(options: PipelineOptions, job: str) -> Iterator[str]:
    """Say why a job that gathers its results on this machine cannot run elsewhere.

    Args:
      options: Beam's.
      job: how it is called, e.g. "python -m pipelines.predict".
    """
    standard = options.view_as(StandardOptions)
    if has_own_files(options):
        yield (
            f"--runner {standard.runner}: {job} keeps its tables on this machine, "
            "where those workers cannot reach them; leave the flag out, or name an "
            "engine whose workers share this machine's files"
        )
    if standard.no_wait_until_finish:
        yield f"--no_wait_until_finish: {job} has work left when its pipeline ends"


def describe_job(result: Any, options: PipelineOptions) -> str:  # noqa: ANN401  # of any runner
    """Say what a job is called and how to watch it."""
    runner = options.view_as(StandardOptions).runner
    google = options.view_as(GoogleCloudOptions)
    if not is_dataflow(options):
        return f"submitted to {runner}, which shows how the job gets on"
    if not result.has_job:  # --template_location: Google's launcher submits it
        return f"the job is described in {google.template_location}"
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


def cancel_job(result: Any, options: PipelineOptions) -> str:  # noqa: ANN401
    """Cancel a job; returns what has become of it, in words."""
    runner = options.view_as(StandardOptions).runner
    if _ends_with_this_process(options):
        return f"{runner} ends with this process, and its job too"
    try:
        result.cancel()
    except Exception as error:  # noqa: BLE001  # each runner and its client has others
        return (
            f"the job could not be cancelled ({error}) and may go on\n"
            f"{describe_job(result, options)}"
        )
    return f"the job is cancelled; {runner} may take a while to stop it"


def _ends_with_this_process(options: PipelineOptions) -> bool:
    """Tell whether the engine is a child of this process, or a part of it."""
    values = options.get_all_options()
    if values["job_endpoint"]:
        return values["job_endpoint"] == "embed"
    name = str(values["runner"]).rpartition(".")[2]
    if name == "FlinkRunner":
        return values["flink_master"] in {"[local]", "[auto]"}
    return name == "PrismRunner"


def list_errors(options: PipelineOptions) -> tuple[type[Exception], ...]:
    """Return what an engine raises when a job cannot be done."""
    if not is_dataflow(options):
        return (RuntimeError,)
    # They take a while to import, and only Dataflow raises them.
    from apache_beam.runners.dataflow.dataflow_runner import (  # noqa: PLC0415
        DataflowRuntimeException,
    )
    from google.api_core.exceptions import GoogleAPIError  # noqa: PLC0415
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

    return RuntimeError, DataflowRuntimeException, GoogleAPIError, GoogleAuthError
