import pytest

from transforms import csv_tables
from transforms.csv_tables import CsvError, Row


def parse(text, **settings):
    return list(csv_tables.parse_rows(text, **settings))


def test_cells_are_stripped_and_rows_have_the_line_where_they_start():
    assert parse('a , b\n" x\ny ",2\n\n,\n , \nlast,3') == [
        Row(1, ["a", "b"], is_blank=False),
        Row(2, ["x\ny", "2"], is_blank=False),
        Row(4, [], is_blank=True),
        Row(5, ["", ""], is_blank=True),
        Row(6, ["", ""], is_blank=False),
        Row(7, ["last", "3"], is_blank=False),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_all_line_endings_are_read(newline):
    rows = parse(newline.join(["a,b", "1,2", ""]))
    assert [(row.line, row.cells) for row in rows] == [(1, ["a", "b"]), (2, ["1", "2"])]


def test_delimiter_is_given_by_the_caller():
    assert parse("a,b\tc", delimiter="\t")[0].cells == ["a,b", "c"]
    assert csv_tables.DELIMITERS == {".csv": ",", ".tsv": "\t"}


def test_a_table_has_a_header_and_no_blank_rows():
    header, rows = csv_tables.parse_table("a,b\n\n,\n1,2\n3\n")
    assert header == ["a", "b"]
    assert [(row.line, row.cells) for row in rows] == [(4, ["1", "2"]), (5, ["3"])]
    header, rows = csv_tables.parse_table("")
    assert (header, list(rows)) == ([], [])


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (["1", "2"], None),
        (["1"], "has 1 fields where the header has 2; quote fields that contain the"),
        (["1", "2", "3"], "has 3 fields where the header has 2"),
    ],
)
def test_rows_of_another_length_are_described(cells, problem):
    text = csv_tables.find_length_problem(Row(3, cells, is_blank=False), ["a", "b"])
    assert text is None if problem is None else text.startswith(problem)


def test_repeated_columns_are_found():
    assert csv_tables.find_repeated(["a", "b", "c", "b", "a"]) == "a"
    assert csv_tables.find_repeated(["a", "b"]) is None


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('a\nb\n"c\nd\n', 3, "line 3: unexpected end of data; check the quotes"),
        ('a\n"b"c\n', 2, "line 2: ',' expected after '\"'; check the quotes"),
        ("a\n" + "b" * 200_000, 2, "line 2: field larger than field limit"),
        ("a\nb\0c\n", 2, "line 2: has a NUL byte; save the table as UTF-8 text"),
    ],
    ids=["open quote", "quote inside", "long field", "nul"],
)
def test_malformed_rows_are_named_by_their_line(text, line, message):
    with pytest.raises(CsvError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)
    assert caught.value.line == line
    assert str(caught.value) == f"line {line}: {caught.value.reason}"


def test_quotes_may_be_read_leniently():
    assert parse('a"b,"c"d\n', is_strict=False)[0].cells == ['a"b', "cd"]


TO_UTF8 = r"save it as UTF-8 \(in Excel: CSV UTF-8\), or convert it: iconv -f "


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a,b".encode("utf-16"), rf"is UTF-16 text; {TO_UTF8}UTF-16 -t UTF-8"),
        (b"\xfe\xff\0a", rf"is UTF-16 text; {TO_UTF8}UTF-16"),
        ("wnid,group\n".encode("utf-16-le"), "is UTF-16 text"),
        ("wnid,group\n".encode("utf-16-be"), "is UTF-16 text"),
        ("a,b".encode("utf-32"), rf"is UTF-32 text; {TO_UTF8}UTF-32"),
        (
            "name\ncafé\n".encode("cp1252"),
            r"is not UTF-8: line 2 has the byte 0xe9, as Windows code pages and Latin-"
            rf"1 write letters with accents; {TO_UTF8}WINDOWS-1252 -t UTF-8",
        ),
        ("Straße".encode("latin-1"), "line 1 has the byte 0xdf"),
    ],
    ids=["le", "be", "le unmarked", "be unmarked", "utf-32", "windows", "latin-1"],
)
def test_other_encodings_are_named_with_the_remedy(data, message):
    with pytest.raises(CsvError, match=message):
        csv_tables.decode(data)


@pytest.mark.parametrize(
    ("text", "delimiter", "line", "message"),
    [
        ("key;score\na;0,5\n", ",", 1, "separated by semicolons, not by commas"),
        ("sep=;\nkey;score\n", ",", 1, "separated by semicolons, not by commas"),
        ("SEP=,\r\nkey\tscore\n", ",", 2, "separated by tabs, not by commas"),
        ("key|score\n", ",", 1, "separated by bars, not by commas"),
        ("key,score\n", "\t", 1, "separated by commas, not by tabs; save it with tabs"),
    ],
)
def test_another_delimiter_is_named(text, delimiter, line, message):
    with pytest.raises(CsvError, match=message) as caught:
        parse(text, delimiter=delimiter)
    assert caught.value.line == line


def test_a_line_of_excel_that_names_the_delimiter_is_skipped():
    rows = parse("sep=,\r\na,b\r\n1,2\r\n")
    assert [(row.line, row.cells) for row in rows] == [(2, ["a", "b"]), (3, ["1", "2"])]


def test_delimiters_in_cells_are_no_mistake():
    assert parse('a;b,c|d\n"e\tf",1\n')[0].cells == ["a;b", "c|d"]
    assert parse("a\nb;c\n")[1].cells == ["b;c"]


def test_empty_columns_on_the_right_are_dropped():
    header, rows = csv_tables.parse_table("a,b,,\n1,2,,\n3,,,\n4,5\n6,7,8,\n")
    assert header == ["a", "b"]
    assert [row.cells for row in rows] == [
        ["1", "2"], ["3", ""], ["4", "5"], ["6", "7", "8"],
    ]  # fmt: skip


def test_text_is_read_from_storage_with_or_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "t.csv"
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + "é,b".encode())
        assert csv_tables.read_text(str(path), max_bytes=100) == "é,b"


def test_files_that_are_missing_or_too_large_are_refused(tmp_path):
    with pytest.raises(CsvError, match="no such file"):
        csv_tables.read_text(str(tmp_path / "gone.csv"), max_bytes=1)
    with pytest.raises(CsvError, match="is a directory"):
        csv_tables.read_text(str(tmp_path), max_bytes=10**9)
    (tmp_path / "t.csv").write_bytes(b"a" * 2_000_001)
    with pytest.raises(CsvError, match="is larger than 2 MB"):
        csv_tables.read_text(str(tmp_path / "t.csv"), max_bytes=2_000_000)


def test_written_cells_are_read_again():
    data = csv_tables.to_csv(("a", "b"), iter([(1, None), ("x, y", 'the "z"')]))
    assert data == b'a,b\n1,\n"x, y","the ""z"""\n'
    header, rows = csv_tables.parse_table(data.decode())
    assert header == ["a", "b"]
    assert [row.cells for row in rows] == [["1", ""], ["x, y", 'the "z"']]
