"""Builds killed at moments chosen at random: what lies there, and what --resume makes.

python -m pytest tests/torture/kill_builds.py, with `--kills N` for another number.
"""

import collections
import random
import signal
import time

from tests import building, processes
from tests.stores.copying import checksums
from transforms import paths, storage

FLAGS = {
    "formats": "webdataset,tfrecord,folders,parquet",
    "images_per_shard": 5,
    "threads": 2,
}


def find_visible(output):
    """List what a reader could open: no hidden name, no part of one."""
    names = (path.relative_to(output) for path in output.rglob("*") if path.is_file())
    return sorted(str(n) for n in names if not any(p[0] == "." for p in n.parts))


def tell_stage(work, target):
    """Tell how far a build had come, by what lies there."""
    if storage.exists(f"{target}/{paths.COMPLETE}"):
        return "finished"
    if storage.exists(f"{work}/{paths.COMPLETE}"):
        return "marked, not renamed"
    if not storage.exists(f"{work}/{paths.PLAN_ID}"):
        return "planning"
    parts = f"{work}/parts"
    count = len(storage.list_folder(parts)) if storage.exists(parts) else 0
    return f"{count // 6 * 6} or more shards"


class Killer:
    """Starts builds and kills them, at moments that a seed decides."""

    def __init__(self, tmp_path, environment):
        self.scratch = tmp_path / "scratch"
        self.scratch.mkdir()
        self.log = tmp_path / "log"
        self.environment = {**environment, "TMPDIR": str(self.scratch)}
        self.chance = random.Random(8)
        self.stages = collections.Counter()

    def finish(self, command):
        start = time.monotonic()
        code, said = processes.run(command, self.log, self.environment)
        assert code == 0, said
        assert "Traceback" not in said
        assert not list(self.scratch.iterdir()), "temporary files are left"
        return time.monotonic() - start

    def stop(self, command, within_s, number=signal.SIGKILL):
        started = processes.RunningBuild(command, self.log, self.environment)
        time.sleep(self.chance.uniform(0, within_s))
        return started.stop(number), started.said


def test_local_builds_killed_at_any_moment(mini_imagenet, tmp_path, pytestconfig):
    killer = Killer(tmp_path, {})
    whole = tmp_path / "whole" / "small" / "1.0.0"
    flags = {**FLAGS, "resume": True}
    within_s = killer.finish(
        building.command_line(mini_imagenet, tmp_path / "whole", **flags)
    )
    expected = building.checksums(whole)
    for trial in range(pytestconfig.getoption("kills")):
        output = tmp_path / f"out{trial}"
        command = building.command_line(mini_imagenet, output, **flags)
        target = output / "small" / "1.0.0"
        for _ in range(killer.chance.choice((1, 1, 2))):
            killer.stop(command, within_s)
            killer.stages[tell_stage(target.with_name(".1.0.0.partial"), target)] += 1
            if find_visible(output):
                assert building.checksums(target) == expected
                assert len(find_visible(output)) == len(expected)
        within_s = 0.5 * (within_s + killer.finish(command))
        assert building.checksums(target) == expected
        assert [path.name for path in output.iterdir()] == ["small"]
        assert [path.name for path in (output / "small").iterdir()] == ["1.0.0"]
    print(f"\nkilled {sum(killer.stages.values())}: {dict(killer.stages)}")


def test_bucket_builds_killed_at_any_moment(
    mini_imagenet, tmp_path, google, google_address, pytestconfig
):
    killer = Killer(tmp_path, {"STORAGE_EMULATOR_HOST": google_address})
    flags = {**FLAGS, "resume": True}
    local = building.run(mini_imagenet, tmp_path / "whole", **flags)
    expected = building.checksums(local)
    within_s = killer.finish(
        building.command_line(mini_imagenet, f"{google}/whole", **flags)
    )
    assert checksums(f"{google}/whole/small/1.0.0") == expected
    for trial in range(pytestconfig.getoption("kills")):
        output = f"{google}/out{trial}"
        command = building.command_line(mini_imagenet, output, **flags)
        target = f"{output}/small/1.0.0"
        for _ in range(killer.chance.choice((1, 1, 2))):
            killer.stop(command, within_s)
            killer.stages[tell_stage(f"{output}/small/.1.0.0.partial", target)] += 1
            if storage.exists(f"{target}/{paths.COMPLETE}"):
                assert checksums(target) == expected
        within_s = 0.5 * (within_s + killer.finish(command))
        assert checksums(target) == expected
        left = {name for name in storage.list_files(output)}
        assert left == {f"small/1.0.0/{name}" for name in expected}
    print(f"\nkilled {sum(killer.stages.values())}: {dict(killer.stages)}")


def test_interrupted_builds_at_any_moment(mini_imagenet, tmp_path, pytestconfig):
    killer = Killer(tmp_path, {})
    flags = {**FLAGS, "resume": True}
    within_s = killer.finish(
        building.command_line(mini_imagenet, tmp_path / "whole", **flags)
    )
    expected = building.checksums(tmp_path / "whole" / "small" / "1.0.0")
    for trial in range(pytestconfig.getoption("kills") // 2):
        output = tmp_path / f"out{trial}"
        command = building.command_line(mini_imagenet, output, **flags)
        code, said = killer.stop(command, within_s, signal.SIGINT)
        target = output / "small" / "1.0.0"
        killer.stages[tell_stage(target.with_name(".1.0.0.partial"), target)] += 1
        assert "Traceback" not in said
        assert code in {0, 130}, said
        assert code == 0 or "stopped; the same command with --resume" in said, said
        assert not list(output.glob(".*")), "what it planned with is left"
        killer.finish(command)
        assert building.checksums(target) == expected
    print(f"\ninterrupted {sum(killer.stages.values())}: {dict(killer.stages)}")
