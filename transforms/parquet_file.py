"""Images and labels → the bytes of a Parquet file, in which each image lies whole.

    PAR1 │ row group: image.bytes, a page an image │ a page of each other column │ …
         │ footer │ its length │ PAR1

Encoded by hand: the place of an image's bytes is known when it is appended, no more
than one image is held, and equal rows are equal bytes whatever library is installed.
Nothing is compressed: JPEG files do not shrink.
Source: apache/parquet-format: parquet.thrift and Encodings.md (PLAIN, RLE); Apache
Thrift, "Compact protocol encoding".
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from transforms.examples import varint

ROWS_PER_GROUP = 100  # as Hugging Face's images: some megabytes are read at once
_MAGIC = b"PAR1"
_CREATED_BY = b"imagenet-subsets"
_VERSION = 1
_INT64, _BYTE_ARRAY = 2, 6  # physical types
_OPTIONAL, _UTF8, _STRING = 1, 0, 1
_PLAIN, _RLE = 0, 3
_DATA_PAGE, _UNCOMPRESSED = 0, 0
_I16, _I32, _I64, _BINARY, _LIST, _STRUCT = 4, 5, 6, 8, 9, 12  # Thrift's types

Value = bytes | str | int
_ThriftField = tuple[int, int, bytes]  # number, type, content


class Column(NamedTuple):
    """A column that holds values; its path has a group before the name, or none."""

    path: tuple[str, ...]
    kind: type[bytes] | type[str] | type[int]


class _Chunk(NamedTuple):
    """One column of one row group, as it was written."""

    offset: int
    num_bytes: int


class _RowGroup(NamedTuple):
    """One row group, as it was written."""

    chunks: Sequence[_Chunk]
    num_rows: int


class Writer:
    """Writes one file, front to back.

    Args:
      write: appends bytes to it.
      columns: the first one's values are images.
      metadata: texts of the file, by key.
      rows_per_group: how many are read at once.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        columns: Sequence[Column],
        metadata: Mapping[str, str],
        *,
        rows_per_group: int = ROWS_PER_GROUP,
    ) -> None:
        self._append = write
        self._columns = columns
        self._metadata = metadata
        self._rows_per_group = rows_per_group
        self._position = 0
        self._group_start = 0
        self._rows: list[Sequence[Value]] = []  # that lack all but their images
        self._groups: list[_RowGroup] = []
        self._write(_MAGIC)

    def add(self, image: bytes, others: Sequence[Value]) -> int:
        """Append a row: the first column's value, then the others'.

        Returns: Where in the file the image's bytes begin.
        """
        if not self._rows:
            self._group_start = self._position
        self._write(_make_page(self._columns[0], [image]))
        self._rows.append(others)
        end = self._position
        if len(self._rows) == self._rows_per_group:
            self._end_group()
        return end - len(image)

    def close(self) -> None:
        """Write what is waiting, and the footer."""
        if self._rows:
            self._end_group()
        footer = _make_footer(self._columns, self._groups, self._metadata)
        self._write(footer + struct.pack("<I", len(footer)) + _MAGIC)

    def _write(self, data: bytes) -> None:
        self._append(data)
        self._position += len(data)

    def _end_group(self) -> None:
        chunks = [_Chunk(self._group_start, self._position - self._group_start)]
        values_of = zip(*self._rows, strict=True)
        for column, values in zip(self._columns[1:], values_of, strict=True):
            page = _make_page(column, values)
            chunks.append(_Chunk(self._position, len(page)))
            self._write(page)
        self._groups.append(_RowGroup(chunks, len(self._rows)))
        self._rows = []


def _make_page(column: Column, values: Sequence[Value]) -> bytes:
    """Make a page: header, levels that say that every value is there, the values."""
    level = varint(len(values) << 1) + bytes([len(column.path)])
    content = [struct.pack("<I", len(level)), level, *map(_encode_value, values)]
    num_bytes = sum(map(len, content))
    data_header = _struct(
        (1, _I32, _number(len(values))),
        (2, _I32, _number(_PLAIN)),
        (3, _I32, _number(_RLE)),
        (4, _I32, _number(_RLE)),
    )
    header = _struct(
        (1, _I32, _number(_DATA_PAGE)),
        (2, _I32, _number(num_bytes)),
        (3, _I32, _number(num_bytes)),
        (5, _STRUCT, data_header),
    )
    return b"".join([header, *content])


