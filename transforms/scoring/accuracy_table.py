"""A CSV file of models and scores → its rows, as texts."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from transforms import storage
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
