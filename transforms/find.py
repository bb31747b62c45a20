"""Pieces → the images found in each: the first step, which reads no image."""

import dataclasses
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms import layouts
from transforms.pieces import Piece
from transforms.records import ImageRef, Stray


class PieceImages(NamedTuple):
    """All that one piece holds. Never crosses a shuffle: the next steps are fused."""

    number: int  # of the piece, in the order of the inputs
    piece: Piece
    refs: list[ImageRef]
    strays: list[Stray]


def read_piece(number: int, piece: Piece) -> PieceImages:
    """Read the names and places of all images of one piece."""
    refs: list[ImageRef] = []
    strays: list[Stray] = []
    for found in layouts.load(piece.layout).read(piece):
        if isinstance(found, ImageRef):
            refs.append(found)
        else:
            strays.append(found)
    return PieceImages(number, piece, refs, strays)


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
            | "ReadPieces" >> beam.MapTuple(read_piece)
        )
