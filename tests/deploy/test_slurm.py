"""Run the batch script for SLURM with a local stand-in for `srun`."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import building

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "slurm" / "dask.sh"
# Starts a process per task, as SLURM does on the nodes.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for task in $(seq "$SLURM_NTASKS"); do SLURM_PROCID=$task "$@" & done
echo $$ > srun.pid
trap 'kill $(jobs -p)' TERM
wait
"""


# A shell's background jobs, and all that they start, ignore Ctrl-C.
HEARS_CTRL_C = (
    "import os, signal, sys\n"
    "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    "os.execvp(sys.argv[1], sys.argv[1:])\n"
)


@contextlib.contextmanager
def _started(folder, *words, srun=SRUN):
    (folder / "srun").write_text(srun)
    (folder / "srun").chmod(0o755)
    binaries = Path(sys.executable).parent
    script = subprocess.Popen(
        [sys.executable, "-c", HEARS_CTRL_C, "bash", SCRIPT, *words],
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
        yield script
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)


def _submit(folder, *words, srun=SRUN):
    with _started(folder, *words, srun=srun) as script:
        out, err = script.communicate(timeout=250)
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


@pytest.mark.timeout(300)
def test_job_whose_workers_cannot_start_fails_at_once(tmp_path):
    srun = "#!/bin/bash\necho 'srun: error: Unable to create step' >&2\nexit 1\n"
    begin = time.monotonic()
    code, _, err = _submit(tmp_path, "build", srun=srun)
    assert code == 1
    assert "srun: error: Unable to create step" in err
    assert "error: srun has ended, so no workers are left" in err
    assert time.monotonic() - begin < 200  # waiting for a worker takes 300 s
    assert not list(tmp_path.glob(".dask-*"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("target", "number", "code", "message"),
    [
        ("workers", signal.SIGTERM, 1, "error: srun has ended"),
        ("script", signal.SIGINT, 130, "error: stopped"),
        ("script", signal.SIGTERM, 128 + signal.SIGTERM, ""),
    ],
)
def test_job_ends_with_its_workers_or_by_a_signal(
    mini_imagenet, tmp_path, target, number, code, message
):
    command = building.command_line(mini_imagenet, tmp_path / "slurm")
    with _started(tmp_path, "build", *command) as script:
        lines = iter(script.stderr.readline, "")
        assert any("on the Dask scheduler" in line for line in lines)
        workers = int((tmp_path / "srun.pid").read_text())
        os.kill({"workers": workers, "script": script.pid}[target], number)
        out, err = script.communicate(timeout=250)
    assert (script.returncode, out) == (code, ""), err
    assert message in err
    assert not list(tmp_path.glob(".dask-*"))
