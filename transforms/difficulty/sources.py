"""Create difficulty tables from external scores (CSV, Parquet) or from predictions."""

import codecs
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

from transforms import csv_tables, storage
from transforms.arrays import FloatArray
from transforms.csv_tables import CsvError
from transforms.difficulty import table as difficulty_table
from transforms.labels.image_names import to_key
from transforms.predictions import table as predictions_table
from transforms.predictions.chance import (
    are_flattened,
    count_pairs,
    describe_flattened,
    find_problem,
)
from transforms.predictions.table import ScoredModel
from transforms.records import UsageError, cut_lines, list_names

SCORE_KINDS = ("probability", "easiness", "hardness")
_MAX_BYTES = 2 << 30
_PERCENT = 100
_HEADER_CHARACTERS = 1 << 17  # must include the header and the first row
_DECIMAL_COMMA = re.compile(r"-?\d*,\d+")
_WNID = re.compile(r"n\d{8}(?=_)")
_PREDICTION_COLUMNS = (
    "key", "split", "wnid", "model", "model_id", "seen", "p_correct", "top5",
)  # fmt: skip
_FOLDS = {"fold_a": "a", "fold_b": "b"}
_MAX_ROWS = 50_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class JoinedDifficulty:
    """The difficulty of images, computed from predictions.

    Attributes:
      table: difficulty table, with `difficulty_table.SCHEMA`.
      correct: whether p_correct is the probability of the image's "class" or "group".
      notes: notes and warnings for the user.
    """

    table: pa.Table
    correct: str
    notes: tuple[str, ...] = ()


def read_scores(
    path: str, *, kind: str, key_column: str, score_column: str
) -> pa.Table:
    """Read external scores and convert them to a difficulty table.

    Args:
      path: CSV file with a header, or Parquet file.
      kind: probability (the score is p_correct) | easiness | hardness. For easiness and
        hardness, scores are any numbers, and p_correct is the share of the other images
        that are harder; images with equal scores share the mean of their ranks.
      key_column: column of the image names or paths; only the file stem is used.
      score_column: column of the scores.

    Returns:
      Table with `difficulty_table.SCHEMA`.

    Raises:
      UsageError: the file cannot be read, lacks a column or has invalid rows; one line
        per invalid row, up to a limit.
    """
    table = _read_scores_file(path, [key_column, score_column])
    keys = [to_key(text.strip()) for text in table[key_column].to_pylist()]
    scores = _to_numbers(table[score_column], path)
    first_line = 2 if path.lower().endswith(".csv") else 0
    problems = _find_problems(keys, scores, table[score_column], kind=kind)
    if problems:
        rows = (f"row {row + first_line}: {problem}" for row, problem in problems)
        lines = cut_lines(rows, more="and {} more rows")
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
    """Convert scores to p_correct, 0 (hard) to 1 (easy).

    Args:
      scores: shape (images,).
      kind: kind of the scores, as in `read_scores`.

    Returns:
      Shape (images,).
    """
    if kind == "probability":
        return np.minimum(scores, 1).astype(np.float32)
    easiness = scores if kind == "easiness" else -scores
    from scipy import stats

    ranks = stats.rankdata(easiness)  # 1 is the hardest; ties share the mean
    return ((ranks - 1) / max(len(ranks) - 1, 1)).astype(np.float32)


def join_predictions(paths: Sequence[str]) -> JoinedDifficulty:
    """Combine the prediction files of one or more models into one difficulty table.

    Each image must have exactly one prediction, from a model not trained on it.

    Args:
      paths: files that `python -m pipelines.predict` wrote.

    Raises:
      UsageError: a file has invalid values, models predict different classes, or an
        image is in the training set of its model or has several predictions; one line
        per problem.
    """
    tables: list[pa.Table] = []
    models: list[ScoredModel] = []
    problems: list[str] = []
    for path in paths:
        try:
            models += predictions_table.read_models(path)
            tables.append(_read_predictions(path))
        except UsageError as error:
            problems += [f"--predictions {line}" for line in str(error).splitlines()]
    if not problems:
        table = pa.concat_tables(tables)
        problems += [*_find_model_problems(models), *_find_image_problems(table)]
    if problems:
        raise UsageError("\n".join(problems))
    return JoinedDifficulty(
        table=_to_difficulty(table),
        correct=models[0].correct,
        notes=(
            *_find_notes(table),
            *_warn_of_models(table, models),
            *_compare_models(table, models),
        ),
    )


