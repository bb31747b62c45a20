"""Run a pipeline in stages, in the launcher."""

import collections
import dataclasses
import itertools
import queue
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import cloudpickle
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.pvalue import AsSideInput, PValue
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState
from apache_beam.transforms.sideinputs import SideInputMap
from apache_beam.transforms.window import GlobalWindows

from pipelines.dask_engine import cluster
from pipelines.dask_engine.stage import Stage, Step, count_running, run_bundle
from transforms import progress
from transforms.records import JobError, UsageError

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed import Client, Future

_POLL_S = 5.0  # between two checks for lost workers
_STOP_S = 60.0  # for tasks that run when a job is cancelled


class DaskRunner(PipelineRunner):
    """Run a pipeline on the Dask cluster that the flags name."""

    def run_pipeline(
        self, pipeline: beam.Pipeline, options: PipelineOptions
    ) -> "DaskJob":
        """Connect to the scheduler; the job runs in `wait_until_finish`."""
        listed = _ListTransforms()
        pipeline.visit(listed)
        address = cluster.find_address(options)
        return DaskJob(cluster.connect(address), address, listed.nodes)


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

    def wait_until_finish(self, duration: int | None = None) -> str:  # noqa: ARG002  # Beam's
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
            cluster.describe_process(),
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

    def _describe(self, node: AppliedPTransform) -> Step:
        transform: Any = node.transform  # a ParDo
        return Step(
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
    from distributed import KilledWorker

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
