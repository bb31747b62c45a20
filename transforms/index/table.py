"""The index: refs ↔ a Parquet file with one row an image.

Its schema's metadata names the inputs that the rows' `input` and `uri` refer to, the
strays among the images, and the versions (etags) that archives in buckets had: offsets
are those of one version. Images that are objects of their own have none there: 1.28
million would weigh as much as all else; their length is checked, and that they decode.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.images import read as image_reading
from transforms.layouts import KEY_PATTERN
from transforms.records import ImageRef, UsageError

_METADATA_KEY = b"imagenet_subsets_index"
_FORMAT_VERSION = 1
ROW_GROUP_IMAGES = 1 << 16
_STRAYS_NAMED = 5
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
    """Write one piece's refs, with their inspections when these were made."""
    rows: Iterable[tuple] = refs
    schema = SCHEMA
    if inspections is not None:
        rows = (ref + more for ref, more in zip(refs, inspections, strict=True))
        schema = INSPECTED_SCHEMA
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    with storage.replacing(path) as file:
        pq.write_table(pa.table(arrays, schema=schema), file, compression="zstd")


def merge_parts(
    parts: Sequence[str],
    output: str,
    *,
    roots: Sequence[str],
    strays: Sequence[str],
    versions: Sequence[Mapping[str, str]] = (),
) -> None:
    """Join parts to one index, row groups of a bounded size, in the parts' order."""
    schema = pq.read_schema(storage.for_arrow(parts[0])) if parts else SCHEMA
    with (
        storage.replacing(output) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for table in _regroup(parts, schema):
            writer.write_table(table, row_group_size=ROW_GROUP_IMAGES)
        described = {
            "version": _FORMAT_VERSION,
            "inputs": list(roots),
            "num_strays": len(strays),
            "first_strays": list(strays[:_STRAYS_NAMED]),
        }
        if any(versions):
            described["versions"] = list(versions)
        writer.add_key_value_metadata({_METADATA_KEY: json.dumps(described)})


def _regroup(parts: Sequence[str], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield tables of about a row group, so that no more is held in memory."""
    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(pq.read_table(storage.for_arrow(part), schema=schema))
        if sum(table.num_rows for table in waiting) >= ROW_GROUP_IMAGES:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def only_index(inputs: Sequence[str]) -> str | None:
    """Return the index that is all of the input; None: it is something else."""
    return inputs[0] if len(inputs) == 1 and is_index(inputs[0]) else None


def is_index(path: str) -> bool:
    """Tell whether a path is named like an index."""
    return path.endswith(".parquet")


def read_description(path: str) -> dict:
    """Read what an index says of its inputs.

    Raises: UsageError: not an index, or of another version.
    """
    if not storage.exists(path):
        raise UsageError(
            f"{path}: no such file; make an index with python -m pipelines.index"
        )
    try:
        metadata = pq.read_metadata(storage.for_arrow(path)).metadata or {}
        described = json.loads(metadata[_METADATA_KEY])
        version = described["version"]
        _check_description(described)
    except (
        pa.ArrowException,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        OSError,
    ) as error:
        raise UsageError(
            f"{path}: not an index; make one with "
            "python -m pipelines.index --input IMAGENET --output FILE"
        ) from error
    if version != _FORMAT_VERSION:
        raise UsageError(
            f"{path}: an index of version {version}, not "
            f"{_FORMAT_VERSION}; make it again with python -m pipelines.index"
        )
    return described


def _check_description(described: dict) -> None:
    texts = [*described["inputs"], *described["first_strays"]]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("names of inputs and strays are texts")
    versions = [part.items() for part in described.get("versions", ())]
    if not all(isinstance(text, str) for v in versions for pair in v for text in pair):
        raise TypeError("names and versions of archives are texts")
    int(described["num_strays"])


def read_versions(described: Mapping[str, Any]) -> dict[str, str]:
    """Return path → version of the archives in buckets that an index refers to.

    Args:
      described: what `read_description` returned.
    """
    return {
        f"{root}/{uri}": version
        for root, versions in zip(
            described["inputs"], described.get("versions", ()), strict=False
        )
        for uri, version in versions.items()
    }


def find_problems(table: pa.Table, num_inputs: int) -> list[str]:
    """Name the columns of an index that hold what no index of ours would.

    An index may come from anywhere; its keys and uris become paths.
    """
    holds = {
        "key": pc.match_substring_regex(table["key"], KEY_PATTERN),
        "wnid": pc.match_substring_regex(table["wnid"], r"^n\d{8}$"),
        "split": pc.is_in(table["split"], pa.array(["train", "validation"])),
        "encoding": pc.is_in(table["encoding"], pa.array(image_reading.ENCODINGS)),
        "input": pc.and_(
            pc.greater_equal(table["input"], 0), pc.less(table["input"], num_inputs)
        ),
        "offset": pc.greater_equal(table["offset"], 0),
        "length": pc.greater_equal(table["length"], 0),
        "uri": pc.invert(pc.match_substring_regex(table["uri"], r"^/|(^|/)\.\.(/|$)")),
    }
    if "problem" in table.column_names:  # of inspected images, each has a text
        holds["problem"] = pc.is_valid(table["problem"])
    return [
        name
        for name, good in holds.items()
        if table[name].null_count or not pc.all(good, min_count=0).as_py()
    ]


def find_places(path: str, key: str) -> list[str]:
    """Say where an image lies, for messages."""
    file = storage.for_arrow(path)
    rows = pq.read_table(file, columns=SCHEMA.names, filters=[("key", "=", key)])
    return [image_reading.describe_place(ref) for ref in to_refs(rows)]


def join_lines(*columns: pa.ChunkedArray | pa.Scalar) -> pa.ChunkedArray:
    """Make a line of each row, its values parted by spaces."""
    texts = [pc.cast(column, pa.string()) for column in columns]
    lines = pc.binary_join_element_wise(*texts, " ")
    return pc.binary_join_element_wise(lines, "", "\n")


def read_row_group(
    path: str, number: int, *, split: str, wnids: Sequence[str]
) -> pa.Table:
    """Read the usable images of some classes from one row group of an index."""
    with storage.parquet_errors(path, REMEDY):
        file = pq.ParquetFile(storage.for_arrow(path))
        inspected = "problem" in file.schema_arrow.names
        names = [*SCHEMA.names, *(["problem"] if inspected else [])]
        table = file.read_row_group(number, columns=names)
    wanted = pc.and_(
        pc.equal(table["split"], split),
        pc.is_in(table["wnid"], value_set=pa.array(wnids, pa.string())),
    )
    if inspected:
        wanted = pc.and_(wanted, pc.equal(table["problem"], ""))
    return table.select(SCHEMA.names).filter(wanted)


def to_refs(table: pa.Table) -> list[ImageRef]:
    """Make a ref of each row; other columns are passed over."""
    columns = table.select(SCHEMA.names).to_pydict().values()
    return [ImageRef(*row) for row in zip(*columns, strict=True)]
