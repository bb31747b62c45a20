"""Write and read the plan of a dataset, one Parquet file of images per shard.

The plan lists the selected images of every shard. The subset id is computed from these
images and the image settings.
"""

import dataclasses
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.dataset import paths
from transforms.index import table as index_table
from transforms.prefetch import prefetch
from transforms.records import JobError, SelectedImage, Shard
from transforms.sampling import selected
from transforms.sampling.selected import IMAGE_SCHEMA


class PlannedShard(NamedTuple):
    """A shard of the plan and its number of images."""

    shard: Shard
    num_images: int


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PlanSummary:
    """The sizes, counts and hashes of a plan.

    Attributes:
      shards: the shards, sorted by split and number.
      chosen: number of images, by split and then by wnid, both sorted.
      lines: a line of `format_lines` per image, shape (images,).
      sources_sha256: hash of the images' keys and source lengths, in the plan's order.
        The subset id does not cover the source files; this hash detects files whose
        length has changed.
    """

    shards: Sequence[PlannedShard]
    chosen: Mapping[str, Mapping[str, int]]
    lines: pa.ChunkedArray
    sources_sha256: str


def part_path(folder: str, shard: Shard) -> str:
    """Return the path of a shard's plan file.

    Args:
      folder: folder of the plan.
      shard: the shard.
    """
    return f"{folder}/{shard}.parquet"


def make_part(images: pa.Table) -> pa.Table:
    """Convert a table of selected images to the schema of the plan."""
    return images.select(IMAGE_SCHEMA.names).cast(IMAGE_SCHEMA)


def assign_shards(
    images: pa.Table, *, seed: int, images_per_shard: int
) -> Iterator[tuple[Shard, pa.Table]]:
    """Shuffle the images of every split by hash and divide them into shards.

    Args:
      images: selected images of all splits.
      seed: seed of the shuffle.
      images_per_shard: maximum number of images per shard.

    Yields:
      Each shard with the contents of its plan file.
    """
    for split in sorted(pc.unique(images["subset_split"]).to_pylist()):
        own = images.filter(pc.equal(images["subset_split"], split)).combine_chunks()
        ordered = selected.sort_indices(own, "shuffle", seed=seed)
        starts = find_starts(split, own.num_rows, images_per_shard)
        bounds = itertools.pairwise([*starts, own.num_rows])
        for number, (start, end) in enumerate(bounds):
            shard = Shard(split, number, len(starts))
            rows = ordered.slice(start, end - start)
            yield shard, make_part(own.take(rows))


def write_parts(
    images: pa.Table, *, seed: int, images_per_shard: int, folder: str
) -> PlanSummary:
    """Assign images to shards, write the plan's files, and summarise the plan.

    Args:
      images: selected images of all splits.
      seed: seed of the shuffle.
      images_per_shard: maximum number of images per shard.
      folder: folder of the plan.
    """

    def write(part: tuple[Shard, pa.Table]) -> tuple[Shard, pa.Table]:
        write_part(*part, folder=folder)
        return part

    parts = assign_shards(images, seed=seed, images_per_shard=images_per_shard)
    return summarise(prefetch(write, parts))


def write_part(shard: Shard, images: pa.Table, *, folder: str) -> None:
    """Write a shard's plan file.

    Args:
      shard: the shard.
      images: result of `make_part`, in the order of the shard.
      folder: folder of the plan.
    """
    with storage.replacing(part_path(folder, shard)) as file:
        pq.write_table(images, file, compression="zstd")


def read_part(folder: str, shard: Shard) -> list[SelectedImage]:
    """Read the plan file of a shard; return the images in the order of the shard."""
    table = _read(folder, shard)
    rows = zip(table["label"].to_pylist(), index_table.to_refs(table), strict=True)
    return [SelectedImage(shard.split, label, ref) for label, ref in rows]


def read_sources(folder: str, shard: Shard) -> pa.Table:
    """Return the columns `uri`, `offset` and `length` of a shard's plan file."""
    return _read(folder, shard, ["uri", "offset", "length"])


def _read(
    folder: str, shard: Shard, columns: Sequence[str] = tuple(IMAGE_SCHEMA.names)
) -> pa.Table:
    with storage.open_parquet(part_path(folder, shard)) as file:
        return file.read(list(columns), use_threads=False)


def read_summary(folder: str) -> PlanSummary:
    """Summarise a plan that `write_parts` has written on an engine.

    Raises:
      JobError: there is no plan, because the engine lost its images.
    """
    shards = []
    for name in storage.list_files(folder):
        stem = name.removesuffix(".parquet")
        split, number, num_shards = stem.replace("-of-", "-").rsplit("-", 2)
        shards.append(Shard(split, int(number), int(num_shards)))

    if not shards:
        raise JobError("the engine lost the plan; run again without flags of Beam")

    def read(shard: Shard) -> tuple[Shard, pa.Table]:
        return shard, _read(folder, shard, ["key", "wnid", "label", "length"])

    return summarise(prefetch(read, sorted(shards)))


