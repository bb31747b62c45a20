"""Run pipelines on a Dask cluster.

Beam 2.77's DaskRunner drops what `finish_bundle` yields, computes side inputs several
times, puts 128 elements into one task and groups by Python's `hash`, which differs
between processes. This runner replaces it.

The launcher runs a pipeline in stages. A stage is a chain of ParDos, and each of its
tasks runs the chain on one bundle: one element after Create or Reshuffle. The outputs
return to the launcher, which groups and distributes them; they are names and counts,
not images. A lost worker therefore costs only the tasks that it was running, and no
stage, e.g. the commit, starts after the launcher has stopped.
"""

import argparse
import collections
import dataclasses
import itertools
import json
import logging
import platform
import queue
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import cloudpickle
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.pvalue import AsSideInput, PValue
from apache_beam.runners.common import DoFnRunner, Receiver
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.sideinputs import SideInputMap
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from transforms import __version__, progress
from transforms.images.settings import describe_libraries
from transforms.records import JobError, UsageError, list_names

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed import Client, Future

_CONNECT_S = 10
_POLL_S = 5.0  # between two checks for lost workers
_STOP_S = 60.0  # for tasks that run when a job is cancelled
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
        from distributed import Client  # noqa: PLC0415
        from distributed.comm.addressing import (  # noqa: PLC0415
            get_address_host_port,
        )
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


def _describe_worker(address: str, differences: str) -> str:
    return f"Dask worker {address}: has {differences}; install the same versions"


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Step:
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

    def __init__(self, steps: Sequence[_Step]) -> None:
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
                raise JobError(_describe_worker(_find_worker(), differences)) from None
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
    from distributed import get_worker  # noqa: PLC0415  # as in `connect`

    return get_worker().address


def _describe_error(error: Exception) -> str:
    text = str(error).partition(" [while running")[0]
    if type(error) is not RuntimeError:  # otherwise Beam has added the type
        text = f"{type(error).__name__}: {text}"
    hint = ""
    if "FileNotFoundError" in text:
        hint = "; all machines must see local folders at the same path"
    return f"{text} (on Dask worker {_find_worker()}){hint}"


class DaskRunner(PipelineRunner):
    """Run a pipeline on the Dask cluster that the flags name."""

    def run_pipeline(
        self, pipeline: beam.Pipeline, options: PipelineOptions
    ) -> "DaskJob":
        """Connect to the scheduler; the job runs in `wait_until_finish`."""
        listed = _ListTransforms()
        pipeline.visit(listed)
        address = find_address(options)
        return DaskJob(connect(address), address, listed.nodes)


class _ListTransforms(PipelineVisitor):
    """List the transforms that the launcher executes, in order."""

    def __init__(self) -> None:
        self.nodes: list[AppliedPTransform] = []
        self._inside: AppliedPTransform | None = None

    def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
        is_whole = isinstance(transform_node.transform, (beam.Create, beam.Reshuffle))
        if is_whole and self._inside is None:
            self._inside = transform_node
            self.nodes.append(transform_node)

    def leave_composite_transform(self, transform_node: AppliedPTransform) -> None:
        if transform_node is self._inside:
            self._inside = None

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        if self._inside is None:
            self.nodes.append(transform_node)


@dataclasses.dataclass
class _Collection:
    """Bundles of elements, and ParDos that have not yet run on them."""

    bundles: list[list[Any]]
    pending: tuple[AppliedPTransform, ...] = ()


