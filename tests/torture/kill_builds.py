"""Kill builds at random moments, check the remains and resume them.

`make torture`, or pytest tests/torture/kill_builds.py --kills N.
"""

import collections
import random
import signal
import time

from pipelines import index
from tests import building, processes
from tests.stores.copying import checksums
from transforms import storage
from transforms.dataset import paths

FLAGS = {
    "formats": "webdataset,tfrecord,folders,parquet",
    "images_per_shard": 5,
    "threads": 2,
    "resume": True,
}


def find_visible(output):
    """List the files that a reader could open, without hidden names."""
    names = (path.relative_to(output) for path in output.rglob("*") if path.is_file())
    return sorted(str(n) for n in names if not any(p[0] == "." for p in n.parts))


def tell_stage(output):
    """Return the stage of a build from its files."""
    work = f"{output}/small/.1.0.0.partial"
    if storage.exists(f"{output}/small/1.0.0/{paths.COMPLETE}"):
        return "finished"
    if storage.exists(f"{work}/{paths.COMPLETE}"):
        return "marked"
    if not storage.exists(f"{work}/{paths.PLAN_ID}"):
        return "planning"
    parts = f"{work}/parts"
    count = len(storage.list_folder(parts)) if storage.exists(parts) else 0
    return f"{count} of 18 shards"


class Stopper:
    """Starts builds and stops them at moments drawn from a seed."""

    def __init__(self, imagenet, tmp_path, environment):
        self.index = tmp_path / "index.parquet"
        index.main([f"--input={imagenet}", f"--output={self.index}"])
        self.scratch = tmp_path / "scratch"
        self.scratch.mkdir()
        self.log = tmp_path / "log"
        self.environment = {**environment, "TMPDIR": str(self.scratch)}
        self.chance = random.Random(8)
        self.stages = collections.Counter()
        self.within_s = 0.0

    def finish(self, output):
        """Run a build to the end, and derive the moments to stop from its duration."""
        start = time.monotonic()
        command = building.command_line(self.index, output, **FLAGS)
        code, said = processes.run(command, self.log, self.environment)
        assert code == 0, said
        assert "Traceback" not in said
        assert not list(self.scratch.iterdir()), "temporary files are left"
        self.within_s = (self.within_s + time.monotonic() - start) / 2

    def stop(self, output, number):
        """Start a build and stop it, at any moment or after the plan."""
        num_threads = self.chance.choice((1, 2))  # two start processes
        flags = {**FLAGS, "threads": num_threads}
        command = building.command_line(self.index, output, **flags)
        started = processes.RunningBuild(command, self.log, self.environment)
        within_s = self.within_s
        if self.chance.random() < 0.7:
            plan_id = f"{output}/small/.1.0.0.partial/{paths.PLAN_ID}"
            started.wait_until(lambda: storage.exists(plan_id) or started.has_ended)
            within_s /= 2
        time.sleep(self.chance.uniform(0, within_s))
        code = started.stop(number)
        self.stages[tell_stage(output)] += 1
        return code, started.said

    def describe(self, what):
        stages = ", ".join(f"{stage}: {n}" for stage, n in sorted(self.stages.items()))
        return f"{sum(self.stages.values())} {what} ({stages})"


def test_local_builds_killed_at_any_moment(mini_imagenet, tmp_path, request, tell):
    stopper = Stopper(mini_imagenet, tmp_path, {})
    stopper.finish(tmp_path / "whole")
    expected = building.checksums(tmp_path / "whole" / "small" / "1.0.0")
    for trial in range(request.config.getoption("kills")):
        output = tmp_path / f"out{trial}"
        for _ in range(stopper.chance.choice((1, 1, 2))):
            stopper.stop(output, signal.SIGKILL)
            if output.exists() and (visible := find_visible(output)):
                assert visible == sorted(f"small/1.0.0/{name}" for name in expected)
        stopper.finish(output)
        assert building.checksums(output / "small" / "1.0.0") == expected
        assert [path.name for path in output.iterdir()] == ["small"]
        assert [path.name for path in (output / "small").iterdir()] == ["1.0.0"]
    tell(stopper.describe("local builds killed"))


def test_bucket_builds_killed_at_any_moment(
    mini_imagenet, tmp_path, google, google_address, request, tell
):
    stopper = Stopper(
        mini_imagenet, tmp_path, {"STORAGE_EMULATOR_HOST": google_address}
    )
    stopper.finish(f"{google}/whole")
    expected = checksums(f"{google}/whole/small/1.0.0")
    local = building.run(stopper.index, tmp_path / "local", **FLAGS)
    assert building.checksums(local) == expected
    for trial in range(request.config.getoption("kills")):
        output = f"{google}/out{trial}"
        for _ in range(stopper.chance.choice((1, 1, 2))):
            stopper.stop(output, signal.SIGKILL)
            if storage.exists(f"{output}/small/1.0.0/{paths.COMPLETE}"):
                assert checksums(f"{output}/small/1.0.0") == expected
        stopper.finish(output)
        assert checksums(f"{output}/small/1.0.0") == expected
        left = set(storage.list_files(output))
        assert left == {f"small/1.0.0/{name}" for name in expected}
    tell(stopper.describe("builds into a bucket killed"))


def test_builds_interrupted_at_any_moment(mini_imagenet, tmp_path, request, tell):
    stopper = Stopper(mini_imagenet, tmp_path, {})
    stopper.finish(tmp_path / "whole")
    expected = building.checksums(tmp_path / "whole" / "small" / "1.0.0")
    for trial in range(request.config.getoption("kills")):
        output = tmp_path / f"out{trial}"
        code, said = stopper.stop(output, signal.SIGINT)
        assert "Traceback" not in said
        assert code in {0, 130}, said
        assert code == 0 or "stopped; the same command with --resume" in said, said
        assert not list(output.glob(".*")), "what it planned with is left"
        stopper.finish(output)
        assert building.checksums(output / "small" / "1.0.0") == expected
    tell(stopper.describe("builds interrupted"))


def test_two_builds_at_once(mini_imagenet, tmp_path, request, tell):
    """Run the same or different plans at once: one wins, or both agree."""
    stopper = Stopper(mini_imagenet, tmp_path, {})
    expected = []
    for seed in range(2):
        whole = building.run(stopper.index, tmp_path / f"w{seed}", **FLAGS, seed=seed)
        expected.append(building.checksums(whole))
    for trial in range(request.config.getoption("kills") // 2):
        output = tmp_path / f"out{trial}"
        seeds = stopper.chance.choice(((0, 0), (0, 1)))
        runs = []
        for number, seed in enumerate(seeds):
            command = building.command_line(stopper.index, output, **FLAGS, seed=seed)
            log = tmp_path / f"log{trial}-{number}"
            runs.append(processes.RunningBuild(command, log))
            time.sleep(stopper.chance.uniform(0, 1))
        codes = [run.wait() for run in runs]
        assert 0 in codes
        for code, run in zip(codes, runs, strict=True):
            refused = "another run holds the lock" in run.said
            refused = refused or "contains another dataset" in run.said
            assert code == 0 or (code == 2 and refused), run.said
            assert "Traceback" not in run.said
        found = building.checksums(output / "small" / "1.0.0")
        assert found in [expected[seeds[n]] for n, code in enumerate(codes) if not code]
        assert [path.name for path in output.iterdir()] == ["small"]
        assert [path.name for path in (output / "small").iterdir()] == ["1.0.0"]
        same = "same plan" if seeds == (0, 0) else "other plan"
        stopper.stages[f"{same}, exit codes {sorted(codes)}"] += 1
    tell(stopper.describe("pairs of builds at once"))
