"""Images of pieces → the same with a wnid each: flat validation gets its labels."""

import dataclasses
from collections.abc import Mapping, Sequence

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms.find import PieceImages
from transforms.labels import validation
from transforms.records import ImageRef, UsageError


def label_piece(images: PieceImages) -> PieceImages:
    """Join labels to a flat validation piece; others are labelled by their place."""
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
    """Give every image its wnid.

    Raises: UsageError: images that the labels do not name.
    """
    missing = [ref.key for ref in refs if ref.key not in labels]
    if missing:
        shown = ", ".join(missing[:10])
        raise UsageError(
            f"{source}: no label for {len(missing)} of {len(refs)} validation images "
            f"({shown}); is this the table of these images?"
        )
    return [ref._replace(wnid=labels[ref.key]) for ref in refs]


@dataclasses.dataclass
class LabelImages(beam.PTransform):
    """Give every image a wnid. PieceImages in, PieceImages out."""

    def expand(self, images: PCollection[PieceImages]) -> PCollection[PieceImages]:
        """Join inside each piece: a flat folder or archive is one."""
        return images | "LabelPieces" >> beam.Map(label_piece)
