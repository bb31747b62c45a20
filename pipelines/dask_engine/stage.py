"""Run chains of ParDos on bundles, in a worker."""

import collections
import dataclasses
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import apache_beam as beam
import cloudpickle
from apache_beam.runners.common import DoFnRunner, Receiver
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.sideinputs import SideInputMap
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.dask_engine.cluster import describe_process, find_differences
from transforms.records import JobError, UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A ParDo and its side inputs."""

    label: str
    fn: beam.DoFn
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    side_inputs: Sequence[SideInputMap]


class _Collector(Receiver):
    def __init__(self) -> None:
        self.values: list[Any] = []

    def receive(self, windowed_value: WindowedValue) -> None:
        self.values.append(windowed_value.value)


class _Next(Receiver):
    def __init__(self, runner: DoFnRunner) -> None:
        self._runner = runner

    def receive(self, windowed_value: WindowedValue) -> None:
        self._runner.process(windowed_value)


class _Chain:
    """Run consecutive ParDos on one bundle after another."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._collector = _Collector()
        self._runners: list[DoFnRunner] = []  # the last one first
        receiver: Receiver = self._collector
        with self._teardown_after_error():
            for step in reversed(steps):
                runner = DoFnRunner(
                    step.fn,
                    step.args,
                    step.kwargs,
                    step.side_inputs,
                    Windowing(GlobalWindows()),
                    {None: receiver},
                    step_name=step.label,
                )
                runner.setup()
                self._runners.append(runner)
                receiver = _Next(runner)

    def run(self, bundle: Iterable[Any]) -> list[Any]:
        """Return the outputs of the last ParDo."""
        self._collector.values = []
        with self._teardown_after_error():
            for runner in self._runners:
                runner.start()
            for element in bundle:
                self._runners[-1].process(GlobalWindows.windowed_value(element))
            for runner in reversed(self._runners):
                runner.finish()  # its outputs reach the following ParDos
        return self._collector.values

    def teardown(self) -> None:
        while self._runners:
            self._runners.pop().teardown()

    @contextmanager
    def _teardown_after_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(Exception):  # the first error counts
                self.teardown()
            raise


class Stage:
    """Consecutive ParDos of a job; workers keep their DoFns between bundles.

    Dask keeps one in each worker process until the job has ended or its launcher has
    disappeared.

    Args:
      pickled: the steps.
      versions: of the launcher, as `describe_process` returns them; a worker may have
        joined after the launcher has checked the others.
    """

    def __init__(self, pickled: bytes, versions: Mapping[str, str]) -> None:
        self._pickled = pickled
        self._versions = versions
        self._idle: collections.deque[_Chain] = collections.deque()

    def __reduce__(self) -> tuple[Any, ...]:
        return Stage, (self._pickled, self._versions)

    def run(self, bundle: Iterable[Any]) -> list[Any]:
        """Run the ParDos on a bundle; several threads may call this."""
        try:
            chain = self._idle.pop()
        except IndexError:
            if differences := find_differences(self._versions, describe_process()):
                raise JobError(
                    f"Dask worker {_find_worker()}: has {differences}; install the "
                    "same versions"
                ) from None
            chain = _Chain(cloudpickle.loads(self._pickled))
        outputs = chain.run(bundle)
        self._idle.append(chain)
        return outputs

    def __del__(self) -> None:
        for chain in self._idle:
            with suppress(Exception):  # the interpreter may be exiting
                chain.teardown()


# Number of tasks of each job that run in this process.
_num_running: collections.Counter[str] = collections.Counter()
_lock = threading.Lock()


def count_running(job: str) -> int:
    """Return the number of tasks of a job that run in this process."""
    return _num_running[job]


def run_bundle(pickled: bytes, stage: Stage, job: str) -> bytes:
    """Run a stage on a pickled bundle in a worker; return its pickled outputs.

    Raises:
      UsageError, JobError: a step raised it.
      JobError: a step raised another error; the message names the worker.
    """
    with _lock:
        _num_running[job] += 1
    try:
        return cloudpickle.dumps(stage.run(cloudpickle.loads(pickled)))
    except (UsageError, JobError):
        raise
    except Exception as error:
        raise JobError(_describe_error(error)) from error
    finally:
        with _lock:
            _num_running[job] -= 1


def _find_worker() -> str:
    """Return the address of this worker."""
    from distributed import get_worker

    return get_worker().address


def _describe_error(error: Exception) -> str:
    text = str(error).partition(" [while running")[0]
    if type(error) is not RuntimeError:  # otherwise Beam has added the type
        text = f"{type(error).__name__}: {text}"
    hint = ""
    if "FileNotFoundError" in text:
        hint = "; all machines must see local folders at the same path"
    return f"{text} (on Dask worker {_find_worker()}){hint}"