def _encode_value(value: Value) -> bytes:
    if isinstance(value, int):
        return struct.pack("<q", value)
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(data)) + data


def _make_footer(
    columns: Sequence[Column],
    groups: Sequence[_RowGroup],
    metadata: Mapping[str, str],
) -> bytes:
    pairs = [
        _struct(
            (1, _BINARY, _binary(key.encode())), (2, _BINARY, _binary(value.encode()))
        )
        for key, value in sorted(metadata.items())
    ]
    described = [_describe_group(columns, n, group) for n, group in enumerate(groups)]
    return _struct(
        (1, _I32, _number(_VERSION)),
        (2, _LIST, _list(_STRUCT, list(_describe_schema(columns)))),
        (3, _I64, _number(sum(group.num_rows for group in groups))),
        (4, _LIST, _list(_STRUCT, described)),
        (5, _LIST, _list(_STRUCT, pairs)),
        (6, _BINARY, _binary(_CREATED_BY)),
    )


def _describe_schema(columns: Sequence[Column]) -> Iterable[bytes]:
    """Yield the tree of columns, each before its children; values may be missing."""
    tops = [(top, list(own)) for top, own in groupby(columns, lambda c: c.path[0])]
    yield _struct((4, _BINARY, _binary(b"schema")), (5, _I32, _number(len(tops))))
    for top, own in tops:
        if own[0].path != (top,):
            yield _struct(
                (3, _I32, _number(_OPTIONAL)),
                (4, _BINARY, _binary(top.encode())),
                (5, _I32, _number(len(own))),
            )
        for column in own:
            yield _struct(*_describe_column(column))


def _describe_column(column: Column) -> Iterable[_ThriftField]:
    yield 1, _I32, _number(_INT64 if column.kind is int else _BYTE_ARRAY)
    yield 3, _I32, _number(_OPTIONAL)
    yield 4, _BINARY, _binary(column.path[-1].encode())
    if column.kind is str:
        yield 6, _I32, _number(_UTF8)
        yield 10, _STRUCT, _struct((_STRING, _STRUCT, _struct()))


def _describe_group(columns: Sequence[Column], number: int, group: _RowGroup) -> bytes:
    chunks = [
        _struct(
            (2, _I64, _number(chunk.offset)),
            (3, _STRUCT, _describe_chunk(column, chunk, group.num_rows)),
        )
        for column, chunk in zip(columns, group.chunks, strict=True)
    ]
    num_bytes = sum(chunk.num_bytes for chunk in group.chunks)
    return _struct(
        (1, _LIST, _list(_STRUCT, chunks)),
        (2, _I64, _number(num_bytes)),
        (3, _I64, _number(group.num_rows)),
        (5, _I64, _number(group.chunks[0].offset)),
        (6, _I64, _number(num_bytes)),
        (7, _I16, _number(number)),
    )


def _describe_chunk(column: Column, chunk: _Chunk, num_rows: int) -> bytes:
    path = [_binary(name.encode()) for name in column.path]
    return _struct(
        (1, _I32, _number(_INT64 if column.kind is int else _BYTE_ARRAY)),
        (2, _LIST, _list(_I32, [_number(_PLAIN), _number(_RLE)])),
        (3, _LIST, _list(_BINARY, path)),
        (4, _I32, _number(_UNCOMPRESSED)),
        (5, _I64, _number(num_rows)),
        (6, _I64, _number(chunk.num_bytes)),
        (7, _I64, _number(chunk.num_bytes)),
        (9, _I64, _number(chunk.offset)),
    )


def _struct(*fields: _ThriftField) -> bytes:
    """Encode a struct: each field with how far its number is from the one before."""
    encoded = bytearray()
    before = 0
    for number, kind, content in fields:
        encoded.append((number - before) << 4 | kind)
        encoded += content
        before = number
    return bytes(encoded) + b"\0"


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    size = len(items)
    head = bytes([size << 4 | kind]) if size < 15 else bytes([0xF0 | kind])
    return head + (varint(size) if size >= 15 else b"") + b"".join(items)


def _binary(data: bytes) -> bytes:
    return varint(len(data)) + data


def _number(value: int) -> bytes:
    """Encode an integer of any size, small ones of either sign in few bytes."""
    return varint(value << 1 ^ value >> 63)
