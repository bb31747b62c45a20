"""Labelled images of pieces → one Parquet index, inspected on the way if asked for."""

import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToList
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from transforms import image_bytes, inspection, progress, storage
from transforms.find import PieceImages
from transforms.images.inspect import Inspection
from transforms.inspection import inspect_all
from transforms.nearby_images import PlacedRef
from transforms.processes.cores import num_cores
from transforms.processes.pool import LEAST_IMAGES, ProcessPool
from transforms.records import UsageError
from transforms.tables import index_table

_MAX_AHEAD = 10_000  # images that wait while those of a piece are inspected


class IndexPart(NamedTuple):
    """One piece's part of the index, small enough to gather."""

    number: int
    path: str
    num_images: int
    strays: tuple[str, ...]
    input: int
    uri: str
    version: str  # of the archive at the uri; "": it is none, or lies in no bucket


class _WriteParts(beam.DoFn):
    """Writes each piece's refs to a file; inspects them with threads, in order."""

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
        image_bytes.forget()

    def process(self, images: PieceImages) -> Iterator[IndexPart]:
        inspections: list[Inspection] | None = None
        if self._num_threads:
            inspections = list(inspect_all(_place(images), self._pool))
        yield self._write(images, inspections)

    def _write(
        self, images: PieceImages, inspections: list[Inspection] | None
    ) -> IndexPart:
        path = f"{self._folder}/{images.number:07d}.parquet"
        index_table.write_part(path, images.refs, inspections)
        self._counter.inc(len(images.refs))
        self._ticker.tick()
        strays = tuple(f"{stray.uri}: {stray.name}" for stray in images.strays)
        piece = images.piece
        where = piece.input, piece.uri, images.version
        return IndexPart(images.number, path, len(images.refs), strays, *where)


class _WritePartsAtOnce(_WriteParts):
    """Inspects by processes of its own, which work at several pieces at once.

    They are started when there are images enough for them.
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
        self._waiting: deque[PieceImages] = deque()
        self._under_way: deque[tuple[PieceImages, list[Future[Any]]]] = deque()

    def process(self, images: PieceImages) -> Iterator[IndexPart]:
        self._waiting.append(images)
        num_images = sum(len(piece.refs) for piece in self._waiting)
        if not self._processes and num_images < self._num_processes * LEAST_IMAGES:
            return
        while self._waiting:
            self._submit(self._waiting.popleft())
        while self._count_behind_first() > _MAX_AHEAD:
            yield self._take_first()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self._under_way:
            yield GlobalWindows.windowed_value(self._take_first())
        for images in self._waiting:
            for part in super().process(images):
                yield GlobalWindows.windowed_value(part)

    def _submit(self, images: PieceImages) -> None:
        if not self._processes:
            self._processes = ProcessPool(inspection, self._roots, self._num_processes)
        placed = _place(images)
        windows = [
            self._processes.submit(placed[start : start + inspection.WINDOW_IMAGES])
            for start in range(0, len(placed), inspection.WINDOW_IMAGES)
        ]
        self._under_way.append((images, windows))

    def _count_behind_first(self) -> int:
        return sum(len(images.refs) for images, _ in islice(self._under_way, 1, None))

    def _take_first(self) -> IndexPart:
        images, windows = self._under_way.popleft()
        found = [Inspection(*told) for window in windows for told in window.result()]
        return self._write(images, found)


def _place(images: PieceImages) -> list[PlacedRef]:
    root, version = images.piece.root, images.version
    return [PlacedRef(root, ref, version) for ref in images.refs]


def merge(parts: Sequence[IndexPart], output: str, roots: Sequence[str]) -> int:
    """Join the parts in the order of the pieces; returns the number of images.

    The parts stay meanwhile, so that an engine may do this again.
    """
    ordered = sorted(parts)
    strays = [stray for part in ordered for stray in part.strays]
    index_table.merge_parts(
        [part.path for part in ordered],
        output,
        roots=roots,
        strays=strays,
        versions=_join_versions(ordered, roots),
    )
    return sum(part.num_images for part in ordered)


def _remove_parts(num_images: int, folder: str) -> int:
    storage.remove_folder(folder)
    return num_images


def _join_versions(
    parts: Sequence[IndexPart], roots: Sequence[str]
) -> list[dict[str, str]]:
    """Return the versions of each input's archives by uri.

    Raises: UsageError: one that changed between its parts.
    """
    versions: list[dict[str, str]] = [{} for _ in roots]
    for part in parts:
        if part.version:
            known = versions[part.input].setdefault(part.uri, part.version)
            if known != part.version:
                raise UsageError(
                    f"{roots[part.input]}/{part.uri}: the object changed while it was "
                    "read; try again"
                )
    return versions


@dataclasses.dataclass
class WriteIndex(beam.PTransform):
    """Write one index. PieceImages in, the number of images out."""

    output: str
    parts_folder: str
    roots: Sequence[str]
    num_inspect_threads: int = 0
    ticks: str | None = None
    has_processes: bool = False

    def expand(self, images: PCollection[PieceImages]) -> PCollection[int]:
        """Write a part a piece, then join them: only paths and counts are gathered."""
        num_processes = min(self.num_inspect_threads, num_cores())
        num_threads = self.num_inspect_threads
        if num_threads:
            num_threads = storage.num_readers(num_threads, self.roots)
        write = _WriteParts(self.parts_folder, num_threads, self.ticks)
        if num_processes > 1 and self.has_processes:
            write = _WritePartsAtOnce(
                self.parts_folder,
                num_threads,
                self.ticks,
                num_processes=num_processes,
                roots=self.roots,
            )
        return (
            images
            | "WriteParts" >> beam.ParDo(write)
            | "GatherParts" >> ToList()
            | "MergeParts" >> beam.Map(merge, output=self.output, roots=self.roots)
            # A break, so that no engine merges again when the parts are gone.
            | "SettleIndex" >> beam.Reshuffle()
            | "RemoveParts" >> beam.Map(_remove_parts, folder=self.parts_folder)
        )
