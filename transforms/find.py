"""Pieces → the images found in each: the first step, which reads no image."""

import dataclasses
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from transforms import layouts, storage
from transforms.pieces import Piece
from transforms.records import DataError, ImageRef, Stray, UsageError

# Pieces in buckets that are read at once: an archive is a chain of small reads, each
# of which waits for the one before it.
_PIECES_AT_ONCE = 64


class PieceImages(NamedTuple):
    """All that one piece holds. Never crosses a shuffle: the next steps are fused."""

    number: int  # of the piece, in the order of the inputs
    piece: Piece
    refs: list[ImageRef]
    strays: list[Stray]
    version: str = ""  # of an archive in a bucket


def read_piece(number: int, piece: Piece) -> PieceImages:
    """Read the names and places of all images of one piece.

    Raises: UsageError: an archive that changed meanwhile, and all that a layout raises.
    """
    refs: list[ImageRef] = []
    strays: list[Stray] = []
    for found in layouts.load(piece.layout).read(piece):
        if isinstance(found, ImageRef):
            refs.append(found)
        else:
            strays.append(found)
    try:
        return PieceImages(number, piece, refs, strays, storage.version(piece.path))
    except DataError as error:
        raise UsageError(f"{piece.path}: {error}; try again") from None


class _ReadPieces(beam.DoFn):
    """Reads a piece an element; of buckets many at once, a bounded number ahead."""

    def setup(self) -> None:
        self._pool = ThreadPoolExecutor(_PIECES_AT_ONCE)

    def start_bundle(self) -> None:
        self._waiting: deque[Future[PieceImages]] = deque()

    def teardown(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def process(self, numbered: tuple[int, Piece]) -> Iterator[PieceImages]:
        number, piece = numbered
        if not storage.is_remote(piece.root):
            yield read_piece(number, piece)
            return
        self._waiting.append(self._pool.submit(read_piece, number, piece))
        if len(self._waiting) > _PIECES_AT_ONCE:
            yield self._waiting.popleft().result()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self._waiting:
            yield GlobalWindows.windowed_value(self._waiting.popleft().result())


@dataclasses.dataclass
class FindImages(beam.PTransform):
    """Find the images of every piece. (number, piece) in, one PieceImages each out."""

    def expand(
        self, pieces: PCollection[tuple[int, Piece]]
    ) -> PCollection[PieceImages]:
        """Break fusion, so that a thousand archives are read by many workers."""
        return (
            pieces
            | "SpreadPieces" >> beam.Reshuffle()
            | "ReadPieces" >> beam.ParDo(_ReadPieces())
        )
