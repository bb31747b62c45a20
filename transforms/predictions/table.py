"""What models say of images ↔ a Parquet file: the one costly result, kept whole.

A row is what one model says of one image. What all rows of a model share, above all the
list of classes that `top5` counts in, stands once in the file's metadata.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms import storage
from transforms.records import UsageError


class ModelClass(NamedTuple):
    """One output of a model: a class, or a group of classes."""

    name: str
    wnids: tuple[str, ...]


NUM_TOP = 5
ROWS_IN_GROUP = 1 << 16
_METADATA_KEY = b"imagenet_subsets_predictions"
_VERSION = 1
_REMEDY = "make it again with python -m pipelines.predict"

SCHEMA = pa.schema([
    ("key", pa.string()),
    ("split", pa.string()),  # of the image, where it was read
    ("wnid", pa.string()),
    ("model", pa.string()),
    ("model_id", pa.string()),
    ("trained_on_subset_id", pa.string()),
    ("trained_on_split", pa.string()),
    ("seen", pa.bool_()),  # whether the model was trained on this image; null: unknown
    ("p_correct", pa.float32()),
    ("top5", pa.list_(pa.uint16())),  # likeliest first, fewer where there are fewer
])
PROBABILITIES = pa.field("probabilities", pa.list_(pa.float16()))


@dataclass(frozen=True, kw_only=True)
class ScoredModel:
    """What all predictions of one model share."""

    model: str  # its name
    model_id: str  # sha256 of its file
    classes: tuple[ModelClass, ...]  # in the order of its outputs
    trained_on_subset_id: str
    trained_on_split: str
    # What p_correct is the probability of: the image's "class", where every output is
    # one, else its "group": the sum over the outputs that lie in it.
    correct: str
    groups_sha256: str = ""  # of the table, where groups were given
    preprocessing_sha256: str = ""


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model says of some images.

    Attributes:
      p_correct: shape (images,), float32, the probability of the right answer.
      top5: shape (images, min(5, outputs)), outputs, likeliest first.
      probabilities: shape (images, outputs), float16, or None when not kept.
    """

    p_correct: npt.NDArray[np.float32]
    top5: npt.NDArray[np.uint16]
    probabilities: npt.NDArray[np.float16] | None


def make_table(
    scores: Scores,
    *,
    model: ScoredModel,
    keys: Sequence[str],
    splits: Sequence[str],
    wnids: Sequence[str],
    seen: Sequence[bool | None],
) -> pa.Table:
    """Make rows of what a model says of images, in the images' order."""
    same = {
        "model": model.model,
        "model_id": model.model_id,
        "trained_on_subset_id": model.trained_on_subset_id,
        "trained_on_split": model.trained_on_split,
    }
    columns = {
        "key": pa.array(keys, pa.string()),
        "split": pa.array(splits, pa.string()),
        "wnid": pa.array(wnids, pa.string()),
        **{name: pa.array([text] * len(keys)) for name, text in same.items()},
        "seen": pa.array(seen, pa.bool_()),
        "p_correct": pa.array(scores.p_correct, pa.float32()),
        "top5": _to_lists(scores.top5),
    }
    schema = SCHEMA
    if scores.probabilities is not None:
        columns[PROBABILITIES.name] = _to_lists(scores.probabilities)
        schema = SCHEMA.append(PROBABILITIES)
    return pa.table(columns).cast(schema)


def _to_lists(array: npt.NDArray) -> pa.ListArray:
    """Make a list of each row."""
    num_rows, width = array.shape
    offsets = np.arange(num_rows + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(array.ravel()))


def write_part(table: pa.Table, path: str) -> None:
    """Write some rows, atomically."""
    with storage.replacing(path) as file:
        pq.write_table(table, file, compression="zstd")


def merge_parts(
    parts: Sequence[str], output: str, models: Sequence[ScoredModel]
) -> int:
    """Join parts, in their order, to a file that appears whole or not at all.

    Row groups have `ROWS_IN_GROUP` rows whatever the parts were, so that the file does
    not tell how the work was dealt out. Returns the number of rows.
    """
    schema = pq.read_schema(storage.for_arrow(parts[0])) if parts else SCHEMA
    described = {"version": _VERSION, "models": [asdict(model) for model in models]}
    schema = schema.with_metadata({_METADATA_KEY: json.dumps(described)})
    num_rows = 0
    with (
        storage.replacing(output) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        waiting = schema.empty_table()
        for part in parts:
            table = pq.read_table(storage.for_arrow(part), schema=schema)
            waiting = pa.concat_tables([waiting, table])
            while waiting.num_rows >= ROWS_IN_GROUP:
                writer.write_table(waiting.slice(0, ROWS_IN_GROUP).combine_chunks())
                waiting = waiting.slice(ROWS_IN_GROUP)
                num_rows += ROWS_IN_GROUP
        writer.write_table(waiting.combine_chunks())
        num_rows += waiting.num_rows
    return num_rows


def read_models(path: str) -> tuple[ScoredModel, ...]:
    """Read whose predictions a file holds.

    Raises: UsageError: not a file of predictions, or of another version.
    """
    if not storage.exists(path):
        raise UsageError(
            f"{path}: no such file; make it with python -m pipelines.predict"
        )
    try:
        file = pq.ParquetFile(storage.for_arrow(path))
        described = json.loads((file.metadata.metadata or {})[_METADATA_KEY])
        version = described["version"]
        models = tuple(
            ScoredModel(**{
                **model,
                "classes": tuple(
                    ModelClass(name, tuple(wnids)) for name, wnids in model["classes"]
                ),
            })
            for model in described["models"]
        )
        missing = set(SCHEMA.names) - set(file.schema_arrow.names)
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        raise UsageError(f"{path}: holds no predictions; {_REMEDY}") from error
    if version != _VERSION:
        raise UsageError(f"{path}: has version {version}, not {_VERSION}; {_REMEDY}")
    if missing:
        raise UsageError(f"{path}: no column {sorted(missing)[0]}; {_REMEDY}")
    return models
