import dataclasses
import heapq
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.deploy.dataflow.loading import load

FILE = Path(__file__).parents[3] / "deploy/dataflow/estimate.py"
estimate = load("estimate")
SIZES = {"1k": (1_331_167, 150_000_000_000), "21k": (14_000_000, 1_300_000_000_000)}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_arithmetic(size):
    """Compute shards, reads and writes by hand, then hours."""
    found = estimate.estimate(*size, num_workers=10)
    shards = math.ceil(size[0] / 1000)
    assert found.num_shards == shards
    assert found.num_reads == size[0] + 9 * shards
    # 42 MB in parts of 8 MiB are six puts, a begin and an end, in each format.
    assert found.num_writes == shards * (2 * 8 + 2)
    assert found.read_gb * 1e9 == size[1]
    assert found.shuffle_gb * 1e9 == pytest.approx(300 * shards)
    assert found.vcpu_hours == pytest.approx(size[0] * 0.0045 / 0.6 / 3600, rel=1e-9)
    work = found.worker_hours * 4
    assert found.vcpu_hours < work
    assert found.compute_flexrs < found.compute


def _simulate(num_images, *, num_workers, seed):
    """Assign shards to free slots; return the seconds until the last one is written.

    Slots are up to a fifth slower or faster than others, and start within two minutes;
    images take from half to one and a half times the mean.
    """
    measured, machine = estimate.Measured(), estimate.Machine()
    random = np.random.default_rng(seed)
    an_image = 1 / measured.images_per_second + measured.client_ms_per_read / 1000
    an_image /= measured.cores_per_vcpu
    num_slots = num_workers * machine.vcpus
    speeds = random.uniform(0.8, 1.2, num_slots)
    starts = 60 * (measured.start_minutes + random.uniform(-1, 1, num_workers))
    free = [
        (start, slot) for slot, start in enumerate(np.repeat(starts, machine.vcpus))
    ]
    heapq.heapify(free)
    end = 0.0
    for first in range(0, num_images, 1000):
        count = min(1000, num_images - first)
        work = an_image * random.uniform(0.5, 1.5, count).sum()
        at, slot = heapq.heappop(free)
        heapq.heappush(free, (done := at + work / speeds[slot], slot))
        end = max(end, done)
    return end


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("num_workers", [8, 32, 100])
def test_time_agrees_with_a_simulation(size, num_workers):
    found = estimate.estimate(*size, num_workers=num_workers)
    seconds = 3600 * (found.wall_hours - found.commit_hours)
    simulated = [_simulate(size[0], num_workers=num_workers, seed=n) for n in range(3)]
    assert seconds == pytest.approx(np.mean(simulated), rel=0.05)


def test_price_is_linear_in_prices_and_grows_with_the_work():
    free = estimate.Prices(
        **dict.fromkeys((f.name for f in dataclasses.fields(estimate.Prices)), 0.0)
    )
    nothing = estimate.estimate(*SIZES["1k"], prices=free)
    assert nothing.compute == nothing.requests == nothing.stored_a_month == 0
    dear = dataclasses.replace(estimate.Prices(), per_thousand_reads=1.0)
    reads = estimate.estimate(*SIZES["1k"], prices=dear)
    assert reads.requests > reads.num_reads / 1000
    small, large = (estimate.estimate(*size) for size in SIZES.values())
    assert 2 < large.compute / small.compute < 11


def test_small_files_need_one_request():
    found = estimate.estimate(1000, 10**8, images_per_shard=10, num_formats=1)
    assert found.num_writes == 100 * 3


def test_command_prints_the_estimate():
    words = ["--images=1000", "--gigabytes=1", "--workers=2"]
    shown = subprocess.run(
        [sys.executable, FILE, *words], capture_output=True, text=True, check=True
    ).stdout
    assert "read requests         1,009" in shown
    failed = subprocess.run(
        [sys.executable, FILE, "--workers=0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert failed.returncode == 2
    assert "at least 1" in failed.stderr
