"""A step → the process of another job, run once; what is finished is passed over."""

import codecs
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess  # nosec B404  # of jobs of ours, without a shell
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

from pipelines.outputs import cannot_write
from transforms import progress, storage
from transforms.datasets import JSON, to_json
from transforms.records import JobError, UsageError

_MARKS = ".steps"
_ERROR = "error: "
_MAX_ERRORS = 1000  # lines of a job that are kept
_USERS_FAULT, _STOPPED = 2, 130


class Step(NamedTuple):
    """One process.

    Attributes:
      name: that no other step has.
      job: of pipelines/.
      words: its command line.
      result: a file or folder that is there when it is finished.
      files: tables that decide the result; another content makes it another step.
    """

    name: str
    job: str
    words: tuple[str, ...]
    result: str
    files: tuple[str, ...] = ()


class RefusedError(Exception):
    """A job found something that the user must mend, before it began."""


class Runner:
    """Runs steps one after the other, below one folder.

    Args:
      root: the study's folder.
      lock: a descriptor that the processes keep open, so that no other study begins
        while one of them outlives this one.
    """

    def __init__(self, root: str, lock: int) -> None:
        self._root = root
        self._lock = lock

    def is_finished(self, step: Step) -> bool:
        """Tell whether exactly this step has been run."""
        mark = Path(self._root, _MARKS, f"{step.name}.json")
        try:
            found = json.loads(mark.read_bytes())
        except (OSError, ValueError):
            return False
        return Path(step.result).exists() and found == self._describe(step)

    def is_another(self, step: Step) -> bool:
        """Tell whether a step of this name has been run with other words or tables."""
        mark = Path(self._root, _MARKS, f"{step.name}.json")
        return mark.exists() and not self.is_finished(step)

    def run(self, step: Step) -> None:
        """Run a step, unless it is finished.

        Raises:
          RefusedError: the job found something to mend.
          JobError: it failed.
        """
        if self.is_finished(step):
            return
        described = self._describe(step)
        code, errors = self._run(step)
        if code == _USERS_FAULT:
            raise RefusedError("\n".join(errors) or f"{step.name} was refused")
        if code in {_STOPPED, -signal.SIGINT, -signal.SIGTERM}:
            raise KeyboardInterrupt
        if code:
            told = "\n".join(errors) or f"its process ended with {code}"
            raise JobError(f"{step.name}: {told}\nthe same command goes on from there")
        storage.write(f"{self._root}/{_MARKS}", f"{step.name}.json", to_json(described))

    def _describe(self, step: Step) -> dict[str, JSON]:
        """Return what decides a step, wherever the study's folder lies."""
        return {
            "job": step.job,
            "words": [word.replace(self._root, ".") for word in step.words],
            "files": [_hash(path) for path in step.files],
        }

    def _run(self, step: Step) -> tuple[int, list[str]]:
        """Run a process and show what it says; returns its code, and its errors."""
        command = [sys.executable, "-m", f"pipelines.{step.job}", *step.words]
        shown = {}
        if sys.stderr.isatty():  # the step cannot tell: it writes to this process
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


def _show(process: "subprocess.Popen[bytes]") -> list[str]:
    """Pass on what a process says, as it says it; returns its errors instead."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    errors: list[str] = []
    held, is_begun = "", False  # a line's beginning; whether it has been passed on
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
    """Tell whether a line that begins so may be an error, as far as it is known."""
    return text.startswith(_ERROR) or _ERROR.startswith(text)


def _hash(path: str) -> str:
    """Hash a table; "" when it is not there, which the job will say."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


@contextlib.contextmanager
def hold(root: str) -> Iterator[int]:
    """Make the study's folder and hold it; yields the descriptor that does so.

    SIGTERM ends a study as Ctrl-C does, so that its step ends with it.

    Raises: UsageError: nothing can be written there, or another study is at work.
    """
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(root, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(
            f"--output {root}: another study is at work there, or the last step of "
            "one; wait for it, or name another place"
        ) from None
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield descriptor
    finally:
        signal.signal(signal.SIGTERM, before)
        os.close(descriptor)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
