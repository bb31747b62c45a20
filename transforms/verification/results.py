"""Run checks, convert their results to report rows, and format the report."""

import csv
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

import pyarrow as pa
import yaml

from transforms.records import DataError, UsageError

OK, WARNING, MISMATCH = "ok", "warning", "MISMATCH"
NOT_INSTALLED, NOT_WRITTEN, NOT_RUN = "not installed", "not written", "not run"
WITHOUT_CHECK = (NOT_INSTALLED, NOT_WRITTEN, NOT_RUN)
_EXAMPLES_SHOWN = 5
_MAX_EXAMPLE_CHARACTERS = 300

Problems = Generator[str, None, str]  # yields problems, returns a summary

# What parsers raise on damaged files. Other exceptions are bugs and propagate.
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    EOFError,
    csv.Error,
    yaml.YAMLError,
    pa.ArrowException,
    DataError,
    UsageError,
)


class Row(NamedTuple):
    """A row of the report: the result of one check, with example problems."""

    check: str
    result: str
    detail: str
    examples: tuple[str, ...] = ()


def run(name: str, check: Callable[[], Problems], *, found: str = MISMATCH) -> Row:
    """Run a check to completion and return its report row.

    Args:
      name: name of the check in the report.
      check: generator function that yields problems and returns a summary.
      found: result if the check yields problems: MISMATCH or WARNING. If the check is
        aborted by an unreadable file, the result is always MISMATCH.
    """
    problems, count, detail, result = check(), 0, "", OK
    examples: list[str] = []
    try:
        while True:
            problem = next(problems)
            count, result = count + 1, found
            if count <= _EXAMPLES_SHOWN:
                examples.append(_one_line(problem))
    except StopIteration as end:
        detail = str(end.value)
    except UNREADABLE as error:
        count, result = count + 1, MISMATCH
        examples = [*examples[: _EXAMPLES_SHOWN - 1], describe_error(error)]
        detail = "check aborted"
    if count:
        shown = f"{count} problems" if count > 1 else "1 problem"
        detail = f"{shown}; {detail}" if detail else shown
    return Row(name, result, detail, tuple(examples))


def describe_error(error: BaseException) -> str:
    """Format the error of a missing or damaged file as one line."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    return f"{type(error).__name__}: {_one_line(str(error))}"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    printable = "".join(c if c.isprintable() else "?" for c in line)
    return printable[:_MAX_EXAMPLE_CHARACTERS]


def format_table(rows: Sequence[Row]) -> str:
    """Format rows as a text table, with each row's examples on the lines below it."""
    header = Row("check", "result", "detail")
    widths = [max(len(row[column]) for row in [header, *rows]) for column in (0, 1)]
    rule = "-+-".join(["-" * widths[0], "-" * widths[1], "-" * 40])
    lines = [_format_line(header, widths), rule]
    for row in rows:
        lines.append(_format_line(row, widths))
        lines += [_format_line(Row("", "", f"  {e}"), widths) for e in row.examples]
    return "\n".join(lines)


def _format_line(row: Row, widths: Sequence[int]) -> str:
    cells = [row.check.ljust(widths[0]), row.result.ljust(widths[1]), row.detail]
    return " | ".join(cells).rstrip()
