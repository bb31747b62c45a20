"""Compare the model rankings of two score columns, from one or two CSV tables."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeAlias

import numpy as np

from transforms import csv_tables
from transforms.arrays import FloatArray
from transforms.csv_tables import CsvError
from transforms.evaluation import discordance, ranking, recommendation
from transforms.evaluation.ranking import RankAgreement
from transforms.records import UsageError

_MAX_BYTES = 50_000_000
# Matches names of numeric columns that are not scores, or where lower is better.
_LOWER_IS_BETTER = re.compile("err|loss|rank|param|diff|time|msec")
_DEFAULT_KEYS = ("model", "img_size", "crop_pct")  # identify the rows of timm's tables
_DEFAULT_COLUMNS = ("top1", "accuracy")
_SHOWN = 3

Row: TypeAlias = Mapping[str, str]  # by column
Rows: TypeAlias = Sequence[Row]
Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class AccuracyEvaluation:
    """Two score columns of the same models, and the agreement of their rankings.

    Attributes:
      models: the key of each row that both tables have, joined into one string.
      key_columns: names of the columns that identify a row.
      columns: names of the two score columns.
      tables: file name of each column's table, without folder or suffix.
      full: shape (models,), scores of the first column.
      subset: shape (models,), scores of the second column.
      ranks: agreement of the two rankings.
      warnings: messages about rows that only one of the tables has.
    """

    models: tuple[str, ...]
    key_columns: tuple[str, ...]
    columns: tuple[str, str]
    tables: tuple[str, str]
    full: FloatArray
    subset: FloatArray
    ranks: RankAgreement
    warnings: tuple[str, ...]

    @property
    def names(self) -> tuple[str, str]:
        """The names of the two columns; if they are equal, with those of the tables."""
        if len(set(self.columns)) == len(self.columns):
            return self.columns
        first, second = self.tables
        column, _ = self.columns
        return f"{column} of {first}", f"{column} of {second}"


def evaluate_accuracies(
    paths: Sequence[str],
    *,
    key_columns: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> AccuracyEvaluation:
    """Compare the model rankings of two score columns; higher scores are better.

    Args:
      paths: two CSV files, or one that contains both columns.
      key_columns: columns that together identify a row; by default those of model,
        img_size and crop_pct that every file has.
      columns: names of the two score columns, or one name for both. One file requires
        two names. By default top1, accuracy, or the only numeric column unless its name
        suggests that lower is better.

    Raises:
      UsageError: a table is unreadable, the columns do not identify rows and scores, or
        fewer than three rows are in both tables.
    """
    tables = [read_table(path) for path in paths]
    keys = _choose_keys(tables, paths, key_columns)
    chosen = _choose_columns(tables, paths, keys, columns)
    full, subset = (
        _index_scores(table, path, keys, column)
        for table, path, column in zip(
            (tables[0], tables[-1]), (paths[0], paths[-1]), chosen, strict=True
        )
    )
    shared = [key for key in full if key in subset]
    if len(shared) < ranking.MIN_MODELS:
        raise UsageError(
            f"--accuracies: {len(shared)} rows have the same {', '.join(keys)} in both "
            f"files; a ranking needs {ranking.MIN_MODELS} or more"
        )
    first = np.array([full[key] for key in shared])
    second = np.array([subset[key] for key in shared])
    models = tuple(_join(key) for key in shared)
    families = discordance.find_families(models)
    return AccuracyEvaluation(
        models=models,
        key_columns=keys,
        columns=chosen,
        tables=(PurePath(paths[0]).stem, PurePath(paths[-1]).stem),
        full=first,
        subset=second,
        ranks=ranking.compare_ranks(first, second, families=families),
        warnings=tuple(
            _warn_of_unmatched(unmatched, path)
            for unmatched, path in (
                ([key for key in full if key not in subset], paths[0]),
                ([key for key in subset if key not in full], paths[-1]),
            )
            if unmatched
        ),
    )


def advise(evaluation: AccuracyEvaluation) -> list[str]:
    """Say in sentences whether the second column can replace the first."""
    (first, second), ranks = evaluation.names, evaluation.ranks
    if ranks.tau is None:
        return ["none, since all models tie in a column."]
    between, low, high = "", -1.0, 1.0
    if ranks.tau_interval is not None:
        low, high = ranks.tau_interval
        between = f" ({low:.3f} to {high:.3f})"
    tau = f"τ-b {ranks.tau:.3f}{between}"
    if low > 0:
        verdict = f"{second} can stand in for {first}, as far as {tau} suffices"
    elif high < 0:
        verdict = f"do not use {second} for {first}: it reverses the ranking, {tau}"
    else:
        verdict = f"undecided whether {second} can stand in for {first}: {tau}"
    loss = "is also the best" if ranks.regret == 0 else f"loses {ranks.regret:.4g}"
    return [
        f"{verdict}. The model that is best by {second} {loss} by {first}.",
        "The tables do not state the number of images, so the noise of the scores is "
        "unknown.",
    ]


_LEGEND = {
    "models": "models in both columns",
    "tau": "Kendall's tau-b of the two columns",
    "95 %": "confidence interval of tau over the choice of models",
    "Spearman": "Spearman's rank correlation",
    "top half": "tau-b of the half of the models that is better by the first column",
    "regret": "score of the best model by the first column, minus the score there of "
    "the model that is best by the second",
}


def format_columns(evaluation: AccuracyEvaluation) -> str:
    """Format the agreement as a plain-text table with legend and recommendation."""
    ranks = evaluation.ranks
    tau, spearman, top_half = (
        "-" if value is None else f"{value:.3f}"
        for value in (ranks.tau, ranks.spearman, ranks.top_half_tau)
    )
    interval = "-"
    if ranks.tau_interval is not None:
        interval = "{:.3f}…{:.3f}".format(*ranks.tau_interval)
    count, regret = str(len(evaluation.models)), f"{ranks.regret:.4g}"
    row = (count, tau, interval, spearman, top_half, regret)
    return recommendation.format_table(_LEGEND, [row], advice=advise(evaluation))


def read_table(path: str) -> list[Row]:
    """Read a CSV table of models and scores.

    Raises:
      UsageError: the file is missing or too large, or is not a table with rows and
        distinct columns.
    """
    try:
        rows = _parse(csv_tables.read_text(path, max_bytes=_MAX_BYTES))
    except CsvError as error:
        raise UsageError(f"--accuracies {path}: {error}") from None
    if not rows:
        raise UsageError(f"--accuracies {path}: has no rows; give a header and models")
    return rows


def _parse(text: str) -> list[Row]:
    header, table_rows = csv_tables.parse_table(text)
    if repeated := csv_tables.find_repeated(header):
        raise CsvError(f"has the column {repeated!r:.40} twice; rename one")
    rows: list[Row] = []
    for row in table_rows:
        if problem := csv_tables.find_length_problem(row, header):
            raise CsvError(problem, row.line)
        rows.append(dict(zip(header, row.cells, strict=True)))
    return rows


def _join(key: Key) -> str:
    return " · ".join(key)


def _warn_of_unmatched(keys: Sequence[Key], path: str) -> str:
    more = ", …" if len(keys) > _SHOWN else ""
    return (
        f"{len(keys)} rows of {PurePath(path).name} are missing in the other table and "
        f"are left out: {', '.join(map(_join, keys[:_SHOWN]))}{more}"
    )


def _choose_keys(
    tables: Sequence[Rows], paths: Sequence[str], requested: Sequence[str]
) -> Key:
    """Choose the columns that identify rows: the requested or default ones.

    Raises:
      UsageError: a column is missing, there is no default, or several rows of a table
        have the same key.
    """
    shared = [name for name in tables[0][0] if all(name in t[0] for t in tables)]
    problems = [
        f"--key_columns {name}: {path} has no such column ({', '.join(table[0])})"
        for name in requested
        for table, path in zip(tables, paths, strict=True)
        if name not in table[0]
    ]
    keys = tuple(requested) or tuple(name for name in _DEFAULT_KEYS if name in shared)
    if not keys:
        problems.append(
            "--key_columns: is required, as no column is called model; give the "
            f"columns that identify rows, of {', '.join(shared) or 'none in both'}"
        )
    if problems:
        raise UsageError("\n".join(problems))
    for table, path in zip(tables, paths, strict=True):
        _check_unique(table, path, keys, shared)
    return keys


def _check_unique(table: Rows, path: str, keys: Key, candidates: Sequence[str]) -> None:
    """Check that no two rows share a key, since a join would multiply them.

    Args:
      table: rows of the table.
      path: path of the table, for messages.
      keys: names of the columns that identify a row.
      candidates: names of the columns that all tables have; the message suggests some
        of them.

    Raises:
      UsageError: several rows have the same key.
    """
    counts = Counter(_find_key(row, keys) for row in table)
    repeated = [key for key, count in counts.items() if count > 1]
    if not repeated:
        return
    raise UsageError(
        f"--key_columns {','.join(keys)}: do not identify the {len(table)} rows of "
        f"{path}: {len(counts)} keys are distinct, {len(repeated)} are repeated, e.g. "
        f"{'; '.join(map(_join, repeated[:_SHOWN]))}; "
        f"{_find_remedy(table, keys, candidates)}"
    )


def _find_remedy(table: Rows, keys: Key, candidates: Sequence[str]) -> str:
    """Suggest the fewest additional key columns, up to three, that make keys unique.

    If there are none, suggest to change the table.
    """
    others = [
        name
        for name in dict.fromkeys((*_DEFAULT_KEYS, *candidates))
        if name in candidates and name not in {*keys, *_DEFAULT_COLUMNS}
        if name in _DEFAULT_KEYS or not _has_fractions(row[name] for row in table)
    ]
    for count in (1, 2, 3):
        for more in itertools.combinations(others, count):
            wanted = (*keys, *more)
            if len({_find_key(row, wanted) for row in table}) == len(table):
                return f"give --key_columns {','.join(wanted)}"
    return "keep one row of each, or add a column that distinguishes them"


def _has_fractions(cells: Iterable[str]) -> bool:
    """Return whether any number has a fractional part, which makes a poor key."""
    return any(_is_number(cell) and float(cell) % 1 for cell in cells)


def _find_key(row: Row, keys: Key) -> Key:
    return tuple(_canonical(row[name]) for name in keys)


def _canonical(cell: str) -> str:
    """Normalise the format of a number, e.g. 1.000 to 1; return other text as it is."""
    return f"{float(cell):.12g}" if _is_number(cell) else cell


def _choose_columns(
    tables: Sequence[Rows],
    paths: Sequence[str],
    keys: Key,
    requested: Sequence[str],
) -> tuple[str, str]:
    """Choose the score columns of the full set and of the subset.

    Args:
      tables: one or two tables.
      paths: the path of each table, for messages.
      keys: names of the columns that identify a row.
      requested: one or two column names; empty to guess them.

    Raises:
      UsageError: a column is missing or cannot be guessed, or one table is given
        without two columns.
    """
    if len(tables) == 1 and len(requested) != 2:
        raise UsageError(
            "--columns: one table needs two columns, of "
            f"{_list_numeric(tables[0], keys)}"
        )
    if requested:
        chosen = (requested[0], requested[-1])
        problems = [
            f"--columns {name}: {path} has no such column; its numeric columns are "
            f"{_list_numeric(table, keys)}"
            for name, table, path in zip(
                chosen, (tables[0], tables[-1]), (paths[0], paths[-1]), strict=True
            )
            if name not in table[0]
        ]
        if problems:
            raise UsageError("\n".join(problems))
        return chosen
    first, second = (
        _guess_column(table, path, keys)
        for table, path in zip(tables, paths, strict=True)
    )
    return first, second


def _guess_column(table: Rows, path: str, keys: Key) -> str:
    numeric = _find_numeric(table, keys)
    for name in _DEFAULT_COLUMNS:
        if name in numeric:
            return name
    if len(numeric) == 1 and not _LOWER_IS_BETTER.search(numeric[0].lower()):
        return numeric[0]
    raise UsageError(
        f"--columns: is required for {path}; give the column of the score, of "
        f"{_list_numeric(table, keys)}"
    )


def _find_numeric(table: Rows, keys: Key) -> list[str]:
    return [
        name
        for name in table[0]
        if name not in keys and all(_is_number(row[name]) for row in table)
    ]


def _list_numeric(table: Rows, keys: Key) -> str:
    return ", ".join(_find_numeric(table, keys)) or "no numeric column"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _index_scores(table: Rows, path: str, keys: Key, column: str) -> dict[Key, float]:
    """Return each row's score by its key.

    Raises:
      UsageError: a score is not a finite number.
    """
    bad_rows = [row for row in table if not _is_number(row[column])]
    if bad_rows:
        raise UsageError(
            f"--columns {column}: {len(bad_rows)} rows of {path} have no number in it, "
            f"e.g. {bad_rows[0][column]!r:.30} of "
            f"{_join(_find_key(bad_rows[0], keys))}; leave these rows out, or name "
            "another column"
        )
    return {_find_key(row, keys): float(row[column]) for row in table}
