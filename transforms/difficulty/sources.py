"""Scores that others gave images, CSV or Parquet → one row of difficulty an image."""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from transforms import csv_tables, storage
from transforms.arrays import FloatArray
from transforms.difficulty import table as difficulty_table
from transforms.layouts import IMAGE_SUFFIXES
from transforms.predictions import table as predictions_table
from transforms.predictions.table import ScoredModel
from transforms.records import UsageError, cut_lines, list_names

SCORE_KINDS = ("probability", "easiness", "hardness")
_MAX_BYTES = 2 << 30
_WNID = re.compile(r"n\d{8}(?=_)")


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
    table = _read_importing(path, [key_column, score_column])
    keys = [_find_stem(text) for text in table[key_column].to_pylist()]
    scores = _to_numbers(table[score_column], path)
    first_line = 2 if path.lower().endswith(".csv") else 0
    problems = _find_problems(keys, scores, kind=kind)
    if problems:
        named = (f"row {row + first_line}: {what}" for row, what in problems)
        lines = cut_lines(named, more="and {} more rows")
        raise UsageError("\n".join(f"--scores {path}: {line}" for line in lines))
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


def _read_importing(path: str, columns: Sequence[str]) -> pa.Table:
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
            f"{list_names(table.column_names)}: name them with --key_column "
            "and --score_column"
        )
    if not len(table):
        raise UsageError(f"--scores {path}: has no rows")
    return table


def _read_csv(data: bytes, columns: Sequence[str]) -> pa.Table:
    csv_tables.check_byte_order_mark(data)
    texts = dict.fromkeys(columns, pa.string())  # pyarrow parses millions of rows fast
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


_COLUMNS = ("key", "split", "wnid", "model", "model_id", "seen", "p_correct")
_FOLDS = {"fold_a": "a", "fold_b": "b"}
_MAX_ROWS = 50_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Joined:
    """How difficult images are.

    Attributes:
      table: as `difficulty_table.SCHEMA`.
      correct: what p_correct is the probability of, the image's "class" or "group".
      notes: what the user must know.
    """

    table: pa.Table
    correct: str
    notes: tuple[str, ...] = ()


def join(paths: Sequence[str]) -> Joined:
    """Join predictions of several models, each image scored by one that never saw it.

    Args: paths: files that `python -m pipelines.predict` wrote.
    Raises: UsageError: all that is wrong: files, numbers, images that a model saw, or
      that two models scored.
    """
    tables: list[pa.Table] = []
    models: list[ScoredModel] = []
    problems: list[str] = []
    for path in paths:
        try:
            models += predictions_table.read_models(path)
            tables.append(_read_joining(path))
        except UsageError as error:
            problems += [f"--predictions {line}" for line in str(error).splitlines()]
    if not problems:
        table = pa.concat_tables(tables)
        problems += [*_find_differences(models), *_find_row_problems(table)]
    if problems:
        raise UsageError("\n".join(problems))
    return Joined(
        table=_make_table(table),
        correct=models[0].correct,
        notes=(*_find_notes(table), *_compare_models(table, models)),
    )


def _read_joining(path: str) -> pa.Table:
    file = pq.ParquetFile(storage.for_arrow(path))
    if not 0 < file.metadata.num_rows <= _MAX_ROWS:
        raise UsageError(
            f"{path}: has {file.metadata.num_rows} rows, of 1 to {_MAX_ROWS}; make it "
            "again with python -m pipelines.predict"
        )
    try:
        table = file.read(columns=list(_COLUMNS))
        wanted = pa.schema([predictions_table.SCHEMA.field(n) for n in _COLUMNS])
        table = table.select(_COLUMNS).cast(wanted)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from None
    empty = [n for n in _COLUMNS if n != "seen" and table[n].null_count]
    if empty:
        raise UsageError(f"{path}: column {empty[0]} has rows without a value")
    p_correct = table["p_correct"].to_numpy()
    good = (p_correct >= 0) & (p_correct <= difficulty_table.MAX_PROBABILITY)
    if not good.all():
        row = int((~good).argmax())
        raise UsageError(
            f"{path}: p_correct of {(~good).sum()} images is not from 0 to 1, the "
            f"first {table['key'][row]} ({p_correct[row]:g})"
        )
    return table


def _find_differences(models: Sequence[ScoredModel]) -> Iterator[str]:
    """Say when files do not measure the same."""
    if len({(model.correct, model.groups_sha256) for model in models}) > 1:
        told = "; ".join(sorted({f"{m.model} by {m.correct}" for m in models}))
        yield (
            f"--predictions: some are right in their class, some in a group ({told}), "
            "or in groups of other tables; predict all with the same --groups, or none"
        )


def _find_row_problems(table: pa.Table) -> Iterator[str]:
    seen = table.filter(pc.fill_null(table["seen"], fill_value=False))
    if len(seen):
        yield (
            f"--predictions: {len(seen)} of {len(table)} images are scored by a model "
            f"that was trained on them ({_show(seen['key'])}), so they seem easy; "
            "predict each half with the model of the other"
        )
    counts = pc.value_counts(table["key"])
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(twice):
        rows = table.filter(pc.is_in(table["key"], value_set=twice))
        models = pc.unique(rows["model_id"]).to_pylist()
        yield (
            f"--predictions: {len(twice)} images are scored more than once "
            f"({_show(twice)}), by {len(models)} model(s); give each image one score"
        )


def _show(keys: pa.Array | pa.ChunkedArray) -> str:
    return list_names(sorted(keys.to_pylist()))


def _find_notes(table: pa.Table) -> Iterator[str]:
    if unknown := table["seen"].null_count:
        yield (
            f"nobody knows whether {unknown} of {len(table)} images were seen by the "
            "model that scored them; those that were seem easier than they are"
        )


def _compare_models(table: pa.Table, models: Sequence[ScoredModel]) -> Iterator[str]:
    """Tell how models differ: then so do their scores, whatever the images are."""
    if len({(m.model, m.preprocessing_sha256) for m in models}) > 1:
        names = ", ".join(sorted({m.model for m in models}))
        yield (
            f"images are scored by models that differ ({names}): what one finds hard "
            "another need not; score all with models alike"
        )
    means = table.group_by(["split", "model_id"]).aggregate([("p_correct", "mean")])
    rows = means.sort_by([("split", "ascending"), ("model_id", "ascending")])
    if len(rows) > 1:
        told = ", ".join(
            f"{row['p_correct_mean']:.4f} of {row['split']} by {row['model_id'][:8]}"
            for row in rows.to_pylist()
        )
        yield f"mean p_correct: {told}"


def _make_table(table: pa.Table) -> pa.Table:
    p_correct = np.minimum(table["p_correct"].to_numpy(), np.float32(1))
    folds = [_FOLDS.get(split, "") for split in table["split"].to_pylist()]
    return pa.table({
        "key": table["key"],
        "wnid": table["wnid"],
        "p_correct": pa.array(p_correct, pa.float32()),
        "percent": pa.array(difficulty_table.find_percent(p_correct)),
        "fold": pa.array(folds, pa.string()),
        "model_id": table["model_id"],
    })
