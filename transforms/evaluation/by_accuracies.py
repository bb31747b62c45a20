"""A CSV file of models and scores → its rows, as texts."""

import csv
import io
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeAlias

import numpy as np

from transforms import storage
from transforms.arrays import FloatArray
from transforms.evaluation import ranking
from transforms.evaluation.ranking import RankAgreement
from transforms.records import UsageError

Row: TypeAlias = Mapping[str, str]  # by column

_MAX_BYTES = 50_000_000


def read_table(path: str) -> list[Row]:
    """Read a table.

    Raises: UsageError: it is not there, too large, or no table.
    """
    try:
        if storage.num_bytes(path) > _MAX_BYTES:
            raise UsageError(
                f"--accuracies {path}: is larger than {_MAX_BYTES // 10**6} MB, which "
                "no table of models is"
            )
        rows = list(_parse(storage.read(path).decode("utf-8-sig")))
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise UsageError(f"--accuracies {path}: {what}; name a CSV file") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"--accuracies {path}: is not text; save it as CSV in UTF-8"
        ) from None
    except ValueError as error:
        raise UsageError(f"--accuracies {path}: {error}") from None
    if not rows:
        raise UsageError(f"--accuracies {path}: has no rows; give a header and models")
    return rows


def _parse(text: str) -> Iterator[Row]:
    """Yield the rows.

    Raises: ValueError: what is wrong, with its line.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if twice := [name for name, count in Counter(header).items() if count > 1]:
            raise ValueError(f"has the column {twice[0]!r:.40} twice; rename one")
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"line {reader.line_num} has {len(cells)} fields, the header "
                    f"{len(header)}; quote what holds a comma"
                )
            yield {name: c.strip() for name, c in zip(header, cells, strict=True)}
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}; check the quotes") from None


# A column of these is no accuracy, or none that is better when it is higher.
_LOWER_IS_BETTER = re.compile("err|loss|rank|param|diff|time|msec")
_USUAL_KEYS = ("model", "img_size", "crop_pct")  # as timm's tables are told apart
_USUAL_COLUMNS = ("top1", "accuracy")
_SHOWN = 3

Key = tuple[str, ...]
Rows = Sequence[Row]


@dataclass(frozen=True, kw_only=True, eq=False)
class AccuracyEvaluation:
    """Two columns of scores of the same models.

    Attributes:
      models: what tells the rows apart, one text a row.
      columns: the names of both.
      tables: the names of the files that they stand in.
      full: shape (models,), the first column.
      subset: shape (models,), the second.
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
        """What tells both columns apart for people."""
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
    seed: int = 0,
) -> AccuracyEvaluation:
    """Compare two columns of scores, any that are better when they are higher.

    Args:
      paths: two files, or one that has both columns.
      key_columns: what together tells rows apart; else those of model, img_size and
        crop_pct that all files have.
      columns: the score in both files, or one of each; else the usual name, or the only
        column of numbers.
      seed: what the interval's draws are hashed from.
    Raises: UsageError: all that is wrong with the tables.
    """
    tables = [read_table(path) for path in paths]
    keys = _choose_keys(tables, paths, key_columns)
    chosen = _choose_columns(tables, paths, keys, columns)
    full, subset = (
        _index(table, path, keys, column)
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
    return AccuracyEvaluation(
        models=tuple(" · ".join(key) for key in shared),
        key_columns=keys,
        columns=chosen,
        tables=(PurePath(paths[0]).stem, PurePath(paths[-1]).stem),
        full=first,
        subset=second,
        ranks=ranking.compare_ranks(first, second, seed=seed),
        warnings=tuple(
            _warn_of_unmatched(own, other, path)
            for own, other, path in (
                (full, subset, paths[0]),
                (subset, full, paths[-1]),
            )
            if own.keys() - other.keys()
        ),
    )


def _warn_of_unmatched(
    own: Mapping[Key, float], other: Mapping[Key, float], path: str
) -> str:
    unmatched = [" · ".join(key) for key in own if key not in other]
    more = ", …" if len(unmatched) > _SHOWN else ""
    return (
        f"{len(unmatched)} rows of {PurePath(path).name} have no partner in the other "
        f"table and are left out: {', '.join(unmatched[:_SHOWN])}{more}"
    )


def _choose_keys(
    tables: Sequence[Rows], paths: Sequence[str], given: Sequence[str]
) -> Key:
    """Choose the columns that tell rows apart."""
    shared = [name for name in tables[0][0] if all(name in t[0] for t in tables)]
    problems = [
        f"--key_columns {name}: is no column of {path} ({', '.join(table[0])})"
        for name in given
        for table, path in zip(tables, paths, strict=True)
        if name not in table[0]
    ]
    keys = tuple(given) or tuple(name for name in _USUAL_KEYS if name in shared)
    if not keys:
        problems.append(
            "--key_columns: is required, as no column is called model (which columns "
            f"tell the rows apart, of {', '.join(shared) or 'none in both'})"
        )
    if problems:
        raise UsageError("\n".join(problems))
    for table, path in zip(tables, paths, strict=True):
        _check_unique(table, path, keys, shared)
    return keys


def _check_unique(table: Rows, path: str, keys: Key, candidates: Sequence[str]) -> None:
    """Refuse rows that the keys do not tell apart: joined, they would multiply."""
    counts = Counter(_key(row, keys) for row in table)
    twice = [key for key, count in counts.items() if count > 1]
    if not twice:
        return
    raise UsageError(
        f"--key_columns {','.join(keys)}: do not tell the {len(table)} rows of {path} "
        f"apart ({len(counts)} are left; {len(twice)} stand there more than once, e.g. "
        f"{'; '.join(' · '.join(key) for key in twice[:_SHOWN])}); "
        f"{_find_remedy(table, keys, candidates)}"
    )


def _find_remedy(table: Rows, keys: Key, candidates: Sequence[str]) -> str:
    """Find which columns more would tell rows apart, the fewest, the first ones."""
    others = [
        name
        for name in dict.fromkeys((*_USUAL_KEYS, *candidates))
        if name in candidates and name not in {*keys, *_USUAL_COLUMNS}
        if name in _USUAL_KEYS or not _has_fractions(name, table)
    ]
    for count in (1, 2, 3):
        for more in itertools.combinations(others, count):
            wanted = (*keys, *more)
            if len({_key(row, wanted) for row in table}) == len(table):
                return f"give --key_columns {','.join(wanted)}"
    return "keep one row of each, or add a column that tells them apart"


def _has_fractions(name: str, table: Rows) -> bool:
    """Tell whether a column looks like results, which tell rows apart by luck."""
    return any(_is_number(row[name]) and float(row[name]) % 1 for row in table)


def _key(row: Row, keys: Key) -> Key:
    return tuple(_canonical(row[name]) for name in keys)


def _canonical(cell: str) -> str:
    """Write a number in one way: 1.0 and 1.000 are the same crop."""
    return f"{float(cell):.12g}" if _is_number(cell) else cell


def _choose_columns(
    tables: Sequence[Rows], paths: Sequence[str], keys: Key, given: Sequence[str]
) -> tuple[str, str]:
    """Choose the score of each set."""
    if len(tables) == 1 and len(given) != 2:
        raise UsageError(
            f"--columns: one table needs two, of {_list_numbers(tables[0], keys)}"
        )
    if given:
        chosen = (given[0], given[-1])
        problems = [
            f"--columns {name}: is no column of {path}, which has "
            f"{_list_numbers(table, keys)}"
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
    numbers = _find_numbers(table, keys)
    usual = [name for name in _USUAL_COLUMNS if name in numbers]
    if usual:
        return usual[0]
    if len(numbers) == 1 and not _LOWER_IS_BETTER.search(numbers[0].lower()):
        return numbers[0]
    raise UsageError(
        f"--columns: is required for {path} (which holds the score, of "
        f"{_list_numbers(table, keys)})"
    )


def _find_numbers(table: Rows, keys: Key) -> list[str]:
    return [
        name
        for name in table[0]
        if name not in keys and all(_is_number(row[name]) for row in table)
    ]


def _list_numbers(table: Rows, keys: Key) -> str:
    return ", ".join(_find_numbers(table, keys)) or "which there is none of numbers"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _index(table: Rows, path: str, keys: Key, column: str) -> dict[Key, float]:
    """Return each row's score by its key."""
    wrong = [row for row in table if not _is_number(row[column])]
    if wrong:
        raise UsageError(
            f"--columns {column}: of {len(wrong)} rows of {path} it is no number, e.g. "
            f"{wrong[0][column]!r:.30} of {' · '.join(_key(wrong[0], keys))}; leave "
            "these rows out, or name another column"
        )
    return {_key(row, keys): float(row[column]) for row in table}
