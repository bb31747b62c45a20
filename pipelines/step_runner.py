"""Run the unfinished steps of a study or chain as processes, and mark finished ones."""

import codecs
import contextlib
import hashlib
import json
import math
import os
import signal
import subprocess  # nosec B404  # own jobs, without a shell
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pipelines.cli import cannot_write
from pipelines.commands import Step
from transforms import progress, storage
from transforms.records import JobError, UsageError, to_json

_MARKS = ".steps"  # folder of the marks of finished steps
_SECONDS = "seconds"  # of a mark: the time that the step took
_ERROR = "error: "
_MAX_ERRORS = 1000  # most error lines that are kept of a job
_USAGE_ERROR, _STOPPED = 2, 130  # exit codes


class RefusedError(Exception):
    """Raised when a job rejects its flags or input."""


@contextlib.contextmanager
def acquire_folder(root: str) -> Iterator[int]:
    """Create and lock the folder of a study or chain; yield the lock's descriptor.

    Inside the block, SIGTERM acts like Ctrl-C, so that the running step ends too.

    Raises:
      UsageError: the folder is not writable, or another run holds it.
    """
    try:
        descriptor = storage.lock_folder(root)
    except BlockingIOError:
        raise UsageError(
            f"--output {root}: another run, or its last step, is running there; "
            "wait for it, or give another folder"
        ) from None
    except OSError as error:
        raise cannot_write(root, error) from error
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield descriptor
    finally:
        signal.signal(signal.SIGTERM, before)
        os.close(descriptor)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _read_mark(root: str, step: Step) -> dict[str, Any]:
    """Read the mark of a finished step; {} if there is none."""
    try:
        recorded = json.loads(Path(root, _MARKS, f"{step.name}.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return recorded if isinstance(recorded, dict) else {}


def read_seconds(root: str, step: Step) -> float | None:
    """Return the seconds that a step took; None if unfinished, NaN if not recorded.

    Changes to flags and input tables are ignored, because hashing the tables is slow.
    """
    recorded = _read_mark(root, step)
    if not recorded or not Path(step.result).exists():
        return None
    seconds = recorded.get(_SECONDS)
    return float(seconds) if isinstance(seconds, int | float) else math.nan


class Runner:
    """Run steps one after the other in the folder of a study or chain.

    Args:
      root: folder of the study.
      lock: file descriptor of the folder's lock. The steps inherit it, so the lock
        is held until the last of them ends, even if this process ends first.
    """

    def __init__(self, root: str, lock: int) -> None:
        self._root = root
        self._lock = lock

    def is_finished(self, step: Step) -> bool:
        """Return whether this step has run with the same flags and input tables.

        A step whose result is missing is not finished. An input file that has been
        removed since does not matter, so that datasets need not be kept.
        """
        return Path(step.result).exists() and self.has_run(step)

    def has_run(self, step: Step) -> bool:
        """Return whether this step has run with the same flags and input tables.

        Whether its result still exists does not matter.
        """
        return has_run(self._root, step)

    def is_another(self, step: Step) -> bool:
        """Return whether a step of this name has run with other flags or input tables.

        Whether its result still exists does not matter.
        """
        return bool(_read_mark(self._root, step)) and not self.has_run(step)

    def run(self, step: Step) -> None:
        """Run a step, unless it is finished.

        Raises:
          RefusedError: the job rejected its flags or input.
          JobError: the job failed.
        """
        if self.is_finished(step):
            return
        described = _describe(self._root, step)
        start_s = time.monotonic()
        code, errors = self._run(step)
        if code == _USAGE_ERROR:
            raise RefusedError("\n".join(errors) or f"{step.name} rejected its input")
        if code in {_STOPPED, -signal.SIGINT, -signal.SIGTERM}:
            raise KeyboardInterrupt
        if code:
            reason = "\n".join(errors) or f"its process exited with code {code}"
            raise JobError(
                f"{step.name}: {reason}\nrun the same command again to continue"
            )
        described[_SECONDS] = round(time.monotonic() - start_s, 1)
        storage.write(f"{self._root}/{_MARKS}", f"{step.name}.json", to_json(described))

    def run_required(self, step: Step) -> None:
        """Run a step without which the job cannot continue, unless it is finished.

        Raises:
          UsageError: the step rejected its flags or input.
          JobError: the step failed.
        """
        try:
            self.run(step)
        except RefusedError as error:
            lines = str(error).splitlines()
            raise UsageError(
                "\n".join(f"{step.name}: {line}" for line in lines)
            ) from error

    def _run(self, step: Step) -> tuple[int, list[str]]:
        """Run a step as a process; forward its stderr, return exit code and errors."""
        command = [sys.executable, "-m", f"pipelines.{step.job}", *step.words]
        shown = {}
        if sys.stderr.isatty():  # the step writes to a pipe and cannot know
            shown["TQDM_MININTERVAL"] = str(progress.INTERVAL_S)
        process = subprocess.Popen(  # noqa: S603  # nosec B603  # our own jobs
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**shown, **os.environ},
            pass_fds=[self._lock],
        )
        try:
            errors = _show(process)
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        return code, errors


def has_run(root: str, step: Step) -> bool:
    """Return whether a step has run in the folder `root`, as `Runner.has_run` does."""
    recorded = _read_mark(root, step)
    if not recorded:  # the input files need not be hashed
        return False
    described = _describe(root, step)
    before, after = recorded.get("files", []), described.pop("files")
    return (
        all(recorded.get(key) == value for key, value in described.items())
        and len(before) == len(after)
        and all(now in {"", then} for then, now in zip(before, after, strict=True))
    )


def _describe(root: str, step: Step) -> dict[str, Any]:
    """Return the job, arguments and file hashes that identify a step.

    The study's folder is replaced by ".", so that a study can be moved.
    """
    identity = {"identity": step.identity} if step.identity else {}
    return {
        "job": step.job,
        "words": [word.replace(root, ".") for word in step.words],
        "files": [_hash(path) for path in step.files],
        **identity,
    }


def _show(process: "subprocess.Popen[bytes]") -> list[str]:
    """Forward the stderr of a process as it arrives, and return its error lines."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    errors: list[str] = []
    held, is_begun = "", False  # an incomplete line; whether part of it was written
    if process.stderr is None:
        return errors
    with process.stderr as stream:
        while data := os.read(stream.fileno(), 1 << 16):
            *lines, held = (held + decoder.decode(data)).split("\n")
            for line in lines:
                if line.startswith(_ERROR) and not is_begun:
                    errors = [*errors, line.removeprefix(_ERROR)][-_MAX_ERRORS:]
                else:
                    sys.stderr.write(f"{line}\n")
                is_begun = False
            if held and (is_begun or not _may_be_error(held)):
                sys.stderr.write(held)
                held, is_begun = "", True
            sys.stderr.flush()
    sys.stderr.write(held)
    return errors


def _may_be_error(text: str) -> bool:
    """Return whether a line that starts with this text may be an error message."""
    return text.startswith(_ERROR) or _ERROR.startswith(text)


def _hash(path: str) -> str:
    """Return the SHA-256 of a file; "" if unreadable, which the job reports."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
