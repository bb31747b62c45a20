"""Measure the client's CPU time per image read from buckets, on local emulators."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.benchmarks import children, photographs
from tests.benchmarks.settings import Row, Settings

MSEC = 0.5
_BUCKET = "photographs"
_MOST_IMAGES = 2000
_KEYS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "nobody",
    "AWS_REGION": "us-east-1",
}


def measure(settings: Settings) -> list[Row]:
    """Upload class archives to each store, index them, and read images."""
    with _run_google() as google, _run_amazon() as amazon:
        return [
            _measure(settings, "gs", {"STORAGE_EMULATOR_HOST": google}),
            _measure(settings, "s3", {**_KEYS, "AWS_ENDPOINT_URL": amazon}),
        ]


def _measure(settings: Settings, scheme: str, environment: Mapping[str, str]) -> Row:
    num_images = min(settings.images, _MOST_IMAGES)
    folder = photographs.make_class_archives(settings, num_images)
    target = f"{scheme}://{_BUCKET}/class_archives"
    index = settings.work / f"{scheme}.parquet"
    client = "tests.benchmarks.store_client"
    children.run_module(client, "upload", folder, target, environment=environment)
    children.run_module(
        "pipelines.index",
        *("--input", target, "--output", index),
        environment=environment,
    )
    runs = [
        json.loads(
            children.run_module(
                client, "read", index, num_images, environment=environment
            ).output.splitlines()[-1]
        )
        for _ in range(settings.repetitions)
    ]
    msec = [1000 * run["cpu_s"] / run["images"] for run in runs]
    return Row(
        what=f"{scheme}:// reads: client CPU time per image",
        measured=f"{children.show(msec)} ms",
        target=f"≤ {MSEC} ms",
        reached=children.median(msec) <= MSEC,
        figures={"cpu_msec": msec, **runs[0]},
    )


@contextmanager
def _run_google() -> Iterator[str]:
    from tests.stores import gcs_emulator  # other benchmarks need no emulator

    with gcs_emulator.run(_BUCKET) as address:
        yield address


@contextmanager
def _run_amazon() -> Iterator[str]:
    from tests.stores import fault_server

    # Not moto: unlike S3, it closes every connection, and opening a new one costs the
    # client more than the read.
    with fault_server.run(_BUCKET) as (address, _):
        yield address
