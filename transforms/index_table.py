"""The index: refs ↔ a Parquet file with one row an image, and what it holds in numbers.

Its schema's metadata names the inputs that the rows' `input` and `uri` refer to, and
the strays among the images.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.records import ImageRef, UsageError

_METADATA_KEY = b"imagenet_subsets_index"
_FORMAT_VERSION = 1
ROW_GROUP_IMAGES = 1 << 16
_REPEATED_NAMED = 5

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


class ClassSplit(NamedTuple):
    """Key of the inventory's counts."""

    wnid: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What an index holds, in numbers small enough for the launcher."""

    num_images: Mapping[ClassSplit, int]  # usable ones
    num_bytes: Mapping[ClassSplit, int]
    num_bad: Mapping[ClassSplit, int]  # known from inspection
    fingerprint: str
    roots: tuple[str, ...]
    num_row_groups: int
    num_strays: int
    first_strays: Sequence[str]

    def wnids(self) -> list[str]:
        """Return the classes in order."""
        return sorted({key.wnid for key in (*self.num_images, *self.num_bad)})

    @property
    def mean_bytes(self) -> float:
        """The mean size of an image as it lies in the input."""
        num_images = sum(self.num_images.values())
        return sum(self.num_bytes.values()) / max(num_images, 1)

    def total(self, split: str) -> int:
        """Count a split's usable images."""
        return sum(n for key, n in self.num_images.items() if key.split == split)


def write_part(
    path: str, refs: Sequence[ImageRef], extra: Sequence[tuple] = ()
) -> None:
    """Write one piece's refs, with their inspections when there are any."""
    rows: Iterable[tuple] = refs
    schema = SCHEMA
    if extra:
        rows = (ref + more for ref, more in zip(refs, extra, strict=True))
        schema = INSPECTED_SCHEMA
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays, schema=schema), path, compression="zstd")


