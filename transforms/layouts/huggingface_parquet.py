"""Hugging Face's Parquet files: [data/]train-00000-of-00294.parquet and validation."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import storage
from transforms.images import read as image_reading
from transforms.labels import class_lists, image_names
from transforms.labels.image_names import LabelReader
from transforms.layouts import (
    SPLIT_OF,
    FoundParts,
    InputPart,
    PartItem,
    ShardName,
    describe_missing,
    make_ref,
)
from transforms.records import UsageError

LOOKED_FOR = "train-00000-of-NNNNN.parquet"
_FILE = re.compile(r"([a-z_]+)-(\d+)-of-(\d+)(?:-[0-9a-f]+)?\.parquet")
_FOLDER = "data"
_PATH_COLUMN = "image.path"
_NO_COLUMNS = (
    "has no columns image (bytes and path) and label, as Hugging Face's copies of "
    "ImageNet have"
)


class _Columns(NamedTuple):
    """The columns that identify the names and classes of images."""

    names: Sequence[str]  # of the columns
    label_names: Sequence[str]  # as the file calls them; empty if it does not


def find(path: str) -> FoundParts | None:
    """Recognise a folder of such files, or one with a `data` folder of them."""
    if not storage.is_folder(path):
        return None
    entries = storage.list_folder(path)
    prefix = ""
    if any(entry.is_folder and entry.name == _FOLDER for entry in entries):
        inside = storage.list_folder(f"{path}/{_FOLDER}")
        if any(_FILE.fullmatch(entry.name) for entry in inside):
            entries, prefix = inside, f"{_FOLDER}/"
    matches = [m for entry in entries if (m := _FILE.fullmatch(entry.name))]
    pieces = tuple(
        InputPart(
            layout="huggingface_parquet",
            root=path,
            uri=f"{prefix}{match[0]}",
            split=SPLIT_OF[match[1]],
            is_labelled=True,
        )
        for match in matches
        if match[1] in SPLIT_OF
    )
    if not pieces:
        return None
    first = pieces[0].path
    with storage.open_input(first) as file, storage.parquet_errors(first):
        _find_columns(pq.ParquetFile(file), first)
    names = [ShardName(m[1], int(m[2]), int(m[3])) for m in matches]
    return FoundParts(
        description=f"Hugging Face's Parquet ({len(pieces)} files in {path})",
        pieces=pieces,
        notes=tuple(describe_missing(path, names)),
    )


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the images of a file without reading their bytes.

    Raises:
      UsageError: its labels are not the classes of ImageNet.
    """
    labels = LabelReader(class_lists.read(piece.class_list))
    with storage.open_input(piece.path) as file, storage.parquet_errors(piece.path):
        opened = pq.ParquetFile(file)
        columns = _find_columns(opened, piece.path)
        names: Sequence[str] = ()
        if not piece.class_list:
            names = image_names.find_wnids(columns.label_names, where=piece.path)
        for number in range(opened.num_row_groups):
            table = opened.read_row_group(number, columns=list(columns.names))
            yield from _read_rows(piece, table, number, labels, names)
    yield from labels.list_numbers()


def _find_columns(opened: pq.ParquetFile, path: str) -> _Columns:
    """Check that a file holds ImageNet; this program's files also have a wnid.

    Raises:
      UsageError: it does not.
    """
    stored = [opened.schema.column(number).path for number in range(len(opened.schema))]
    found = {image_reading.BYTES_COLUMN, _PATH_COLUMN} <= set(stored)
    label = next((name for name in ("wnid", "label") if name in stored), None)
    if not found or label is None:
        raise UsageError(f"{path}: {_NO_COLUMNS}")
    path_type = opened.schema_arrow.field("image").type.field("path").type
    if path_type not in {pa.string(), pa.large_string()}:
        raise UsageError(f"{path}: image.path is of type {path_type}, not string")
    names = _read_names(opened.schema_arrow) if label == "label" else ()
    return _Columns((_PATH_COLUMN, label), names)


def _read_names(schema: pa.Schema) -> Sequence[str]:
    """Return the names of the labels, if the file has them."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])
        return list(map(str, described["info"]["features"]["label"]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def _read_rows(
    piece: InputPart,
    table: pa.Table,
    row_group: int,
    labels: LabelReader,
    label_names: Sequence[str],
) -> Iterator[PartItem]:
    image_column, label_column = table.columns
    rows = zip(image_column.to_pylist(), label_column.to_pylist(), strict=True)
    for row, (image, label) in enumerate(rows):
        where = f"{piece.path}: row {row} of row group {row_group}"
        if not image or not image["path"]:
            raise UsageError(
                f"{where} has no image.path; without the names of the images in "
                "ImageNet nothing can be chosen by them"
            )
        by_name = image_names.parse(image["path"]).wnid
        yield make_ref(
            piece,
            image["path"],
            uri=piece.uri,
            offset=row_group,
            length=row,
            wnid=labels.find_wnid(by_name, label, names=label_names, where=where),
            encoding="parquet",
        )
