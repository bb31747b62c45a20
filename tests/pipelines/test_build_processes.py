"""Test builds with several processes: identical bytes, or an error."""

import shutil
import signal
import time
from pathlib import Path

import pytest

from tests import building
from tests.process_tree import list_children, list_workers
from tests.processes import RunningBuild
from transforms import processes
from transforms.records import Shard

pytestmark = pytest.mark.usefixtures("_started")

FLAGS = {
    "images_per_shard": 2,
    "threads": 2,
    "formats": "webdataset,tfrecord,folders,parquet",
    "max_failure_fraction": 0.5,
}


@pytest.fixture
def _started(monkeypatch):
    """Let small builds use processes, and check that all of them end."""
    found = []
    start = processes.ProcessPool.__init__

    def note(self, *arguments):
        start(self, *arguments)
        found.append(self)

    monkeypatch.setattr(processes, "LEAST_IMAGES", 1)
    monkeypatch.setattr(processes.ProcessPool, "__init__", note)
    yield
    started = [process for pool in found for process in pool._context.processes]
    assert started, "no process was started"
    assert all(process.exitcode is not None for process in started), "one is left"


@pytest.fixture(scope="module")
def whole(mini_index, tmp_path_factory):
    """Build with threads."""
    folder = tmp_path_factory.mktemp("whole")
    return building.checksums(building.run(mini_index, folder, **FLAGS))


@pytest.mark.parametrize(
    "how",
    [{}, {"threads": 5}, {"direct_runner_bundle_repeat": 1}],
    ids=["two", "five", "bundles repeated"],
)
def test_processes_write_the_same_bytes(mini_index, tmp_path, whole, how):
    dataset = building.run(mini_index, tmp_path, **{**FLAGS, **how})
    assert building.checksums(dataset) == whole


def test_broken_images_are_accounted_for(class_folders, tmp_path, capfd):
    folders = tmp_path / "imagenet"
    shutil.copytree(class_folders, folders)
    for number, path in enumerate(sorted(folders.glob("*/*/*.JPEG"))):
        if number % 5 == 0:
            path.write_bytes(path.read_bytes()[:200])
    dataset = building.run(folders, tmp_path / "processes", **FLAGS)
    errors = capfd.readouterr().err
    by_one = building.run(folders, tmp_path / "one", **{**FLAGS, "threads": 1})
    assert building.checksums(dataset) == building.checksums(by_one)
    failures = (dataset / "__meta__" / "failures.csv").read_text().splitlines()[1:]
    assert failures
    assert f"{len(failures)} failed" in errors


def _fail(mini_index, output, capfd):
    """Run a build that ends with exit code 1; return its output."""
    with pytest.raises(SystemExit) as ended:
        building.run(mini_index, output, **FLAGS)
    assert ended.value.code == 1
    return capfd.readouterr().err


def test_killed_process_is_reported_and_the_build_can_be_resumed(
    mini_index, tmp_path, whole, monkeypatch, capfd
):
    ask = processes.ProcessPool._ask

    def kill_fourth(self, shard):
        if shard.number == 3:
            self._context.processes[0].kill()
        return ask(self, shard)

    with monkeypatch.context() as patch:
        patch.setattr(processes.ProcessPool, "_ask", kill_fourth)
        errors = _fail(mini_index, tmp_path, capfd)
    assert "a process of this job was ended by SIGKILL; if memory was" in errors
    assert "Traceback" not in errors
    dataset = building.run(mini_index, tmp_path, **FLAGS, resume=True)
    assert building.checksums(dataset) == whole


def test_error_of_a_process_fails_the_job(mini_index, tmp_path, monkeypatch, capfd):
    """A folder blocks the path of a part of the manifest."""
    ask = processes.ProcessPool._ask

    def spoil(self, shard):
        if shard.number == 3:
            work = tmp_path / "small" / ".1.0.0.partial"
            (work / "parts" / f"{shard}.parquet").mkdir()
        return ask(self, shard)

    monkeypatch.setattr(processes.ProcessPool, "_ask", spoil)
    errors = _fail(mini_index, tmp_path, capfd)
    assert "error: " in errors
    assert f"{Shard('train', 3, 30)}.parquet" in errors


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)]
)
def test_processes_end_with_their_build(mini_index, tmp_path, whole, number, code):
    """Their unfinished work does not block the next build."""
    output = tmp_path / "out"
    command = building.command_line(mini_index, output, **FLAGS)
    build = RunningBuild(command, tmp_path / "log")
    build.wait_until(lambda: list(output.glob("small/.1.0.0.partial/parts/*.parquet")))
    children = list_children(build.pid)
    assert len(list_workers(build.pid)) == 2
    assert build.stop(number) == code
    assert "Traceback" not in build.said
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.01)
    assert not (output / "small" / "1.0.0").exists()
    dataset = building.run(mini_index, output, **FLAGS, resume=True)
    assert building.checksums(dataset) == whole
    assert [path.name for path in output.rglob(".*")] == []
