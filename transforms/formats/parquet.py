"""Write shards as Parquet files for Hugging Face datasets and timm.

pyarrow writes the files with settings that store every image uncompressed and
contiguously, so that the manifest can record its byte range, as for the other formats.
Compression would not shrink JPEG files anyway. The recipe records pyarrow's version,
because the bytes of the files depend on it.
"""

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from transforms import storage
from transforms.formats import FRONT_MATTER, TERMS, Dataset, ShardPlace, WrittenShard
from transforms.records import JSON, ImageLocation, Record, Shard

ENCODING_FORMAT = "application/x-parquet"
IMAGE_COLUMN = "image"
FOLDER = "parquet"
ROWS_PER_GROUP = 100  # as in Hugging Face's image datasets
MAX_GROUP_BYTES = 16 << 20  # of images; a writer holds a row group in memory
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_SCHEMA = pa.schema([
    ("image", _IMAGE),
    ("label", pa.int64()),
    ("fine_label", pa.int64()),
    ("wnid", pa.string()),
    ("file_name", pa.string()),
])


def shard_path(name: str, shard: Shard) -> str:
    """Return the path of a shard, relative to the dataset's folder."""
    return f"{FOLDER}/data/{shard}.parquet"


def find_split(path: str) -> str | None:
    """Return the split of the images in a file; None if it is not of this format."""
    folder, _, name = path.rpartition("/")
    return name.partition("-")[0] if folder == f"{FOLDER}/data" else None


class ShardWriter:
    """Write one shard as a Parquet file, one row group at a time."""

    def __init__(self, place: ShardPlace) -> None:
        self._path = shard_path(place.name, place.shard)
        self._file = storage.AtomicFile(place.root, self._path)
        self._sink = _Sink()
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, "w"),
            _SCHEMA,
            version="2.6",
            data_page_version="1.0",
            compression="none",
            use_dictionary=False,  # plain encoding: the image bytes as they are
            write_statistics=False,
            store_schema=False,
        )
        # Label names are the folder names; the card has the display names.
        features = json.dumps(_describe_features(place.folders))
        self._writer.add_key_value_metadata({"huggingface": features})
        self._rows: list[Record] = []
        self._group_bytes = 0
        self._locations: list[ImageLocation] = []

    def add(self, record: Record) -> None:
        """Append an image and its labels."""
        self._rows.append(record)
        self._group_bytes += len(record.image)
        is_full = len(self._rows) == ROWS_PER_GROUP
        if is_full or self._group_bytes >= MAX_GROUP_BYTES:
            self._write_group()

    def close(self) -> WrittenShard:
        """Finish the file at its final path; return it and the image locations."""
        if self._rows:
            self._write_group()
        self._writer.close()
        self._flush()
        return WrittenShard((self._file.close(),), tuple(self._locations))

    def discard(self) -> None:
        """Remove the unfinished file; do nothing after `close`."""
        self._file.discard()

    def _write_group(self) -> None:
        rows = self._rows
        file_names = [row.file_name for row in rows]
        image_bytes = pa.array([row.image for row in rows], pa.binary())
        columns = [
            pa.StructArray.from_arrays(
                [image_bytes, pa.array(file_names, pa.string())], fields=list(_IMAGE)
            ),
            pa.array([row.label for row in rows], pa.int64()),
            pa.array([row.fine_label for row in rows], pa.int64()),
            pa.array([row.wnid for row in rows], pa.string()),
            pa.array(file_names, pa.string()),
        ]
        table = pa.table(columns, schema=_SCHEMA)
        self._writer.write_table(table, row_group_size=len(rows))
        start = self._file.tell()
        data = self._flush()
        end = 0
        for row in rows:
            # pyarrow does not report byte offsets; images are stored in row order.
            position = data.index(row.image, end)
            end = position + len(row.image)
            self._locations.append(
                ImageLocation(self._path, start + position, len(row.image))
            )
        self._rows = []
        self._group_bytes = 0

    def _flush(self) -> bytes:
        """Write the bytes that pyarrow has encoded to the file, and return them."""
        data = self._sink.take()
        self._file.write(data)
        return data


class _Sink:
    """A file object that collects the bytes that pyarrow writes."""

    closed = False

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._chunks.append(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing; `take` returns the bytes."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        """Return the bytes written since the last call."""
        data = b"".join(self._chunks)
        self._chunks = []
        return data


def _describe_features(names: Sequence[str]) -> JSON:
    """Describe the columns in Hugging Face's schema format, `Features`.

    Args:
      names: name of each label.
    """
    string: JSON = {"dtype": "string", "_type": "Value"}
    features: JSON = {
        "image": {"_type": "Image"},
        "label": {"names": list(names), "_type": "ClassLabel"},
        "fine_label": {"dtype": "int64", "_type": "Value"},
        "wnid": string,
        "file_name": string,
    }
    return {"info": {"features": features}}


def sidecars(dataset: Dataset) -> dict[str, bytes]:
    """Return the card of the Parquet files, from which Hugging Face loads them."""
    front = yaml.safe_dump(_front_matter(dataset), allow_unicode=True, sort_keys=False)
    text = f"""\
# {dataset.name}

Version {dataset.version}, subset id `{dataset.subset_id}`: a subset of ImageNet in
{len(dataset.labels)} groups, as Parquet. `label` is the group, from 0; `fine_label` the
class among ImageNet's 1000 in the order of their wnids, -1 for a class outside them.

The images are ImageNet's, and stay under [ImageNet's terms of access]({TERMS}): for
non-commercial research and teaching only. Do not publish them without a gate that asks
for agreement to these terms.
"""
    return {f"{FOLDER}/README.md": f"---\n{front}---\n\n{text}".encode()}


def _front_matter(dataset: Dataset) -> dict[str, JSON]:
    names = {str(label.label): label.name for label in dataset.labels}
    features: JSON = [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
        {"name": "fine_label", "dtype": "int64"},
        {"name": "wnid", "dtype": "string"},
        {"name": "file_name", "dtype": "string"},
    ]
    files: JSON = [
        {"split": split.name, "path": f"data/{split.name}-*.parquet"}
        for split in dataset.splits
    ]
    return {
        **FRONT_MATTER,
        "pretty_name": dataset.name,
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {
            "features": features,
            "splits": [split.count("parquet") for split in dataset.splits],
        },
    }


def loading_snippet(directory: str, split: str) -> str:
    """Return Python code that loads one image."""
    return f"""\
from datasets import load_dataset  # pip install datasets
images = load_dataset("{directory}/{FOLDER}", split="{split}")
image, label = images[0]["image"], images[0]["label"]"""


def how_to_load(dataset: Dataset) -> str:
    """Return the card's section on this format; assume the last split is validation."""
    train, validation = dataset.splits[0].name, dataset.splits[-1].name
    place = f"{dataset.example_path}/{FOLDER}"
    return f"""\
Hugging Face datasets, from Parquet:

```python
from datasets import load_dataset

dataset = load_dataset("{place}", split="{train}")
image, label = dataset[0]["image"], dataset[0]["label"]
```

timm, from Parquet:

```sh
python train.py --dataset hfds/{place} --num-classes {len(dataset.labels)} \\
  --train-split {train} --val-split {validation}
```
"""
