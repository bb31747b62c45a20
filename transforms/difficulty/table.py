"""Write and read the difficulty table, a Parquet file with one row per image."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.records import UsageError, list_names

NUM_BINS = 101  # percent 0 … 100
AXIS_LABEL = "hard ← probability of the right answer → easy"
MAX_PROBABILITY = 1 + 1e-6  # rounding of float32 sums may exceed 1
_MIN_IMAGES = 50  # fewer images may have the same difficulty by chance
_MAX_SHARE = 0.95  # of the images with the same percent
_REMEDY = "make it again with python -m pipelines.difficulty"
_FROM_PREDICTIONS = "give them to python -m pipelines.difficulty"

SCHEMA = pa.schema([
    ("key", pa.string()),
    ("wnid", pa.string()),  # "" if unknown
    ("p_correct", pa.float32()),  # 0 difficult … 1 easy
    ("percent", pa.int16()),
    ("fold", pa.string()),  # fold of the image in cross-fitting, or ""
    ("model_id", pa.string()),  # model that scored the image, or the kind of score
])


def find_percent(p_correct: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    """Return the histogram bin of each probability p in percent, ⌊100p + ½⌋.

    Each p is rounded to float32, as in the table, then to percent in float64. A decimal
    fraction on a bin edge may therefore fall into either bin: as float32, 0.005 is
    slightly less than 0.5 percent, and 0.025 slightly more than 2.5 percent.

    Args:
      p_correct: shape (images,), from 0 to `MAX_PROBABILITY`.

    Returns:
      Shape (images,), integers 0 to 100.
    """
    exact = np.asarray(p_correct, np.float32).astype(np.float64)
    return np.minimum(np.floor(100 * exact + 0.5), NUM_BINS - 1).astype(np.int16)


def find_concentration(p_correct: npt.NDArray[np.floating]) -> Iterator[str]:
    """Yield a warning if over 95 % of the images have the same difficulty in percent.

    Fewer than 50 images are not checked.

    Args:
      p_correct: shape (images,), from 0 to `MAX_PROBABILITY`.
    """
    if len(p_correct) < _MIN_IMAGES:
        return
    counts = np.bincount(find_percent(p_correct), minlength=NUM_BINS)
    percent, share = int(counts.argmax()), counts.max() / len(p_correct)
    if share > _MAX_SHARE:
        yield (
            f"warning: {share:.1%} of the images have the same p_correct, {percent} %, "
            "so difficulty tells hardly any of them apart; was a softmax applied "
            "twice, or are the classes of the model in another order?"
        )


def look_up(table: pa.Table, keys: pa.StringArray) -> npt.NDArray[np.float32]:
    """Look up the p_correct of images in a difficulty table.

    Args:
      table: difficulty table with the columns key and p_correct; keys are unique.
      keys: keys of the images, shape (images,).

    Returns:
      Shape (images,), 0 to 1; NaN for images that are not in the table.
    """
    values = np.append(table["p_correct"].to_numpy(), np.nan).astype(np.float32)
    rows = pc.index_in(keys, value_set=table["key"].combine_chunks())
    p_correct = values[pc.fill_null(rows, len(table)).to_numpy()]
    return np.minimum(p_correct, np.float32(1))


def write_table(table: pa.Table, output: str) -> None:
    """Write a difficulty table, sorted by key, to a Parquet file atomically."""
    with storage.replacing(output) as file:
        pq.write_table(table.cast(SCHEMA).sort_by("key"), file, compression="zstd")


def read_table(path: str) -> pa.Table:
    """Read and validate the columns key and p_correct of a difficulty table.

    Raises:
      UsageError: the file is missing, not a difficulty table, or has invalid values.
    """
    if not storage.exists(path):
        raise UsageError(
            f"{path}: no such file; make it with python -m pipelines.difficulty"
        )
    if storage.is_folder(path):
        raise UsageError(f"{path}: is a folder; give the file difficulty.parquet in it")
    storage.check_readable(path)
    try:
        file = storage.open_parquet(path)
        names = file.schema_arrow.names
        if "top5" in names:
            raise UsageError(f"{path}: holds predictions; {_FROM_PREDICTIONS}")
        if missing := sorted({"key", "p_correct"} - set(names)):
            raise UsageError(
                f"{path}: is not a difficulty table (no {missing[0]}); {_REMEDY}"
            )
        table = file.read(columns=["key", "p_correct"])
        table.validate(full=True)  # strings may be invalid UTF-8
    except (pa.ArrowException, ValueError, OSError) as error:
        raise UsageError(f"{path}: is not a difficulty table; {_REMEDY}") from error
    if problem := _find_problem(table):
        raise UsageError(f"{path}: {problem}; {_REMEDY}")
    return table


def _find_problem(table: pa.Table) -> str | None:
    if not pa.types.is_string(table["key"].type) or table["key"].null_count:
        return "column key must be strings without gaps"
    if not pa.types.is_floating(table["p_correct"].type):
        return f"p_correct is {table['p_correct'].type}, not a float"
    p_correct = table["p_correct"].to_numpy()  # null becomes NaN
    if (is_invalid := ~((p_correct >= 0) & (p_correct <= MAX_PROBABILITY))).any():
        row = int(is_invalid.argmax())
        return (
            f"p_correct of {is_invalid.sum()} images is not in [0, 1], the first "
            f"{table['key'][row]} ({p_correct[row]:g})"
        )
    counts = pc.value_counts(table["key"])
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(repeated):
        shown = list_names(sorted(repeated.to_pylist()))
        return f"{len(repeated)} keys are repeated ({shown})"
    return None
