"""Beam steps of the index: find images, join labels, write the index."""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToList
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from transforms import layouts, processes, progress, storage
from transforms.images import read as image_reading
from transforms.images.read import PlacedRef
from transforms.index import inspection
from transforms.index import table as index_table
from transforms.index.inspection import Inspection, inspect_all
from transforms.labels import validation
from transforms.layouts import InputPart
from transforms.prefetch import PendingResults
from transforms.processes import ProcessPool, num_cores
from transforms.records import DataError, ImageRef, SkippedFile, UsageError, list_names

# Pieces in buckets that are read at once: an archive is a chain of small reads, each
# of which waits for the one before it.
_PIECES_AT_ONCE = 64
_COUNTED_AT_ONCE = 10  # images


class PartImages(NamedTuple):
    """The images of one part. Never shuffled, because the next steps are fused."""

    number: int  # of the piece, in the order of the inputs
    piece: InputPart
    refs: list[ImageRef]
    strays: list[SkippedFile]
    version: str = ""  # of an archive


def read_part(
    number: int,
    piece: InputPart,
    count: Callable[[int], None] = lambda _: None,
) -> PartImages:
    """Read names and locations of all images of a part.

    Args:
      number: of the part.
      piece: the part.
      count: takes the number of images that were read since it was last called.

    Raises:
      UsageError: an archive changed meanwhile, or an error of the layout.
    """
    refs: list[ImageRef] = []
    strays: list[SkippedFile] = []
    # A local file has a version before it is read, an object at the latest afterwards.
    before = _find_version(piece.path)
    for found in layouts.load(piece.layout).read(piece):
        if isinstance(found, ImageRef):
            refs.append(found)
            if not len(refs) % _COUNTED_AT_ONCE:
                count(_COUNTED_AT_ONCE)
        else:
            strays.append(found)
    count(len(refs) % _COUNTED_AT_ONCE)
    version = _find_version(piece.path)
    if before not in {"", version}:
        raise UsageError(f"{piece.path}: changed while it was read; try again")
    return PartImages(number, piece, refs, strays, version)


def _find_version(path: str) -> str:
    try:
        return storage.version(path)
    except DataError as error:
        raise UsageError(f"{path}: {error}; try again") from None


class _ReadPieces(beam.DoFn):
    """Read the images of a part; parts in buckets concurrently, a bounded number."""

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
        if self._error:  # of another part: this one is of no use any more
            raise self._error
        self._ticker.tick(num_images)


@dataclasses.dataclass
class FindImages(beam.PTransform):
    """Find the images of every part: (number, part) in, one PartImages each out."""

    ticks: str | None = None

    def expand(
        self, pieces: PCollection[tuple[int, InputPart]]
    ) -> PCollection[PartImages]:
        """Reshuffle, so that a thousand archives are read by many workers."""
        return (
            pieces
            | "SpreadPieces" >> beam.Reshuffle()
            | "ReadPieces" >> beam.ParDo(_ReadPieces(self.ticks))
        )


def label_part(images: PartImages) -> PartImages:
    """Join labels to the images of a flat validation part."""
    piece = images.piece
    if not piece.needs_labels:
        return images
    if piece.labels:
        labels: Mapping[str, str] = validation.read_labels(piece.labels)
        refs = join_labels(images.refs, labels, source=piece.labels)
    elif validation.are_official_stems(ref.key for ref in images.refs):
        refs = join_labels(images.refs, validation.official_labels(), source="official")
    else:
        raise UsageError(
            f"{piece.path}: {len(images.refs)} validation images without labels; they "
            "are not the 50,000 official ones, so the official labels do not fit: put "
            "LOC_val_solution.csv beside them or name it with --validation_labels"
        )
    return images._replace(refs=refs)


def join_labels(
    refs: Sequence[ImageRef], labels: Mapping[str, str], *, source: str
) -> list[ImageRef]:
    """Return the images with their wnids.

    Raises:
      UsageError: the labels lack some images.
    """
    missing = [ref.key for ref in refs if ref.key not in labels]
    if missing:
        raise UsageError(
            f"{source}: no label for {len(missing)} of {len(refs)} validation images "
            f"({list_names(missing)}); is this the table of these images?"
        )
    return [ref._replace(wnid=labels[ref.key]) for ref in refs]


@dataclasses.dataclass
class LabelImages(beam.PTransform):
    """Add the wnid of every image: PartImages in, PartImages out."""

    def expand(self, images: PCollection[PartImages]) -> PCollection[PartImages]:
        """Join within each part, because a flat folder or archive is one part."""
        return images | "LabelPieces" >> beam.Map(label_part)


_MAX_AHEAD = 10_000  # images that wait while those of a piece are inspected


class IndexPart(NamedTuple):
    """The index of one part, without its rows."""

    number: int
    path: str
    num_images: int
    strays: tuple[str, ...]
    input: int
    uri: str
    version: str  # of the archive at the uri; "": it is a folder


class _WriteParts(beam.DoFn):
    """Write the rows of each part to a file; inspect images with threads, in order."""

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
        strays = tuple(f"{stray.uri}: {stray.name}" for stray in images.strays)
        piece = images.piece
        where = piece.input, piece.uri, images.version
        return IndexPart(images.number, path, len(images.refs), strays, *where)


class _WritePartsInProcesses(_WriteParts):
    """Inspect images in processes that this step starts, several parts at once.

    The processes start when there are enough images for them.
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


def merge(parts: Sequence[IndexPart], output: str, roots: Sequence[str]) -> int:
    """Merge the parts in order; returns the number of images.

    The parts are kept until then, so that a runner may repeat the step.
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
    """Return the versions of each input's archives, by uri.

    Raises:
      UsageError: an archive changed between two of its parts.
    """
    versions: list[dict[str, str]] = [{} for _ in roots]
    for part in parts:
        if part.version:
            known = versions[part.input].setdefault(part.uri, part.version)
            if known != part.version:
                raise UsageError(
                    f"{roots[part.input]}/{part.uri}: changed while it was read; try "
                    "again"
                )
    return versions


@dataclasses.dataclass
class WriteIndex(beam.PTransform):
    """Write an index: PartImages in, the number of images out."""

    output: str
    parts_folder: str
    roots: Sequence[str]
    num_inspect_threads: int = 0
    ticks: str | None = None  # of images that were inspected
    has_processes: bool = False

    def expand(self, images: PCollection[PartImages]) -> PCollection[int]:
        """Write one file per part, then merge; only paths and counts are gathered."""
        num_processes = min(self.num_inspect_threads, num_cores())
        num_threads = self.num_inspect_threads
        if num_threads:
            num_threads = storage.num_readers(num_threads, self.roots)
        write = _WriteParts(self.parts_folder, num_threads, self.ticks)
        if num_processes > 1 and self.has_processes:
            write = _WritePartsInProcesses(
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
