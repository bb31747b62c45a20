"""Write Parquet files of predictions and read their metadata.

A file has one row per model and image. Values that all rows of a model share, such as
the classes that `top5` indexes, are stored once in the file's metadata.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms import storage
from transforms.prefetch import prefetch
from transforms.records import UsageError


class ModelClass(NamedTuple):
    """The class, or the group of classes, that an output of a model predicts."""

    name: str
    wnids: tuple[str, ...]


NUM_TOP = 5
ROWS_IN_GROUP = 1 << 16
METADATA_KEY = b"imagenet_subsets_predictions"
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
      model_id: SHA-256 that identifies the model's files.
      classes: class or group of each output, in output order.
      trained_on_subset_id: subset id of the training dataset; "" if unknown.
      trained_on_split: split of that dataset used for training; "" if unknown.
      correct: whether p_correct is the probability of the image's "class" or of its
        "group" (the sum over the outputs in the group).
      groups_sha256: SHA-256 of the table of groups; "" if no groups were given.
      preprocessing_sha256: SHA-256 of the preprocessing settings in the model's card.
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
    """Create the prediction table of one model, with one row per image.

    Args:
      scores: predictions for the images.
      model: model that made the predictions.
      keys: keys of the images.
      splits: splits of the images.
      wnids: wnids of the images.
      seen: for each image, whether the model was trained on it; None if unknown.
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
    """Convert a matrix, shape (images, width), to a column of lists of length width."""
    num_rows, width = array.shape
    offsets = np.arange(num_rows + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(array.ravel()))


def write_part(table: pa.Table, path: str) -> None:
    """Write a part of a prediction file atomically; `merge_parts` merges the parts."""
    with storage.replacing(path) as file:
        pq.write_table(table, file, compression="zstd")


def merge_parts(
    parts: Sequence[str], output: str, models: Sequence[ScoredModel]
) -> int:
    """Merge parts into one prediction file, written atomically.

    Every row group but the last has `ROWS_IN_GROUP` rows, whatever the sizes of the
    parts, so that the file does not depend on how the work was distributed.

    Args:
      parts: paths of the parts, in the order of their rows.
      output: path of the file to write.
      models: metadata of all models in the parts.

    Returns:
      The number of rows.
    """
    schema = storage.open_parquet(parts[0]).schema_arrow if parts else SCHEMA
    described = {"version": _VERSION, "models": [asdict(model) for model in models]}
    schema = schema.with_metadata({METADATA_KEY: json.dumps(described)})
    num_rows = 0
    with (
        storage.replacing(output) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        waiting = schema.empty_table()
        for table in prefetch(partial(_read_part, schema=schema), parts):
            waiting = pa.concat_tables([waiting, table])
            while waiting.num_rows >= ROWS_IN_GROUP:
                writer.write_table(waiting.slice(0, ROWS_IN_GROUP).combine_chunks())
                waiting = waiting.slice(ROWS_IN_GROUP)
                num_rows += ROWS_IN_GROUP
        writer.write_table(waiting.combine_chunks())
        num_rows += waiting.num_rows
    return num_rows


def _read_part(path: str, schema: pa.Schema) -> pa.Table:
    return storage.read_parquet(path).cast(schema)


def read_models(path: str) -> tuple[ScoredModel, ...]:
    """Read the metadata of all models in a prediction file.

    Raises:
      UsageError: the file is missing, not a prediction file, or of another format
        version.
    """
    if not storage.exists(path):
        raise UsageError(
            f"{path}: no such file; create it with python -m pipelines.predict"
        )
    storage.check_readable(path)
    if path.endswith(".npz"):
        raise UsageError(
            f"{path}: an .npz file holds the five most probable classes, without the "
            "probabilities that this job needs; give the .parquet file that python -m "
            "pipelines.predict writes"
        )
    try:
        file = storage.open_parquet(path)
        described = json.loads((file.metadata.metadata or {})[METADATA_KEY])
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
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path}: is damaged or no Parquet file; {_REMEDY}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: contains no predictions; {_REMEDY}") from error
    if version != _VERSION:
        raise UsageError(
            f"{path}: has format version {version}, not {_VERSION}; {_REMEDY}"
        )
    if missing:
        raise UsageError(f"{path}: has no column {sorted(missing)[0]}; {_REMEDY}")
    return models
