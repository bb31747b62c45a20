"""Check the flags of Dataflow."""

import re
from collections.abc import Iterator

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)

_BUCKET_FOLDER = re.compile(r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9]/.*")


def is_dataflow(options: PipelineOptions) -> bool:
    """Return whether the runner is Dataflow."""
    runner = options.view_as(StandardOptions).runner or ""
    return runner.lower().rpartition(".")[2] == "dataflowrunner"


def find_flag_problems(options: PipelineOptions) -> Iterator[str]:
    """Yield a message for each missing or invalid Dataflow flag."""
    if not is_dataflow(options):
        return
    google = options.view_as(GoogleCloudOptions)
    if not google.project:
        yield "--project: is required with --runner=DataflowRunner (the project's id)"
    if not google.region:
        yield (
            "--region: is required with --runner=DataflowRunner; name the region of "
            "the buckets, e.g. europe-west4"
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
