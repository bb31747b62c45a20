"""Run the batch script for SLURM with a local stand-in for `srun`."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import building

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "slurm" / "dask.sh"
# Starts a process per task, as SLURM does on the nodes.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for task in $(seq "$SLURM_NTASKS"); do SLURM_PROCID=$task "$@" & done
trap 'kill $(jobs -p)' TERM
wait
"""


def _submit(folder, *words):
    (folder / "srun").write_text(SRUN)
    (folder / "srun").chmod(0o755)
    binaries = Path(sys.executable).parent
    script = subprocess.Popen(
        ["bash", SCRIPT, *words],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{folder}:{binaries}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SLURM_NTASKS": "2",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # it and its children are one group
    )
    try:
        out, err = script.communicate(timeout=250)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)
    return script.returncode, out, err


@pytest.mark.timeout(300)
def test_build_is_the_same_byte_for_byte(mini_imagenet, tmp_path):
    command = building.command_line(mini_imagenet, tmp_path / "slurm")
    code, out, err = _submit(tmp_path, "build", *command, "--resume")
    assert code == 0, err
    assert out == f"{tmp_path}/slurm/small/1.0.0\n"
    assert re.search(r"on the Dask scheduler tls://\S+ with [12] workers;", err), err
    expected = building.checksums(building.run(mini_imagenet, tmp_path))
    assert building.checksums(tmp_path / "slurm/small/1.0.0") == expected
    assert not list(tmp_path.glob(".dask-*"))


@pytest.mark.timeout(300)
def test_exit_code_is_that_of_the_job(tmp_path):
    code, _, err = _submit(tmp_path, "build", "--input=/none", f"--output={tmp_path}/o")
    assert code == 2
    assert "error: --grouping: is required" in err
    assert not list(tmp_path.glob(".dask-*"))
