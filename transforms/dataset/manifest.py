"""Write and read failures.csv and the manifest, with one row per written image.

Until the commit, there is one manifest part per shard. A part marks its shard as
complete: it is written after the shard's files and records their checksums, so that a
resumed run can detect which shards to keep.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import csv_tables, storage
from transforms.prefetch import prefetch
from transforms.records import Failure, JobError, Shard, WrittenFile

SCHEMA = pa.schema([
    ("key", pa.string()),
    ("split", pa.string()),
    ("wnid", pa.string()),
    ("label", pa.int32()),
    ("fine_label", pa.int32()),
    ("shard", pa.int32()),
    ("position", pa.int32()),
    ("file", pa.string()),
    ("offset", pa.int64()),
    ("length", pa.int64()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("source", pa.string()),
    ("source_offset", pa.int64()),
    ("source_length", pa.int64()),
    ("source_sha256", pa.string()),
])
_METADATA_KEY = b"imagenet_subsets_part"
_FAILURES_NAMED = 10


class ManifestRow(NamedTuple):
    """The identity, location and source of a written image.

    `offset` and `length` are in bytes, `width` and `height` in pixels. The fields from
    `source` on locate the image in the input, like `uri`, `offset` and `length` of the
    index.
    """

    key: str
    split: str
    wnid: str
    label: int
    fine_label: int
    shard: int
    position: int
    file: str
    offset: int
    length: int
    width: int
    height: int
    source: str
    source_offset: int
    source_length: int
    source_sha256: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """The files, failures and counts of a written shard."""

    shard: Shard
    files: Mapping[str, Sequence[WrittenFile]]  # format → files
    failures: Sequence[Failure]
    conversions: Mapping[str, int]  # conversion → images
    num_images: int


def part_path(root: str, shard: Shard) -> str:
    """Return the path of a shard's manifest part below the work folder `root`."""
    return f"{root}/parts/{shard}.parquet"


def write_part(root: str, part: Part, rows: Sequence[ManifestRow]) -> None:
    """Write a manifest part atomically; call it after the shard's files are closed."""
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    described = {
        "shard": part.shard,
        "files": {name: list(files) for name, files in part.files.items()},
        "failures": list(part.failures),
        "oddities": dict(sorted(part.conversions.items())),
    }
    metadata = {_METADATA_KEY: json.dumps(described).encode()}
    table = pa.table(arrays, schema=SCHEMA.with_metadata(metadata))
    with storage.replacing(part_path(root, part.shard)) as file:
        pq.write_table(table, file, compression="zstd")


def read_part(root: str, shard: Shard) -> Part | None:
    """Read a shard's manifest part without its rows.

    Returns:
      None if there is no part, or a damaged one: parts are not flushed to disk, so a
      power failure can leave an empty or truncated file.

    Raises:
      OSError: the store does not respond or refuses access.
    """
    try:
        with storage.open_parquet(part_path(root, shard)) as file:
            metadata = file.metadata
        described = json.loads(metadata.metadata[_METADATA_KEY])
        return Part(
            shard=Shard(*described["shard"]),
            files={
                name: tuple(WrittenFile(*file) for file in files)
                for name, files in described["files"].items()
            },
            failures=tuple(Failure(*failure) for failure in described["failures"]),
            conversions=described["oddities"],
            num_images=metadata.num_rows,
        )
    except (FileNotFoundError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None
    except OSError as error:
        if error.errno is not None:
            raise
        return None  # Arrow's own error, about the contents


def merge_parts(root: str, shards: Sequence[Shard], output: str) -> None:
    """Merge manifest parts into the manifest, with one row group per shard.

    Args:
      root: work folder, which contains the folder `parts`.
      shards: the shards, in order.
      output: path of the manifest.
    """
    with (
        storage.replacing(output) as path,
        pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer,
    ):
        for table in prefetch(partial(read_part_rows, root), shards):
            writer.write_table(table)


def read_part_rows(root: str, shard: Shard) -> pa.Table:
    """Read the rows of a shard's manifest part.

    Raises:
      UsageError: the rows are damaged.
    """
    path = part_path(root, shard)
    remedy = "run again with --resume, which writes the shard again"
    with storage.parquet_errors(path, remedy), storage.open_parquet(path) as file:
        return file.read(use_threads=False).replace_schema_metadata(None)


def read_rows(path: str, *, columns: Sequence[str] | None = None) -> Iterator[dict]:
    """Yield the rows of the manifest as dicts, reading one row group at a time."""
    file = storage.open_parquet(path)
    for number in range(file.num_row_groups):
        yield from file.read_row_group(number, columns=columns).to_pylist()


def check_failures(
    failures: Sequence[Failure],
    *,
    num_images: int,
    max_fraction: float,
    problem: str,
    remedy: str = "",
) -> None:
    """Check that not too many images failed.

    Args:
      failures: the failed images.
      num_images: number of all images, including the failed ones.
      max_fraction: value of --max_failure_fraction.
      problem: words that follow the counts in the message, e.g. "images failed".
      remedy: last line of the message; "" for none.

    Raises:
      JobError: more images failed than `max_fraction` allows, or all images failed.
    """
    # Converted via text, to get the decimal fraction as typed, not its binary value.
    allowed = Fraction(str(max_fraction)) * num_images
    if len(failures) <= allowed and len(failures) < num_images:
        return
    named = [f"{f.key} ({f.place}): {f.reason}" for f in failures[:_FAILURES_NAMED]]
    num_more = len(failures) - len(named)
    lines = [
        f"{len(failures)} of {num_images} {problem}, more than "
        f"--max_failure_fraction {max_fraction:g} allows",
        *named,
        f"and {num_more} more" if num_more else "",
        remedy,
    ]
    raise JobError("\n".join(filter(None, lines)))


def write_failures(failures: Sequence[Failure]) -> bytes:
    """Format failures as the contents of failures.csv."""
    return csv_tables.to_csv(Failure._fields, failures)


def read_failures(data: bytes) -> list[Failure]:
    """Parse the contents of failures.csv."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    return [
        Failure(key, split, int(label), wnid, place, reason)
        for key, split, label, wnid, place, reason in rows[1:]
    ]
