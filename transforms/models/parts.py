"""Write and read the parts of a prediction table: one file per chunk and model.

A JSON file beside them, the chunk's mark, is written last. A chunk with a mark is
finished, so a run that is repeated keeps it.
"""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from transforms import storage
from transforms.models.image_chunks import Chunk
from transforms.models.inference import AccuracyCounts, ChunkPredictions
from transforms.predictions import table as predictions_table
from transforms.prefetch import prefetch
from transforms.records import Failure

_FOLDER = "parts"


class ScoredPart(NamedTuple):
    """The prediction files, accuracy counts and failures of a chunk.

    They are small enough for one worker to gather those of all chunks.
    """

    chunk: Chunk
    sizes: tuple[int, ...]  # of the files in bytes, one file per model
    accuracy_counts: tuple[AccuracyCounts, ...]
    failures: tuple[Failure, ...]


def find_path(work: str, chunk: Chunk, model: int) -> str:
    """Return the path of the predictions of one model for a chunk."""
    return f"{work}/{_FOLDER}/{chunk.number:07d}-{chunk.digest}-{model:03d}.parquet"


def _name_mark(chunk: Chunk) -> str:
    return f"{_FOLDER}/{chunk.number:07d}-{chunk.digest}.json"


def write(work: str, chunk: Chunk, predictions: ChunkPredictions) -> ScoredPart:
    """Write the predictions of a chunk, then its mark; a retry writes the same bytes.

    Args:
      work: work folder of the run.
      chunk: the chunk.
      predictions: predictions of all models.
    """
    paths = [find_path(work, chunk, m) for m in range(len(predictions.tables))]
    for path, table in zip(paths, predictions.tables, strict=True):
        predictions_table.write_part(table, path)
    part = ScoredPart(
        chunk,
        tuple(map(storage.num_bytes, paths)),
        predictions.accuracy_counts,
        predictions.failures,
    )
    storage.write(work, _name_mark(chunk), json.dumps(part[1:]).encode())
    return part


def find_finished(work: str, chunk: Chunk) -> ScoredPart | None:
    """Return a chunk that is finished, else None.

    A chunk with unreadable images is never finished: they may have been repaired. The
    sizes of the files are compared, as a crash of the machine may truncate them.
    """
    try:
        mark = _read_mark(f"{work}/{_name_mark(chunk)}")
        if mark is None or any(
            storage.num_bytes(find_path(work, chunk, model)) != size
            for model, size in enumerate(mark[0])
        ):
            return None
    except FileNotFoundError:
        return None
    sizes, counts = mark
    accuracy_counts = tuple(AccuracyCounts(*count) for count in counts)
    return ScoredPart(chunk, tuple(sizes), accuracy_counts, ())


def list_finished(work: str, chunks: Iterable[Chunk]) -> list[Chunk]:
    """Return the finished chunks."""
    found = prefetch(partial(find_finished, work), chunks)
    return [part.chunk for part in found if part is not None]


def exist(work: str) -> bool:
    """Return whether a local work folder has finished chunks of any image list."""
    marks = Path(work, _FOLDER).glob("*.json")
    return any(_read_mark(str(path)) is not None for path in marks)


def _read_mark(path: str) -> tuple[list[int], list[Any]] | None:
    """Read the sizes and accuracy counts of a chunk; None if it is not finished.

    Raises:
      FileNotFoundError: the chunk has no mark.
    """
    try:
        sizes, counts, failures = json.loads(storage.read(path))
    except ValueError:
        return None
    return None if failures else (sizes, counts)


def remove(work: str) -> None:
    """Remove all parts."""
    storage.remove_folder(f"{work}/{_FOLDER}")
