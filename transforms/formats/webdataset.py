"""Write tar shards of (jpg, cls, json) members, for webdataset, timm and Hugging Face.

Readers group members by the part of their names before the first dot, so keys must not
contain dots. All images have the same members and the same JSON fields, without nulls.

Source: POSIX.1-1988 (USTAR); webdataset's tariterators; timm's reader_wds.
"""

import json

from transforms import storage
from transforms.formats import Dataset, ShardPlace, SplitInfo, WrittenShard
from transforms.records import JSON, ImageLocation, Record, Shard, to_json

ENCODING_FORMAT = "application/x-tar"
IMAGE_FILES = "*.jpg"
_BLOCK = 512
_ARCHIVE_MULTIPLE = 10240  # padding of tarfile and GNU tar, for identical bytes
_MAX_NAME_BYTES = 99  # memory-mapping readers only read the name field
# Header fields besides name, size and checksum; no time, user or host.
_MODE_AND_OWNER = b"0000644\0" + b"0000000\0" + b"0000000\0"
_TIME = b"00000000000\0"
_TYPE_TO_END = (b"0" + bytes(100) + b"ustar\x0000").ljust(_BLOCK - 156, b"\0")
_FIXED_SUM = sum(_MODE_AND_OWNER) + sum(_TIME) + 8 * ord(" ") + sum(_TYPE_TO_END)


def shard_path(name: str, shard: Shard) -> str:
    """Return the path of a shard, relative to the dataset's folder."""
    return f"{shard.split}/{name}-{shard}.tar"


def find_split(path: str) -> str | None:
    """Return the split of the images in a file; None if it is not of this format."""
    split, _, name = path.partition("/")
    return split if name.endswith(".tar") and "/" not in name else None


class ShardWriter:
    """Write one shard as a tar."""

    def __init__(self, place: ShardPlace) -> None:
        self._path = shard_path(place.name, place.shard)
        self._file = storage.AtomicFile(place.root, self._path)
        self._locations: list[ImageLocation] = []

    def add(self, record: Record) -> None:
        """Append an image and its labels."""
        offset = self._file.tell() + _BLOCK
        labels = {
            "file_name": record.file_name,
            "fine_label": record.fine_label,
            "label": record.label,
            "wnid": record.wnid,
        }
        self._file.write(
            make_member(f"{record.key}.jpg", record.image)
            + make_member(f"{record.key}.cls", str(record.label).encode())
            + make_member(f"{record.key}.json", json.dumps(labels).encode())
        )
        location = ImageLocation(self._path, offset, len(record.image))
        self._locations.append(location)

    def close(self) -> WrittenShard:
        """Finish the archive at its final path; return it and the image locations."""
        end = self._file.tell() + 2 * _BLOCK
        self._file.write(bytes(2 * _BLOCK + -end % _ARCHIVE_MULTIPLE))
        return WrittenShard((self._file.close(),), tuple(self._locations))

    def discard(self) -> None:
        """Remove the unfinished file; do nothing after `close`."""
        self._file.discard()


def make_member(name: str, content: bytes) -> bytes:
    """Return the bytes of a tar member: header, content and padding.

    Raises:
      ValueError: the name is longer than 99 bytes.
    """
    name_field = name.encode()
    if len(name_field) > _MAX_NAME_BYTES:
        raise ValueError(
            f"the member name {name!r} is longer than {_MAX_NAME_BYTES} bytes"
        )
    size = b"%011o\0" % len(content)
    checksum = _FIXED_SUM + sum(name_field) + sum(size)
    return b"".join((
        name_field.ljust(100, b"\0"),
        _MODE_AND_OWNER,
        size,
        _TIME,
        b"%06o\0 " % checksum,
        _TYPE_TO_END,
        content,
        bytes(-len(content) % _BLOCK),
    ))


def sidecars(dataset: Dataset) -> dict[str, bytes]:
    """Return `_info.json`, from which timm reads the splits."""
    splits: JSON = {split.name: _describe_split(split) for split in dataset.splits}
    return {"_info.json": to_json({"splits": splits})}


def _describe_split(split: SplitInfo) -> JSON:
    return {
        "name": split.name,
        "num_samples": split.num_images,
        "filenames": [file.path for file in split.files["webdataset"]],
        "shard_lengths": split.shard_lengths,
        "alt_label": "",
    }


def front_matter(dataset: Dataset) -> dict[str, JSON]:
    """Return the card's front matter, from which Hugging Face loads the shards."""
    files: JSON = [
        {"split": split.name, "path": f"{split.name}/*.tar"} for split in dataset.splits
    ]
    return {
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {
            "features": _describe_features(dataset),
            "splits": [split.count("webdataset") for split in dataset.splits],
        },
    }


def _describe_features(dataset: Dataset) -> JSON:
    """Describe the members of the tars as features; Hugging Face loads only these."""
    names = {str(label.label): label.name for label in dataset.labels}
    struct: JSON = [
        {"name": "file_name", "dtype": "string"},
        {"name": "fine_label", "dtype": "int64"},
        {"name": "label", "dtype": "int64"},
        {"name": "wnid", "dtype": "string"},
    ]
    return [
        {"name": "cls", "dtype": {"class_label": {"names": names}}},
        {"name": "jpg", "dtype": "image"},
        {"name": "json", "struct": struct},
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
    ]


def loading_snippet(directory: str, split: str) -> str:
    """Return Python code that loads one image."""
    return f"""\
import glob, webdataset  # pip install webdataset
shards = sorted(glob.glob("{directory}/{split}/*.tar"))
images = webdataset.WebDataset(shards, shardshuffle=False).decode("pil")
image, label = next(iter(images.to_tuple("jpg", "cls")))"""


def how_to_load(dataset: Dataset) -> str:
    """Return the card's section on this format; assume the last split is validation."""
    train, validation = dataset.splits[0], dataset.splits[-1]
    place, last = dataset.example_path, len(train.shard_lengths) - 1
    numbers = f"{{00000..{last:05d}}}-of-{last + 1:05d}"
    return f"""\
webdataset:

```python
import webdataset

shards = "{place}/{train.name}/{dataset.name}-{train.name}-{numbers}.tar"
dataset = webdataset.WebDataset(shards, shardshuffle=100).shuffle(1000)
for image, label in dataset.decode("pil").to_tuple("jpg", "cls"):
    ...
```

A sample has three members: the image (`jpg`), the label (`cls`) and all fields
(`json`).

Hugging Face datasets:

```python
from datasets import load_dataset

dataset = load_dataset("{place}", split="{train.name}")
image, label = dataset[0]["jpg"], dataset[0]["cls"]
```

timm, from the tar files:

```sh
python train.py --dataset wds/{dataset.name} --data-dir {place} \\
  --num-classes {len(dataset.labels)} \\
  --train-split {train.name} --val-split {validation.name}
```
"""
