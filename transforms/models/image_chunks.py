"""Write and read the list of images to predict, a temporary Parquet file.

Each row group is one chunk of images. The columns are those of the index, followed by
one column per model, `seen_0`, `seen_1`, …, which is true if the model was trained on
the image, and null if that is unknown.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.index import table as index_table
from transforms.records import ImageRef, JobError, UsageError

_CHUNK_IMAGES = 1024
_DIGEST_LENGTH = 16
_FILE = "images.parquet"  # in the work folder of a run
_MAX_KEYS = 50_000_000


class Chunk(NamedTuple):
    """The unit of work: a row group of an image list, identified by its content."""

    number: int  # counted from 0
    num_images: int
    digest: str


class Images(NamedTuple):
    """The images of one chunk or batch, and whether each model was trained on them."""

    refs: list[ImageRef]
    seen: list[list[bool | None]]  # by model, then image; None if unknown


def chunk_size(batch_size: int) -> int:
    """Return the number of images per chunk: about 1024, a multiple of the batch size.

    With whole batches, only the last batch of the last chunk needs padding.
    """
    return batch_size * max(1, _CHUNK_IMAGES // batch_size)


def make(
    table: pa.Table, *, seen: Sequence[pa.Array], batch_size: int
) -> tuple[bytes, tuple[Chunk, ...]]:
    """Serialise an image list, and describe its chunks.

    Args:
      table: images to predict, with the columns of the index.
      seen: one boolean array per model, shape (images,): whether the model was trained
        on each image; null if unknown.
      batch_size: images per inference batch.
    """
    for number, values in enumerate(seen):
        table = table.append_column(pa.field(f"seen_{number}", pa.bool_()), values)
    file = io.BytesIO()
    size = chunk_size(batch_size)
    pq.write_table(
        table,
        file,
        row_group_size=size,
        compression="zstd",
        write_statistics=False,  # the footer, read with every chunk, stays small
    )
    return file.getvalue(), tuple(_list_chunks(file.getbuffer()))


def _list_chunks(data: memoryview) -> Iterator[Chunk]:
    metadata = pq.read_metadata(pa.BufferReader(data))
    for number, (start, end) in enumerate(_find_ranges(metadata)):
        num_rows = metadata.row_group(number).num_rows
        yield Chunk(number, num_rows, _digest(data[start:end]))


def _find_ranges(metadata: pq.FileMetaData) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each row group in the file."""
    start = 4  # behind the magic number
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = map(group.column, range(group.num_columns))
        end = start + sum(column.total_compressed_size for column in columns)
        yield start, end
        start = end


def _digest(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGEST_LENGTH]


def write(work: str, data: bytes) -> None:
    """Write a serialised list to the work folder of a run."""
    storage.write(work, _FILE, data)


def remove(work: str) -> None:
    """Remove the list from the work folder of a run."""
    storage.remove_file(f"{work}/{_FILE}")


def read(work: str, chunk: Chunk) -> Images:
    """Read the images of a chunk from the list in a work folder.

    Raises:
      JobError: another run has replaced the list.
    """
    path = f"{work}/{_FILE}"
    file = storage.open_parquet(path)
    digests = []
    with storage.open_input(path) as source:
        for start, end in list(_find_ranges(file.metadata))[chunk.number :][:1]:
            source.seek(start)
            digests.append(_digest(source.read(end - start)))
    if digests != [chunk.digest]:
        raise JobError(
            f"{path}: another run has replaced this list of images; wait for it, then "
            "run again"
        )
    table = file.read_row_group(chunk.number)
    refs = index_table.to_refs(table.select(index_table.SCHEMA.names))
    seen = table.column_names[len(index_table.SCHEMA) :]
    return Images(refs, [table[name].to_pylist() for name in seen])


def find_seen(keys: pa.Array | pa.ChunkedArray, keys_file: str) -> pa.Array:
    """Look up which images are in a model's training set.

    Args:
      keys: keys of the images, shape (images,).
      keys_file: Parquet file with the keys of the training images in a column `key`;
        "" if the training images are unknown.

    Returns:
      Boolean array, shape (images,); all null if `keys_file` is "".

    Raises:
      UsageError: the file is missing, too large, or has no column `key`.
    """
    if not keys_file:
        return pa.nulls(len(keys), pa.bool_())
    try:
        file = storage.open_parquet(keys_file)
        if file.metadata.num_rows > _MAX_KEYS:
            raise UsageError(f"{keys_file}: has more than {_MAX_KEYS} keys")
        known = file.read(columns=["key"])["key"].cast(pa.string())
    except (pa.ArrowException, KeyError, OSError) as error:
        raise UsageError(
            f"{keys_file}: is not a Parquet file with a column `key`; correct "
            "trained_on.keys_file in the model's card"
        ) from error
    return pc.is_in(keys, value_set=known.combine_chunks())
