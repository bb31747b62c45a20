"""Write and read the parts of a prediction table: one file per chunk and model.

A JSON file beside them, the chunk's mark, is written last. A chunk with a mark is
finished, so a run that is repeated keeps it.
"""

import json
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from transforms import storage
from transforms.models.inference import AccuracyCounts, ChunkPredictions
from transforms.predictions import table as predictions_table
from transforms.prefetch import prefetch
from transforms.records import Failure

_FOLDER = "parts"


class ScoredPart(NamedTuple):
    """The prediction files, accuracy counts and failures of a chunk.

    They are small enough for one worker to gather those of all chunks.
    """

    number: int
    sizes: tuple[int, ...]  # of the files in bytes, one file per model
    accuracy_counts: tuple[AccuracyCounts, ...]
    failures: tuple[Failure, ...]


def find_path(work: str, number: int, model: int) -> str:
    """Return the path of the predictions of one model for chunk `number`."""
    return f"{work}/{_FOLDER}/{model:03d}-{number:07d}.parquet"


def write(work: str, number: int, predictions: ChunkPredictions) -> ScoredPart:
    """Write the predictions of a chunk, then its mark; a retry writes the same bytes.

    Args:
      work: work folder of the run.
      number: number of the chunk.
      predictions: predictions of all models.
    """
    paths = [find_path(work, number, m) for m in range(len(predictions.tables))]
    for path, table in zip(paths, predictions.tables, strict=True):
        predictions_table.write_part(table, path)
    part = ScoredPart(
        number,
        tuple(map(storage.num_bytes, paths)),
        predictions.accuracy_counts,
        predictions.failures,
    )
    storage.write(work, _name_mark(number), json.dumps(part).encode())
    return part


def _name_mark(number: int) -> str:
    return f"{_FOLDER}/{number:07d}.json"


def find_finished(work: str, number: int) -> ScoredPart | None:
    """Return a chunk that is finished, else None.

    A chunk with unreadable images is never finished: they may have been repaired. The
    sizes of the files are compared, as a crash of the machine may truncate them.
    """
    try:
        _, sizes, counts, failures = json.loads(
            storage.read(f"{work}/{_name_mark(number)}")
        )
        if failures or any(
            storage.num_bytes(find_path(work, number, model)) != size
            for model, size in enumerate(sizes)
        ):
            return None
    except (FileNotFoundError, ValueError):
        return None
    accuracy_counts = tuple(AccuracyCounts(*count) for count in counts)
    return ScoredPart(number, tuple(sizes), accuracy_counts, ())


def list_finished(work: str, num_chunks: int) -> Sequence[int]:
    """Return the numbers of the finished chunks."""
    found = prefetch(partial(find_finished, work), range(num_chunks))
    return [part.number for part in found if part is not None]


def remove(work: str) -> None:
    """Remove all parts."""
    storage.remove_folder(f"{work}/{_FOLDER}")