class DaskJob(PipelineResult):
    """A job, which the launcher runs in stages while it waits for the end.

    Attributes:
      address: address of the scheduler.
      dashboard: URL of the scheduler's dashboard.
      num_workers: number of workers at the start.
      num_running: number of tasks that still run after the job was stopped; None if
        the scheduler is lost.
    """

    def __init__(
        self, client: "Client", address: str, nodes: Sequence[AppliedPTransform]
    ) -> None:
        super().__init__(PipelineState.RUNNING)
        self.address = address
        self.dashboard = client.dashboard_link
        self.num_workers = len(client.nthreads())
        self.num_running: int | None = None
        self._client = client
        self._nodes = nodes
        self._id = uuid.uuid4().hex
        self._futures: dict[Key, Future] = {}  # of tasks without outputs
        self._collections: dict[PValue, _Collection] = {}
        self._num_consumers = collections.Counter(
            collection for node in nodes for collection in _list_inputs(node)
        )

    def wait_until_finish(self, duration: int | None = None) -> str:  # noqa: ARG002
        """Run all stages.

        Raises:
          UsageError, JobError: a step raised it.
          JobError: workers or the scheduler failed.
        """
        try:
            for node in self._nodes:
                self._collections[node.outputs[None]] = self._apply(node)
            for output, collection in self._collections.items():
                if not self._num_consumers[output]:
                    self._settle(collection)
        except Exception as error:
            self._state = PipelineState.FAILED
            is_lost = self._client.status != "running" or (
                isinstance(error, OSError) and not isinstance(error, UsageError)
            )
            # The launcher removes temporary folders, to which tasks still write.
            self._stop()
            if self.num_running:
                sys.stderr.write(f"{describe_running(self.num_running)}\n")
            if is_lost:
                raise self._lost_scheduler() from error
            raise
        self._client.close()
        self._state = PipelineState.DONE
        return self._state

    def cancel(self) -> str:
        """Cancel all tasks, and wait for the running ones, up to a minute.

        A running task cannot be stopped; `num_running` counts those that are left.
        """
        self._stop()
        self._state = PipelineState.CANCELLED
        return self._state

    def _stop(self) -> None:
        """Cancel all tasks, wait for the running ones, and disconnect."""
        self.num_running = None
        with suppress(OSError, RuntimeError):  # the scheduler may be lost
            if self._client.status == "running":
                self._client.cancel(list(self._futures.values()), force=True)
            end = time.monotonic() + _STOP_S
            while self._client.status == "running":
                counts = self._client.run(count_running, self._id, on_error="ignore")
                self.num_running = sum(counts.values())
                if not self.num_running or time.monotonic() > end:
                    break
                time.sleep(progress.INTERVAL_S)
        self._client.close()

    def _apply(self, node: AppliedPTransform) -> _Collection:
        """Execute a transform; postpone a ParDo, so that several become one stage."""
        transform = node.transform
        if isinstance(transform, beam.Create):
            return _Collection([[element] for element in transform.values])
        if isinstance(transform, beam.ParDo) and set(node.outputs) == {None}:
            source = self._collections[node.inputs[0]]
            if self._num_consumers[node.inputs[0]] > 1:
                self._settle(source)
            return _Collection(source.bundles, (*source.pending, node))
        bundles = [
            bundle for i in node.inputs for bundle in self._settle(self._collections[i])
        ]
        if isinstance(transform, beam.Flatten):
            return _Collection(bundles)
        elements = list(itertools.chain(*bundles))
        if isinstance(transform, beam.GroupByKey):
            groups = collections.defaultdict(list)
            for key, value in elements:
                groups[key].append(value)
            elements = list(groups.items())
        elif not isinstance(transform, beam.Reshuffle):
            raise JobError(f"step {node.full_label}: is not supported on Dask")
        return _Collection([[element] for element in elements])

    def _settle(self, collection: _Collection) -> list[list[Any]]:
        """Run the pending ParDos of a collection; return its bundles."""
        if collection.pending:
            collection.bundles = self._run(collection)
            collection.pending = ()
        return collection.bundles

    def _run(self, collection: _Collection) -> list[list[Any]]:
        steps = [self._describe(node) for node in collection.pending]
        label = steps[0].label.rpartition("/")[2]
        key = f"{label}-{uuid.uuid4().hex}"  # two stages may have one label
        stage = self._client.submit(
            Stage,
            cloudpickle.dumps(steps),
            describe_process(),
            key=f"Stage-{key}",
            pure=False,
        )
        self._futures = {
            future.key: future
            for future in self._client.map(
                run_bundle,
                [cloudpickle.dumps(bundle) for bundle in collection.bundles if bundle],
                key=key,
                pure=False,
                stage=stage,
                job=self._id,
            )
        }
        tasks = list(self._futures)
        num_tasks = len(tasks)
        with progress.make_bar(
            label, total=num_tasks, unit="task", is_hidden=num_tasks == 1
        ) as bar:
            outputs = {}
            for task, pickled in self._gather():
                outputs[task] = cloudpickle.loads(pickled)
                bar.update()
        return [outputs[task] for task in tasks]

    def _describe(self, node: AppliedPTransform) -> _Step:
        transform: Any = node.transform  # a ParDo
        return _Step(
            label=node.full_label,
            fn=transform.fn,
            args=transform.args,
            kwargs=transform.kwargs,
            side_inputs=[self._view(side_input) for side_input in node.side_inputs],
        )

    def _view(self, side_input: AsSideInput) -> SideInputMap:
        bundles = self._settle(self._collections[side_input.pvalue])
        values = map(GlobalWindows.windowed_value, itertools.chain(*bundles))
        view: Any = type(side_input)
        return SideInputMap(view, side_input._view_options(), list(values))

    def _gather(self) -> "Iterator[tuple[Key, bytes]]":
        """Yield the keys and outputs of finished tasks.

        Raises:
          JobError: a task failed, workers died of it, or the scheduler is lost.
        """
        finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        for future in self._futures.values():
            future.add_done_callback(finished.put)
            del future  # see below
        has_workers = True
        while self._futures:
            try:
                batch = [finished.get(timeout=_POLL_S)]
            except queue.Empty:
                has_workers = self._report_workers(had_workers=has_workers)
                continue
            while not finished.empty():
                batch.append(finished.get())
            self._raise_error(batch)
            try:
                outputs = self._client.gather(batch)
            except Exception:
                # A worker was lost with its outputs, and a task failed when repeated.
                self._raise_error(batch)
                raise
            tasks = [future.key for future in batch]
            # While a future exists, Dask repeats its task if the worker is lost.
            batch.clear()
            for task in tasks:
                del self._futures[task]
            yield from zip(tasks, outputs, strict=True)

    def _raise_error(self, futures: "Iterable[Future]") -> None:
        """Raise the error of the first task that failed, if any."""
        for future in futures:
            if future.status == "cancelled":
                raise self._lost_scheduler()
            if future.status == "error":
                raise _translate(future.exception())

    def _report_workers(self, *, had_workers: bool) -> bool:
        """Print a message when the last worker is lost; return whether any is left."""
        has_workers = bool(self._client.nthreads())
        if had_workers and not has_workers:
            sys.stderr.write(
                f"no workers at the Dask scheduler {self.address}; the job waits for "
                "new ones\n"
            )
        return has_workers

    def _lost_scheduler(self) -> JobError:
        return JobError(
            f"connection to the Dask scheduler {self.address} lost, so nothing is "
            "committed; start it, and run the job again"
        )


def describe_running(num_tasks: int | None) -> str:
    """Describe the tasks that still run after a job was stopped; None is unknown."""
    if num_tasks == 0:
        return "no task is running"
    if num_tasks is None:
        return "its tasks may still run; wait for them before you run again"
    if num_tasks == 1:
        return "1 task still runs; wait for it before you run again"
    return f"{num_tasks} tasks still run; wait for them before you run again"


def _list_inputs(node: AppliedPTransform) -> list[PValue]:
    return [*node.inputs, *(side_input.pvalue for side_input in node.side_inputs)]


def _translate(error: BaseException) -> BaseException:
    """Return the error to raise for the error of a task."""
    from distributed import KilledWorker  # noqa: PLC0415  # as in `connect`

    if isinstance(error, KilledWorker):
        return JobError(
            f"a task ended its Dask worker {error.allowed_failures + 1} times, the "
            f"last time at {error.last_worker.address}, probably for lack of memory; "
            "start workers with more memory or fewer threads; their logs may say more"
        )
    if isinstance(error, ImportError):
        return JobError(
            f"a Dask worker cannot import the program ({error}); install it in the "
            "environment of the workers"
        )
    return error
