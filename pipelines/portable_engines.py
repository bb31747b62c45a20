"""Engines outside this process: what is wrong with their flags, and their logs."""

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.worker import sdk_worker

_FILES = ("prism_location", "flink_job_server_jar", "spark_job_server_jar")
_TIMEOUT_S = 5.0
_READER = "read_grpc_client_inputs"  # of apache_beam's data plane


def find_problems(options: PipelineOptions) -> Iterator[str]:
    """Yield what would end in a traceback, or in minutes of waiting, when it starts."""
    values = options.get_all_options()
    for flag in _FILES:
        place = values[flag]
        if place and "://" not in place and not Path(place).is_file():
            yield f"--{flag} {place}: no such file"
    endpoint = values["job_endpoint"]
    if endpoint and endpoint != "embed" and not _answers(endpoint):
        yield f"--job_endpoint {endpoint}: nobody answers there; start the job server"
    # Elsewhere the address is one that the engine's machines see, not this one.
    is_here = endpoint == "embed" or values["runner"] == "PrismRunner"
    pool = values["environment_config"]
    if is_here and values["environment_type"] == "EXTERNAL" and not _answers(pool):
        yield (
            f"--environment_config {pool}: nobody answers there; start a worker pool: "
            "python -m apache_beam.runners.worker.worker_pool_main --service_port=PORT"
        )


def silence() -> None:
    """Keep off stderr what job servers log: what a step raised, several times over."""
    # Its level is set anew when the server starts.
    logging.getLogger("PrismJobServer").disabled = True
    logging.getLogger().addFilter(_is_not_a_job_servers)
    # Where steps run in this process (LOOPBACK), Beam also prints it; the name found in
    # the module hides the builtin one.
    vars(sdk_worker)["print"] = _say_nothing
    # Its threads that read may meet an engine that has ended: with the job's error, or
    # by Ctrl-C.
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _say_unless_readers


def _is_not_a_job_servers(record: logging.LogRecord) -> bool:
    """Drop a message that Beam passes on under no logger's name."""
    return record.module != "portable_runner"


def _say_nothing(*_: object, **__: object) -> None:
    """Take what `print` takes."""


def _say_unless_readers(failed: threading.ExceptHookArgs) -> None:
    is_reader = failed.thread is not None and failed.thread.name == _READER
    if not is_reader and not issubclass(failed.exc_type, grpc.RpcError):
        threading.__excepthook__(failed)


def _answers(address: str | None) -> bool:
    """Tell whether somebody listens at host:port."""
    host, _, port = (address or "").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True
