"""Every line of a job's log is JSON with --log_format=json."""

import json
import sys

import pytest

from pipelines import build, index
from tests import building


@pytest.fixture
def read_log(capfd, monkeypatch):
    """Run a job; return its phases and its other messages."""
    monkeypatch.setattr(sys, "stderr", sys.stderr)  # restores it

    def run(job, flags):
        code = 0
        try:
            job.main([*flags, "--log_format=json"])
        except SystemExit as ended:
            code = ended.code
        lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
        return (
            code,
            [x for x in lines if "phase" in x],
            [x for x in lines if "message" in x],
        )

    return run


def _strip(phases):
    assert all(phase.pop("seconds") >= 0 for phase in phases)
    assert {phase.pop("level") for phase in phases} == {"info"}
    return phases


def test_phases_of_index_and_build(mini_imagenet, tmp_path, read_log):
    made = tmp_path / "index.parquet"
    code, phases, messages = read_log(
        index, [f"--input={mini_imagenet}", f"--output={made}"]
    )
    assert code == 0
    assert _strip(phases) == [
        {"phase": "list", "parts": 7},
        {"phase": "index"},
        {"phase": "count", "images": 150},
    ]
    assert {message["level"] for message in messages} == {"info", "warning"}
    flags = building.command_line(made, tmp_path)
    code, phases, messages = read_log(build, flags)
    assert code == 0
    assert _strip(phases) == [
        {"phase": "index", "images": 150},
        {"phase": "group", "groups": 3},
        {"phase": "plan", "images": 90, "shards": 5},
        {"phase": "write", "images": 90, "shards": 5, "failed": 0},
    ]
    assert messages


def test_errors_have_a_level(tmp_path, read_log):
    flags = building.command_line(tmp_path / "none", tmp_path)
    code, phases, messages = read_log(build, flags)
    assert code == 2
    assert phases == []
    assert {message["level"] for message in messages} == {"error"}
