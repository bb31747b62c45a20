"""The commit mark, and the plan of files ↔ what is there: none more, none less."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from transforms import paths, storage
from transforms.formats import folders
from transforms.progress import make_bar
from transforms.verification import sidecars
from transforms.verification.opened import OpenedDataset
from transforms.verification.rows import Problems

_CHUNK_BYTES = 1 << 20


def check_mark(dataset: OpenedDataset) -> Problems:
    """See that the dataset is finished: its mark is there and well-formed."""
    yield from ()
    mark = dataset.mark
    return f"subset {mark.subset_id[:12]}, {len(mark.files)} files"


def check_files(dataset: OpenedDataset) -> Problems:
    """See that what the mark lists is there, byte for byte, and nothing else."""
    listed = dataset.mark.files
    found = dataset.sizes
    for path in sorted(found.keys() - {*listed, paths.COMPLETE}):
        yield f"{path} is there, and complete.json does not list it"
    for path in sorted(_find_empty_folders(dataset)):
        yield f"{path}/ is an empty folder"
    present = [path for path in listed if found.get(path) is not None]
    for path in listed:
        if path not in found:
            yield f"{path} is gone"
        elif found[path] is None:
            yield f"{path} is no file"
    total = sum(found[path] or 0 for path in present)
    with (
        make_bar("hashing", total=total, unit="B", leave=False) as bar,
        ThreadPoolExecutor(dataset.num_readers) as pool,
    ):
        hash_one = partial(_hash_file, dataset.directory, bar=bar)
        for path, checksum in zip(present, pool.map(hash_one, present), strict=True):
            if checksum != listed[path]:
                yield f"{path} has other bytes: sha256 {checksum[:12]}…"
    return f"{len(present)} files, {total / 1e6:,.1f} MB, sha256"


def _find_empty_folders(dataset: OpenedDataset) -> Iterator[str]:
    """Yield the folders without content; a group without images has one by right."""
    if storage.is_remote(dataset.directory):
        return
    for folder, subfolders, names in os.walk(dataset.directory):
        path = Path(folder).relative_to(dataset.directory)
        of_group = path.parts[:1] == ("folders",) and len(path.parts) == 3
        if not subfolders and not names and not of_group:
            yield path.as_posix()


def _hash_file(root: str, path: str, *, bar: tqdm) -> str:
    digest = hashlib.sha256()
    with storage.open_input(f"{root}/{path}") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def check_layout(dataset: OpenedDataset) -> Problems:
    """See that the mark lists exactly the files of this recipe and these images."""
    expected = set(_expected_files(dataset))
    listed = dataset.mark.files.keys()
    for path in sorted(expected - listed):
        yield f"complete.json does not list {path}"
    for path in sorted(listed - expected):
        yield f"complete.json lists {path}, which is no file of this dataset"
    return f"{', '.join(dataset.formats)}: {len(expected)} files"


def _expected_files(dataset: OpenedDataset) -> Iterator[str]:
    yield from (
        paths.FAILURES,
        paths.GROUPS,
        paths.MANIFEST,
        paths.PREVIEW,
        paths.RECIPE,
        paths.STATISTICS,
    )
    yield from sidecars.make_expected(dataset)
    for name in dataset.formats:
        if name == folders.__name__.rpartition(".")[2]:
            for split, label, key in dataset.rows("split", "label", "key"):
                yield dataset.image_path(split=split, label=label, key=key)
            continue
        for split, num_shards in dataset.num_shards.items():
            for shard in range(num_shards):
                yield dataset.path_of(name, split=split, shard=shard)
