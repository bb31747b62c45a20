"""Read UTF-8 CSV tables from users, and write tables.

Reading has size limits, and its errors have line numbers.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from transforms import storage

DELIMITERS = {".csv": ",", ".tsv": "\t"}  # by suffix
DELIMITER_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # Excel's
_MARKS = (  # UTF-32 first: its mark starts with that of UTF-16
    ("UTF-32", (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
    ("UTF-16", (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
)


class CsvError(ValueError):
    """Raised when a file is not a readable table.

    Attributes:
      line: line number in the file, from 1; None if the error concerns the whole file.
      reason: the problem and its remedy.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason = reason
        self.line = line


class Row(NamedTuple):
    """A row of a table.

    Attributes:
      line: number of the line where the row starts, from 1; a row with quoted cells may
        span several lines.
      cells: the cells, without surrounding white space; empty for an empty line.
      is_blank: whether all cells are empty; cells with only spaces are not empty.
    """

    line: int
    cells: list[str]
    is_blank: bool


def to_csv(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> bytes:
    """Serialise rows of cells with a header; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue().encode()


def read_text(path: str, *, max_bytes: int) -> str:
    """Read a UTF-8 text file of at most `max_bytes` from local or remote storage.

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
      CsvError: the data are not UTF-8.
    """
    if encoding := _find_wide_encoding(data):
        raise CsvError(f"is {encoding} text; {_convert_from(encoding)}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CsvError(
            f"is not UTF-8: line {line} has the byte 0x{data[error.start]:02x}, as "
            "Windows code pages and Latin-1 write letters with accents; "
            f"{_convert_from('WINDOWS-1252')}"
        ) from None


def _find_wide_encoding(data: bytes) -> str:
    """Return "UTF-16" or "UTF-32" if the data seem to have that encoding, else "".

    UTF-32 is recognised only by its byte order mark.
    """
    for encoding, marks in _MARKS:
        if data.startswith(marks):
            return encoding
    # ASCII in UTF-16 has a NUL in every pair of bytes.
    first = data[:64]
    is_wide = len(first) >= 4 and any(
        not any(first[start::2]) and all(first[1 - start :: 2]) for start in (0, 1)
    )
    return "UTF-16" if is_wide else ""


def _convert_from(encoding: str) -> str:
    return (
        f"save it as UTF-8 (in Excel: CSV UTF-8), or convert it: iconv -f {encoding} "
        "-t UTF-8"
    )


def parse_rows(
    text: str, *, delimiter: str = ",", is_strict: bool = True
) -> Iterator[Row]:
    """Yield all rows of a table, including the header and empty lines.

    Args:
      text: text of the table.
      delimiter: character that separates cells.
      is_strict: whether malformed quotes are errors.

    Raises:
      CsvError: quotes are malformed, a cell exceeds the size limit of the csv module,
        the text has NUL characters, or cells are separated by another delimiter.
    """
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CsvError("has a NUL byte; save the table as UTF-8 text", line)
    num_skipped = 0
    if marked := _SEPARATOR_LINE.match(text):
        _check_delimiter(marked[1], delimiter, 1)
        text, num_skipped = text[marked.end() :], 1
    file = io.StringIO(text, newline="")
    reader = csv.reader(file, delimiter=delimiter, strict=is_strict)
    first = line = 1 + num_skipped
    try:
        for cells in reader:
            if line == first and len(cells) == 1:
                _check_delimiter(cells[0], delimiter, line)
            yield Row(line, [cell.strip() for cell in cells], not any(cells))
            line = reader.line_num + 1 + num_skipped
    except csv.Error as error:
        raise CsvError(f"{error}; check the quotes", line) from None


def _check_delimiter(text: str, expected: str, line: int) -> None:
    """Raise CsvError if a header of a single cell contains another delimiter.

    Args:
      text: the header, or the delimiter that Excel's line `sep=` declares.
      expected: delimiter that the table should have.
      line: line number, for the message.
    """
    for delimiter, name in DELIMITER_NAMES.items():
        if delimiter in text and delimiter != expected:
            wanted = DELIMITER_NAMES[expected]
            raise CsvError(
                f"its cells are separated by {name}, not by {wanted}; save it with "
                f"{wanted}, and numbers with decimal points",
                line,
            )


def parse_table(text: str, *, delimiter: str = ",") -> tuple[list[str], Iterator[Row]]:
    """Parse a table with a header; drop empty columns on the right, which Excel adds.

    Returns:
      The header cells (empty if the text is empty), and an iterator of the other rows.
      Blank rows are skipped; the lengths of rows are not checked.

    Raises:
      CsvError: as in `parse_rows`; also raised while iterating.
    """
    rows = parse_rows(text, delimiter=delimiter)
    header = next(rows, None)
    cells = _cut_empty([] if header is None else header.cells, 0)
    return cells, (
        row._replace(cells=_cut_empty(row.cells, len(cells)))
        for row in rows
        if not row.is_blank
    )


def _cut_empty(cells: list[str], min_length: int) -> list[str]:
    """Drop empty cells at the end, but keep at least the first `min_length` cells."""
    length = len(cells)
    while length > min_length and not cells[length - 1]:
        length -= 1
    return cells[:length]


def find_length_problem(row: Row, header: Sequence[str]) -> str | None:
    """Return a message if a row and its header differ in length, otherwise None."""
    if len(row.cells) == len(header):
        return None
    return (
        f"has {len(row.cells)} fields where the header has {len(header)}; quote fields "
        "that contain the delimiter"
    )


def find_repeated(header: Sequence[str]) -> str | None:
    """Return the first column name that is repeated in a header, or None."""
    return next((name for name in header if header.count(name) > 1), None)
