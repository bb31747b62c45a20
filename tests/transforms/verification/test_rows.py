"""Test that checks become rows, for any outcome."""

import pytest

from transforms.records import DataError
from transforms.verification import results as check_results
from transforms.verification.results import Problems, Row


def yield_then(*problems: str, error: Exception | None = None) -> Problems:
    yield from problems
    if error is not None:
        raise error
    return "what was seen"


def test_check_without_problems_is_ok():
    row = check_results.run("name", yield_then)
    assert row == Row("name", check_results.OK, "what was seen")
    row = check_results.run("name", lambda: yield_then("a"))
    assert row.detail == "1 problem; what was seen"


def test_problems_are_counted_and_five_are_shown():
    row = check_results.run("name", lambda: yield_then(*"abcdefg"))
    assert row == Row(
        "name", check_results.MISMATCH, "7 problems; what was seen", tuple("abcde")
    )


def test_warning_stays_a_warning_unless_a_file_is_unreadable():
    found = check_results.WARNING
    assert check_results.run("", lambda: yield_then("a"), found=found).result == found
    broken = check_results.run(
        "", lambda: yield_then("a", error=DataError("x")), found=found
    )
    assert broken.result == check_results.MISMATCH


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file", "a/b"), "a/b: No such file"),
        (KeyError("seed"), "KeyError: 'seed'"),
        (ValueError("two\nlines\x1b[0m"), "ValueError: two lines?[0m"),
    ],
    ids=["missing file", "missing key", "two lines"],
)
def test_what_damage_raises_is_one_line(error, text):
    row = check_results.run("", lambda: yield_then(*"abcdef", error=error))
    assert row.examples == (*"abcd", text)
    assert row.detail == "7 problems; check aborted"


def test_fault_of_ours_is_raised():
    with pytest.raises(NotImplementedError):
        check_results.run("", lambda: yield_then(error=NotImplementedError()))


def test_table_is_aligned():
    table = check_results.format_table([
        Row("keys", check_results.OK, "60 written"),
        Row("counts", check_results.MISMATCH, "1 problem", ("totals differ",)),
    ])
    assert table.splitlines()[2:] == [
        "keys   | ok       | 60 written",
        "counts | MISMATCH | 1 problem",
        "       |          |   totals differ",
    ]
    assert {line.index("|") for line in table.splitlines() if "|" in line} == {7}
