"""Test the flags of Dask clusters that cannot be used; tests/engines runs the jobs."""

import functools
import socket

import pytest

from pipelines import engine
from pipelines.build import main
from pipelines.building.options import BuildOptions
from pipelines.cli import parse
from pipelines.dask_engine import cluster
from tests import building

DASK = "--runner=DaskRunner"


def _write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ([DASK], "--runner DaskRunner: give either"),
        (
            [DASK, "--dask_client_address=a:1", "--dask_scheduler_file=b"],
            "--runner DaskRunner: give either",
        ),
        (
            [DASK, "--dask_client_address=tcp://127.0.0.1:1"],
            "Dask scheduler tcp://127.0.0.1:1: connection failed; start it",
        ),
        ([DASK, "--dask_client_address=here"], "Dask scheduler here: connection fail"),
        (
            [DASK, "--dask_scheduler_file=/none"],
            "--dask_scheduler_file /none: No such file",
        ),
        (["--dask_client_address=a:1"], "--dask_client_address: applies only with"),
    ],
)
def test_cluster_that_cannot_be_used_is_reported_at_launch(flags, problem):
    (found,) = engine.find_flag_problems(flags)
    assert found.startswith(problem)


@pytest.mark.parametrize("text", ["", "[]", '{"id": 1}'])
def test_file_that_is_no_scheduler_file_is_reported(tmp_path, text):
    path = _write(tmp_path / "scheduler.json", text)
    (found,) = engine.find_flag_problems([DASK, f"--dask_scheduler_file={path}"])
    assert found.startswith(f"--dask_scheduler_file {path}: is not a scheduler file")


def test_address_of_another_scheme_is_reported():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        (found,) = engine.find_flag_problems([DASK, f"--dask_client_address={address}"])
    assert "connection failed" in found
    assert "tcp://HOST:PORT" in found


def test_versions_of_packages_that_both_have_are_compared():
    here = {"pillow": "12.1", "keras": "3.12"}
    differ = functools.partial(cluster.find_differences, here)
    assert not differ({"pillow": "12.1", "onnxruntime": "1.24"})
    assert differ({"pillow": "12.0", "keras": "3.11"}) == (
        "pillow 12.0 instead of 12.1, keras 3.11 instead of 3.12"
    )


def test_job_must_wait_for_the_end():
    flags = [DASK, "--dask_client_address=a:1", "--no_wait_until_finish"]
    found, _ = engine.find_flag_problems(flags)
    assert found.startswith("--no_wait_until_finish: ")


def test_nothing_is_written_without_a_scheduler(mini_imagenet, tmp_path, capfd):
    command = building.command_line(mini_imagenet, tmp_path / "out")
    with pytest.raises(SystemExit) as caught:
        main([*command, DASK, "--dask_client_address=tcp://127.0.0.1:1"])
    assert caught.value.code == 2
    assert "error: Dask scheduler tcp://127.0.0.1:1:" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_each_task_has_one_thread_unless_the_flag_is_given(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "find_flag_problems", lambda _: [])
    command = [*building.command_line(tmp_path, tmp_path / "out"), DASK]

    def read_threads(*words):
        return parse(BuildOptions, [*command, *words], prog="build", methods={
            "grouping": {}, "sampling": {}
        })[0].threads  # fmt: skip

    assert read_threads() == 1
    assert read_threads("--threads=3") == 3
