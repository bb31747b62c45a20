"""Test killed, interrupted and concurrent builds: identical bytes, or no dataset."""

import errno
import fcntl
import os
import pathlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import build
from pipelines.building import output
from tests import building, processes
from transforms import storage
from transforms.dataset import paths
from transforms.storage import local

# A shell's background jobs, and all that they start, hear no Ctrl-C.
HEARS_CTRL_C = (
    "import os, signal, sys\n"
    "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
)
FLAGS = {"images_per_shard": 5, "threads": 1, "formats": "webdataset,folders"}


@pytest.fixture(scope="module")
def dataset(mini_index, tmp_path_factory):
    """A build without interruption."""
    return building.run(mini_index, tmp_path_factory.mktemp("whole"), **FLAGS)


@pytest.fixture(scope="module")
def whole(dataset):
    return building.checksums(dataset)


class _Started:
    """A running build and its working folder."""

    def __init__(self, mini_index, tmp_path):
        self.output = tmp_path / "out"
        self.target = self.output / "small" / "1.0.0"
        self.work = self.output / "small" / ".1.0.0.partial"
        self.command = building.command_line(mini_index, self.output, **FLAGS)
        self.build = processes.RunningBuild(self.command, tmp_path / "log")


@pytest.fixture
def started(mini_index, tmp_path):
    found = _Started(mini_index, tmp_path)
    yield found
    found.build.stop(signal.SIGKILL)


@pytest.mark.parametrize(
    "moment",
    ["out/*/plan/*", "out/small/*/parts/*-00001-*", "out/small/*/__meta__/recipe.json"],
    ids=["planning", "behind a shard", "before the mark"],
)
def test_killed_build_is_resumed_to_the_same_bytes(started, whole, tmp_path, moment):
    started.build.wait_until(lambda: list(tmp_path.glob(moment)))
    started.build.stop(signal.SIGKILL)
    assert not started.target.exists()
    build.main([*started.command, "--resume"])
    assert building.checksums(started.target) == whole
    assert [p.name for p in started.output.rglob(".*")] == [], "nothing hidden is left"


def test_interrupted_build_names_the_remedy(started):
    started.build.wait_until(lambda: list(started.work.glob("parts/*.parquet")))
    assert started.build.stop(signal.SIGINT) == 130
    said = started.build.said
    assert "error: stopped; run the same command with --resume to continue" in said
    assert "Traceback" not in said
    assert [p.name for p in started.output.iterdir()] == ["small"]


def test_interrupted_command_has_exit_code_130(mini_index, tmp_path):
    command = building.command_line(mini_index, tmp_path / "out", **FLAGS)
    job = subprocess.Popen(
        [sys.executable, "-c", HEARS_CTRL_C, "-m", "pipelines.build", *command],
        stderr=subprocess.PIPE,
        text=True,
    )
    job.stderr.readline()  # it has begun to tell
    job.send_signal(signal.SIGINT)
    _, err = job.communicate(timeout=100)
    assert job.returncode == 130
    assert "error: stopped; run the same command with --resume to continue" in err
    assert "Traceback" not in err


def test_second_run_reports_the_running_build(started, whole, capfd):
    started.build.wait_until(lambda: list(started.work.glob("parts/*.parquet")))
    os.killpg(started.build.pid, signal.SIGSTOP)
    for flag in ("--seed=1", "--resume"):
        with pytest.raises(SystemExit) as ended:
            build.main([*started.command, flag])
        assert ended.value.code == 2
        assert f"another run holds the lock on {started.work}" in capfd.readouterr().err
    os.killpg(started.build.pid, signal.SIGCONT)
    assert started.build.wait() == 0
    assert building.checksums(started.target) == whole


