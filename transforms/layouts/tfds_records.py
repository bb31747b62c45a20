"""Read TensorFlow Datasets' shards, e.g. NAME-train.tfrecord-00000-of-01024."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from transforms import storage
from transforms.archives import declared_counts, tfrecords
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
from transforms.records import ByteRange, UsageError

LOOKED_FOR = "NAME-train.tfrecord-00000-of-NNNNN"
READS_HEADERS = True
_FILE = re.compile(r"([A-Za-z]\w*)-([a-z_]+)\.tfrecord-(\d+)-of-(\d+)")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_NAME = "imagenet2012"
_LABELS = "label.labels.txt"


def find(path: str) -> FoundParts | None:
    """Find record files in the folder of a version, dataset or data_dir, or one file.

    Raises:
      UsageError: the folder contains records of several datasets or dataset versions.
    """
    root, _, name = path.rpartition("/")
    if storage.is_folder(path):
        root, found = path, _find_files(path)
    else:
        found = _parse_names([name])
    names = sorted({uri.rpartition("/")[2].partition("-")[0] for uri in found})
    if len(names) > 1:
        raise UsageError(f"records of several datasets ({', '.join(names)}); give one")
    folders = {uri: f"{root}/{uri}".rpartition("/")[0] for uri in found}
    declared = {f: declared_counts.read_lengths(f) for f in set(folders.values())}
    lengths = {u: declared[f].get(u.rpartition("/")[2]) for u, f in folders.items()}
    pieces = make_shard_parts(root, found, layout="tfds_records", lengths=lengths)
    if not pieces:
        return None
    return describe_shards(path, pieces, found, kind="TensorFlow Datasets' records")


def _find_files(path: str) -> dict[str, ShardName]:
    """Return the record files in a folder, or else in its newest version, by uri."""
    found = _list_files(path, "")
    for prefix in ("", f"{_NAME}/"):
        folder = f"{path}/{prefix}".rstrip("/")
        if found or not storage.is_folder(folder):
            continue
        names = [entry.name for entry in list_entries(folder)]
        versions = filter(None, map(_VERSION.fullmatch, names))
        newest_first = sorted(versions, key=lambda m: [*map(int, m.groups())])[::-1]
        for version in newest_first:
            found = found or _list_files(path, f"{prefix}{version[0]}/")
    return found


def _list_files(path: str, prefix: str) -> dict[str, ShardName]:
    entries = list_entries(f"{path}/{prefix}".rstrip("/"))
    return _parse_names([e.name for e in entries if not e.is_folder], prefix)


def _parse_names(names: Sequence[str], prefix: str = "") -> dict[str, ShardName]:
    matches = filter(None, map(_FILE.fullmatch, names))
    return {f"{prefix}{m[0]}": ShardName(m[2], int(m[3]), int(m[4])) for m in matches}


@lru_cache
def _find_wnids(folder: str, name: str) -> Sequence[str]:
    """Return the wnid of each label; empty for ImageNet's 1000 in wnid order.

    Args:
      folder: folder of the record files.
      name: name of the dataset.

    Raises:
      UsageError: the file of label names is missing or has other classes.
    """
    path = f"{folder}/{_LABELS}"
    try:
        names = storage.read(path).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        if name.startswith(_NAME):
            return ()
        raise UsageError(
            f"{folder}: the label names of {name} are unknown; put its {_LABELS} "
            "there, or give --class_list"
        ) from None
    return image_names.find_wnids(list(filter(None, names)), where=path)


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the images of a file without reading their bytes.

    Raises:
      UsageError: the file is damaged, or a record has no image, name or valid label.
    """
    folder, _, file = piece.path.rpartition("/")
    labels = LabelReader(class_lists.read(piece.class_list))
    for example in tfrecords.Reader(piece.path).read_examples():
        where = f"{piece.path}: the record at byte {example.start}"
        if "image" not in example.spans or "file_name" not in example.texts:
            raise UsageError(
                f"{where} has no image and file_name, as those of {_NAME} have"
            )
        image = example.spans["image"]
        names: Sequence[str] = ()
        label: str | int | None = example.texts.get("wnid")  # as this program writes
        if label is None and "label" in example.integers:
            label = example.integers["label"]
        if isinstance(label, int) and not piece.class_list:
            names = _find_wnids(folder, file.partition("-")[0])
        by_name = image_names.parse(example.texts["file_name"]).wnid
        yield make_ref(
            piece,
            example.texts["file_name"],
            uri=piece.uri,
            location=ByteRange(image.start, image.end - image.start),
            wnid=labels.find_wnid(by_name, label, names=names, where=where),
        )
    yield from labels.list_numbers()
