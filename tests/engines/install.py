"""Install pinned versions of engines that Beam's package lacks in `.engines/`.

    python tests/engines/install.py [prism] [flink]

Without names it installs Prism, which the tests need. Installed engines are kept. If an
engine is not available, the reason is printed and the exit code is 1. Beam would
download the same files at the start of a job, from servers that firewalls often block.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / ".engines"
BEAM = "2.77.0"
FLINK = "2.2"  # the newest that Beam 2.77 knows, and its default
_TIMEOUT_S = 1800  # compiling Prism takes minutes on two cores


def install_prism() -> None:
    """Compile Prism."""
    # The folder of Go's installer is often not on the path.
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise FileNotFoundError("needs go, which is not installed")
    binaries = FOLDER / "go"
    subprocess.run(
        [go, "install", f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}"],
        env={**os.environ, "GOBIN": str(binaries)},
        timeout=_TIMEOUT_S,
        check=True,
    )
    (binaries / "prism").rename(FOLDER / f"prism-{BEAM}")


def install_flink() -> None:
    """Download Beam's job server, which contains a Flink cluster of one process."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise FileNotFoundError(f"needs {program}, which is not installed")
    artifact = f"org.apache.beam:beam-runners-flink-{FLINK}-job-server:{BEAM}"
    command = [
        *("mvn", "--batch-mode", "--quiet", "dependency:copy"),
        f"-Dartifact={artifact}",
        f"-DoutputDirectory={FOLDER}",
    ]
    subprocess.run(command, cwd=FOLDER, timeout=_TIMEOUT_S, check=True)


INSTALLERS = {
    f"prism-{BEAM}": install_prism,
    f"beam-runners-flink-{FLINK}-job-server-{BEAM}.jar": install_flink,
}


def main(names: list[str]) -> int:
    """Install the named engines; return 1 if one is not available."""
    FOLDER.mkdir(exist_ok=True)
    is_missing = False
    for file, install in INSTALLERS.items():
        if not any(name in file for name in names):
            continue
        state = "ready"
        if not (FOLDER / file).exists():
            try:
                install()
            except (subprocess.SubprocessError, OSError) as error:
                state, is_missing = f"not there: {error}", True
        sys.stdout.write(f"{file}: {state}\n")
    return int(is_missing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["prism"]))
