"""Check this machine for required and optional software, and suggest remedies.

The output fits on a screen and is meant for bug reports: it contains no secrets.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from pipelines.cli import exit_codes, parse
from transforms import __version__
from transforms.options import flag
from transforms.processes import num_cores
from transforms.records import describe_bytes

_PACKAGE = "imagenet-subsets"
_MIN_MEMORY = 4 << 30  # a build takes about 1 GB, TensorFlow 2 GB
_MIN_DISK = 20 << 30  # of a subset of 100,000 images at 256 pixels, with its plan
_READERS = {  # packages that load datasets; `verify` uses those that are installed
    "webdataset": "WebDataset tars in PyTorch",
    "tensorflow_datasets": "TFRecords through TFDS",
    "datasets": "Hugging Face datasets",
    "torchvision": "class folders in PyTorch",
    "timm": "timm's readers and training script",
    "array_record": "write and read ArrayRecord for Grain and JAX",
    "huggingface_hub": "read hf:// inputs",
    "onnxruntime": "predict with .onnx models",
}
_DISTRIBUTIONS = {"tensorflow_datasets": "tensorflow-datasets"}


class Check(NamedTuple):
    """The result of one check, printed as a line."""

    name: str
    value: str
    remedy: str = ""  # "" if there is no problem
    is_error: bool = False  # whether the program cannot work


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Check this machine: Python, packages, cores, memory, disk, credentials, engines.

    The exit code is 1 if a required component is missing.
    """

    output: str = flag(
        "dataset folder; its disk is checked", default="subsets", metavar="DIR"
    )

    def problems(self) -> Iterator[str]:
        """Yield no messages, because there are no flags to combine."""
        yield from ()


def _check_python() -> Iterator[Check]:
    yield Check("program", f"{_PACKAGE} {__version__}")
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    yield Check("system", system)
    yield Check("Python", platform.python_version())


def _check_packages() -> Iterator[Check]:
    """Compare the installed packages with the versions that the program requires."""
    try:
        required = importlib.metadata.requires(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("packages", "not installed", "pip install .", is_error=True)
        return
    requirements = [Requirement(text) for text in required]
    needed = [r for r in requirements if r.marker is None or r.marker.evaluate()]
    problems = []
    for requirement in needed:
        version = _find_version(requirement.name)
        if version is None:
            problems.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(
                f"{requirement.name} {version}, not {requirement.specifier}"
            )
    if problems:
        remedy = f"pip install {_PACKAGE} in a new environment"
        yield Check("packages", "; ".join(problems), remedy, is_error=True)
    names = ("apache-beam", "tensorflow", "pillow", "numpy", "pyarrow", "obstore")
    shown = ", ".join(f"{name} {_find_version(name) or 'missing'}" for name in names)
    yield Check("libraries", shown)


def _find_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _check_machine(output: str) -> Iterator[Check]:
    cores, all_cores = num_cores(), os.cpu_count() or 1
    limit = "" if cores == all_cores else f" of {all_cores} (affinity or CPU quota)"
    yield Check("cores", f"{cores}{limit}")
    memory = _read_memory()
    if memory is not None:
        remedy = "close other programs, or lower --threads"
        is_little = memory < _MIN_MEMORY
        yield Check("free memory", describe_bytes(memory), remedy if is_little else "")
    place = Path(output).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    remedy = "--output on another disk, for subsets of 100,000 images and more"
    yield Check("free disk", describe_bytes(free), remedy if free < _MIN_DISK else "")
    if not os.access(place, os.W_OK):
        yield Check("output", f"{output}: not writable", "give another --output")


def _read_memory() -> int | None:
    """Return the available memory in bytes, else the total memory, else None."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) << 10
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _check_stores() -> Iterator[Check]:
    """Look for credentials without contacting a store."""
    home = Path.home()
    google = {
        "GOOGLE_APPLICATION_CREDENTIALS": os.environ.get(
            "GOOGLE_APPLICATION_CREDENTIALS"
        ),
        "gcloud's login": home / ".config/gcloud/application_default_credentials.json",
    }
    amazon = {
        "AWS_ACCESS_KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID"),
        "a profile": os.environ.get("AWS_SHARED_CREDENTIALS_FILE")
        or home / ".aws/credentials",
        "a configuration": os.environ.get("AWS_CONFIG_FILE") or home / ".aws/config",
    }
    yield Check(
        "gs:// credentials",
        _name_first(google),
        ""
        if _name_first(google) != "none"
        else "gcloud auth application-default login",
    )
    has_key = bool(amazon["AWS_ACCESS_KEY_ID"])
    found = "AWS_ACCESS_KEY_ID" if has_key else _name_first(amazon)
    yield Check(
        "s3:// credentials",
        found,
        "" if found != "none" else "aws configure, or --store_anonymous",
    )


def _name_first(places: dict[str, str | Path | None]) -> str:
    """Return the name of the first file that exists, or "none"."""
    names = (name for name, path in places.items() if path and Path(path).is_file())
    return next(names, "none")


def _check_readers() -> Iterator[Check]:
    installed = [name for name in _READERS if importlib.util.find_spec(name)]
    yield Check("readers", ", ".join(installed) or "none")
    missing = [name for name in _READERS if name not in installed]
    if missing:
        names = " ".join(_DISTRIBUTIONS.get(name, name) for name in missing)
        yield Check("optional", "not installed", f"pip install {names}")


def _check_engines() -> Iterator[Check]:
    yield Check("engines", "embedded (default), portable runner")
    prism = shutil.which("prism") or next(
        (str(path) for path in Path(".engines").glob("prism-*")), None
    )
    yield Check("Prism", prism or "none", "" if prism else "make engines")
    java = shutil.which("java")
    yield Check("Flink, Spark", "java found" if java else "no java", "")
    for name, module, package in (
        ("Dataflow", "apache_beam.runners.dataflow", "apache-beam[gcp]"),
        ("Dask", "distributed", f"{_PACKAGE}[dask]"),
    ):
        if importlib.util.find_spec(module):
            yield Check(name, "client installed")
        else:
            yield Check(name, "none", f"pip install '{package}'")


def _check_network() -> Iterator[Check]:
    """Check that a loopback port can be opened, as Beam's engines require."""
    try:
        with socket.create_server(("127.0.0.1", 0)):
            return
    except OSError as error:
        yield Check("loopback", error.strerror or "", "allow ports on 127.0.0.1")


def list_checks(output: str) -> list[Check]:
    """Run all checks, without contacting a network service."""
    return [
        *_check_python(),
        *_check_packages(),
        *_check_machine(output),
        *_check_stores(),
        *_check_readers(),
        *_check_engines(),
        *_check_network(),
    ]


def format_checks(checks: Iterable[Check]) -> str:
    """Format one line per check: "!" marks errors, "-" other checks with a remedy."""
    lines = []
    for check in checks:
        mark = "!" if check.is_error else "-" if check.remedy else " "
        remedy = f"  → {check.remedy}" if check.remedy else ""
        lines.append(f"{mark} {check.name:<18} {check.value}{remedy}")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, _, _ = parse(
            DoctorOptions,
            argv,
            prog="python -m pipelines.doctor",
            takes_beam_flags=False,
        )
        checks = list_checks(options.output)
        sys.stdout.write(f"{format_checks(checks)}\n")
    if any(check.is_error for check in checks):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
