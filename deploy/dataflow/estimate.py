"""Estimate time, requests and cost of a build on Dataflow.

python deploy/dataflow/estimate.py
python deploy/dataflow/estimate.py --images 14000000 --gigabytes 1300
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prices:
    """List prices in US dollars, assumed for 2026 and not verified.

    Check them: cloud.google.com/dataflow/pricing (batch workers and Shuffle, region
    us-central1) and cloud.google.com/storage/pricing (Standard, single region).
    """

    vcpu_hour: float = 0.056
    memory_gb_hour: float = 0.003557
    disk_gb_hour: float = 0.000054
    shuffle_gb: float = 0.011
    flexrs_discount: float = 0.40  # of vCPUs and memory
    per_thousand_writes: float = 0.005  # class A: puts and listings
    per_thousand_reads: float = 0.0004  # class B: gets
    stored_gb_month: float = 0.020


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """Rates, sizes and latencies of a build, measured unless marked as assumed."""

    images_per_second: float = 250.0  # decode, resize, encode on one core, at 256 px
    cores_per_vcpu: float = 0.6  # assumed: a vCPU is one of two threads of a core
    client_ms_per_read: float = 0.5  # of the store's client
    bytes_per_written_image: int = 42_000  # mean at 256 px, quality 90
    bytes_per_shuffled_shard: int = 300  # a Shard twice: distributed, then collected
    # A test counts them: three for the file of the plan, six for the part.
    reads_per_shard: int = 9
    reads_by_commit_per_shard: int = 5  # of these, by a single process
    shards_read_at_once: int = 16  # by the threads of that process
    seconds_per_small_read: float = 0.03  # assumed
    bytes_per_put: int = 1 << 23  # larger files are uploaded in parts of this size
    start_minutes: float = (
        4.0  # of a worker, with a container image of some GB: assumed
    )
    process_gb: float = 0.35  # an SDK process with its prefetched images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """A worker with one process per vCPU; the defaults are n2-standard-4."""

    vcpus: int = 4
    memory_gb: float = 16.0
    disk_gb: float = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """Requests, bytes, time, memory and cost of one build.

    `compute`, `compute_flexrs`, `requests` and `stored_a_month` are in US dollars.
    """

    num_shards: int
    num_reads: int
    num_writes: int
    read_gb: float
    written_gb: float
    shuffle_gb: float
    vcpu_hours: float
    worker_hours: float
    wall_hours: float
    commit_hours: float
    process_gb: float
    worker_gb: float
    compute: float
    compute_flexrs: float
    requests: float
    stored_a_month: float


def estimate(
    num_images: int,
    num_bytes: int,
    *,
    num_workers: int = 32,
    images_per_shard: int = 1000,
    num_formats: int = 2,
    prices: Prices | None = None,
    measured: Measured | None = None,
    machine: Machine | None = None,
) -> Estimate:
    """Estimate the resources and the cost of a build.

    Args:
      num_images: number of selected images, including validation.
      num_bytes: size of these images in the input, in bytes.
      num_workers: maximum number of workers.
      images_per_shard: largest number of images per shard, as in the build.
      num_formats: number of output formats; each contains all images.
      prices: prices of the cloud.
      measured: resources per image and per shard.
      machine: type of the workers.
    """
    prices, measured = prices or Prices(), measured or Measured()
    machine = machine or Machine()
    num_shards = math.ceil(num_images / images_per_shard)
    num_reads = num_images + num_shards * measured.reads_per_shard  # one range each
    written = num_images * measured.bytes_per_written_image * num_formats
    num_puts = _count_puts(written / num_shards / num_formats, measured)
    num_writes = num_shards * (num_formats * num_puts + 2)  # plus plan and part
    busy_seconds = num_images * (
        1 / measured.images_per_second + measured.client_ms_per_read / 1000
    )
    vcpu_seconds = busy_seconds / measured.cores_per_vcpu
    slots = min(num_workers * machine.vcpus, num_shards)
    waves = math.ceil(num_shards / slots)
    # A process works on whole shards, so the last wave may be a single shard.
    write_seconds = waves * vcpu_seconds / num_shards + measured.start_minutes * 60
    commit_reads = num_shards * measured.reads_by_commit_per_shard
    commit_seconds = (
        commit_reads / measured.shards_read_at_once * measured.seconds_per_small_read
    )
    workers = math.ceil(slots / machine.vcpus)
    worker_hours = (workers * write_seconds + commit_seconds) / 3600
    vcpus = worker_hours * machine.vcpus * prices.vcpu_hour
    memory = worker_hours * machine.memory_gb * prices.memory_gb_hour
    disk = worker_hours * machine.disk_gb * prices.disk_gb_hour
    shuffle_gb = num_shards * measured.bytes_per_shuffled_shard / 1e9
    rest = disk + shuffle_gb * prices.shuffle_gb
    return Estimate(
        num_shards=num_shards,
        num_reads=num_reads,
        num_writes=num_writes,
        read_gb=num_bytes / 1e9,
        written_gb=written / 1e9,
        shuffle_gb=shuffle_gb,
        vcpu_hours=vcpu_seconds / 3600,
        worker_hours=worker_hours,
        wall_hours=(write_seconds + commit_seconds) / 3600,
        commit_hours=commit_seconds / 3600,
        process_gb=measured.process_gb,
        worker_gb=measured.process_gb * machine.vcpus,
        compute=vcpus + memory + rest,
        compute_flexrs=(vcpus + memory) * (1 - prices.flexrs_discount) + rest,
        requests=(
            num_reads * prices.per_thousand_reads
            + num_writes * prices.per_thousand_writes
        )
        / 1000,
        stored_a_month=written / 1e9 * prices.stored_gb_month,
    )


def _count_puts(num_bytes: float, measured: Measured) -> int:
    """Count the requests of an upload: one, or one per part plus start and end."""
    num_parts = math.ceil(num_bytes / measured.bytes_per_put)
    return num_parts + 2 if num_parts > 1 else 1


def describe(result: Estimate) -> str:
    """Format an estimate as lines of text."""
    return "\n".join([
        f"shards                {result.num_shards:,}",
        f"read requests         {result.num_reads:,}",
        f"write requests        {result.num_writes:,}",
        f"bytes read            {result.read_gb:,.0f} GB",
        f"bytes written         {result.written_gb:,.0f} GB",
        f"bytes shuffled        {result.shuffle_gb * 1000:,.2f} MB",
        f"vCPU hours of work    {result.vcpu_hours:,.1f}",
        f"worker hours          {result.worker_hours:,.1f}",
        f"wall clock            {result.wall_hours * 60:,.1f} min, "
        f"{result.commit_hours * 60:,.1f} of them the commit",
        f"memory per worker     {result.worker_gb:.1f} GB, "
        f"{result.process_gb} per process",
        f"compute               ${result.compute:,.2f}; "
        f"${result.compute_flexrs:,.2f} with FlexRS",
        f"requests              ${result.requests:,.2f}",
        f"storage per month     ${result.stored_a_month:,.2f}",
    ])


def main(argv: Sequence[str]) -> None:
    """Print the estimate that the command line requests."""
    parser = argparse.ArgumentParser(description="Estimate a build on Dataflow.")
    parser.add_argument("--images", type=int, default=1_281_167 + 50_000)
    parser.add_argument("--gigabytes", type=float, default=150.0, help="of the images")
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--images_per_shard", type=int, default=1000)
    parser.add_argument("--formats", type=int, default=2, help="number of formats")
    flags = parser.parse_args(argv)
    if min(flags.images, flags.workers, flags.images_per_shard, flags.formats) < 1:
        parser.error("--images, --workers, --images_per_shard, --formats: at least 1")
    result = estimate(
        flags.images,
        int(flags.gigabytes * 1e9),
        num_workers=flags.workers,
        images_per_shard=flags.images_per_shard,
        num_formats=flags.formats,
    )
    sys.stdout.write(describe(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
