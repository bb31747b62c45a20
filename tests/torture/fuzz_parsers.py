"""Fuzz every parser: only named errors, in bounded time and memory.

    python -m tests.torture.fuzz_parsers --seconds 60

Coverage-guided if atheris is installed: libFuzzer mutates files, keeps those that reach
new code, and stops a parser at `_MAX_SECONDS` or `_MAX_MB`. Without atheris, files are
mutated at random (`attack`), as in the short version in the tests.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import util
from pathlib import Path

# Parsers are imported late: atheris instruments what it imports.

_MAX_SECONDS, _MAX_MB = 10, 2048
_MODULE = "tests.torture.fuzz_parsers"


def find_fault(name: str, folder: Path, data: bytes) -> str:
    """Parse one file; return an error that is not allowed."""
    from tests.torture import parsers
    from transforms.images import read as image_reading

    target = parsers.TARGETS[name]
    path = folder / target.file
    path.write_bytes(data)
    image_reading.forget()
    try:
        target.parse(str(path))
    except parsers.NAMED as error:
        return "" if str(error) else f"{type(error).__name__} without a word"
    except Exception as error:  # noqa: BLE001  # whatever it is, is the finding
        return f"{type(error).__name__}: {error}"
    return ""


def attack(name: str, folder: Path, num_files: int, seed: int = 0) -> dict[str, bytes]:
    """Mutate valid files at random; return the faults, each with a file."""
    from tests.torture import broken_pictures, parsers

    faults: dict[str, bytes] = {}
    seeds = list(parsers.TARGETS[name].seeds())
    changes = (
        broken_pictures.flip_bits,
        broken_pictures.truncate,
        broken_pictures.overwrite,
        broken_pictures.cut_out,
        broken_pictures.repeat,
    )
    draw = random.Random(f"{seed} {name}")
    for _ in range(num_files):
        data = draw.choice(seeds)
        for _ in range(draw.choice((1, 1, 2, 4))):
            data = draw.choice(changes)(draw, data)
        if fault := find_fault(name, folder, data):
            faults.setdefault(fault, data)
    return faults


def fuzz(name: str, words: Sequence[str]) -> None:
    """Fuzz one parser with libFuzzer; never returns."""
    import atheris

    packages = ["transforms", "pipelines", "csv", "json", "yaml", "zipfile"]
    with atheris.instrument_imports(include=packages):
        from tests.torture import parsers  # noqa: F401  # instruments them
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))

    def run(data: bytes) -> None:
        if fault := find_fault(name, folder, data):
            raise RuntimeError(fault)

    atheris.Setup([sys.argv[0], *words], run)
    atheris.Fuzz()


def fuzz_all(names: Sequence[str], seconds: int, crashes: Path) -> int:
    """Fuzz the parsers in turn, each in a separate process; return the faults."""
    from tests.torture import parsers

    num_faults = 0
    for name in names:
        with tempfile.TemporaryDirectory() as corpus:
            for number, data in enumerate(parsers.TARGETS[name].seeds()):
                Path(corpus, str(number)).write_bytes(data)
            words = [
                f"-max_total_time={seconds}",
                f"-timeout={_MAX_SECONDS}",
                f"-rss_limit_mb={_MAX_MB}",
                "-max_len=20000",
                f"-artifact_prefix={crashes}/{name.replace(' ', '_')}-",
                "-print_final_stats=1",
                corpus,
            ]
            command = [sys.executable, "-m", _MODULE, "--target", name, *words]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stderr.splitlines()
        units = next((x for x in lines if "number_of_executed_units" in x), "?")
        fault = next((x for x in lines if "RuntimeError" in x or "ERROR:" in x), "")
        result = f"FAULT {fault}" if done.returncode else "nothing found"
        sys.stdout.write(f"{name}: {units.split()[-1]} files, {result}\n")
        sys.stdout.flush()
        num_faults += bool(done.returncode)
    return num_faults


def main() -> None:
    """Fuzz all or the named parsers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--num_files", type=int, default=20_000, help="without atheris")
    parser.add_argument("--crashes", type=Path, default=Path("crashes"))
    parser.add_argument("--target", help="for the process of one parser")
    parser.add_argument("names", nargs="*")
    options, words = parser.parse_known_args()
    if options.target:
        fuzz(options.target, [*options.names, *words])
    from tests.torture import parsers

    names = options.names or list(parsers.TARGETS)
    options.crashes.mkdir(exist_ok=True, parents=True)
    if util.find_spec("atheris"):
        sys.exit(bool(fuzz_all(names, options.seconds, options.crashes)))
    with tempfile.TemporaryDirectory() as folder:
        num_faults = 0
        for name in names:
            faults = attack(name, Path(folder), options.num_files)
            num_faults += len(faults)
            sys.stdout.write(f"{name}: {options.num_files} files, {list(faults)}\n")
            sys.stdout.flush()
            for number, data in enumerate(faults.values()):
                place = f"{name.replace(' ', '_')}-{number}"
                (options.crashes / place).write_bytes(data)
    sys.exit(bool(num_faults))


if __name__ == "__main__":
    main()
