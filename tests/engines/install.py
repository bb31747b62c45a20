"""Pinned versions → `.engines/`: the engines that Beam's wheel does not bring.

Run again, it fetches only what is missing; it names what it could not get, and why.
Needs Go for Prism. Nothing of Beam's own downloads is used: they come at run time, from
places that many machines do not reach.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / ".engines"
BEAM = "2.77.0"
PRISM = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}"
# Where the installer of Go puts it, which is often not on the path.
GO_FOLDER = "/usr/local/go/bin"
TIMEOUT_S = 1800  # compiling Prism takes minutes on two cores


def find_go() -> str | None:
    """Find the compiler."""
    return shutil.which("go") or shutil.which("go", path=GO_FOLDER)


def install_prism() -> str | None:
    """Compile Prism; returns why it could not be had."""
    if (FOLDER / f"prism").exists():
        return None
    go = find_go()
    if go is None:
        return "go is not installed"
    made = FOLDER / "go" / "prism"
    try:
        subprocess.run(
            [go, "install", PRISM],
            env={**os.environ, "GOBIN": str(made.parent), "GOFLAGS": "-trimpath"},
            timeout=TIMEOUT_S,
            check=True,
        )
    except (subprocess.SubprocessError, OSError) as error:
        return str(error)
    made.rename(FOLDER / f"prism")
    return None


INSTALLERS = {"prism": install_prism}


def main() -> int:
    """Install all; returns how many could not be had."""
    FOLDER.mkdir(exist_ok=True)
    num_missing = 0
    for name, install in INSTALLERS.items():
        reason = install()
        num_missing += reason is not None
        state = f"not there: {reason}" if reason else "ready"
        sys.stdout.write(f"{name}: {state}\n")
    return num_missing


if __name__ == "__main__":
    sys.exit(min(main(), 1))
