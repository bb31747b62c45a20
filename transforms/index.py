"""Labelled images of pieces → one Parquet index, inspected on the way if asked for."""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToList

from transforms import image_bytes, progress, storage
from transforms.find import PieceImages
from transforms.images.inspect import Inspection, inspect
from transforms.nearby_images import NearbyReader, PlacedRef, ReadImage
from transforms.reading_ahead import in_order
from transforms.records import DataError, UsageError
from transforms.tables import index_table

# Images whose neighbours are sought among each other, and how many may wait: enough
# that no thread idles, few enough that their bytes are some tens of megabytes.
_WINDOW_IMAGES = 128
_MAX_WAITING = 256


class IndexPart(NamedTuple):
    """One piece's part of the index, small enough to gather."""

    number: int
    path: str
    num_images: int
    strays: tuple[str, ...]
    input: int
    uri: str
    version: str  # of the archive at the uri; "": it is none, or lies in no bucket


def inspect_image(read: ReadImage) -> Inspection:
    """Read an image once and say what it is."""
    try:
        data = read()
    except DataError as error:
        return Inspection("", "", 0, 0, "", str(error))
    return inspect(data)


def inspect_all(
    images: Sequence[PlacedRef], pool: ThreadPoolExecutor
) -> Iterator[Inspection]:
    """Yield what each image is, in their order; reads a bounded number ahead."""
    reader = NearbyReader()
    windows = (
        reader.begin(images[start : start + _WINDOW_IMAGES])
        for start in range(0, len(images), _WINDOW_IMAGES)
    )
    inspections = (
        pool.submit(inspect_image, read) for reads in windows for read in reads
    )
    try:
        yield from in_order(inspections, num_ahead=_MAX_WAITING)
    finally:
        reader.close()


class _WriteParts(beam.DoFn):
    """Writes each piece's refs to a file; inspects them with threads, in order."""

    def __init__(self, folder: str, num_threads: int, ticks: str | None) -> None:
        self._folder = folder
        self._num_threads = num_threads  # 0: no inspection
        self._ticks = ticks

    def setup(self) -> None:
        self._pool = ThreadPoolExecutor(self._num_threads or 1)
        self._counter = Metrics.counter("WriteIndex", "images_indexed")
        self._ticker = progress.Ticker(self._ticks)

    def teardown(self) -> None:
        self._pool.shutdown()
        image_bytes.forget()

    def process(self, images: PieceImages) -> Iterator[IndexPart]:
        inspections: list[Inspection] | None = None
        if self._num_threads:
            root, version = images.piece.root, images.version
            placed = [PlacedRef(root, ref, version) for ref in images.refs]
            inspections = list(inspect_all(placed, self._pool))
        path = f"{self._folder}/{images.number:07d}.parquet"
        index_table.write_part(path, images.refs, inspections)
        self._counter.inc(len(images.refs))
        self._ticker.tick()
        strays = tuple(f"{stray.uri}: {stray.name}" for stray in images.strays)
        piece = images.piece
        where = piece.input, piece.uri, images.version
        yield IndexPart(images.number, path, len(images.refs), strays, *where)


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

    def expand(self, images: PCollection[PieceImages]) -> PCollection[int]:
        """Write a part a piece, then join them: only paths and counts are gathered."""
        num_threads = self.num_inspect_threads
        if num_threads:
            num_threads = storage.num_readers(num_threads, self.roots)
        write = _WriteParts(self.parts_folder, num_threads, self.ticks)
        return (
            images
            | "WriteParts" >> beam.ParDo(write)
            | "GatherParts" >> ToList()
            | "MergeParts" >> beam.Map(merge, output=self.output, roots=self.roots)
            # A break, so that no engine merges again when the parts are gone.
            | "SettleIndex" >> beam.Reshuffle()
            | "RemoveParts" >> beam.Map(_remove_parts, folder=self.parts_folder)
        )
