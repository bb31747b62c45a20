"""Fill disks at any moment: a clear error, and --resume after space is freed."""

import random
import shutil
import subprocess
import time
from collections import Counter

import pytest

from pipelines import index
from tests import building, processes

FLAGS = {"formats": "webdataset,tfrecord,folders,parquet", "images_per_shard": 5}
DISK_BYTES = 16 << 20


@pytest.fixture
def disk(tmp_path):
    """Mount a small tmpfs, which requires root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("nobody but root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_builds_on_a_disk_that_gets_full(mini_imagenet, tmp_path, disk, request, tell):
    images = tmp_path / "index.parquet"
    index.main([f"--input={mini_imagenet}", f"--output={images}"])
    expected = building.checksums(building.run(images, tmp_path / "whole", **FLAGS))
    chance, ends = random.Random(5), Counter()
    for trial in range(request.config.getoption("kills")):
        output = disk / f"out{trial}"
        command = building.command_line(images, output, **FLAGS)
        started = processes.RunningBuild(command, tmp_path / "log")
        name = chance.choice([".planning*/plan/*", "small/.*/parts/*", "small/.*/plan"])
        while not [*output.glob(name)] and not started.has_ended:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.3))
        room = chance.choice([0, 4096, chance.randrange(200_000)])
        ballast = disk / "ballast"
        _fill(ballast, room)
        code = started.wait()
        ends[f"exit code {code}"] += 1
        if code:
            assert code in {1, 2}, started.said
            errors = [w for w in started.said.splitlines() if w.startswith("error: ")]
            assert f"error: {output}" in errors[-1] or "--output" in errors[-1], errors
            assert "make room" in errors[-1] or "free some space" in errors[-1], errors
            assert "Traceback" not in started.said
            assert not (output / "small" / "1.0.0").exists()
        ballast.unlink()
        finished, said = processes.run([*command, "--resume"], tmp_path / "log")
        assert finished == 0, said
        assert building.checksums(output / "small" / "1.0.0") == expected
        assert [path.name for path in output.iterdir()] == ["small"]
        shutil.rmtree(output)
    tell(f"{ends.total()} builds on a full disk: {dict(ends)}")


def _fill(ballast, room):
    free = shutil.disk_usage(ballast.parent).free
    try:
        with ballast.open("wb") as file:
            file.write(bytes(max(free - room, 0)))
    except OSError:
        pass  # the build was quicker
