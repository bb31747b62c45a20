"""Start the engines of docs/engines.md, and stop them by process id.

Each server starts once per session, on free local ports.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import building
from tests.engines import page
from tests.stores.conftest import KEYS

# `python` in a command, and in what a worker pool starts, is that of these tests.
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(page.ROOT),
    **KEYS,
}
_START_S = 120


class Engines:
    """Starts the servers of engines, and stops those that it started."""

    def __init__(self, folder):
        self._folder = folder
        self._ports = {port: str(_find_free_port()) for port in page.PORTS}
        self._servers = {}

    def start(self, engine):
        """Start the servers of an engine if necessary; return the flags of jobs."""
        for path in engine.needs:
            if not (page.ROOT / path).exists():
                pytest.skip(f"{path} is not there: run make engines")
        for line in engine.servers:
            if line not in self._servers:
                self._servers[line] = self._run(self._localise(line))
        return [self._localise(flag) for flag in engine.flags]

    def stop(self):
        """Stop the servers and their child processes."""
        for server in reversed(self._servers.values()):
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        self._servers.clear()

    def _localise(self, text):
        for named, port in self._ports.items():
            text = text.replace(named, port)
        return text.replace(".engines/", f"{page.ROOT}/.engines/")

    def _run(self, line):
        program = line.split()[0]
        if not shutil.which(program, path=ENVIRONMENT["PATH"]):
            pytest.skip(f"{program} is not installed")
        log = self._folder / f"{len(self._servers)}.log"
        with log.open("w") as file:
            server = subprocess.Popen(
                ["bash", "-c", f"exec {line}"],
                cwd=self._folder,
                env=ENVIRONMENT,
                stdout=file,
                stderr=file,
                start_new_session=True,  # it and its workers are one group
            )
        end = time.monotonic() + _START_S
        while not _all_listen(port for port in self._ports.values() if port in line):
            assert server.poll() is None, f"{line}\n{log.read_text()}"
            assert time.monotonic() < end, f"{line} does not listen"
            time.sleep(0.1)
        return server


def _find_free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def _all_listen(ports):
    for port in ports:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", int(port))):
                return False
    return True


@pytest.fixture(scope="session")
def engines(tmp_path_factory):
    started = Engines(tmp_path_factory.mktemp("servers"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def reference(mini_imagenet, tmp_path_factory):
    """Build on the default engine."""
    return building.run(
        mini_imagenet,
        tmp_path_factory.mktemp("reference"),
        formats="webdataset,tfrecord",
    )
