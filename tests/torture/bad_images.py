"""Process broken and hostile image files: each gives an image or a DataError.

    python -m tests.torture.bad_images --num_files 12000

Files come from a seed: images in every encoding that occurs under the name .JPEG, which
are then damaged (`broken_pictures`), and bombs (`bombs`). A child process decodes them
with at most `_MAX_BYTES` of address space and `_MAX_SECONDS` of CPU time per file; an
unhandled signal ends it, even inside C code. If SUBSETS_REAL_DATA is set, the files
include photographs.
"""

import argparse
import collections
import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from tests.torture import bombs, broken_pictures
from transforms.images import decode
from transforms.images.process import process
from transforms.images.settings import ImageSettings, target_size
from transforms.records import DataError

_MAX_BYTES = 3 << 30  # of address space: TensorFlow is not there, libraries are
_MAX_SECONDS = 20
_MODULE = "tests.torture.bad_images"
SETTINGS = (
    ImageSettings(image_size=64),
    ImageSettings(image_size=64, resize_mode="longer_side", upscale=True),
    ImageSettings(image_size=64, resize_mode="center_crop"),
    ImageSettings(image_size=64, resize_mode="squash"),
    ImageSettings(resize_mode="none"),
)
NUM_BOMBS = len(bombs.BOMBS)


class Outcome(NamedTuple):
    """The outcome of one file."""

    number: int
    kind: str
    result: str  # "image", "DataError: …" or what must not be
    seconds: float  # of CPU time
    peak_bytes: int  # of the process meanwhile

    @property
    def is_accounted_for(self) -> bool:
        return self.result.startswith(("image", "DataError: "))


def make_file(seed: int, number: int) -> tuple[str, bytes]:
    """Return a file by its number: bombs first, then broken images."""
    if number < NUM_BOMBS:
        name = list(bombs.BOMBS)[number]
        return name, bombs.BOMBS[name]()
    return broken_pictures.make(random.Random(f"{seed} {number}"))


def process_file(data: bytes, settings: ImageSettings) -> str:
    """Process a file with the program's steps; return the outcome."""
    try:
        image = decode.open_image(data)
        upright = decode.find_orientation(image) < 5
        size = image.size if upright else image.size[::-1]
        made = process(data, settings)
    except DataError as error:
        return f"DataError: {error}"
    if (made.width, made.height) != target_size(*size, settings):
        return f"WRONG SIZE: {made.width}x{made.height} of {size}"
    written = decode.open_image(made.jpeg)
    if written.size != (made.width, made.height) or written.format != "JPEG":
        return f"WRONG FILE: {written.format} {written.size}"
    if written.mode not in ({"RGB", "L"} if made.jpeg == data else {"RGB"}):
        return f"WRONG MODE: {written.mode}"
    decode.decode(written)
    return "image"


def read_peak_bytes() -> int:
    """Return the peak memory of this process since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def run_child(seed: int, start: int, end: int) -> None:
    """Process files, one line each; errors other than DataError end the process."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, _MAX_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for number in range(start, end):
        kind, data = make_file(seed, number)
        sys.stdout.write(json.dumps([number, kind]) + "\n")
        sys.stdout.flush()
        Path("/proc/self/clear_refs").write_text("5")  # forget the last peak
        begun = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, _MAX_SECONDS)
        result = process_file(data, SETTINGS[number % len(SETTINGS)])
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = round(time.process_time() - begun, 4)
        peak = read_peak_bytes()
        sys.stdout.write(json.dumps([number, kind, result, seconds, peak]) + "\n")


def attack(seed: int, num_files: int, *, start: int = 0) -> Iterator[Outcome]:
    """Yield the outcome of every file; a child that ends is replaced."""
    position = start
    while position < num_files:
        command = [sys.executable, "-m", _MODULE]
        words = [f"--seed={seed}", f"--start={position}", f"--num_files={num_files}"]
        with subprocess.Popen(
            [*command, "--child", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            kind = ""
            for line in child.stdout or ():
                number, kind, *rest = json.loads(line)
                if rest:
                    yield Outcome(number, kind, *rest)
                    position = number + 1
            _, errors = child.communicate()
        if position < num_files:
            last = errors.strip().splitlines()[-1:] or [f"signal {-child.returncode}"]
            yield Outcome(position, kind, last[0], _MAX_SECONDS, _MAX_BYTES)
            position += 1


def _summarise(outcomes: list[Outcome]) -> str:
    kinds = collections.Counter(outcome.kind.split("/")[0] for outcome in outcomes)
    results = collections.Counter(o.result.split(":")[0] for o in outcomes)
    reasons = collections.Counter(
        " ".join(o.result.split()[1:4]) for o in outcomes if "DataError" in o.result
    )
    slowest = max(outcomes, key=lambda o: o.seconds)
    largest = max(outcomes, key=lambda o: o.peak_bytes)
    lines = [
        f"{len(outcomes)} files of {len(kinds)} kinds: {dict(results)}",
        f"reasons: {dict(reasons.most_common(12))}",
        f"slowest {slowest.seconds} s ({slowest.kind})",
        f"peak {largest.peak_bytes / 1e6:.0f} MB ({largest.kind})",
    ]
    lines += [
        f"bomb {o.kind}: {o.result}, {o.seconds} s, {o.peak_bytes / 1e6:.0f} MB"
        for o in outcomes
        if o.number < NUM_BOMBS
    ]
    lines += [f"NOT ACCOUNTED FOR: {o}" for o in outcomes if not o.is_accounted_for]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--num_files", type=int, default=12_000)
    parser.add_argument("--child", action="store_true")
    options = parser.parse_args()
    if options.child:
        run_child(options.seed, options.start, options.num_files)
        return
    outcomes = []
    for outcome in attack(options.seed, options.num_files, start=options.start):
        outcomes.append(outcome)
        if not outcome.is_accounted_for:
            sys.stdout.write(f"{outcome}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{_summarise(outcomes)}\nPillow {Image.__version__}\n")
    sys.exit(not all(outcome.is_accounted_for for outcome in outcomes))


if __name__ == "__main__":
    main()
