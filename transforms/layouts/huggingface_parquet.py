"""Read Hugging Face's Parquet files, e.g. [data/]train-00000-of-00294.parquet."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import splits, storage
from transforms.archives import signatures
from transforms.images import read as image_reading
from transforms.input_warnings import Observation
from transforms.labels import class_lists, image_names
from transforms.labels.image_names import LabelReader
from transforms.layouts import (
    FoundParts,
    InputPart,
    PartItem,
    ShardName,
    describe_shards,
    list_entries,
    make_ref,
    make_shard_parts,
)
from transforms.records import ParquetRow, UsageError, list_names

LOOKED_FOR = "train-00000-of-NNNNN.parquet"
_SUFFIX = ".parquet"
_FILE = re.compile(r"([a-z_]+)-(\d+)-of-(\d+)(?:-[0-9a-f]+)?\.parquet", re.I)
_NUMBERED = re.compile(r"\d+\.parquet")  # in a split's folder
_FOLDERS = ("", "data/", "default/")
_PATH_COLUMN = "image.path"
_TEXTS = {pa.string(), pa.large_string(), pa.string_view()}
_MAX_STEM = 70  # characters, of the keys of images without a name
_NOT_IN_STEM = re.compile(r"[^A-Za-z0-9]+")
_NO_COLUMNS = (
    "has no columns image (bytes and path) and label, as Hugging Face's copies of "
    "ImageNet have"
)


class _Columns(NamedTuple):
    """The columns that contain the names and labels of images."""

    names: Sequence[str]  # of the columns
    label_names: Sequence[str]  # from the file's metadata; empty if missing


def find(path: str) -> FoundParts | None:
    """Find Parquet files of images in a folder or its usual subfolders, or one file.

    Raises:
      UsageError: a file with the usual name is not a Parquet file of ImageNet, or the
        files belong to several datasets or dataset versions.
    """
    root, _, name = path.rpartition("/")
    if storage.is_folder(path):
        root, found = path, _find_files(path)
    else:
        found = {name: _parse_name(name, "")} if name.endswith(_SUFFIX) else {}
    pieces = make_shard_parts(root, found, layout="huggingface_parquet")
    if not pieces:
        return None
    first = pieces[0].path
    is_usual = any(_FILE.fullmatch(piece.uri.rpartition("/")[2]) for piece in pieces)
    try:
        with _open(first) as opened:
            _find_columns(opened, first)
    except UsageError:
        if is_usual or root != path:
            raise
        return None  # tables of any kind may be called train.parquet
    return describe_shards(path, pieces, found, kind="Hugging Face's Parquet")


def _find_files(path: str) -> dict[str, ShardName]:
    """Return the Parquet files by uri, from the first of ., data/ and default/."""
    found: dict[str, ShardName] = {}
    for prefix in _FOLDERS:
        folder = f"{path}/{prefix}".rstrip("/")
        if found or not storage.is_folder(folder):
            continue
        found = _list_files(path, prefix, "")
        for entry in list_entries(folder):
            if entry.is_folder and splits.parse_split(entry.name):
                found |= _list_files(path, f"{prefix}{entry.name}/", entry.name)
    return found


def _list_files(path: str, prefix: str, folder: str) -> dict[str, ShardName]:
    names = [e.name for e in list_entries(f"{path}/{prefix}".rstrip("/"))]
    parsed = {
        f"{prefix}{name}": _parse_name(name, folder)
        for name in names
        if name.endswith(_SUFFIX)
    }
    return {uri: shard for uri, shard in parsed.items() if shard.split}


def _parse_name(name: str, folder: str) -> ShardName:
    """Parse the split, number and total from a file name, or the split from a folder.

    The split is "" if the file is not a shard.
    """
    if match := _FILE.fullmatch(name):
        return ShardName(match[1].lower(), int(match[2]), int(match[3]))
    if splits.parse_split(name):
        return ShardName(name.removesuffix(_SUFFIX), 0, 0)
    if _NUMBERED.fullmatch(name):
        return ShardName(folder, int(name.removesuffix(_SUFFIX)), 0)
    return ShardName("", 0, 0)


@contextmanager
def _open(path: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    Raises:
      UsageError: the file is damaged or has another type, which the message names.
    """
    try:
        with storage.open_input(path) as file, storage.parquet_errors(path):
            yield storage.open_parquet(file)
    except UsageError as error:
        what = signatures.explain(path)
        if what and "Parquet" not in what:
            raise UsageError(f"{path}: not a Parquet file{what}") from error
        raise


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the images of a file without reading their bytes.

    Raises:
      UsageError: the labels are not the classes of ImageNet, a row has no image or
        label, or the file is damaged.
    """
    num_rows, made = 0, Counter[str]()
    labels = LabelReader(class_lists.read(piece.class_list))
    with _open(piece.path) as opened:
        columns = _find_columns(opened, piece.path)
        names: Sequence[str] = ()
        if not piece.class_list:
            names = image_names.find_wnids(columns.label_names, where=piece.path)
        for number in range(opened.num_row_groups):
            table = opened.read_row_group(number, columns=list(columns.names))
            yield from _read_rows(
                piece,
                table,
                number,
                labels=labels,
                label_names=names,
                first_row=num_rows,
                made=made,
            )
            num_rows += len(table)
    if made:
        yield Observation("made_keys", next(iter(made)), made.total())
    yield from labels.list_numbers()


def _find_columns(opened: pq.ParquetFile, path: str) -> _Columns:
    """Find the columns of image names and labels; prefer `wnid` to `label`.

    Raises:
      UsageError: the columns of Hugging Face's copies of ImageNet are missing.
    """
    stored = [opened.schema.column(number).path for number in range(len(opened.schema))]
    found = {image_reading.BYTES_COLUMN, _PATH_COLUMN} <= set(stored)
    label = next((name for name in ("wnid", "label") if name in stored), None)
    if not found or label is None:
        shown = list_names(dict.fromkeys(name.partition(".")[0] for name in stored))
        raise UsageError(f"{path}: {_NO_COLUMNS}; its columns are {shown}")
    path_type = opened.schema_arrow.field("image").type.field("path").type
    if path_type not in _TEXTS:
        raise UsageError(f"{path}: image.path is of type {path_type}, not string")
    names = _read_names(opened.schema_arrow) if label == "label" else ()
    return _Columns((_PATH_COLUMN, label), names)


def _read_names(schema: pa.Schema) -> Sequence[str]:
    """Return the label names from Hugging Face's metadata; empty if there are none."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])
        return list(map(str, described["info"]["features"]["label"]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def _read_rows(
    piece: InputPart,
    table: pa.Table,
    row_group: int,
    *,
    labels: LabelReader,
    label_names: Sequence[str],
    first_row: int,
    made: Counter[str],
) -> Iterator[PartItem]:
    """Yield the images of a row group.

    Args:
      piece: the part, i.e. the file.
      table: rows of the row group, with the columns of image names and labels.
      row_group: number of the row group.
      labels: converts labels to wnids.
      label_names: wnid of each label; empty if unknown.
      first_row: number of rows in earlier row groups of the file.
      made: receives the generated names of images without a name.
    """
    image_column, label_column = table.columns
    rows = zip(image_column.to_pylist(), label_column.to_pylist(), strict=True)
    for row, (image, label) in enumerate(rows):
        where = f"{piece.path}: row {row} of row group {row_group}"
        if not image:
            raise UsageError(f"{where} has no image")
        path = image["path"]
        if not path:
            path = _make_name(piece.uri, first_row + row)
            made[path] += 1
        by_name = image_names.parse(path).wnid
        yield make_ref(
            piece,
            path,
            uri=piece.uri,
            location=ParquetRow(row_group, row),
            wnid=labels.find_wnid(by_name, label, names=label_names, where=where),
        )


def _make_name(uri: str, row: int) -> str:
    """Generate the name of an image from the uri of its file and its row number."""
    stem = _NOT_IN_STEM.sub("-", uri.removesuffix(_SUFFIX)).strip("-")
    return f"{stem[-_MAX_STEM:].strip('-')}-{row:07d}.JPEG"
