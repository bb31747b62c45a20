"""The program needs nothing that Python has on Linux only."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.entry_point import JOBS

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_WITHOUT_LINUX = str(_HERE / "without_linux")
_SHOW_HELP = f"""
import importlib
import os
assert not hasattr(os, "sched_getaffinity")
for job in {list(JOBS)}:
    try:
        importlib.import_module("pipelines." + job).main(["--help"])
    except SystemExit as error:
        assert not error.code
"""


def _run(*words, system, **settings):
    paths = [str(_ROOT), *([_WITHOUT_LINUX] if system == "macos" else [])]
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        **settings,
    )


def test_every_job_shows_its_help():
    shown = _run("-c", _SHOW_HELP, system="macos").stdout
    assert shown.count("usage: python -m pipelines.") == len(JOBS)


@pytest.mark.parametrize("system", ["linux", "macos"])
def test_demonstration_has_its_known_bytes(tmp_path, system):
    """Also on every version of Python, which run this test too."""
    out = _run("-m", "pipelines.build", system=system, cwd=tmp_path).stdout
    dataset = tmp_path / out.strip()
    hashes = {
        path.relative_to(dataset).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for pattern in ("*/*.tar", "__tfds__/*.tfrecord-*")
        for path in sorted(dataset.glob(pattern))
    }
    assert len(hashes) == 14
    assert hashes == json.loads((_HERE / "demonstration_sha256.json").read_text())