def _read_scores_file(path: str, columns: Sequence[str]) -> pa.Table:
    if not storage.exists(path):
        raise UsageError(f"--scores {path}: no such file")
    if (size := storage.num_bytes(path)) > _MAX_BYTES:
        raise UsageError(
            f"--scores {path}: has {size} bytes; at most {_MAX_BYTES} are allowed"
        )
    suffix = PurePosixPath(path).suffix.lower()
    try:
        if suffix == ".csv":
            table = _read_csv(path, storage.read(path), columns)
        elif suffix == ".parquet":
            table = storage.read_parquet(path)
        else:
            raise UsageError(f"--scores {path}: must be a .csv or .parquet file")
        _check_columns(path, table.column_names, columns)
        keys = pc.fill_null(pc.cast(table[columns[0]], pa.string()), "")
        index = table.column_names.index(columns[0])
        table = table.set_column(index, columns[0], keys)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--scores {path}: cannot be read ({reason})") from None
    if not len(table):
        raise UsageError(f"--scores {path}: has no rows")
    return table


def _read_csv(path: str, data: bytes, columns: Sequence[str]) -> pa.Table:
    """Parse a CSV file, after checking its encoding, delimiter and columns.

    Args:
      path: path of the file, for messages.
      data: content of the file.
      columns: names of the required columns, which are read as strings.

    Raises:
      CsvError: the file is empty, not UTF-8, or not separated by commas.
      UsageError: a column is missing or repeated.
    """
    text = csv_tables.decode(data)[:_HEADER_CHARACTERS]
    rows = (row for row in csv_tables.parse_rows(text) if not row.is_blank)
    header = next(rows, None)
    if header is None:
        raise CsvError("is empty")
    names = header.cells
    _check_columns(path, names, columns)
    if next(rows, None) is None:
        return pa.table(dict.fromkeys(names, pa.array([], pa.string())))
    return pa_csv.read_csv(
        io.BytesIO(data.removeprefix(codecs.BOM_UTF8)),
        read_options=pa_csv.ReadOptions(column_names=names, skip_rows=header.line),
        # Strings: numbers are converted later, and problems reported by row.
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string())
        ),
    )


def _check_columns(path: str, names: Sequence[str], columns: Sequence[str]) -> None:
    if missing := [name for name in columns if name not in names]:
        raise UsageError(
            f"--scores {path}: has no column {', '.join(missing)}; it has "
            f"{list_names(names)}; select columns with --key_column and --score_column"
        )
    for name in columns:
        if names.count(name) > 1:
            raise UsageError(f"--scores {path}: has several columns named {name}")


def _find_wnid(key: str) -> str:
    match = _WNID.match(key)
    return match.group() if match else ""


