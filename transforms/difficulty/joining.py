"""Predictions of cross-fitted models → one row of difficulty an image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.records import UsageError
from transforms.tables import difficulty_table, predictions_table
from transforms.tables.predictions_table import ScoredModel

_COLUMNS = ("key", "split", "wnid", "model", "model_id", "seen", "p_correct")
_FOLDS = {"fold_a": "a", "fold_b": "b"}
_MAX_ROWS = 50_000_000
_SHOWN = 5


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
            tables.append(_read(path))
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


def _read(path: str) -> pa.Table:
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
    first = sorted(keys.slice(0, _SHOWN).to_pylist())
    return ", ".join(first) + (", …" if len(keys) > _SHOWN else "")


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
