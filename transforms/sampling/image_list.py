"""Read and write lists of image names, as text, CSV or Parquet.

A list has one name per image, with or without folders and suffix, and optionally its
class (wnid, index or name) and its split. The manifest of a dataset is such a list.
"""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from transforms import csv_tables, storage
from transforms.archives import signatures
from transforms.csv_tables import CsvError
from transforms.labels import classes, image_names
from transforms.labels.lookup import ClassLookup, Identifier
from transforms.layouts import KEY_PATTERN
from transforms.records import UsageError, cut_lines

SUFFIXES = (".csv", ".parquet")  # that `write` supports
_SCHEMA = pa.schema([
    ("key", pa.string()),
    ("wnid", pa.string()),  # "" if neither the name, the folder nor a label gives it
    ("split", pa.string()),  # "" if the list does not give it
    ("name", pa.string()),  # as in the list
])
_MAX_BYTES = 500 * 10**6  # 14 million names
_MAX_ROWS = 20_000_000
# Columns by precedence, without case, spaces and underscores.
_NAME_COLUMNS = (
    *("key", "image", "imageid", "imagename", "filename", "file", "name"),
    *("path", "imagepath", "filepath"),
)
_LABEL_COLUMNS = (
    *("wnid", "synset", "classindex", "finelabel", "label", "class", "target"),
    "predictionstring",  # Kaggle's: the wnid, followed by boxes
)
_SPLITS = {
    "": "",
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **{split: split for split in ("fold_a", "fold_b")},
}
_KEY = re.compile(KEY_PATTERN)
_PARQUET_MARK = b"PAR1"
_MAX_HEADER = 1000  # characters
_NUM_NAMED_COLUMNS = 20
_SEPARATOR = re.compile(r"[,;\s]")


class _Rows(NamedTuple):
    """The cells of a list; all columns have the same length."""

    names: list[str]
    labels: list[str]  # "": none
    splits: list[str]
    numbers: list[int]  # of the lines or rows, from 1
    unit: str = "line"


def read(path: str) -> pa.Table:
    """Read and check a list of images.

    Returns:
      A table with the columns key, wnid, split and name; keys are unique.

    Raises:
      UsageError: lists the first ten problems with their line numbers.
    """
    if storage.is_folder(path):
        raise UsageError(f"--images {path}: is a folder; name a file of image names")
    if not storage.exists(path):
        raise UsageError(f"--images {path}: no such file")
    try:
        storage.check_readable(path)
        return _read(path, storage.version(path))
    except CsvError as error:
        raise UsageError(f"--images {path}: {error}") from None
    except UsageError as error:
        lines = str(error).removeprefix(f"{path}: ").splitlines()
        raise UsageError("\n".join(f"--images {path}: {x}" for x in lines)) from None


@functools.lru_cache(1)  # a job reads its list twice: to check it, and to sample
def _read(path: str, version: str) -> pa.Table:
    del version
    rows = _read_rows(path)
    if not rows.names:
        raise CsvError("lists no images; give one name per line")
    problems: list[str] = []
    columns = _parse(rows, problems)
    if problems:
        lines = cut_lines(problems, more="and {} more problems")
        raise UsageError("\n".join(lines))
    return pa.table(columns, schema=_SCHEMA)


def write(path: str, images: pa.Table) -> None:
    """Write a list that `read` accepts, as Parquet or CSV, by the suffix of the path.

    Args:
      path: path of the file.
      images: table with the columns key, wnid and split.
    """
    names = pc.binary_join_element_wise(images["key"], "JPEG", ".")
    table = pa.table(
        [names, images["wnid"], images["split"]], ["image", *_SCHEMA.names[1:3]]
    )
    with storage.replacing(path) as file:
        if path.endswith(".parquet"):
            pq.write_table(table, file, compression="zstd")
        else:
            csv.write_csv(table, file, csv.WriteOptions(quoting_style="none"))


def _read_rows(path: str) -> _Rows:
    if storage.num_bytes(path) > _MAX_BYTES:
        raise CsvError(f"is larger than {_MAX_BYTES // 10**6} MB")
    mark = storage.read_range(path, 0, min(4, storage.num_bytes(path)))
    if mark == _PARQUET_MARK:
        return _read_parquet(path)
    if path.lower().endswith(".parquet"):
        raise CsvError("is not a Parquet file; write it again, or rename it to .txt")
    if what := signatures.describe(path):
        raise CsvError(f"is {what}; give a text, CSV or Parquet file")
    text = csv_tables.read_text(path, max_bytes=_MAX_BYTES)
    suffix = path[path.rfind(".") :].lower()
    delimiter = csv_tables.DELIMITERS.get(suffix)
    header = text[:_MAX_HEADER].partition("\n")[0].strip()
    if not delimiter and _simplify(_SEPARATOR.split(header)[0]) in _NAME_COLUMNS:
        delimiter = next((d for d in "\t,; " if d in header), ",")
    rows = _read_csv(text, delimiter) if delimiter else None
    return rows or _read_text(text)


def _simplify(column: str) -> str:
    return re.sub(r"[\s_\"'-]", "", column).lower()