def _to_numbers(column: pa.ChunkedArray, path: str) -> FloatArray:
    """Convert a column to float64, shape (rows,); strings without a number become NaN.

    Raises:
      UsageError: the column has neither strings nor numbers.
    """
    if pa.types.is_string(column.type):
        return np.array([_to_number(text) for text in column.to_pylist()], np.float64)
    try:
        return pc.cast(column, pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise UsageError(f"--scores {path}: the scores are not numbers") from error


def _to_number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _find_problems(
    keys: Sequence[str], scores: FloatArray, cells: pa.ChunkedArray, *, kind: str
) -> list[tuple[int, str]]:
    """Return the index and the problem of every invalid row, sorted.

    Args:
      keys: keys of the images.
      scores: shape (images,), NaN for scores that are not numbers.
      cells: the scores as written in the file, for messages.
      kind: kind of the scores, as in `read_scores`.
    """
    problems = [(row, "has no image name") for row, key in enumerate(keys) if not key]
    problems += [
        (row, _describe_bad_score(cells[row].as_py()))
        for row in np.flatnonzero(~np.isfinite(scores)).tolist()
    ]
    if kind == "probability":
        is_possible = (scores >= 0) & (scores <= difficulty_table.MAX_PROBABILITY)
        outside = np.isfinite(scores) & ~is_possible
        remedy = _find_remedy(scores[np.isfinite(scores)]) if outside.any() else ""
        problems += [
            (int(row), f"{scores[row]:g} is not a probability; {remedy}")
            for row in np.flatnonzero(outside)
        ]
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key and first.setdefault(key, row) != row:
            problems.append((row, f"{key} is repeated"))
    return sorted(problems)


def _describe_bad_score(cell: object) -> str:
    text = str(cell).strip()
    if _DECIMAL_COMMA.fullmatch(text):
        return f"its score {text!r:.30} has a decimal comma; write a point"
    if text.endswith("%"):
        return f"its score {text!r:.30} is a percentage; write a share, from 0 to 1"
    return f"its score is not a finite number ({text!r:.30})"


def _find_remedy(scores: FloatArray) -> str:
    """Suggest a remedy for scores that are outside 0 to 1.

    `scores` has shape (images,) and contains at least one finite score.
    """
    if scores.min() >= 0 and scores.max() <= _PERCENT:
        return "divide percentages by 100, or give another --score_kind"
    if scores.max() <= 0:
        return "give --score_kind easiness if they are logarithms of probabilities"
    return "give another --score_kind"


def _read_predictions(path: str) -> pa.Table:
    file = storage.open_parquet(path)
    if not 0 < file.metadata.num_rows <= _MAX_ROWS:
        raise UsageError(
            f"{path}: has {file.metadata.num_rows} rows, not 1 to {_MAX_ROWS}; make it "
            "again with python -m pipelines.predict"
        )
    try:
        table = file.read(columns=list(_PREDICTION_COLUMNS))
        wanted = pa.schema([
            predictions_table.SCHEMA.field(n) for n in _PREDICTION_COLUMNS
        ])
        table = table.select(_PREDICTION_COLUMNS).cast(wanted)
        likeliest = pc.list_element(table["top5"], 0)
        table = table.drop_columns("top5").append_column("likeliest", likeliest)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from None
    incomplete = [n for n in table.column_names if n != "seen" and table[n].null_count]
    if incomplete:
        raise UsageError(f"{path}: column {incomplete[0]} has rows without a value")
    p_correct = table["p_correct"].to_numpy()
    is_valid = (p_correct >= 0) & (p_correct <= difficulty_table.MAX_PROBABILITY)
    if not is_valid.all():
        row = int((~is_valid).argmax())
        raise UsageError(
            f"{path}: p_correct of {(~is_valid).sum()} images is not in [0, 1], the "
            f"first {table['key'][row]} ({p_correct[row]:g})"
        )
    return table


def _find_model_problems(models: Sequence[ScoredModel]) -> Iterator[str]:
    """Yield a message if the models do not predict the same classes or groups."""
    if len({(model.correct, model.groups_sha256) for model in models}) > 1:
        shown = "; ".join(sorted({f"{m.model} by {m.correct}" for m in models}))
        yield (
            f"--predictions: models predict different classes or groups ({shown}); "
            "predict all with the same --groups, or all without"
        )


def _find_image_problems(table: pa.Table) -> Iterator[str]:
    seen = table.filter(pc.fill_null(table["seen"], fill_value=False))
    if len(seen):
        yield (
            f"--predictions: {len(seen)} of {len(table)} images are in the training "
            f"set of their model ({_list_keys(seen['key'])}), so they seem easy; "
            "predict each half with the model that was trained on the other"
        )
    counts = pc.value_counts(table["key"])
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(repeated):
        rows = table.filter(pc.is_in(table["key"], value_set=repeated))
        models = pc.unique(rows["model_id"]).to_pylist()
        yield (
            f"--predictions: {len(repeated)} images have several predictions "
            f"({_list_keys(repeated)}), by {len(models)} model(s); give one prediction "
            "per image"
        )


def _list_keys(keys: pa.Array | pa.ChunkedArray) -> str:
    return list_names(sorted(keys.to_pylist()))


def _find_notes(table: pa.Table) -> Iterator[str]:
    if unknown := table["seen"].null_count:
        yield (
            f"{unknown} of {len(table)} images may be in the training set of their "
            "model, which makes them seem easier than they are"
        )


def _warn_of_models(table: pa.Table, models: Sequence[ScoredModel]) -> Iterator[str]:
    """Yield a warning for each model with suspicious predictions.

    These are models whose accuracy is at chance, whose classes are in the wrong order,
    or whose probabilities are flattened.
    """
    for model in sorted(models, key=lambda model: (model.model, model.model_id)):
        is_model = pc.and_(
            pc.equal(table["model"], model.model),
            pc.equal(table["model_id"], model.model_id),
        )
        rows = table.filter(is_model)
        output_of = {w: n for n, c in enumerate(model.classes) for w in c.wnids}
        truth = np.array([output_of.get(w, -1) for w in rows["wnid"].to_pylist()], int)
        num_outputs = max(len(model.classes), 1)
        likeliest = rows["likeliest"].to_numpy().astype(np.int64)
        counts = count_pairs(truth, likeliest, num_outputs)
        mean = pc.mean(rows["p_correct"]).as_py() or 0.0
        if problem := find_problem(counts, len(rows), 1 / num_outputs):
            yield f"warning: {model.model} {problem}"
        elif model.correct == "class" and are_flattened(
            int(np.trace(counts)),
            len(rows),
            mean_p_correct=mean,
            chance=1 / num_outputs,
        ):
            yield f"warning: {model.model} {describe_flattened(mean)}"


def _compare_models(table: pa.Table, models: Sequence[ScoredModel]) -> Iterator[str]:
    """Yield notes that help to judge whether the models' scores are comparable."""
    if len({(m.model, m.preprocessing_sha256) for m in models}) > 1:
        names = ", ".join(sorted({m.model for m in models}))
        yield (
            f"images are scored by different models ({names}), whose scores are not "
            "comparable; use one architecture and preprocessing for all images"
        )
    means = table.group_by(["split", "model_id"]).aggregate([("p_correct", "mean")])
    rows = means.sort_by([("split", "ascending"), ("model_id", "ascending")])
    if len(rows) > 1:
        shown = ", ".join(
            f"{row['p_correct_mean']:.4f} of {row['split']} by {row['model_id'][:8]}"
            for row in rows.to_pylist()
        )
        yield f"mean p_correct: {shown}"


def _to_difficulty(table: pa.Table) -> pa.Table:
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
