"""Read CSV tables that users supply: bounded, in UTF-8, with line numbers in errors."""

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transforms import storage

DELIMITERS = {".csv": ",", ".tsv": "\t"}  # by suffix


class CsvError(ValueError):
    """A file that is not a readable table.

    Attributes:
      line: the line of the file, from 1; None where the error concerns the whole file.
      reason: what is wrong, and the remedy.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason = reason
        self.line = line


class Row(NamedTuple):
    """A row of a table.

    Attributes:
      line: the line of the file where the row starts, from 1; quoted cells may span
        several lines.
      cells: without surrounding white space; no cell for an empty line.
      is_blank: whether no cell has a character, not even a space.
    """

    line: int
    cells: list[str]
    is_blank: bool


def read_text(path: str, *, max_bytes: int) -> str:
    """Read a text file of bounded size from storage.

    Raises:
      CsvError: the file is missing, unreadable, too large, or not UTF-8.
    """
    try:
        if storage.num_bytes(path) > max_bytes:
            raise CsvError(f"is larger than {max_bytes // 10**6} MB")
        data = storage.read(path)
    except OSError as error:
        raise CsvError((error.strerror or str(error)).lower()) from None
    return decode(data)


def decode(data: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
      CsvError: the data are in another encoding, or are not text.
    """
    check_byte_order_mark(data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CsvError(
            f"is not UTF-8: line {line} has the byte 0x{data[error.start]:02x}, as "
            "Windows code pages write it; save it as UTF-8"
        ) from None


def check_byte_order_mark(data: bytes) -> None:
    """Refuse data that start with the byte order mark of UTF-16 or UTF-32.

    Raises:
      CsvError: they do.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CsvError("is UTF-16 text; save it as UTF-8")


def parse_rows(
    text: str, *, delimiter: str = ",", is_strict: bool = True
) -> Iterator[Row]:
    """Yield all rows of a table, the header and empty lines included.

    Args:
      text: text of the table.
      delimiter: between cells.
      is_strict: whether malformed quotes are errors.

    Raises:
      CsvError: quotes are malformed, a cell exceeds the limit of the csv module, or the
        text has NUL characters, as UTF-16 without a byte order mark has.
    """
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CsvError("has a NUL byte; save the table as UTF-8 text", line)
    file = io.StringIO(text, newline="")
    reader = csv.reader(file, delimiter=delimiter, strict=is_strict)
    line = 1
    try:
        for cells in reader:
            yield Row(line, [cell.strip() for cell in cells], not any(cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise CsvError(f"{error}; check the quotes", line) from None


def parse_table(text: str, *, delimiter: str = ",") -> tuple[list[str], Iterator[Row]]:
    """Parse a table with a header.

    Returns:
      The header, empty without a first line, and an iterator of the other rows without
      blank ones, whose lengths are not checked.

    Raises:
      CsvError: quotes are malformed.
    """
    rows = parse_rows(text, delimiter=delimiter)
    header = next(rows, None)
    cells = [] if header is None else header.cells
    return cells, (row for row in rows if not row.is_blank)


def find_length_problem(row: Row, header: Sequence[str]) -> str | None:
    """Describe a row that has more or fewer cells than the header; None if it fits."""
    if len(row.cells) == len(header):
        return None
    return (
        f"has {len(row.cells)} fields where the header has {len(header)}; quote fields "
        "that contain the delimiter"
    )


def find_repeated(header: Sequence[str]) -> str | None:
    """Return the first column name that a header has more than once."""
    return next((name for name in header if header.count(name) > 1), None)
