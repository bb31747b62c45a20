"""Pipes, sockets, devices, links and unreadable files in place of usual ones."""

import ctypes
import os
import shutil
import socket
import subprocess
import sys

import pytest

from pipelines import inputs
from pipelines.studying.options import StudyOptions
from tests import building
from transforms import csv_tables, storage
from transforms.difficulty import sources
from transforms.difficulty import table as difficulty_table
from transforms.images import read as image_reading
from transforms.index import table as index_table
from transforms.predictions import table as predictions_table
from transforms.records import ByteRange, DataError, ImageRef, UsageError

REASON = "not a regular file; write its content to a file"
WNID = "n02088364"
ALL_CLASSES = {
    "grouping": "all_classes",
    "num_groups": None,
    "images_per_group": None,
    "min_validation_images": 0,
}


@pytest.fixture
def pipe(tmp_path):
    """Create a named pipe that nobody writes to."""
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    return str(path)


@pytest.fixture
def folders(class_folders, tmp_path):
    return shutil.copytree(class_folders, tmp_path / "imagenet")


@pytest.mark.parametrize(
    "read",
    [
        storage.read,
        storage.num_bytes,
        storage.open_input,
        storage.open_parquet,
        storage.check_readable,
        index_table.read_description,
        difficulty_table.read_table,
        predictions_table.read_models,
    ],
)
def test_pipe_in_place_of_a_file_is_refused_at_once(pipe, read):
    with pytest.raises(UsageError, match=f"{pipe}: is a pipe, {REASON}"):
        read(pipe)


def test_pipe_in_place_of_a_table_is_refused_at_once(pipe):
    with pytest.raises(csv_tables.CsvError, match=f"is a pipe, {REASON}"):
        csv_tables.read_text(pipe, max_bytes=1)
    with pytest.raises(UsageError, match=f"{pipe}: is a pipe, {REASON}"):
        sources.read_scores(
            pipe, kind="easiness", key_column="key", score_column="score"
        )
    options = StudyOptions(
        models=("linear",) * 3, input=("i",), output="o", groups=pipe
    )
    assert list(options.problems()) == [f"--groups {pipe}: not a regular file"]


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_device_in_place_of_a_file_is_refused(path):
    with pytest.raises(UsageError, match=f"{path}: is a device, {REASON}"):
        storage.read(path)


def test_process_substitution_is_refused_at_once():
    descriptors = os.pipe()  # as <(command) of a shell
    with pytest.raises(UsageError, match=f"is a pipe, {REASON}"):
        storage.read(f"/dev/fd/{descriptors[0]}")
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_irregular_file_among_the_images_is_a_failure(
    folders, tmp_path, capfd, monkeypatch, kind
):
    place = folders / f"train/{WNID}/{WNID}_88.JPEG"
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "pipe":
            os.mkfifo(place)
        else:
            monkeypatch.chdir(place.parent)  # a socket's path has at most 107 bytes
            server.bind(place.name)
        with pytest.raises(SystemExit) as ended:
            building.run(folders, tmp_path / "out", **ALL_CLASSES)
    assert ended.value.code == 1
    name = {"pipe": "a pipe", "socket": "a socket"}[kind]
    line = f"{WNID}_88 (train/{WNID}/{WNID}_88.JPEG at byte 0): is {name}, {REASON}"
    assert line in capfd.readouterr().err


@pytest.mark.parametrize("target", ["nowhere", f"{WNID}_88.JPEG", "/dev/zero"])
def test_link_to_no_file_is_a_data_error(folders, target):
    place = folders / f"train/{WNID}/{WNID}_88.JPEG"
    place.symlink_to(target)
    assert len(inputs.recognise([str(folders)], None).parts) > 1
    uri = f"train/{WNID}/{WNID}_88.JPEG"
    ref = ImageRef("k", WNID, "train", 0, uri, ByteRange(0, 0))
    with pytest.raises(DataError, match=r"the file is gone|is a device"):
        image_reading.read_image_bytes(str(folders), ref)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, f"is a pipe, {REASON}"),
        (lambda path: path.symlink_to("nowhere"), "no such file or folder"),
        (lambda path: path.symlink_to("input"), "no such file or folder"),
        (lambda path: path.symlink_to("/dev/zero"), f"is a device, {REASON}"),
    ],
    ids=["pipe", "dangling", "circular", "device"],
)
def test_input_that_is_no_file_is_refused_by_name(tmp_path, make, reason):
    path = tmp_path / "input"
    make(path)
    with pytest.raises(UsageError) as raised:
        inputs.recognise([str(path)], None)
    assert str(raised.value) == f"--input {path}: {reason}"


def test_all_irregular_archives_of_an_input_are_named_at_once(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    for wnid in ("n01440764", "n01443537"):
        os.mkfifo(folder / f"{wnid}.tar")
    with pytest.raises(UsageError) as raised:
        inputs.recognise([str(folder)], None)
    assert str(raised.value) == (
        f"--input {folder}: n01440764.tar, n01443537.tar: is a pipe, {REASON}"
    )


def _obey_permissions():
    """Take from root, if this is root, what lets it read where nobody may."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def _run(job, *words):
    return subprocess.run(
        [sys.executable, "-m", f"pipelines.{job}", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=_obey_permissions,
        check=False,
    )


@pytest.mark.parametrize("mode", [0o444, 0o111])
def test_unreadable_class_folders_are_all_named_before_any_work(
    folders, tmp_path, mode
):
    wnids = sorted(path.name for path in (folders / "train").iterdir())[:2]
    for wnid in wnids:
        (folders / "train" / wnid).chmod(mode)
    finished = _run("index", "--input", folders, "--output", tmp_path / "i.parquet")
    names = ", ".join(f"train/{wnid}" for wnid in wnids)
    assert finished.returncode == 2
    assert finished.stderr == f"error: --input {folders}: {names}: Permission denied\n"


@pytest.mark.parametrize("blocked", ["", "train"])
def test_unreadable_input_is_named(folders, tmp_path, blocked):
    (folders / blocked).chmod(0o000)
    finished = _run("index", "--input", folders, "--output", tmp_path / "i.parquet")
    (folders / blocked).chmod(0o755)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"error: --input {folders}: ")
    assert finished.stderr.endswith("Permission denied\n")
    assert finished.stderr.count("\n") == 1


def test_unreadable_table_is_named(mini_index, tmp_path):
    index = shutil.copy(mini_index, tmp_path / "index.parquet")
    index.chmod(0o000)
    words = ("--grouping", "all_classes", "--output", tmp_path / "out")
    finished = _run("group", "--index", index, *words)
    assert finished.returncode == 2
    assert finished.stderr == f"error: {index}: Permission denied\n"
