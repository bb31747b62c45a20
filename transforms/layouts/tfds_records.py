"""TensorFlow Datasets' imagenet2012: NAME-train.tfrecord-00000-of-01024, …"""

import re
from collections.abc import Iterator

from transforms import storage, tfrecords
from transforms.labels import image_names
from transforms.pieces import (
    SPLIT_OF,
    Found,
    Piece,
    ShardName,
    describe_missing,
    make_ref,
)
from transforms.records import ImageRef, Stray, UsageError

_FILE = re.compile(r"[A-Za-z]\w*-([a-z_]+)\.tfrecord-(\d+)-of-(\d+)")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_NAME = "imagenet2012"


def find(path: str) -> Found | None:
    """Recognise the folder of the files, of the dataset, or of all datasets."""
    if not storage.is_folder(path):
        return None
    found = _find_files(path)
    pieces = tuple(
        Piece(
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
    return Found(
        description=f"TensorFlow Datasets' records ({len(pieces)} files in {path})",
        pieces=pieces,
        notes=tuple(describe_missing(path, found.values())),
    )


def _find_files(path: str) -> dict[str, ShardName]:
    """Return the files by uri: of the path itself, else of the newest version."""
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
    return {f"{prefix}{m[0]}": ShardName(m[1], int(m[2]), int(m[3])) for m in matches}


def read(piece: Piece) -> Iterator[ImageRef | Stray]:
    """Yield the images of one file, whose bytes lie in it as they are."""
    for example in tfrecords.Reader(piece.path).read_examples():
        where = f"{piece.path}: the record at byte {example.start}"
        if "image" not in example.spans or "file_name" not in example.texts:
            raise UsageError(
                f"{where} has no image and file_name, as those of {_NAME} have"
            )
        image = example.spans["image"]
        found = image_names.parse(example.texts["file_name"])
        label = example.texts.get("wnid", example.integers.get("label"))  # ours have it
        yield make_ref(
            piece,
            found.name,
            uri=piece.uri,
            offset=image.start,
            length=image.end - image.start,
            wnid=image_names.find_wnid(found.wnid, label, where=where),
        )