def _find_column(columns: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the position of the first of `names` among the columns; None if absent."""
    simple = [_simplify(column) for column in columns]
    return next((simple.index(name) for name in names if name in simple), None)


def _require_name_column(columns: Sequence[str]) -> int:
    position = _find_column(columns, _NAME_COLUMNS)
    if position is None:
        shown = ", ".join(repr(c[:40]) for c in columns[:_NUM_NAMED_COLUMNS])
        raise CsvError(
            f"has no column of image names; its columns are {shown}; name one of them "
            "image, key or file_name"
        )
    return position


def _read_csv(text: str, delimiter: str) -> _Rows | None:
    """Read a table with a header; return None if the first line names an image."""
    header, rows = csv_tables.parse_table(text, delimiter=delimiter)
    if not header:
        return _Rows([], [], [], [])
    if any(image_names.parse(cell).wnid or _is_official(cell) for cell in header):
        return None
    if repeated := csv_tables.find_repeated(header):
        raise CsvError(f"has two columns {repeated!r}; rename one")
    name = _require_name_column(header)
    label, split = _find_column(header, _LABEL_COLUMNS), _find_column(header, ["split"])
    read = _Rows([], [], [], [])
    for row in rows:
        cells = row.cells + [""] * (len(header) - len(row.cells))
        if len(cells) > len(header):
            problem = csv_tables.find_length_problem(row, header)
            raise CsvError(str(problem), row.line)
        read.names.append(cells[name])
        read.labels.append("" if label is None else cells[label])
        read.splits.append("" if split is None else cells[split])
        read.numbers.append(row.line)
    return read


def _is_official(name: str) -> bool:
    return "ILSVRC2012_val_" in name


def _read_text(text: str) -> _Rows:
    """Read one name per line, optionally followed by a class; skip comments (#)."""
    names, labels, numbers = [], [], []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.replace(",", " ").replace(";", " ").replace('"', " ").split()
        if not words or words[0].startswith("#"):
            continue
        has_label = len(words) > 1 and _is_label(words[-1])
        names.append(" ".join(words[:-1] if has_label else words))
        labels.append(words[-1] if has_label else "")
        numbers.append(number)
    if _count_lines(labels):
        labels = [""] * len(labels)
    return _Rows(names, labels, [""] * len(names), numbers)


def _is_label(word: str) -> bool:
    return word.isdecimal() or classes.is_wnid(word.lower())


def _count_lines(labels: Sequence[str]) -> bool:
    """Return whether numbers beside the names count the lines, as in train_cls.txt."""
    return any(
        all(label == str(n) for n, label in enumerate(labels, start))
        for start in (0, 1)
    )


def _read_parquet(path: str) -> _Rows:
    with storage.parquet_errors(path, "write it again"):
        file = storage.open_parquet(path)
        if file.metadata.num_rows > _MAX_ROWS:
            raise CsvError(f"has more than {_MAX_ROWS} rows")
        schema = file.schema_arrow
        names = [f.name for f in schema if not pa.types.is_nested(f.type)]
        name = names[_require_name_column(names)]
        label, split = (
            _find_column(names, _LABEL_COLUMNS),
            _find_column(names, ["split"]),
        )
        chosen = [name, *(names[n] for n in (label, split) if n is not None)]
        table = file.read(columns=chosen)
        table.validate(full=True)  # strings may be invalid UTF-8
        texts = []
        for column in chosen:
            values = table[column]
            if pa.types.is_dictionary(values.type):
                values = values.cast(values.type.value_type)
            if pa.types.is_floating(values.type):
                values = values.cast(pa.int64())
            texts.append(pc.fill_null(values.cast(pa.string()), "").to_pylist())
    blank = [""] * table.num_rows
    rest = iter(texts[1:])
    return _Rows(
        texts[0],
        next(rest) if label is not None else blank,
        next(rest) if split is not None else blank,
        list(range(1, table.num_rows + 1)),
        unit="row",
    )


def _parse(rows: _Rows, problems: list[str]) -> list[list[str]]:
    """Return the columns of `_SCHEMA`, and append a message for each problem."""
    keys: list[str] = []
    wnids: list[str] = []
    line_of: dict[str, int] = {}
    read_folder = functools.cache(_read_folder)
    find_class = functools.cache(_find_class)
    for name, label, number in zip(rows.names, rows.labels, rows.numbers, strict=True):
        folder, _, file = name.replace("\\", "/").rpartition("/")
        key, by_name = image_names.parse(file)
        by_folder = read_folder(folder)
        by_label, problem = find_class(label.strip())
        if line_of.setdefault(key, number) != number:
            before = line_of[key]
            problem = f"{name[:80]!r} is in {rows.unit} {before} already; keep one"
        if not _KEY.fullmatch(key):
            problem = f"{name[:80]!r} is not the name of an image"
        given = {by_name, by_folder, by_label} - {""}
        if len(given) > 1:
            problem = (
                f"{name[:80]!r}: its name, folder and label give different classes "
                f"({', '.join(sorted(given))}); correct it, or leave out the labels"
            )
        if problem:
            problems.append(f"{rows.unit} {number}: {problem}")
        keys.append(key)
        wnids.append(by_name or by_folder or by_label)
    splits = [_SPLITS.get(split.strip().lower()) for split in rows.splits]
    problems += [
        f"{rows.unit} {number}: split {given[:40]!r} is not one of "
        f"{', '.join(filter(None, dict.fromkeys(_SPLITS.values())))}"
        for given, split, number in zip(rows.splits, splits, rows.numbers, strict=True)
        if split is None
    ]
    return [keys, wnids, [split or "" for split in splits], list(rows.names)]


def _read_folder(folder: str) -> str:
    """Return the wnid that the last folder of a path names; "" if it names none."""
    word = folder.rpartition("/")[2][:9].lower()
    return word if classes.is_wnid(word) else ""


def _find_class(label: str) -> tuple[str, str]:
    """Return the wnid of a label and "", or "" and a message if it is unknown."""
    first = label.partition(" ")[0]
    if not label:
        return "", ""
    if classes.is_wnid(first.lower()):
        return first.lower(), ""
    identifier = Identifier("any", label)
    lookup = _make_lookup()
    wnid = lookup.find(identifier)
    return (wnid, "") if wnid else ("", lookup.explain(identifier))


@functools.cache
def _make_lookup() -> ClassLookup:
    return ClassLookup(())
