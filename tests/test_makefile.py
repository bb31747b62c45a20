"""Test how the Makefile finds Python and creates its environment."""

import shutil
import subprocess
from pathlib import Path

MAKEFILE = Path(__file__).parent.parent / "Makefile"
# A Debian Python without the package python3-venv.
_WITHOUT_ENSUREPIP = """\
#!/bin/sh
echo "$@" >> calls
case "$*" in
  *ensurepip*) exit 1 ;;
  "-m venv .venv") mkdir -p .venv/bin; touch .venv/bin/python; exit 1 ;;
esac
"""


def _make(folder, *words):
    shutil.copy(MAKEFILE, folder)
    python = folder / "python3.13"
    python.write_text(_WITHOUT_ENSUREPIP)
    python.chmod(0o755)
    return subprocess.run(
        ["make", *words],
        cwd=folder,
        env={"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_python_that_cannot_create_environments_is_not_used(tmp_path):
    done = _make(tmp_path, "--eval=show: ; @echo $(PYTHON).", "show")
    assert done.returncode == 0
    assert "ensurepip" in (tmp_path / "calls").read_text()
    assert "3.13" not in done.stdout


def test_an_environment_that_could_not_be_created_is_created_again(tmp_path):
    for name in ("pyproject.toml", "constraints.txt"):
        tmp_path.joinpath(name).touch()
    for number in (1, 2):
        done = _make(tmp_path, "install", "PYTHON=python3.13")
        assert done.returncode == 2
        calls = (tmp_path / "calls").read_text().splitlines()
        assert calls.count("-m venv .venv") == number
