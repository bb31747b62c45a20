"""A job's exit code is that of its work, whatever stdout and stderr lead to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pipelines
from tests import building

GROUP = ("group", "--grouping=random_groups", "--num_groups=4")


def _run(job, *words, environment=(), **streams):
    return subprocess.run(
        [sys.executable, "-m", f"pipelines.{job}", *map(str, words)],
        env={**os.environ, **dict(environment)},
        timeout=120,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )


@pytest.fixture
def unread():
    """Open a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_encoding_without_a_character_of_the_path_gets_an_escape(tmp_path):
    output = tmp_path / "图"
    environment = {"PYTHONIOENCODING": "ascii"}
    done = _run(*GROUP, f"--output={output}", environment=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{tmp_path}/\\u56fe\n"
    assert (output / "groups.csv").exists()


def test_undecodable_path_is_printed_as_it_is(tmp_path):
    output = os.fsencode(tmp_path) + b"/\xff"
    done = _run(*GROUP, "--output", os.fsdecode(output))
    assert (done.returncode, done.stdout) == (0, output + b"\n")


def test_result_that_nobody_reads_is_no_error(tmp_path, unread):
    done = _run(*GROUP, f"--output={tmp_path}/out", stdout=unread)
    assert (done.returncode, done.stderr) == (0, b"")


def test_messages_that_nobody_reads_do_not_end_a_build(mini_imagenet, tmp_path, unread):
    words = building.command_line(mini_imagenet, tmp_path)
    done = _run("build", *words, stdout=unread, stderr=unread)
    assert done.returncode == 0
    assert (tmp_path / "small/1.0.0/__meta__/complete.json").exists()


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_streams_are_no_error(tmp_path, closed):
    done = _run(
        *GROUP,
        f"--output={tmp_path}/out",
        preexec_fn=lambda: [os.close(number) for number in closed],
    )
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout == (b"" if 1 in closed else f"{tmp_path}/out\n".encode())


def test_result_that_a_full_disk_cannot_hold_is_an_error(tmp_path):
    with Path("/dev/full").open("wb") as full:
        done = _run(*GROUP, f"--output={tmp_path}/out", stdout=full)
    assert done.returncode == 1
    assert done.stderr == b"error: stdout: No space left on device\n"


FILES = Path(pipelines.__file__).parent.glob("*.py")
JOBS = sorted(path.stem for path in FILES if "__main__" in path.read_text())


@pytest.mark.parametrize("job", JOBS)
def test_every_job_reports_wrong_flags_by_its_exit_code(job, unread):
    done = _run(job, "--nonsense=图", stdout=unread, stderr=unread)
    assert done.returncode == 2
