"""Define the Beam steps of the index: find images, join labels, write the index."""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToList
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from transforms import processes, progress, storage
from transforms.images import read as image_reading
from transforms.images.read import PlacedRef
from transforms.index import inspection
from transforms.index import table as index_table
from transforms.index.inspection import Inspection, inspect_all
from transforms.index.parts import (
    IndexPart,
    PartImages,
    label_part,
    list_roots,
    merge,
    read_part,
    summarise,
)
from transforms.input_warnings import InputWarning
from transforms.layouts import InputPart
from transforms.prefetch import PendingResults
from transforms.processes import ProcessPool, num_cores

# Parts in buckets that are read at once: reading an archive is a chain of small reads,
# each of which waits for the previous one.
_PIECES_AT_ONCE = 64


class _ReadPieces(beam.DoFn):
    """Read the images of each part; read up to 64 parts in buckets concurrently."""

    def __init__(self, ticks: str | None) -> None:
        self._ticks = ticks

    def setup(self) -> None:
        self._pool = ThreadPoolExecutor(_PIECES_AT_ONCE)
        self._ticker = progress.Ticker(self._ticks)

    def start_bundle(self) -> None:
        self._pending: PendingResults[PartImages] = PendingResults(_PIECES_AT_ONCE)
        self._error: Exception | None = None

    def teardown(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def process(self, numbered: tuple[int, InputPart]) -> Iterator[PartImages]:
        number, piece = numbered
        if not storage.is_remote(piece.root):
            yield read_part(number, piece, self._count)
            return
        task = self._pool.submit(self._read, number, piece)
        self._pending.add(task.result)
        yield from self._pending.take_excess()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for images in self._pending.take_all():
            yield GlobalWindows.windowed_value(images)

    def _read(self, number: int, piece: InputPart) -> PartImages:
        try:
            return read_part(number, piece, self._count)
        except Exception as error:
            self._error = error
            raise

    def _count(self, num_images: int) -> None:
        if self._error:  # another part failed, so this one is no longer needed
            raise self._error
        self._ticker.tick(num_images)


@dataclasses.dataclass
class FindImages(beam.PTransform):
    """Find the images of every part: (number, part) in, `PartImages` out.

    Attributes:
      ticks: path of the `progress.Ticker` for images found; None: no progress.
    """

    ticks: str | None = None

    def expand(
        self, pieces: PCollection[tuple[int, InputPart]]
    ) -> PCollection[PartImages]:
        """Distribute the parts over workers and find the images of each part."""
        return (
            pieces
            | "SpreadPieces" >> beam.Reshuffle()
            | "ReadPieces" >> beam.ParDo(_ReadPieces(self.ticks))
        )


@dataclasses.dataclass
class LabelImages(beam.PTransform):
    """Add wnids to images without a class: `PartImages` in, `PartImages` out."""

    def expand(self, images: PCollection[PartImages]) -> PCollection[PartImages]:
        """Label each part independently; a flat folder or archive is a single part."""
        return images | "LabelPieces" >> beam.Map(label_part)


_MAX_AHEAD = 10_000  # images that wait while those of a part are inspected


class _WriteParts(beam.DoFn):
    """Write one index file per part; inspect the images with threads if requested."""

    def __init__(self, folder: str, num_threads: int, ticks: str | None) -> None:
        self._folder = folder
        self._num_threads = num_threads  # 0: no inspection
        self._ticks = ticks
        self._counter = Metrics.counter("WriteIndex", "images_indexed")

    def setup(self) -> None:
        self._pool = ThreadPoolExecutor(self._num_threads or 1)
        self._ticker = progress.Ticker(self._ticks)

    def teardown(self) -> None:
        self._pool.shutdown()
        image_reading.forget()

    def process(self, images: PartImages) -> Iterator[IndexPart]:
        inspections: list[Inspection] | None = None
        if self._num_threads:
            inspections = []
            for inspected in inspect_all(_place(images), self._pool):
                inspections.append(inspected)
                self._ticker.tick()
        yield self._write(images, inspections)

    def _write(
        self, images: PartImages, inspections: list[Inspection] | None
    ) -> IndexPart:
        path = f"{self._folder}/{images.number:07d}.parquet"
        index_table.write_part(path, images.refs, inspections)
        self._counter.inc(len(images.refs))
        return summarise(images, path)


class _WritePartsInProcesses(_WriteParts):
    """Inspect the images of several parts concurrently in child processes.

    The processes are started once enough images are waiting to keep them busy. Smaller
    bundles are inspected with threads.
    """

    def __init__(
        self,
        folder: str,
        num_threads: int,
        ticks: str | None,
        *,
        num_processes: int,
        roots: Sequence[str],
    ) -> None:
        super().__init__(folder, num_threads, ticks)
        self._num_processes = num_processes
        self._roots = roots

    def setup(self) -> None:
        super().setup()
        self._processes: ProcessPool | None = None

    def teardown(self) -> None:
        super().teardown()
        if self._processes:
            self._processes.close()

    def start_bundle(self) -> None:
        self._waiting: deque[PartImages] = deque()
        self._pending: PendingResults[IndexPart] = PendingResults(_MAX_AHEAD)

    def process(self, images: PartImages) -> Iterator[IndexPart]:
        self._waiting.append(images)
        num_images = sum(len(piece.refs) for piece in self._waiting)
        enough = self._num_processes * processes.LEAST_IMAGES
        if not self._processes and num_images < enough:
            return
        while self._waiting:
            self._submit(self._waiting.popleft())
        yield from self._pending.take_excess()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for part in self._pending.take_all():
            yield GlobalWindows.windowed_value(part)
        for images in self._waiting:
            for part in super().process(images):
                yield GlobalWindows.windowed_value(part)

    def _submit(self, images: PartImages) -> None:
        if not self._processes:
            self._processes = ProcessPool(inspection, self._roots, self._num_processes)
        placed = _place(images)
        windows = [
            self._processes.submit(placed[start : start + inspection.WINDOW_IMAGES])
            for start in range(0, len(placed), inspection.WINDOW_IMAGES)
        ]
        self._pending.add(partial(self._wait, images, windows), size=len(images.refs))

    def _wait(self, images: PartImages, windows: Sequence[Future[Any]]) -> IndexPart:
        rows: list[Any] = []
        for window in windows:
            num_rows = len(rows)
            rows += window.result()
            self._ticker.tick(len(rows) - num_rows)
        return self._write(images, [Inspection(*row) for row in rows])


def _place(images: PartImages) -> list[PlacedRef]:
    root, version = images.piece.root, images.version
    return [PlacedRef(root, ref, version) for ref in images.refs]


def _remove_parts(num_images: int, folder: str) -> int:
    storage.remove_folder(folder)
    return num_images


@dataclasses.dataclass
class WriteIndex(beam.PTransform):
    """Write an index: `PartImages` in, the number of images out.

    Attributes:
      output: path of the index.
      parts_folder: folder for the index files of the parts; removed at the end.
      pieces: all parts of the inputs.
      warnings: earlier warnings about the inputs, e.g. from finding the parts.
      check: as in `index_table.write`.
      num_inspect_threads: number of threads that inspect images; 0: no inspection.
      ticks: path of the `progress.Ticker` for inspected images; None: no progress.
      has_processes: whether child processes may inspect images.
    """

    output: str
    parts_folder: str
    pieces: Sequence[InputPart]
    warnings: Sequence[InputWarning] = ()
    check: Callable[[str], object] | None = None
    num_inspect_threads: int = 0
    ticks: str | None = None
    has_processes: bool = False

    def expand(self, images: PCollection[PartImages]) -> PCollection[int]:
        """Write one file per part, then merge them; gather only part summaries."""
        roots = list_roots(self.pieces)
        num_processes = min(self.num_inspect_threads, num_cores())
        num_threads = self.num_inspect_threads
        if num_threads:
            num_threads = storage.num_readers(num_threads, roots)
        write = _WriteParts(self.parts_folder, num_threads, self.ticks)
        if num_processes > 1 and self.has_processes:
            write = _WritePartsInProcesses(
                self.parts_folder,
                num_threads,
                self.ticks,
                num_processes=num_processes,
                roots=roots,
            )
        return (
            images
            | "WriteParts" >> beam.ParDo(write)
            | "GatherParts" >> ToList()
            | "MergeParts"
            >> beam.Map(
                merge,
                output=self.output,
                pieces=self.pieces,
                warnings=self.warnings,
                check=self.check,
            )
            # Prevents fusion, so that no runner merges again once the parts are gone.
            | "SettleIndex" >> beam.Reshuffle()
            | "RemoveParts" >> beam.Map(_remove_parts, folder=self.parts_folder)
        )