def summarise(parts: Iterable[tuple[Shard, pa.Table]]) -> PlanSummary:
    """Count and hash the images of a plan.

    Args:
      parts: the shards, sorted by split and number, with their images.
    """
    shards: list[PlannedShard] = []
    chosen: dict[str, dict[str, int]] = {}
    lines: list[pa.Array] = []
    digest = hashlib.sha256()

    def take_tables(parts: Iterable[tuple[Shard, pa.Table]]) -> Iterator[pa.Table]:
        for shard, images in parts:
            shards.append(PlannedShard(shard, images.num_rows))
            yield images

    for split, of_split in itertools.groupby(parts, lambda part: part[0].split):
        counts: Counter[str] = Counter()
        # Large tables, because each operation on a column takes some time.
        for images in index_table.regroup(take_tables(of_split)):
            lines += format_lines(images, split=pa.scalar(split)).chunks
            sources = index_table.join_lines(images["key"], images["length"])
            index_table.update_digest(digest, sources)
            for row in pc.value_counts(images["wnid"]).to_pylist():
                counts[row["values"]] += row["counts"]
        chosen[split] = dict(sorted(counts.items()))
    return PlanSummary(
        shards=shards,
        chosen=chosen,
        lines=pa.chunked_array(lines, pa.string()),
        sources_sha256=digest.hexdigest(),
    )


def read_train_keys(folder: str, shards: Iterable[PlannedShard]) -> pa.StringArray:
    """Return the keys of all training images (train or folds), shape (images,)."""
    columns = [
        _read(folder, shard, ["key"])["key"]
        for shard, _ in shards
        if shard.split != "validation"
    ]
    chunks = [chunk for column in columns for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.string()).combine_chunks()


def read_images(folder: str, shards: Iterable[PlannedShard]) -> pa.Table:
    """Return the key, wnid and split of all images of a plan, sorted by key."""
    tables = []
    for shard, _ in shards:
        table = _read(folder, shard, ["key", "wnid"])
        splits = pa.repeat(shard.split, table.num_rows)
        tables.append(table.append_column("split", splits))
    return pa.concat_tables(tables).sort_by("key")


def format_lines(
    table: pa.Table, *, split: pa.Scalar | pa.ChunkedArray
) -> pa.ChunkedArray:
    """Return a line `key split label wnid` per image, shape (images,).

    The subset id is computed from these lines.

    Args:
      table: images, with the columns `key`, `label` and `wnid`.
      split: split of all images, or of each image.
    """
    return index_table.join_lines(table["key"], split, table["label"], table["wnid"])


def compute_subset_id(
    lines: pa.ChunkedArray, image_settings: Mapping[str, str | int | bool]
) -> str:
    """Return the SHA-256 of the image settings and the sorted lines, in hexadecimal."""
    digest = hashlib.sha256()
    digest.update(f"{json.dumps(dict(image_settings), sort_keys=True)}\n".encode())
    index_table.update_digest(digest, lines.take(pc.sort_indices(lines)))
    return digest.hexdigest()


def merge_parts(folder: str, shards: Sequence[PlannedShard], output: str) -> None:
    """Merge a plan into one Parquet file with every image's split, shard and position.

    The column `source_split` is the image's split in the input. It differs from `split`
    if a training image is held out for validation, or belongs to a fold.

    Args:
      folder: folder of the plan.
      shards: the shards of the plan.
      output: path of the merged file.
    """
    names = ["source_split" if name == "split" else name for name in IMAGE_SCHEMA.names]
    kinds = list(zip(names, IMAGE_SCHEMA.types, strict=True))
    places = [("split", pa.string()), ("shard", pa.string()), ("position", pa.int32())]
    schema = pa.schema([*kinds, *places])
    with (
        storage.replacing(output) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        tables = prefetch(partial(_read, folder), [shard for shard, _ in shards])
        for (shard, num_images), table in zip(shards, tables, strict=True):
            columns = [
                *table.columns,
                pa.repeat(shard.split, num_images),
                pa.repeat(str(shard), num_images),
                pa.array(np.arange(num_images), pa.int32()),
            ]
            writer.write_table(pa.table(columns, schema=schema))


# Training code often gives a validation shard to each of 8 readers.
_VALIDATION_MULTIPLE, _VALIDATION_LEAST = 8, 50


def count_shards(split: str, num_images: int, images_per_shard: int) -> int:
    """Return the number of shards of a split, at least 1.

    The number of validation shards is rounded up to a multiple of 8 if every shard then
    has at least 50 images.
    """
    shards = max(-(-num_images // images_per_shard), 1)
    rounded = -(-shards // _VALIDATION_MULTIPLE) * _VALIDATION_MULTIPLE
    if split == "validation" and num_images // rounded >= _VALIDATION_LEAST:
        return rounded
    return shards


def find_starts(split: str, num_images: int, images_per_shard: int) -> list[int]:
    """Return the position of each shard's first image; shard sizes are equal (±1)."""
    num_shards = count_shards(split, num_images, images_per_shard)
    size, longer = divmod(num_images, num_shards)
    return [number * size + min(number, longer) for number in range(num_shards)]


def is_plan(directory: str) -> bool:
    """Return whether `build --plan_only` has written a folder."""
    return storage.exists(f"{directory}/{paths.PLAN_PAGE}")


def describe_unfinished(directory: str) -> str:
    """Return why a folder without a commit mark is no dataset, and the remedy."""
    if is_plan(directory):
        return (
            "is a plan without images; build the dataset with the same command "
            "without --plan_only"
        )
    return (
        f"is not a finished dataset (no {paths.COMPLETE}); finish it with "
        "python -m pipelines.build --resume"
    )
