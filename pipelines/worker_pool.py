"""Start worker processes for the engines that use --environment_type=EXTERNAL.

Anyone who can connect to a worker pool can run arbitrary code as its user. Beam's own
`worker_pool_main` listens on all addresses; this pool listens only on the given one.
"""

import dataclasses
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import (
    BeamFnExternalWorkerPoolServicer,
)
from apache_beam.utils import thread_pool_executor

from pipelines.cli import exit_codes, parse
from pipelines.streams import print_warnings
from transforms.options import flag
from transforms.records import JobError

_PROG = "python -m pipelines.worker_pool"
_LOCAL = ("127.", "localhost:", "[::1]:")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """Listen for engines, and start the worker processes that they request."""

    address: str = flag(
        "HOST:PORT to listen on; anyone who can connect can run arbitrary code as "
        "this user",
        default="127.0.0.1:50000",
    )

    def problems(self) -> Iterator[str]:
        """Yield a message if the address is not HOST:PORT."""
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal():
            yield f"--address {self.address}: must be HOST:PORT, e.g. 127.0.0.1:50000"


def main(argv: Sequence[str]) -> None:
    """Run the pool from the command line, until it is stopped."""
    with exit_codes():
        options, _, _ = parse(PoolOptions, argv, prog=_PROG, takes_beam_flags=False)
        server = serve(options.address)
        sys.stderr.write(f"listening on {options.address}\n")
        if not options.address.startswith(_LOCAL):
            print_warnings([
                f"anyone who can connect to {options.address} can run arbitrary code "
                "as this user; use a trusted network"
            ])
        try:
            signal.pause()
        finally:
            server.stop(0)


def serve(address: str) -> grpc.Server:
    """Start the pool; its workers run with this Python.

    Raises:
      JobError: the address cannot be used.
    """
    # The pool starts `python`.
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    os.environ["PATH"] = os.pathsep.join(folders)
    server = grpc.server(thread_pool_executor.shared_unbounded_instance())
    pool = BeamFnExternalWorkerPoolServicer(use_process=True)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise JobError(f"--address {address}: cannot listen: {error}") from error
    server.start()
    return server


if __name__ == "__main__":
    main(sys.argv[1:])
