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
from transforms.records import DataError, ImageRef
from transforms.tables import index_table


class IndexPart(NamedTuple):
    """One piece's part of the index, small enough to gather."""

    number: int
    path: str
    num_images: int
    strays: tuple[str, ...]


def inspect_ref(root: str, ref: ImageRef) -> Inspection:
    """Read an image once and say what it is."""
    try:
        data = image_bytes.read_image_bytes(root, ref)
    except DataError as error:
        return Inspection("", "", 0, 0, "", str(error))
    return inspect(data)


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

    def process(self, images: PieceImages) -> Iterator[IndexPart]:
        inspections: list[Inspection] | None = None
        if self._num_threads:
            roots = [images.piece.root] * len(images.refs)
            inspections = list(self._pool.map(inspect_ref, roots, images.refs))
        path = f"{self._folder}/{images.number:07d}.parquet"
        index_table.write_part(path, images.refs, inspections)
        self._counter.inc(len(images.refs))
        self._ticker.tick()
        strays = tuple(f"{stray.uri}: {stray.name}" for stray in images.strays)
        yield IndexPart(images.number, path, len(images.refs), strays)


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
    )
    return sum(part.num_images for part in ordered)


def _remove_parts(num_images: int, folder: str) -> int:
    storage.remove_folder(folder)
    return num_images


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