def merge_parts(
    parts: Sequence[str], output: str, *, roots: Sequence[str], strays: Mapping
) -> None:
    """Join parts to one index, row groups of a bounded size, in the parts' order."""
    schema = pq.read_schema(parts[0]) if parts else SCHEMA
    place = Path(output)
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.tmp")
    try:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for table in _regroup(parts, schema):
                writer.write_table(table, row_group_size=ROW_GROUP_IMAGES)
            described = {
                "version": _FORMAT_VERSION,
                "inputs": list(roots),
                "strays": dict(strays),
            }
            writer.add_key_value_metadata({_METADATA_KEY: json.dumps(described)})
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _regroup(parts: Sequence[str], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield tables of about a row group, so that no more is held in memory."""
    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(pq.read_table(part, schema=schema))
        if sum(table.num_rows for table in waiting) >= ROW_GROUP_IMAGES:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def is_index(path: str) -> bool:
    """Tell whether a path is named like an index."""
    return path.endswith(".parquet")


def read_inventory(path: str) -> Inventory:
    """Read an index once and count it.

    Raises: UsageError: not an index, or a key stands in it twice.
    """
    described = _read_description(path)
    file = pq.ParquetFile(path)
    inspected = "problem" in file.schema_arrow.names
    columns = ["key", "wnid", "split", "length", *(["problem"] if inspected else [])]
    table = file.read(columns=columns)
    bad = table.slice(0, 0)
    if inspected:
        is_good = pc.equal(table["problem"], "")
        bad = table.filter(pc.invert(is_good)).drop_columns("problem")
        table = table.filter(is_good).drop_columns("problem")
    num_images, lengths = _count(table)
    fingerprint, repeated = _fingerprint(table)
    if repeated:
        raise UsageError(_describe_repeated(path, repeated))
    return Inventory(
        num_images=num_images,
        num_bytes=lengths,
        num_bad=_count(bad)[0],
        fingerprint=fingerprint,
        roots=tuple(described["inputs"]),
        num_row_groups=file.num_row_groups,
        num_strays=described["strays"]["count"],
        first_strays=described["strays"]["first"],
    )


def _read_description(path: str) -> dict:
    if not storage.exists(path):
        raise UsageError(f"--input {path}: no such file")
    try:
        metadata = pq.read_metadata(path).metadata or {}
        described = json.loads(metadata[_METADATA_KEY])
    except (pa.ArrowInvalid, KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"--input {path}: not an index; make one with "
            "python -m pipelines.index --input IMAGENET --output FILE"
        ) from error
    if described["version"] != _FORMAT_VERSION:
        raise UsageError(
            f"--input {path}: an index of version {described['version']}, not "
            f"{_FORMAT_VERSION}; make it again with python -m pipelines.index"
        )
    return described


def _count(table: pa.Table) -> tuple[dict[ClassSplit, int], dict[ClassSplit, int]]:
    counted = table.group_by(["wnid", "split"]).aggregate([
        ("length", "count"),
        ("length", "sum"),
    ])
    rows = counted.sort_by([("wnid", "ascending"), ("split", "ascending")]).to_pylist()
    keys = [ClassSplit(row["wnid"], row["split"]) for row in rows]
    return (
        {key: row["length_count"] for key, row in zip(keys, rows, strict=True)},
        {key: row["length_sum"] for key, row in zip(keys, rows, strict=True)},
    )


def _describe_repeated(path: str, repeated: Sequence[str]) -> str:
    shown = ", ".join(repeated[:_REPEATED_NAMED])
    places = "; ".join(find_places(path, repeated[0]))
    return (
        f"{len(repeated)} image names stand more than once in the input ({shown}), "
        f"the first at {places}; give each image once"
    )


def find_places(path: str, key: str) -> list[str]:
    """Say where an image lies, for messages."""
    rows = pq.read_table(
        path, columns=["uri", "offset"], filters=[("key", "=", key)]
    ).to_pylist()
    return [f"{row['uri']} (byte {row['offset']})" for row in rows]


def _fingerprint(table: pa.Table) -> tuple[str, list[str]]:
    """Hash the sorted lines `key wnid split length`; also find keys that repeat."""
    keys = table["key"].combine_chunks()
    ascending = pc.sort_indices(keys)
    keys = keys.take(ascending)
    is_repeated = pc.equal(keys[1:], keys[:-1])
    repeated = pc.unique(keys[1:].filter(is_repeated)).to_pylist()
    digest = hashlib.sha256()
    for start in range(0, len(keys), ROW_GROUP_IMAGES):
        rows = table.take(ascending.slice(start, ROW_GROUP_IMAGES))
        lines = join_lines(rows["key"], rows["wnid"], rows["split"], rows["length"])
        digest.update("".join(lines.to_pylist()).encode())
    return digest.hexdigest(), repeated


def join_lines(*columns: pa.ChunkedArray | pa.Scalar) -> pa.ChunkedArray:
    """Make a line of each row, its values parted by spaces."""
    texts = [pc.cast(column, pa.string()) for column in columns]
    lines = pc.binary_join_element_wise(*texts, " ")
    return pc.binary_join_element_wise(lines, "", "\n")


def read_row_group(
    path: str, number: int, *, split: str, wnids: Sequence[str]
) -> pa.Table:
    """Read the usable images of some classes from one row group of an index."""
    file = pq.ParquetFile(path)
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
    """Make a ref of each row."""
    return [ImageRef(*row) for row in zip(*table.to_pydict().values(), strict=True)]


def describe(inventory: Inventory) -> str:
    """Say in a few lines what was found."""
    lines = [
        f"{inventory.total('train')} training and {inventory.total('validation')} "
        f"validation images of {len(inventory.wnids())} classes"
    ]
    if bad := sum(inventory.num_bad.values()):
        lines.append(f"{bad} images cannot be used and are left out (column `problem`)")
    if inventory.num_strays:
        first = "; ".join(inventory.first_strays)
        lines.append(
            f"{inventory.num_strays} files are not images and are left out ({first})"
        )
    return "\n".join(lines)


def to_table(refs: Sequence[ImageRef]) -> pa.Table:
    """Make a row of each ref."""
    columns = list(zip(*refs, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.table(arrays, schema=SCHEMA)
