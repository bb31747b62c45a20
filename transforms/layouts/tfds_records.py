"""TensorFlow Datasets' imagenet2012: NAME-train.tfrecord-00000-of-01024, …"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from transforms import storage
from transforms.archives import tfrecords
from transforms.labels import image_names
from transforms.layouts import (
    SPLIT_OF,
    FoundParts,
    InputPart,
    ShardName,
    describe_missing,
    make_ref,
)
from transforms.records import ImageRef, SkippedFile, UsageError

LOOKED_FOR = "NAME-train.tfrecord-00000-of-NNNNN"
READS_HEADERS = True
_FILE = re.compile(r"([A-Za-z]\w*)-([a-z_]+)\.tfrecord-(\d+)-of-(\d+)")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_NAME = "imagenet2012"
_LABELS = "label.labels.txt"


def find(path: str) -> FoundParts | None:
    """Recognise the folder of the files, of the dataset, or of all datasets."""
    if not storage.is_folder(path):
        return None
    found = _find_files(path)
    names = sorted({uri.rpartition("/")[2].partition("-")[0] for uri in found})
    if len(names) > 1:
        raise UsageError(f"records of several datasets ({', '.join(names)}); name one")
    pieces = tuple(
        InputPart(
            layout="tfds_records",
            root=path,
            uri=uri,
            split=SPLIT_OF[name.split],
            is_labelled=True,
        )
        for uri, name in found.items()
        if name.split in SPLIT_OF
    )
    if not pieces:
        return None
    return FoundParts(
        description=f"TensorFlow Datasets' records ({len(pieces)} files in {path})",
        pieces=pieces,
        notes=tuple(describe_missing(path, found.values())),
    )


def _find_files(path: str) -> dict[str, ShardName]:
    """Return the files by uri: of the path itself, or of the newest version."""
    found = _list_files(path, "")
    for prefix in ("", f"{_NAME}/"):
        folder = f"{path}/{prefix}".rstrip("/")
        if found or not storage.is_folder(folder):
            continue
        names = [entry.name for entry in storage.list_folder(folder)]
        versions = filter(None, map(_VERSION.fullmatch, names))
        newest_first = sorted(versions, key=lambda m: [*map(int, m.groups())])[::-1]
        for version in newest_first:
            found = found or _list_files(path, f"{prefix}{version[0]}/")
    return found


def _list_files(path: str, prefix: str) -> dict[str, ShardName]:
    entries = storage.list_folder(f"{path}/{prefix}".rstrip("/"))
    matches = filter(None, (_FILE.fullmatch(entry.name) for entry in entries))
    return {f"{prefix}{m[0]}": ShardName(m[2], int(m[3]), int(m[4])) for m in matches}


@lru_cache
def _find_wnids(folder: str, name: str) -> Sequence[str]:
    """Return the classes of a dataset's labels; empty: the 1000 in wnid order.

    Raises:
      UsageError: the dataset does not tell its classes.
    """
    path = f"{folder}/{_LABELS}"
    try:
        names = storage.read(path).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        if name.startswith(_NAME):
            return ()
        raise UsageError(
            f"{folder}: nothing tells what the labels of {name} are; put its {_LABELS} "
            "there"
        ) from None
    return image_names.find_wnids(list(filter(None, names)), where=path)


def read(piece: InputPart) -> Iterator[ImageRef | SkippedFile]:
    """Yield the images of a file; their bytes are stored uncompressed."""
    folder, _, file = piece.path.rpartition("/")
    for example in tfrecords.Reader(piece.path).read_examples():
        where = f"{piece.path}: the record at byte {example.start}"
        if "image" not in example.spans or "file_name" not in example.texts:
            raise UsageError(
                f"{where} has no image and file_name, as those of {_NAME} have"
            )
        image = example.spans["image"]
        found = image_names.parse(example.texts["file_name"])
        names: Sequence[str] = ()
        label: str | int | None = example.texts.get("wnid")  # ours have it
        if label is None and "label" in example.integers:
            label = example.integers["label"]
            names = _find_wnids(folder, file.partition("-")[0])
        yield make_ref(
            piece,
            found.name,
            uri=piece.uri,
            offset=image.start,
            length=image.end - image.start,
            wnid=image_names.find_wnid(found.wnid, label, names=names, where=where),
        )
