import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.dataflow.loading import load

FILE = Path(__file__).parents[3] / "deploy/dataflow/estimate.py"
estimate = load("estimate")
SIZES = {"1k": (1_331_167, 150_000_000_000), "21k": (14_000_000, 1_300_000_000_000)}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_arithmetic(size):
    """By hand: shards, reads and puts, then the hours."""
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


def test_small_files_are_one_put():
    found = estimate.estimate(1000, 10**8, images_per_shard=10, num_formats=1)
    assert found.num_writes == 100 * 3


def test_command_shows_it():
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
