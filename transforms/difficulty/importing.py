"""Scores that others gave images, CSV or Parquet → one row of difficulty an image."""

import io
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from transforms import storage
from transforms.pieces import IMAGE_SUFFIXES
from transforms.records import UsageError
from transforms.tables import difficulty_table

FloatArray = npt.NDArray[np.float64]

SCORE_KINDS = ("probability", "easiness", "hardness")
_MAX_BYTES = 2 << 30
_WNID = re.compile(r"n\d{8}(?=_)")
_SHOWN = 10


def read_scores(
    path: str, *, kind: str, key_column: str, score_column: str
) -> pa.Table:
    """Read outside scores, as `difficulty_table.SCHEMA`.

    Args:
      path: CSV with a header, or Parquet.
      kind: probability: p_correct itself. easiness, hardness: any numbers; p_correct
        becomes the share of the other images that are harder, equal ones sharing it.
      key_column: names the images; a path counts by its file's stem.
      score_column: holds the scores.
    Raises: UsageError: no such table, or all of its bad rows.
    """
    table = _read(path, [key_column, score_column])
    keys = [_find_stem(text) for text in table[key_column].to_pylist()]
    scores = _to_numbers(table[score_column], path)
    first_line = 2 if path.lower().endswith(".csv") else 0
    problems = _find_problems(keys, scores, kind=kind)
    if problems:
        named = [f"row {row + first_line}: {what}" for row, what in problems[:_SHOWN]]
        more = len(problems) - len(named)
        named += [f"and {more} more rows"] if more else []
        raise UsageError("\n".join(f"--scores {path}: {line}" for line in named))
    p_correct = to_p_correct(scores, kind)
    wnids = [_find_wnid(key) for key in keys]
    return pa.table({
        "key": pa.array(keys, pa.string()),
        "wnid": pa.array(wnids, pa.string()),
        "p_correct": pa.array(p_correct, pa.float32()),
        "percent": pa.array(difficulty_table.find_percent(p_correct)),
        "fold": pa.array([""] * len(keys), pa.string()),
        "model_id": pa.array([kind] * len(keys), pa.string()),
    })


def to_p_correct(scores: FloatArray, kind: str) -> npt.NDArray[np.float32]:
    """Bring scores of a kind to p_correct, shape (images,)."""
    if kind == "probability":
        return np.minimum(scores, 1).astype(np.float32)
    easiness = scores if kind == "easiness" else -scores
    from scipy import stats  # noqa: PLC0415  # slower to import than Beam

    ranks = stats.rankdata(easiness)  # 1 is the hardest; equal ones share the mean
    return ((ranks - 1) / max(len(ranks) - 1, 1)).astype(np.float32)


def _read(path: str, columns: Sequence[str]) -> pa.Table:
    if not storage.exists(path):
        raise UsageError(f"--scores {path}: no such file")
    if (size := storage.num_bytes(path)) > _MAX_BYTES:
        raise UsageError(f"--scores {path}: has {size} bytes, of {_MAX_BYTES} at most")
    suffix = PurePosixPath(path).suffix.lower()
    try:
        if suffix == ".csv":
            table = _read_csv(storage.read(path), columns)
        elif suffix == ".parquet":
            table = pq.read_table(storage.for_arrow(path))
        else:
            raise UsageError(f"--scores {path}: scores are files of .csv, .parquet")
        for name in columns:
            if table.column_names.count(name) > 1:
                raise UsageError(f"--scores {path}: has several columns {name}")
            if name == columns[0] and name in table.column_names:
                keys = pc.fill_null(pc.cast(table[name], pa.string()), "")
                place = table.column_names.index(name)
                table = table.set_column(place, name, keys)
    except (pa.ArrowException, OSError, ValueError) as error:
        text = str(error).splitlines()[0]
        raise UsageError(f"--scores {path}: cannot be read ({text})") from None
    if missing := [name for name in columns if name not in table.column_names]:
        raise UsageError(
            f"--scores {path}: has no column {', '.join(missing)}; it has "
            f"{', '.join(table.column_names[:_SHOWN])}: name them with --key_column "
            "and --score_column"
        )
    if not len(table):
        raise UsageError(f"--scores {path}: has no rows")
    return table


def _read_csv(data: bytes, columns: Sequence[str]) -> pa.Table:
    texts = dict.fromkeys(columns, pa.string())
    return pa_csv.read_csv(
        io.BytesIO(data.removeprefix(b"\xef\xbb\xbf")),
        convert_options=pa_csv.ConvertOptions(column_types=texts),
    )


def _find_stem(text: str) -> str:
    path = PurePosixPath(text.strip())
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _find_wnid(key: str) -> str:
    found = _WNID.match(key)
    return found.group() if found else ""


def _to_numbers(column: pa.ChunkedArray, path: str) -> FloatArray:
    """Make numbers of a column; what is none becomes NaN."""
    if pa.types.is_string(column.type):
        return np.array([_to_number(text) for text in column.to_pylist()], np.float64)
    try:
        return pc.cast(column, pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise UsageError(f"--scores {path}: the scores are no numbers") from error


def _to_number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _find_problems(
    keys: Sequence[str], scores: FloatArray, *, kind: str
) -> list[tuple[int, str]]:
    """Find every bad row, with what is wrong."""
    problems = [(row, "names no image") for row, key in enumerate(keys) if not key]
    problems += [
        (int(row), "its score is no finite number")
        for row in np.flatnonzero(~np.isfinite(scores))
    ]
    if kind == "probability":
        outside = (scores < 0) | (scores > difficulty_table.MAX_PROBABILITY)
        problems += [
            (int(row), f"{scores[row]:g} is no probability (see --score_kind)")
            for row in np.flatnonzero(outside)
        ]
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key and first.setdefault(key, row) != row:
            problems.append((row, f"{key} stands there more than once"))
    return sorted(problems)
