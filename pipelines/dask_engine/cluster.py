"""Find the scheduler of a Dask cluster, connect to it and check its workers."""

import argparse
import collections
import json
import logging
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from transforms import __version__
from transforms.images.settings import describe_libraries
from transforms.records import UsageError, list_names

if TYPE_CHECKING:
    from distributed import Client

_CONNECT_S = 10
# Packages that only some jobs need.
_OPTIONAL = ("tensorflow", "keras", "onnxruntime", "onnxruntime-gpu")
_INSTALL = "pip install 'imagenet-subsets[dask]'"


class DaskOptions(PipelineOptions):
    """Declare the flags of this engine, named as Beam's DaskRunner names them."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--dask_client_address", help="address of the scheduler")
        parser.add_argument(
            "--dask_scheduler_file", help="file with the scheduler's address"
        )


def find_address(options: PipelineOptions) -> str:
    """Return the address of the scheduler, e.g. "tcp://10.0.0.1:8786".

    Raises:
      UsageError: the flags do not name one scheduler.
    """
    flags = options.view_as(DaskOptions)
    address, path = flags.dask_client_address, flags.dask_scheduler_file
    if bool(address) == bool(path):
        raise UsageError(
            "--runner DaskRunner: give either --dask_client_address or "
            "--dask_scheduler_file"
        )
    if not path:
        return address
    try:
        return json.loads(Path(path).read_bytes())["address"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "is not a scheduler file"
        raise UsageError(
            f"--dask_scheduler_file {path}: {reason}; "
            "dask scheduler --scheduler-file writes it"
        ) from error


def no_connection(address: str) -> UsageError:
    """Create the error for a scheduler that does not answer."""
    return UsageError(
        f"Dask scheduler {address}: connection failed; start it with dask scheduler, "
        "and give its address as tcp://HOST:PORT or tls://HOST:PORT"
    )


def connect(address: str) -> "Client":
    """Connect to a scheduler.

    Raises:
      UsageError: Dask is not installed, or no scheduler answers.
    """
    # Its import takes half a second, and only this engine needs it.
    try:
        from distributed import Client
        from distributed.comm.addressing import get_address_host_port
    except ImportError as error:
        raise UsageError(
            f"--runner DaskRunner: needs the package distributed; {_INSTALL}"
        ) from error
    # The errors are raised here, so its loggers would only repeat them.
    for name in logging.root.manager.loggerDict:
        if name.startswith("distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        get_address_host_port(address)  # otherwise the client hangs at exit
        return Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise no_connection(address) from error


def describe_process() -> dict[str, str]:
    """Return the versions that determine the output of a process."""
    versions = {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "imagenet-subsets": __version__,
        "apache-beam": beam.__version__,
        "pyarrow": pa.__version__,
        **describe_libraries(),
    }
    for name in _OPTIONAL:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def find_differences(launcher: Mapping[str, str], worker: Mapping[str, str]) -> str:
    """Describe the versions of a worker that differ from those of the launcher.

    A package that one of them lacks is no difference: a job that needs it reports it.
    """
    return ", ".join(
        f"{name} {worker[name]} instead of {version}"
        for name, version in launcher.items()
        if worker.get(name, version) != version
    )


def check_workers(address: str) -> None:
    """Check that all present workers have the program of this machine.

    Raises:
      UsageError: no scheduler answers, or workers lack the program or have other
        versions.
    """
    here = describe_process()
    with connect(address) as client:
        reports = client.run(describe_process, on_error="return")
    workers_of: dict[str, list[str]] = collections.defaultdict(list)
    for worker, report in reports.items():
        if isinstance(report, BaseException):
            workers_of[
                f"cannot import the program ({report}); install it in the environment "
                "of the workers"
            ].append(worker)
        elif differences := find_differences(here, report):
            workers_of[f"have {differences}; install the same versions"].append(worker)
    if workers_of:
        raise UsageError(
            "\n".join(
                f"{len(workers)} of {len(reports)} Dask workers "
                f"({list_names(workers)}) {problem}"
                for problem, workers in workers_of.items()
            )
        )


def find_missing(paths: Iterable[str]) -> list[str]:
    """Return the paths that do not exist for this process."""
    return [path for path in paths if not Path(path).exists()]


def check_folders(address: str, paths: Mapping[str, str]) -> None:
    """Check that all present workers see files of this machine.

    Args:
      address: the scheduler's.
      paths: descriptions, e.g. "--input imagenet", by path.

    Raises:
      UsageError: lists the workers and the paths that they do not see.
    """
    with connect(address) as client:
        missing = client.run(find_missing, list(paths), on_error="ignore")
    workers_of: dict[str, list[str]] = collections.defaultdict(list)
    for worker, absent in missing.items():
        for path in absent:
            workers_of[path].append(worker)
    if workers_of:
        raise UsageError(
            "\n".join(
                f"{paths[path]}: {len(workers)} of {len(missing)} Dask workers do not "
                f"see it ({list_names(workers)}); use a bucket, or a folder that all "
                "machines see at the same path"
                for path, workers in workers_of.items()
            )
        )
