"""Test that verify gives the same results in processes, in parts and on engines."""

import re
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines import verify
from tests import building
from tests.process_tree import list_family, list_workers
from tests.processes import RunningBuild
from transforms import processes
from transforms.verification import local_tasks, task_planning
from transforms.verification import results as check_results
from transforms.verification.local_tasks import LocalTasks
from transforms.verification.tasks import Task, TaskSettings

READERS = ("arrow", "image_folders", "tar_members")
PORTABLE = (
    "--runner=PortableRunner",
    "--job_endpoint=embed",
    "--environment_type=LOOPBACK",
)


@pytest.fixture(scope="module")
def dataset(mini_imagenet, tmp_path_factory) -> Path:
    """A dataset with six shards of training images and several of validation images."""
    return building.run(
        mini_imagenet,
        tmp_path_factory.mktemp("dataset"),
        formats="webdataset,tfrecord,parquet,folders",
        images_per_shard=10,
    )


@pytest.fixture(scope="module")
def damaged(dataset, tmp_path_factory) -> Path:
    """The dataset with one damage of each kind that tasks find."""
    root = tmp_path_factory.mktemp("damaged") / "small" / "1.0.0"
    shutil.copytree(dataset, root)
    tars = sorted(root.glob("train/*.tar"))
    row = building.manifest(root)[0]
    data = bytearray((root / row["file"]).read_bytes())
    data[row["offset"] + row["length"] // 2] ^= 0x10
    (root / row["file"]).write_bytes(data)
    tars[1].write_bytes(tars[1].read_bytes().replace(b'"label": 1', b'"label": 2'))
    tars[2].unlink()
    shutil.copy(tars[3], tars[3].with_name("more.tar"))
    files = sorted(root.glob("parquet/data/train*"))
    shutil.copy(files[4], files[5])
    images = sorted(root.glob("folders/train/*/*.JPEG"))
    images[0].rename(images[-1].parent / images[0].name)
    images[1].write_bytes(images[2].read_bytes())
    images[3].unlink()
    (root / "label.labels.txt").write_bytes(b"")
    return root


def _verify(root, *flags, readers=READERS, threads=1, work=None):
    options = verify.VerifyOptions(
        dataset=str(root), readers=readers, threads=threads, work=work
    )
    return list(verify.verify(options, flags))


@pytest.fixture
def in_parts(monkeypatch):
    """Let small datasets be divided as large ones are."""
    monkeypatch.setattr(task_planning, "_IMAGES_PER_PART", 20)
    monkeypatch.setattr(task_planning, "_IMAGES_PER_TASK", 7)


@pytest.fixture
def in_processes(monkeypatch):
    """Let small datasets use processes as large ones do."""
    monkeypatch.setattr(processes, "LEAST_IMAGES", 1)


@pytest.fixture(scope="module")
def expected(dataset, damaged):
    """The rows of the whole and of the damaged dataset, by one process at a time."""
    whole, spoilt = _verify(dataset), _verify(damaged)
    assert {row.result for row in whole} == {check_results.OK}
    found = {row.check for row in spoilt if row.result == check_results.MISMATCH}
    assert found >= {
        "files and checksums",
        "images",
        *(f"opened with {name}" for name in READERS),
    }
    return whole, spoilt


@pytest.mark.usefixtures("in_parts", "in_processes")
@pytest.mark.parametrize(
    ("flags", "threads"),
    [
        ((), 2),
        ((), 6),
        (PORTABLE, 2),
    ],
    ids=["processes", "readers in parts", "portable"],
)
def test_same_damage_is_found_everywhere(
    flags, threads, dataset, damaged, expected, tmp_path
):
    given = {"threads": threads, "work": str(tmp_path / "work")}
    assert _verify(dataset, *flags, **given) == expected[0]
    assert _verify(damaged, *flags, **given) == expected[1]
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.usefixtures("in_parts")
def test_libraries_read_parts(dataset):
    names = ("huggingface", "tfds", "webdataset")
    rows = _verify(dataset, readers=names, threads=6)[-3:]
    assert [row.detail for row in rows] == ["90 images: bytes, labels and names"] * 3


@pytest.mark.usefixtures("in_parts", "in_processes")
def test_killed_process_ends_the_job(dataset, monkeypatch, capfd):
    ask = processes.ProcessPool._ask

    def kill(self, task):
        for process in self._context.processes[:1]:
            process.kill()
        return ask(self, task)

    monkeypatch.setattr(processes.ProcessPool, "_ask", kill)
    with pytest.raises(SystemExit) as ended:
        verify.main([str(dataset), "--threads=2", "--readers=tar_members"])
    assert ended.value.code == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "error: a process of this job was ended by SIGKILL" in err
    assert "Traceback" not in err


@pytest.mark.timeout(30)
def test_waiting_tasks_are_discarded(monkeypatch, tmp_path):
    started, discarded, calls = threading.Event(), threading.Event(), []
    shutdown = ThreadPoolExecutor.shutdown

    def run_task(task, *_):
        calls.append(task.number)
        started.set()
        assert discarded.wait(20)
        return 0

    def note(self, **how):
        shutdown(self, **how)
        discarded.set()

    monkeypatch.setattr(local_tasks, "run_task", run_task)
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", note)
    settings = TaskSettings(
        directory="", work=str(tmp_path), splits=(), other_files=[], group_folders=[]
    )
    running = LocalTasks([Task(number, ()) for number in range(3)], settings, 1)
    running.start()
    assert started.wait(20)
    running.close()
    assert calls == [0]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)]
)
def test_processes_and_readers_end_with_the_job(dataset, tmp_path, number, code):
    job = RunningBuild(
        [str(dataset), "--threads=2", "--readers=tf_data"],
        tmp_path / "log",
        job="verify",
    )
    job.wait_until(lambda: len(list_workers(job.pid)) == 2)  # one is the reader's
    family = list_family(job.pid)
    assert job.stop(number) == code
    assert "Traceback" not in job.said
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{member}").exists() for member in family[1:]):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (PORTABLE, "--work: is required with --runner"),
        ([*PORTABLE, "--no_wait_until_finish"], "--no_wait_until_finish: "),
        (
            [*PORTABLE[:2], "--environment_type=DOCKER", "--work=work"],
            r"--dataset: \S+ is on this machine",
        ),
    ],
    ids=["no folder", "no waiting", "no reach"],
)
def test_engine_that_cannot_return_results_is_refused(dataset, flags, message, capfd):
    with pytest.raises(SystemExit) as ended:
        verify.main([str(dataset), *flags])
    assert ended.value.code == 2
    assert re.search(message, capfd.readouterr().err)
