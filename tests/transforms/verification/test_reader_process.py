"""Test that readers run in separate processes and their failures are reported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import making
from transforms import formats
from transforms.verification import readers, tasks
from transforms.verification.reader_process import END, ReaderProcesses

PICTURES = {
    "folders/train/000_a/n01_1.JPEG": b"one",
    "folders/train/001_b/n02_1.JPEG": b"two",
    "folders/val/000_a/v_1.JPEG": b"three",
    "folders/val/001_b/v_2.JPEG": b"four",
}


@pytest.fixture
def folders(tmp_path) -> Path:
    return making.write_files(tmp_path, PICTURES)


@pytest.mark.parametrize("name", readers.READERS)
def test_reader_says_what_it_needs_without_importing_it(name):
    reader = readers.load(name)
    assert reader.FORMAT in set(formats.FORMATS)
    code = f"import sys; from transforms.verification import readers; \
readers.load({name!r}); sys.exit({reader.LIBRARY!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path.cwd())


def test_folders_are_numbered_in_order(folders):
    images = readers.load("image_folders").read_images(
        str(folders), ["train", "validation"]
    )
    assert [(image.split, image.key, image.labels) for image in images] == [
        ("train", "n01_1", (0,)),
        ("train", "n02_1", (1,)),
        ("validation", "v_1", (0,)),
        ("validation", "v_2", (1,)),
    ]


def test_folders_that_timm_orders_otherwise_are_refused(tmp_path):
    making.write_files(tmp_path, {f"folders/train/{n}/x": b"" for n in ("c2", "c10")})
    with pytest.raises(ValueError, match="timm would number"):
        list(readers.load("image_folders").read_images(str(tmp_path), ["train"]))


def test_process_writes_names_and_then_a_line_an_image(folders):
    command = [sys.executable, "-m", "transforms.verification.reader_process"]
    done = subprocess.run(
        [*command, "image_folders", str(folders), "train"],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    lines, _, after = done.stdout.partition(END)
    assert not after
    names, *lines = map(json.loads, lines.splitlines())
    assert names == ["000_a", "001_b"]
    assert [line[:3] for line in lines] == [
        ["n01_1", "train", [0]],
        ["n02_1", "train", [1]],
    ]


def _read(folder: Path, *, limit_s: float) -> list[bytes]:
    names, splits = ["image_folders"], ["train"]
    return [*ReaderProcesses().read_lines(names, str(folder), splits, limit_s)]


def test_reader_that_fails_is_quoted(tmp_path):
    with pytest.raises(ValueError, match=r"failed \(1\): FileNotFoundError: .*folders"):
        _read(tmp_path, limit_s=300)


def test_reader_that_hangs_is_ended(folders):
    with pytest.raises(ValueError, match="and was ended"):
        _read(folders, limit_s=0)


def test_closed_processes_start_no_reader(folders):
    processes = ReaderProcesses()
    processes.close()
    with pytest.raises(ValueError, match="the job ends"):
        next(processes.read_lines(["image_folders"], str(folders), ["train"], 300))


def test_reader_after_one_that_fails_in_a_shared_process_runs(folders, tmp_path):
    settings = tasks.TaskSettings(
        directory=str(folders),
        work=str(tmp_path),
        splits=["train"],
        other_files=(),
        group_folders=(),
    )
    shared = ("tf_data", "array_record")  # the dataset has no shards for either
    assert readers.share_processes(["tfds", "image_folders", *shared]) == [
        ("tfds", *shared),
        ("image_folders",),
    ]
    task = tasks.Task(0, (), ["tfds", *shared], None, 1)
    tasks.run_task(task, settings)
    ends = [
        json.loads(
            (tmp_path / tasks.name_lines(task, name)).read_bytes().splitlines()[-1]
        )
        for name in task.readers
    ]
    assert [bool(end["error"]) for end in ends] == [True, False, False]
