"""Read the images of a split from an index or from a finished dataset."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from transforms import formats, storage
from transforms.dataset import manifest, paths
from transforms.dataset import plan as dataset_plan
from transforms.index import table as index_table
from transforms.records import UsageError

_VERIFY = "check it with python -m pipelines.verify"


class ImageSource(NamedTuple):
    """The images of a split and the roots of the inputs that contain them."""

    table: pa.Table  # with the columns of the index
    roots: tuple[str, ...]
    versions: Mapping[str, str] = {}  # of archives, by path


def read_index(path: str, split: str | None) -> ImageSource:
    """Read the list of the usable images in a split from a validated index.

    `split` None reads all splits.

    Raises:
      UsageError: the index has no images in this split.
    """
    file = storage.open_parquet(path)
    table = file.read()
    if "problem" in table.column_names:
        table = table.filter(pc.equal(table["problem"], ""))
    described = index_table.read_description(path)
    roots = tuple(described["inputs"])
    table = table.select(index_table.SCHEMA.names)
    versions = index_table.read_versions(described)
    return ImageSource(_select_split(table, split, path), roots, versions)


def is_dataset(path: str) -> bool:
    """Return whether a path is the folder of a finished or unfinished dataset."""
    return storage.exists(f"{path}/{Path(paths.COMPLETE).parent}")


def read_dataset(directory: str, split: str | None) -> ImageSource:
    """Read the list of the images in a split of a finished dataset.

    `split` None reads all splits.

    Raises:
      UsageError: the dataset is unfinished or damaged, or the split is empty.
    """
    if not storage.exists(f"{directory}/{paths.COMPLETE}"):
        raise UsageError(f"{directory}: {dataset_plan.describe_unfinished(directory)}")
    columns = ["key", "wnid", "split", "file", "offset", "length"]
    try:
        rows = storage.read_parquet(f"{directory}/{paths.MANIFEST}", columns)
        rows = rows.cast(pa.schema([manifest.SCHEMA.field(name) for name in columns]))
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"{directory}: its manifest cannot be read; {_VERIFY}"
        ) from error
    rows = rows.rename_columns(["key", "wnid", "split", "uri", "offset", "length"])
    rows = rows.append_column("input", pa.array([0] * len(rows), pa.int32()))
    encodings = map(cache(formats.image_encoding), rows["uri"].to_pylist())
    rows = rows.append_column("encoding", pa.array(encodings, pa.string()))
    table = rows.select(index_table.SCHEMA.names)
    problems = set(index_table.find_problems(table, 1)) - {"split"}
    if len(pc.unique(table["key"])) < len(table):
        problems.add("key")
    if problems:
        shown = ", ".join(sorted(problems))
        raise UsageError(
            f"{directory}: its manifest has invalid values in {shown}; {_VERIFY}"
        )
    table = _select_split(table, split, directory)
    return ImageSource(table, (storage.absolute(directory),))


def _select_split(table: pa.Table, split: str | None, path: str) -> pa.Table:
    if split is None:
        return table
    selected = table.filter(pc.equal(table["split"], split))
    if not len(selected):
        counts = pc.value_counts(table["split"].combine_chunks()).to_pylist()
        shown = sorted(f"{c['values']} ({c['counts']} images)" for c in counts)
        raise UsageError(
            f"--split {split}: {path} has no such split; it has {', '.join(shown)}"
        )
    return selected
