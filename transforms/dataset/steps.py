"""Define the Beam steps of a dataset: write shards and commit."""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToList
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from transforms.dataset import shards as dataset_shards
from transforms.dataset.commit import CommitSettings, commit
from transforms.dataset.shards import ShardBuilder, ShardSettings
from transforms.prefetch import PendingResults
from transforms.processes import ProcessPool
from transforms.records import Shard


@dataclasses.dataclass
class CommitDataset(beam.PTransform):
    """Commit the dataset after all shards are written.

    The input elements are (shard, number of failed images); the output is the folder of
    the dataset.
    """

    settings: CommitSettings

    def expand(self, shards: PCollection[tuple[Shard, int]]) -> PCollection[str]:
        """Gather all shards before the commit, so that it runs after the last one."""
        return (
            shards
            | "GatherShards" >> ToList()
            | "Commit" >> beam.Map(commit, settings=self.settings)
        )


class _WriteShard(beam.DoFn):
    """Write one shard per element; a retry writes the same bytes."""

    def __init__(self, settings: ShardSettings) -> None:
        self._settings = settings
        self._written = Metrics.counter("WriteShards", "images_written")
        self._failed = Metrics.counter("WriteShards", "images_failed")

    def setup(self) -> None:
        self._maker = ShardBuilder(self._settings)

    def teardown(self) -> None:
        self._maker.close()

    def process(self, shard: Shard) -> Iterator[tuple[Shard, int]]:
        part = self._maker.make(shard)
        yield self._count(shard, part.num_images, len(part.failures))

    def _count(
        self, shard: Shard, num_images: int, num_failures: int
    ) -> tuple[Shard, int]:
        self._written.inc(num_images)
        self._failed.inc(num_failures)
        return shard, num_failures


class _WriteShardsInProcesses(_WriteShard):
    """Write several shards concurrently in child processes."""

    def __init__(self, settings: ShardSettings, num_processes: int) -> None:
        super().__init__(settings)
        self._num_processes = num_processes

    def setup(self) -> None:
        settings = dataset_shards.settings_to_json(self._settings)
        self._processes = ProcessPool(dataset_shards, settings, self._num_processes)

    def teardown(self) -> None:
        self._processes.close()

    def start_bundle(self) -> None:
        # One more shard per process waits, so that no process is idle.
        self._pending: PendingResults[tuple[Shard, int]] = PendingResults(
            2 * self._num_processes
        )

    def process(self, shard: Shard) -> Iterator[tuple[Shard, int]]:
        counts = self._processes.submit(shard)
        self._pending.add(partial(self._wait, shard, counts))
        yield from self._pending.take_excess()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for written in self._pending.take_all():
            yield GlobalWindows.windowed_value(written)

    def _wait(self, shard: Shard, counts: Future[tuple[int, int]]) -> tuple[Shard, int]:
        return self._count(shard, *counts.result())


@dataclasses.dataclass
class WriteShards(beam.PTransform):
    """Write the shards of a plan.

    The input elements are shards, the output elements (shard, number of failed images).

    Args:
      settings: settings of all shards.
      num_processes: number of child processes per worker; 1 starts no processes and
        leaves parallelism to the runner.
    """

    settings: ShardSettings
    num_processes: int = 1

    def expand(self, shards: PCollection[Shard]) -> PCollection[tuple[Shard, int]]:
        """Reshuffle the shards over workers; pass no image bytes between steps."""
        # Without resource hints: a worker's process holds about 0.3 GB, which every
        # machine type has, and Dataflow's cheap FlexRS jobs take no hints.
        if self.num_processes == 1:
            write = _WriteShard(self.settings)
        else:
            write = _WriteShardsInProcesses(self.settings, self.num_processes)
        return (
            shards
            | "SpreadShards" >> beam.Reshuffle()
            | "WriteShard" >> beam.ParDo(write)
        )
