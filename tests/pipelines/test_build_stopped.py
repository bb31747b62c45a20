"""Builds that are killed, interrupted or met by another: the same bytes, or none."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from pipelines import build
from pipelines.building import output, writing
from tests import building, processes
from transforms import paths, scratch, storage

FLAGS = {"images_per_shard": 5, "threads": 1, "formats": "webdataset,folders"}


@pytest.fixture(scope="module")
def whole(mini_imagenet, tmp_path_factory):
    """Build undisturbed; returns the checksums."""
    folder = tmp_path_factory.mktemp("whole")
    return building.checksums(building.run(mini_imagenet, folder, **FLAGS))


class _Started:
    """A build that is at work, and where it works."""

    def __init__(self, mini_imagenet, tmp_path):
        self.output = tmp_path / "out"
        self.target = self.output / "small" / "1.0.0"
        self.work = self.output / "small" / ".1.0.0.partial"
        self.command = building.command_line(mini_imagenet, self.output, **FLAGS)
        self.build = processes.RunningBuild(self.command, tmp_path / "log")


@pytest.fixture
def started(mini_imagenet, tmp_path):
    found = _Started(mini_imagenet, tmp_path)
    yield found
    found.build.stop(signal.SIGKILL)


@pytest.mark.parametrize(
    "moment",
    ["index.parquet", "plan_id", "parts/*-00001-*", "__meta__/manifest.parquet"],
)
def test_killed_build_is_resumed_to_the_same_bytes(started, whole, moment):
    place = started.output if moment == "index.parquet" else started.work
    nested = "*/*.parquet" if moment == "index.parquet" else moment
    started.build.wait_until(lambda: list(place.glob(nested)))
    started.build.stop(signal.SIGKILL)
    assert not started.target.exists()
    build.main([*started.command, "--resume"])
    assert building.checksums(started.target) == whole
    assert [p.name for p in started.output.rglob(".*")] == [], "nothing hidden is left"


def test_interrupted_build_says_how_to_go_on(started, whole):
    started.build.wait_until(lambda: list(started.work.glob("parts/*.parquet")))
    assert started.build.stop(signal.SIGINT) == 130
    said = started.build.said
    assert "error: stopped; the same command with --resume goes on" in said
    assert "Traceback" not in said
    assert [p.name for p in started.output.iterdir()] == ["small"]
    build.main([*started.command, "--resume"])
    assert building.checksums(started.target) == whole


def test_the_command_ends_as_commands_do_when_interrupted(mini_imagenet, tmp_path):
    command = building.command_line(mini_imagenet, tmp_path / "out", **FLAGS)
    job = subprocess.Popen(
        [sys.executable, "-m", "pipelines.build", *command],
        stderr=subprocess.PIPE,
        text=True,
    )
    job.stderr.readline()  # it has begun to tell
    job.send_signal(signal.SIGINT)
    _, err = job.communicate(timeout=100)
    assert job.returncode == 130
    assert "error: stopped; the same command with --resume goes on" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("seed", [0, 1], ids=["same plan", "other plan"])
def test_second_run_waits_for_the_first(started, whole, seed, capfd):
    started.build.wait_until(lambda: list(started.work.glob("parts/*.parquet")))
    os.killpg(started.build.pid, signal.SIGSTOP)
    for flags in ([], ["--resume"]):
        with pytest.raises(SystemExit) as ended:
            build.main([*started.command, f"--seed={seed}", *flags])
        assert ended.value.code == 2
        assert f"another run is at work in {started.work}" in capfd.readouterr().err
    os.killpg(started.build.pid, signal.SIGCONT)
    assert started.build.wait() == 0
    assert building.checksums(started.target) == whole


@pytest.mark.parametrize(
    "left",
    [[".plan_id.17-4.tmp"], ["plan_id"], ["plan_id", "plan/train.parquet"]],
    ids=["before its id", "before its plan", "before its first shard"],
)
def test_run_stopped_while_it_began_can_be_resumed(
    mini_imagenet, tmp_path, whole, left, monkeypatch
):
    """States that a kill leaves for microseconds."""
    place = output.Place(output=str(tmp_path), name="small", version="1.0.0")
    ids = []

    def stop(made, *_):
        ids.append(made.plan_id)
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "_settle", stop)
    with pytest.raises(SystemExit):
        building.run(mini_imagenet, tmp_path, **FLAGS)
    monkeypatch.undo()
    for name in left:
        storage.write(place.work, name, ids[0].encode())
    dataset = building.run(mini_imagenet, tmp_path, **FLAGS, resume=True)
    assert building.checksums(dataset) == whole


def _lock_late(monkeypatch, meanwhile):
    """Let something happen between the look at what is there and the lock."""
    lock = output._lock_folder

    def late(place):
        monkeypatch.setattr(output, "_lock_folder", lock)
        meanwhile()
        return lock(place)

    monkeypatch.setattr(output, "_lock_folder", late)


def test_run_that_finds_its_dataset_finished_meanwhile_agrees(
    mini_imagenet, tmp_path, whole, monkeypatch
):
    _lock_late(monkeypatch, lambda: building.run(mini_imagenet, tmp_path, **FLAGS))
    dataset = building.run(mini_imagenet, tmp_path, **FLAGS)
    assert building.checksums(dataset) == whole
    assert [path.name for path in dataset.parent.iterdir()] == ["1.0.0"]


def test_run_that_finds_another_dataset_meanwhile_is_an_error(
    mini_imagenet, tmp_path, whole, monkeypatch, capfd
):
    _lock_late(monkeypatch, lambda: building.run(mini_imagenet, tmp_path, **FLAGS))
    with pytest.raises(SystemExit) as ended:
        building.run(mini_imagenet, tmp_path, **FLAGS, seed=1)
    assert ended.value.code == 2
    assert "holds another dataset" in capfd.readouterr().err
    assert building.checksums(tmp_path / "small" / "1.0.0") == whole
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["1.0.0"]


def test_shards_of_another_plan_are_never_kept(
    mini_imagenet, tmp_path, monkeypatch, capfd
):
    """A run of another plan begins and dies between the look and the lock."""
    failing = {**FLAGS, "max_failure_fraction": 0}

    def die():
        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr("transforms.commit.commit", _stop)
            building.run(mini_imagenet, tmp_path, **failing, seed=1)

    _lock_late(monkeypatch, die)
    with pytest.raises(SystemExit) as ended:
        building.run(mini_imagenet, tmp_path, **FLAGS)
    assert ended.value.code == 2
    assert "an unfinished dataset of another plan" in capfd.readouterr().err


def _stop(*_, **__):
    raise KeyboardInterrupt


def test_place_that_became_the_dataset_is_not_worked_in(tmp_path, monkeypatch):
    """The first run gives its folder the dataset's name just before the lock."""
    place = output.Place(output=str(tmp_path), name="small", version="1.0.0")
    storage.make_folder(place.work)
    flock = fcntl.flock

    def late(descriptor, how):
        monkeypatch.setattr(fcntl, "flock", flock)
        storage.rename_folder(place.work, place.target)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    descriptor = output._lock_folder(place)
    assert os.path.samestat(os.fstat(descriptor), os.stat(place.work))
    os.close(descriptor)


def test_left_overs_are_cleared_but_not_what_is_in_use(tmp_path):
    left = tmp_path / ".planning-imagenet_subsets-abcdefg1"
    left.mkdir()
    others = [tmp_path / ".planning-mine", tmp_path / "imagenet_subsets-abcdefg1"]
    for other in others:
        other.mkdir()
    with scratch.folder(tmp_path, ".planning-") as first:
        assert not left.exists()
        with scratch.folder(tmp_path, ".planning-") as second:
            assert os.path.isdir(first)
            assert first != second
    assert sorted(tmp_path.iterdir()) == sorted(others)
    file = storage.AtomicFile(str(tmp_path), "index.parquet")
    killed = tmp_path / ".index.parquet.17-4.tmp"
    killed.write_bytes(b"half")
    storage.clear_temporary(str(tmp_path / "index.parquet"))
    assert not killed.exists()
    file.close()
    assert (tmp_path / "index.parquet").exists()
