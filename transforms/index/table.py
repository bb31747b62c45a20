"""Write and read the index, a Parquet file with one row per image.

The schema's metadata lists the input folders, which `input` and `uri` refer to, the
files that are not images, the warnings about the inputs, and the versions of archives.
Offsets are valid for one version of an archive only. A version is the etag of an object
or the `storage.local.find_version` of a local file. Images that are individual files
have no version, because 1.28 million versions would double the size of the index; their
length and decoding are checked instead.
"""

import functools
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.images import read as image_reading
from transforms.input_warnings import InputWarning
from transforms.layouts import KEY_PATTERN
from transforms.records import (
    ByteRange,
    ImageRef,
    Location,
    ParquetRow,
    UsageError,
    list_names,
)

METADATA_KEY = b"imagenet_subsets_index"
_FORMAT_VERSION = 1
ROW_GROUP_IMAGES = 1 << 16
_BATCH_ROWS = 1 << 12
_NUM_SKIPPED_SHOWN = 5
SUFFIX = ".parquet"
_PARQUET = "parquet"  # `encoding` of a `ParquetRow`
_ENCODINGS = (*image_reading.ENCODINGS, _PARQUET)
REMEDY = "make it again with python -m pipelines.index"

SCHEMA = pa.schema([
    ("key", pa.string()),
    ("wnid", pa.string()),
    ("split", pa.string()),
    ("input", pa.int32()),
    ("uri", pa.string()),
    ("offset", pa.int64()),
    ("length", pa.int64()),
    ("encoding", pa.string()),
])
INSPECTED_SCHEMA = pa.schema([
    *SCHEMA,
    ("format", pa.string()),
    ("mode", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("sha256", pa.string()),
    ("problem", pa.string()),
])


def write_part(
    path: str, refs: Sequence[ImageRef], inspections: Sequence[tuple] | None = None
) -> None:
    """Write the index file of one input part.

    Args:
      path: path of the file.
      refs: images of the part.
      inspections: the inspection of each image; None if images were not inspected.
    """
    with storage.replacing(path) as file:
        pq.write_table(make_table(refs, inspections), file, compression="zstd")


def make_table(
    refs: Sequence[ImageRef], inspections: Sequence[tuple] | None = None
) -> pa.Table:
    """Convert the images of a part, and their inspections if any, to rows."""
    rows: Iterable[tuple] = ((*ref[:-1], *to_columns(ref.location)) for ref in refs)
    schema = SCHEMA
    if inspections is not None:
        rows = (row + fields for row, fields in zip(rows, inspections, strict=True))
        schema = INSPECTED_SCHEMA
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def merge_parts(
    parts: Sequence[str],
    output: str,
    check: Callable[[str], object] | None = None,
    **described: Any,
) -> None:
    """Concatenate index files to one index, in order.

    Args:
      parts: paths of files written by `write_part`.
      output: path of the index.
      check: as in `write`.
      **described: arguments of `describe`.
    """
    schema = storage.open_parquet(parts[0]).schema_arrow if parts else SCHEMA
    tables = (storage.read_parquet(part).cast(schema) for part in parts)
    describe_all = partial(describe, **described)
    write(tables, output, schema=schema, describe_all=describe_all, check=check)


def write(
    tables: Iterable[pa.Table],
    output: str,
    *,
    schema: pa.Schema = SCHEMA,
    describe_all: Callable[[], Mapping[str, Any]],
    check: Callable[[str], object] | None = None,
) -> None:
    """Write an index with row groups of bounded size.

    Args:
      tables: the images of each part, in order.
      output: path of the index.
      schema: schema of the tables.
      describe_all: returns the metadata; called after the last table.
      check: reads the new index at a temporary path, and raises an error to keep an
        earlier index at `output`.
    """
    with storage.replacing(output) as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for table in regroup(tables):
                writer.write_table(table, row_group_size=ROW_GROUP_IMAGES)
            writer.add_key_value_metadata({METADATA_KEY: json.dumps(describe_all())})
        if check:
            check(file)


def describe(
    roots: Sequence[str],
    strays: Sequence[str],
    versions: Sequence[Mapping[str, str]] = (),
    warnings: Sequence[InputWarning] = (),
) -> dict[str, Any]:
    """Return the metadata of an index.

    Args:
      roots: folders of the inputs; `ImageRef.input` is an index into this list.
      strays: descriptions of files that are not images.
      versions: for each input, the versions of its archives by uri.
      warnings: warnings about the inputs.
    """
    described: dict[str, Any] = {
        "version": _FORMAT_VERSION,
        "inputs": list(roots),
        "num_strays": len(strays),
        "first_strays": list(strays[:_NUM_SKIPPED_SHOWN]),
    }
    if any(versions):
        described["versions"] = list(versions)
    if warnings:
        described["warnings"] = [list(warning) for warning in warnings]
    return described


def regroup(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield concatenated tables of at least 65,536 rows (the last may be smaller)."""
    waiting: list[pa.Table] = []
    for part in tables:
        waiting.append(part)
        if sum(table.num_rows for table in waiting) >= ROW_GROUP_IMAGES:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def only_index(inputs: Sequence[str]) -> str | None:
    """Return the path of the only input if it is an index, otherwise None."""
    return inputs[0] if len(inputs) == 1 and is_index(inputs[0]) else None


def is_index(path: str) -> bool:
    """Return whether a path ends in .parquet and is not a Parquet file of images.

    Only the suffix is checked for URLs, because options are checked offline.
    """
    return path.endswith(SUFFIX) and not _holds_images(path)


def _holds_images(path: str) -> bool:
    """Return whether a path is a local Parquet file with a column `image`."""
    if storage.is_remote(path) or not storage.is_file(path):
        return False
    try:
        return "image" in storage.open_parquet(path).schema_arrow.names
    except (pa.ArrowException, OSError):
        return False


def read_description(path: str) -> dict:
    """Read the metadata of an index: inputs, skipped files, versions and warnings.

    Raises:
      UsageError: the file is missing, damaged, not an index, or has another format
        version.
      OSError: the bucket did not respond, or refuses access.
    """
    if not storage.exists(path):
        raise UsageError(
            f"{path}: no such file; make an index with python -m pipelines.index"
        )
    storage.check_readable(path)
    try:
        metadata = storage.open_parquet(path).metadata.metadata or {}
        described = json.loads(metadata[METADATA_KEY])
        version = described["version"]
        _check_description(described)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UsageError(f"{path}: is damaged or no Parquet file; {REMEDY}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path}: is not an index; make one with "
            "python -m pipelines.index --input IMAGENET --output FILE"
        ) from error
    if version != _FORMAT_VERSION:
        raise UsageError(
            f"{path}: has format version {version}, not {_FORMAT_VERSION}; {REMEDY}"
        )
    return described


def _check_description(described: dict) -> None:
    texts = [*described["inputs"], *described["first_strays"]]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("names of inputs and files must be strings")
    versions = [part.items() for part in described.get("versions", ())]
    if not all(isinstance(text, str) for v in versions for pair in v for text in pair):
        raise TypeError("names and versions of archives must be strings")
    int(described["num_strays"])
    if any(
        not (isinstance(text, str) and isinstance(is_missing, bool))
        for text, is_missing in described.get("warnings", ())
    ):
        raise TypeError("warnings must be pairs of a text and a boolean")


def read_warnings(described: Mapping[str, Any]) -> tuple[InputWarning, ...]:
    """Return the warnings about the inputs from an index's metadata.

    Args:
      described: metadata returned by `read_description`.
    """
    return tuple(InputWarning(*pair) for pair in described.get("warnings", ()))


def read_versions(described: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions of archives by path from an index's metadata.

    Args:
      described: metadata returned by `read_description`.
    """
    return {
        f"{root}/{uri}": version
        for root, versions in zip(
            described["inputs"], described.get("versions", ()), strict=False
        )
        for uri, version in versions.items()
    }


def find_problems(table: pa.Table, num_inputs: int) -> list[str]:
    """Return the names of the columns that contain invalid values.

    The index is untrusted input; its keys and uris are used in paths.

    Args:
      table: rows of an index.
      num_inputs: number of inputs in the metadata of the index.
    """
    is_valid = {
        "key": pc.match_substring_regex(table["key"], KEY_PATTERN),
        "wnid": pc.match_substring_regex(table["wnid"], r"^n\d{8}$"),
        "split": pc.is_in(table["split"], pa.array(["train", "validation"])),
        "encoding": pc.is_in(table["encoding"], pa.array(_ENCODINGS)),
        "input": pc.and_(
            pc.greater_equal(table["input"], 0), pc.less(table["input"], num_inputs)
        ),
        "offset": pc.greater_equal(table["offset"], 0),
        "length": pc.greater_equal(table["length"], 0),
        "uri": pc.invert(pc.match_substring_regex(table["uri"], r"^/|(^|/)\.\.(/|$)")),
    }
    if "problem" in table.column_names:  # "" for good images
        is_valid["problem"] = pc.is_valid(table["problem"])
    return [
        name
        for name, values in is_valid.items()
        if table[name].null_count or not pc.all(values, min_count=0).as_py()
    ]


def check_inspection_kept(path: str) -> None:
    """Check that a new index without inspection replaces none with inspection.

    Raises:
      UsageError: the path is an index that --inspect wrote.
    """
    if not storage.is_file(path) or not storage.num_bytes(path):
        return
    if "problem" in storage.open_parquet(path).schema_arrow.names:
        raise UsageError(
            f"--output {path}: is an index with the results of --inspect, which would "
            "be lost; add --inspect, name another file, or remove this one"
        )


def describe_inspection(path: str) -> str:
    """Summarise the formats, colour modes and problems in an inspected index."""
    formats: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    file = storage.open_parquet(path)
    for batch in file.iter_batches(columns=["format", "mode", "problem"]):
        for image_format, mode, problem in zip(
            *(column.to_pylist() for column in batch.columns), strict=True
        ):
            if problem:
                problems[problem] += 1
            else:
                formats[f"{image_format} {mode}"] += 1
    whole, damaged = formats.total(), problems.total()
    line = f"inspected {whole + damaged} images: {whole} can be decoded"
    if whole:
        line += f" ({_count(formats)})"
    return f"{line}, {damaged} cannot" + (f" ({_count(problems)})" if damaged else "")


def _count(counts: Counter[str]) -> str:
    return list_names([f"{count} {name}" for name, count in counts.most_common()])


def find_places(path: str, key: str) -> list[str]:
    """Describe the locations of all images with a key, for messages."""
    roots = read_description(path)["inputs"]
    rows = storage.read_parquet(path, SCHEMA.names)
    rows = rows.filter(pc.equal(rows["key"], key))
    return [
        (f"{roots[ref.input]}/" if len(roots) > 1 else "")
        + image_reading.describe_place(ref)
        for ref in to_refs(rows)
    ]


def join_lines(*columns: pa.ChunkedArray | pa.Scalar) -> pa.ChunkedArray:
    """Join the values of each row with spaces, and add a newline; shape (rows,)."""
    texts = [pc.cast(column, pa.string()) for column in columns]
    lines = pc.binary_join_element_wise(*texts, " ")
    return pc.binary_join_element_wise(lines, "", "\n")


def update_digest(digest: "hashlib._Hash", texts: pa.ChunkedArray) -> None:
    """Hash the concatenated texts, without a Python object for each.

    Args:
      digest: hash object to update.
      texts: strings without nulls, shape (texts,).
    """
    for chunk in texts.chunks:
        _, offsets, data = chunk.buffers()
        if data is not None:
            ends = np.frombuffer(offsets, np.int32)[chunk.offset :]
            digest.update(memoryview(data)[ends[0] : ends[len(chunk)]])


def read_row_group(
    path: str,
    number: int,
    *,
    split: str | None = None,
    wnids: Sequence[str] | None = None,
) -> pa.Table:
    """Read the usable images of some classes from one row group of an index.

    Args:
      path: path of the index.
      number: number of the row group.
      split: split to select; None selects all.
      wnids: classes to select; None selects all.

    Returns:
      The selected rows with the columns of `SCHEMA`. Images with a problem found by
      inspection are excluded.

    Raises:
      UsageError: the index is damaged.
    """
    with storage.parquet_errors(path, REMEDY):
        file = storage.open_parquet(path)
        is_inspected = "problem" in file.schema_arrow.names
        names = [*SCHEMA.names, *(["problem"] if is_inspected else [])]
        table = file.read_row_group(number, columns=names)
    conditions = []
    if split is not None:
        conditions.append(pc.equal(table["split"], split))
    if wnids is not None:
        of_classes = pa.array(wnids, pa.string())
        conditions.append(pc.is_in(table["wnid"], value_set=of_classes))
    if is_inspected:
        conditions.append(pc.equal(table["problem"], ""))
    table = table.select(SCHEMA.names)
    return table.filter(functools.reduce(pc.and_, conditions)) if conditions else table


def to_refs(table: pa.Table) -> list[ImageRef]:
    """Convert rows to image references; other columns are ignored."""
    refs: list[ImageRef] = []
    # The garbage collector is slow if the columns are long lists.
    for batch in table.select(SCHEMA.names).to_batches(max_chunksize=_BATCH_ROWS):
        *columns, offsets, lengths, encodings = batch.to_pydict().values()
        locations = map(_to_location, offsets, lengths, encodings)
        refs += map(ImageRef._make, zip(*columns, locations, strict=True))
    return refs


def to_columns(location: Location) -> tuple[int, int, str]:
    """Convert a location to the values of `offset`, `length` and `encoding`.

    For a row of a Parquet file, `offset` is the row group and `length` the row.
    """
    return (*location, _PARQUET) if isinstance(location, ParquetRow) else location


def _to_location(offset: int, length: int, encoding: str) -> Location:
    """Convert the values of the columns to a location; inverts `to_columns`."""
    if encoding == _PARQUET:
        return ParquetRow(offset, length)
    return ByteRange(offset, length, sys.intern(encoding))  # not a copy per image
