"""Run readers in a process of their own, and read its output.

The process runs this module: `python -m transforms.verification.reader_process
READER,… DIRECTORY SPLIT…` prints one line of JSON per image. For each reader, the first
line contains the label names, and `END` follows the last line. Readers run in processes
of their own because the libraries of different readers conflict; those in one process
use the same ones.
"""

import hashlib
import json
import os
import subprocess  # nosec B404  # runs this package, without a shell
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import IO

import transforms
from transforms.verification import readers

END = b"\f\n"  # JSON escapes form feeds
_READ_BYTES = 1 << 16


class ReaderProcesses:
    """Start processes that run readers; `close` ends those of other threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_closed = False

    def read_lines(
        self,
        names: Sequence[str],
        directory: str,
        splits: Sequence[str],
        limit_s: float,
    ) -> Generator[bytes]:
        """Run readers one after another in a process; yield complete lines of output.

        Args:
          names: names of the readers.
          directory: local folder of the dataset, or of a part of it.
          splits: splits to read.
          limit_s: seconds after which the process is ended.

        Raises:
          ValueError: a reader failed or timed out.
        """
        words = [",".join(names), str(Path(directory).resolve()), *splits]
        with (
            tempfile.TemporaryDirectory() as scratch,
            tempfile.TemporaryFile() as errors,
            self._start(words, scratch, errors) as process,
        ):
            timer = threading.Timer(limit_s, process.kill)
            timer.start()
            try:
                yield from _join_lines(process.stdout)
                code = process.wait()
            finally:
                process.kill()
                timed_out = not timer.is_alive()
                timer.cancel()
                self._running.discard(process)
            if timed_out:
                raise ValueError(
                    f"the reader took more than {limit_s:.0f} s and was ended"
                )
            if code:
                raise ValueError(f"the reader failed ({code}): {_last_line(errors)}")

    def _start(
        self, words: Sequence[str], scratch: str, errors: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_closed:
                raise ValueError("the job ends")
            process = subprocess.Popen(  # noqa: S603  # nosec B603  # this package
                [
                    sys.executable,
                    "-m",
                    "transforms.verification.reader_process",
                    *words,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(scratch),
                cwd=scratch,
            )
            self._running.add(process)
        return process

    def close(self) -> None:
        """End all processes, and start no others."""
        with self._lock:
            self._is_closed = True
        for process in list(self._running):
            process.kill()


def _join_lines(stream: IO[bytes] | None) -> Iterator[bytes]:
    rest = b""
    while stream and (chunk := stream.read(_READ_BYTES)):
        end = chunk.rfind(b"\n") + 1
        if end:
            yield rest + chunk[:end]
            rest = b""
        rest += chunk[end:]


def _environment(scratch: str) -> dict[str, str]:
    """Return environment variables for a reader's process.

    They disable GPUs and network access, and move the Hugging Face cache to `scratch`.
    """
    root = str(Path(transforms.__file__).parents[1])
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUDA_VISIBLE_DEVICES": "-1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": scratch,
        "HF_HUB_OFFLINE": "1",
        "NO_GCE_CHECK": "true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


def copy_lines(
    lines: bytes,
    output: Iterator[bytes],
    file: IO[bytes],
    tick: Callable[[int], None],
) -> bytes:
    """Copy one reader's lines to a file, and return those of the next reader.

    Args:
      lines: lines that have been read from `output`.
      output: lines of several readers, each followed by `END`.
      file: file to write.
      tick: called with the number of images that were copied.

    Raises:
      ValueError: the reader failed or timed out.
    """
    num_names = 1  # the first line has the names
    while True:
        lines, end, rest = lines.partition(END)
        if lines:
            file.write(lines)
            tick(lines.count(b"\n") - num_names)
            num_names = 0
        if end:
            return rest
        try:
            lines = next(output)
        except StopIteration:
            raise ValueError("the reader ended before its last image") from None


def main(argv: Sequence[str]) -> None:
    """Read a dataset with each reader and print the result; exceptions propagate.

    Args:
      argv: names of the readers, separated by commas, dataset folder, and splits.
    """
    names, directory, *splits = argv
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as lines:
        # Redirect what libraries print, which would mix with the lines.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for name in names.split(","):
            reader = readers.load(name)
            lines.write(f"{json.dumps(reader.read_names(directory))}\n")
            for image in reader.read_images(directory, splits):
                line = [
                    image.key,
                    image.split,
                    image.labels,
                    hashlib.sha256(image.image).hexdigest(),
                    image.fine_label,
                    image.wnid,
                    image.file_name,
                ]
                lines.write(f"{json.dumps(line)}\n")
            lines.write(END.decode())
            lines.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
    # Threads of libraries can crash the interpreter at exit, after all output.
    sys.stderr.flush()
    os._exit(0)
