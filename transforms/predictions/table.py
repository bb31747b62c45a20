"""Write and describe Parquet files of predictions, one row per model and image.

The file's metadata holds what all rows of a model share, above all the classes that
`top5` indexes.
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
    ("split", pa.string()),  # of the image in the input
    ("wnid", pa.string()),
    ("model", pa.string()),
    ("model_id", pa.string()),
    ("trained_on_subset_id", pa.string()),
    ("trained_on_split", pa.string()),
    ("seen", pa.bool_()),  # whether the model was trained on this image; null: unknown
    ("p_correct", pa.float32()),
    ("top5", pa.list_(pa.uint16())),  # likeliest first; fewer for fewer outputs
])
PROBABILITIES = pa.field("probabilities", pa.list_(pa.float16()))


@dataclass(frozen=True, kw_only=True)
class ScoredModel:
    """The metadata that all predictions of a model share.

    Attributes:
      model: name of the model.
      model_id: SHA-256 of its file.
      classes: classes in the order of its outputs.
      trained_on_subset_id: subset id of its training set; "" if unknown.
      trained_on_split: split of its training set; "" if unknown.
      correct: what p_correct is the probability of: the image's "class", or its
        "group", the sum over the outputs in it.
      groups_sha256: SHA-256 of the table of groups; "" without one.
      preprocessing_sha256: SHA-256 of the preprocessing in its card.
    """

    model: str
    model_id: str
    classes: tuple[ModelClass, ...]
    trained_on_subset_id: str
    trained_on_split: str
    correct: str
    groups_sha256: str = ""
    preprocessing_sha256: str = ""


@dataclass(frozen=True, eq=False)
class Scores:
    """The predictions of a model for some images.

    Attributes:
      p_correct: shape (images,), float32, probability of the correct class or group.
      top5: shape (images, min(5, outputs)), output indices, likeliest first.
      probabilities: shape (images, outputs), float16; None if not kept.
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
    """Create the rows of a model's predictions, in the order of the images.

    Args:
      scores: predictions of the images.
      model: model that predicted them.
      keys: keys of the images.
      splits: splits of the images.
      wnids: wnids of the images.
      seen: per image, whether the model was trained on it; None: unknown.
    """
    constants = {
        "model": model.model,
        "model_id": model.model_id,
        "trained_on_subset_id": model.trained_on_subset_id,
        "trained_on_split": model.trained_on_split,
    }
    columns = {
        "key": pa.array(keys, pa.string()),
        "split": pa.array(splits, pa.string()),
        "wnid": pa.array(wnids, pa.string()),
        **{name: pa.array([text] * len(keys)) for name, text in constants.items()},
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
    """Convert a matrix, shape (images, width), to a column of lists."""
    num_rows, width = array.shape
    offsets = np.arange(num_rows + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(array.ravel()))


def write_part(table: pa.Table, path: str) -> None:
    """Write a part of the rows atomically."""
    with storage.replacing(path) as file:
        pq.write_table(table, file, compression="zstd")


def merge_parts(
    parts: Sequence[str], output: str, models: Sequence[ScoredModel]
) -> int:
    """Concatenate parts in order, write the file atomically and count its rows.

    Row groups have `ROWS_IN_GROUP` rows for any parts, so that the bytes do not
    depend on the distribution of the work.
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
    """Read which models' predictions a file holds.

    Raises: UsageError: the file holds no predictions or has another version.
    """
    if not storage.exists(path):
        raise UsageError(
            f"{path}: no such file; make it with python -m pipelines.predict"
        )
    storage.check_readable(path)
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
        raise UsageError(
            f"{path}: has format version {version}, not {_VERSION}; {_REMEDY}"
        )
    if missing:
        raise UsageError(f"{path}: has no column {sorted(missing)[0]}; {_REMEDY}")
    return models
