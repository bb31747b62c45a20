"""Images and labels → the bytes of a Parquet file, in which each image lies whole.

    PAR1 │ row group: image.bytes, a page an image │ a page of each other column │ …
         │ footer │ its length │ PAR1

Encoded by hand: the place of an image's bytes is known when it is appended, no more
than one image is held, and equal rows are equal bytes whatever library is installed.
Nothing is compressed: JPEG files do not shrink.
Source: apache/parquet-format: parquet.thrift and Encodings.md (PLAIN, RLE); Apache
Thrift, "Compact protocol encoding".
"""

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import yaml

from transforms import storage
from transforms.archives.tfrecords import varint
from transforms.formats import Dataset, ShardPlace, SplitInfo
from transforms.records import JSON, ImageLocation, Record, Shard, WrittenFile

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


FOLDER = "parquet"
_TERMS = "https://www.image-net.org/download.php"
_COLUMNS = (
    Column(("image", "bytes"), bytes),
    Column(("image", "path"), str),
    Column(("label",), int),
    Column(("fine_label",), int),
    Column(("wnid",), str),
    Column(("file_name",), str),
)


def shard_path(name: str, shard: Shard) -> str:  # noqa: ARG001
    """Return where a shard lies in the dataset's directory."""
    return f"{FOLDER}/data/{shard}.parquet"


def find_split(path: str) -> str | None:
    """Return the split whose images a file holds; None if it holds none."""
    folder, _, name = path.rpartition("/")
    return name.partition("-")[0] if folder == f"{FOLDER}/data" else None


class ShardWriter:
    """Write one shard."""

    def __init__(self, place: ShardPlace) -> None:
        self._path = shard_path(place.name, place.shard)
        self._file = storage.AtomicFile(place.root, self._path)
        # Folder names are the labels' names here; the card gives the display names.
        metadata = {"huggingface": json.dumps(_describe_features(place.folders))}
        self._writer = Writer(self._file.write, _COLUMNS, metadata)

    def add(self, record: Record) -> ImageLocation:
        """Append an image and its labels; return where the image's bytes lie."""
        name = record.file_name
        others = (name, record.label, record.fine_label, record.wnid, name)
        offset = self._writer.add(record.image, others)
        return ImageLocation(self._path, offset, len(record.image))

    def close(self) -> tuple[WrittenFile, ...]:
        """Write the footer and make the file appear."""
        self._writer.close()
        return (self._file.close(),)

    def discard(self) -> None:
        """Leave nothing behind; harmless after `close`."""
        self._file.discard()


def _describe_features(names: Sequence[str]) -> JSON:
    """Say what the columns are, in the words of Hugging Face's Features."""
    string: JSON = {"dtype": "string", "_type": "Value"}
    features: JSON = {
        "image": {"_type": "Image"},
        "label": {"names": list(names), "_type": "ClassLabel"},
        "fine_label": {"dtype": "int64", "_type": "Value"},
        "wnid": string,
        "file_name": string,
    }
    return {"info": {"features": features}}


def sidecars(dataset: Dataset) -> dict[str, bytes]:
    """Make the card that Hugging Face loads the files by."""
    front = yaml.safe_dump(_front_matter(dataset), allow_unicode=True, sort_keys=False)
    text = f"""\
# {dataset.name}

Version {dataset.version}, subset id `{dataset.subset_id}`: a subset of ImageNet in
{len(dataset.labels)} groups, as Parquet. `label` is the group, from 0; `fine_label` the
class among ImageNet's 1000 in the order of their wnids, -1 for a class outside them.

The images are ImageNet's, and stay under [ImageNet's terms of access]({_TERMS}): for
non-commercial research and teaching only. Do not publish them without a gate that asks
for agreement to these terms.
"""
    return {f"{FOLDER}/README.md": f"---\n{front}---\n\n{text}".encode()}


def _front_matter(dataset: Dataset) -> dict[str, JSON]:
    names = {str(label.label): label.name for label in dataset.labels}
    features: JSON = [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
        {"name": "fine_label", "dtype": "int64"},
        {"name": "wnid", "dtype": "string"},
        {"name": "file_name", "dtype": "string"},
    ]
    files: JSON = [
        {"split": split.name, "path": f"data/{split.name}-*.parquet"}
        for split in dataset.splits
    ]
    return {
        "license": "other",
        "license_name": "imagenet",
        "license_link": _TERMS,
        "pretty_name": dataset.name,
        "task_categories": ["image-classification"],
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {
            "features": features,
            "splits": [_count_split(split) for split in dataset.splits],
        },
    }


def _count_split(split: SplitInfo) -> JSON:
    num_bytes = sum(file.num_bytes for file in split.files["parquet"])
    return {
        "name": split.name,
        "num_bytes": num_bytes,
        "num_examples": split.num_images,
    }


def loading_snippet(directory: str, split: str) -> str:
    """Return Python code that loads one image."""
    return f"""\
from datasets import load_dataset
images = load_dataset("{directory}/{FOLDER}", split="{split}")
image, label = images[0]["image"], images[0]["label"]"""


def how_to_load(dataset: Dataset) -> str:
    """Write the card's part on this format; the split to validate on is the last."""
    train, validation = dataset.splits[0].name, dataset.splits[-1].name
    place = f"{dataset.example_path}/{FOLDER}"
    return f"""\
Hugging Face datasets, from Parquet:

```python
from datasets import load_dataset

dataset = load_dataset("{place}", split="{train}")
image, label = dataset[0]["image"], dataset[0]["label"]
```

timm:

```sh
python train.py --dataset hfds/{place} --num-classes {len(dataset.labels)} \\
  --train-split {train} --val-split {validation}
```
"""
