"""Check the package installed in a clean environment; run by `make package`.

PYTHON_OF_THE_ENVIRONMENT tests/check_package.py OUTPUT

The working directory must not contain the sources.
"""

import subprocess
import sys
from pathlib import Path

import pipelines
from pipelines.entry_point import JOBS

COMMAND = Path(sys.executable).with_name("imagenet-subsets")


def _run(*words):
    done = subprocess.run(list(map(str, words)), capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}:\n{done.stderr.decode()}")
    return done.stdout.decode()


def main(output):
    """Compare the command with the modules, and build with it."""
    environment = Path(sys.prefix).resolve()
    if environment not in Path(pipelines.__file__).resolve().parents:
        sys.exit(f"{pipelines.__file__} is not in {environment}")
    for job in JOBS:
        shown = _run(COMMAND, job, "--help")
        if shown != _run(sys.executable, "-m", f"pipelines.{job}", "--help"):
            sys.exit(f"imagenet-subsets {job} differs from python -m pipelines.{job}")
    dataset = _run(COMMAND, "build", "--output", f"{output}/demonstration").strip()
    _run(COMMAND, "verify", dataset)
    # Needs the class lists and the templates of pages.
    _run(COMMAND, "group", "--preset", "imagenette", "--output", f"{output}/groups")


if __name__ == "__main__":
    main(*sys.argv[1:])