def test_command_that_is_still_importing_ends_without_a_traceback():
    """The command interrupts itself while it imports its options."""
    code = (
        "import os, signal, sys, runpy\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Stop:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'pipelines.presets': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Stop())\n"
        "sys.argv = ['-m']\n"
        "runpy.run_module('pipelines.build', run_name='__main__')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (130, "error: stopped\n")


@pytest.mark.parametrize(
    "left",
    [[".plan_id.17-4.tmp"], ["plan_id", "plan/train-00000-of-00012.parquet"]],
    ids=["before its id", "behind its id"],
)
def test_run_stopped_during_start_can_be_resumed(
    mini_index, dataset, whole, tmp_path, left
):
    """States that exist only for microseconds before a kill."""
    place = output.Place(output=str(tmp_path), name="small", version="1.0.0")
    plan_id = building.read_json(dataset, paths.RECIPE)["plan_id"].encode()
    for name in left:
        storage.write(place.work, name, plan_id)
    resumed = building.run(mini_index, tmp_path, **FLAGS, resume=True)
    assert building.checksums(resumed) == whole


def _lock_late(monkeypatch, meanwhile):
    """Run a function between the check of the output and the lock."""
    lock = output._lock_folder

    def late(place):
        monkeypatch.setattr(output, "_lock_folder", lock)
        meanwhile()
        return lock(place)

    monkeypatch.setattr(output, "_lock_folder", late)


def test_run_accepts_its_dataset_finished_by_another_run(
    mini_index, tmp_path, whole, monkeypatch
):
    _lock_late(monkeypatch, lambda: building.run(mini_index, tmp_path, **FLAGS))
    dataset = building.run(mini_index, tmp_path, **FLAGS)
    assert building.checksums(dataset) == whole
    assert [path.name for path in dataset.parent.iterdir()] == ["1.0.0"]


def test_run_rejects_another_dataset_finished_meanwhile(
    mini_index, tmp_path, whole, monkeypatch, capfd
):
    _lock_late(monkeypatch, lambda: building.run(mini_index, tmp_path, **FLAGS))
    with pytest.raises(SystemExit) as ended:
        building.run(mini_index, tmp_path, **FLAGS, seed=1)
    assert ended.value.code == 2
    assert "contains another dataset" in capfd.readouterr().err
    assert building.checksums(tmp_path / "small" / "1.0.0") == whole
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["1.0.0"]


def test_shards_of_another_plan_are_never_kept(
    mini_index, tmp_path, monkeypatch, capfd
):
    """A run of another plan starts and dies between the check and the lock."""

    def die():
        with monkeypatch.context() as patch:
            patch.setattr("transforms.dataset.steps.commit", _stop)
            with pytest.raises(SystemExit):
                building.run(mini_index, tmp_path, **FLAGS, seed=1)

    _lock_late(monkeypatch, die)
    with pytest.raises(SystemExit) as ended:
        building.run(mini_index, tmp_path, **FLAGS)
    assert ended.value.code == 2
    assert "an unfinished dataset of another plan" in capfd.readouterr().err


def test_shards_of_another_layout_are_written_again(
    mini_imagenet, class_folders, tmp_path, monkeypatch, capfd
):
    """The plan is the same, but the manifest states where images were read."""
    flags = {**FLAGS, "images_per_shard": 25}
    whole = building.run(class_folders, tmp_path / "whole", **flags)
    with monkeypatch.context() as patch:
        patch.setattr("transforms.dataset.steps.commit", _stop)
        with pytest.raises(SystemExit):
            building.run(mini_imagenet, tmp_path / "out", **flags)
    resumed = building.run(class_folders, tmp_path / "out", **flags, resume=True)
    assert "--resume: no shard is complete; all 5 will be" in capfd.readouterr().err
    assert building.checksums(resumed) == building.checksums(whole)


def _stop(*_, **__):
    raise KeyboardInterrupt


def test_folder_that_became_the_dataset_is_not_written(tmp_path, monkeypatch):
    """The first run renames its folder to the dataset just before the lock."""
    place = output.Place(output=str(tmp_path), name="small", version="1.0.0")
    storage.make_folder(place.work)
    flock = fcntl.flock

    def late(descriptor, how):
        monkeypatch.setattr(fcntl, "flock", flock)
        storage.rename_folder(place.work, place.target)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    descriptor = output._lock_folder(place)
    assert os.path.samestat(os.fstat(descriptor), Path(place.work).stat())
    os.close(descriptor)


def test_work_folder_is_used_on_file_systems_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    place = output.Place(output=str(tmp_path), name="small", version="1.0.0")
    monkeypatch.setattr(fcntl, "flock", refuse)
    descriptor = output._lock_folder(place)
    assert os.path.samestat(os.fstat(descriptor), Path(place.work).stat())
    os.close(descriptor)


def test_stale_files_are_removed_and_files_in_use_are_kept(tmp_path):
    with local.folder(tmp_path, ".planning-") as first:
        left = pathlib.Path(first)
    left.mkdir()
    others = [
        tmp_path / ".planning-mine",
        tmp_path / ".planning-imagenet_subsets-0123abcd-abcdefg1",  # another machine
    ]
    for other in others:
        other.mkdir()
    with local.folder(tmp_path, ".planning-") as first:
        assert not left.exists()
        with local.folder(tmp_path, ".planning-") as second:
            assert pathlib.Path(first).is_dir()
            assert first != second
    assert sorted(tmp_path.iterdir()) == sorted(others)
    file = storage.AtomicFile(str(tmp_path), "index.parquet")
    killed = tmp_path / ".index.parquet.17-4.tmp"
    killed.write_bytes(b"half")
    storage.clear_temporary(str(tmp_path / "index.parquet"))
    assert not killed.exists()
    file.close()
    assert (tmp_path / "index.parquet").exists()
