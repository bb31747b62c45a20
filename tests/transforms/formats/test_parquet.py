import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from transforms.formats import parquet
from transforms.formats import parquet as format_
from transforms.formats.parquet import Column
from transforms.records import Shard
from transforms.verification.readers import huggingface_parquet


@pytest.fixture
def card(root) -> dict:
    text = (root / "parquet" / "README.md").read_text()
    return yaml.safe_load(text.split("---\n")[1])


def test_shard_path():
    path = format_.shard_path("tiny", Shard("train", 0, 10))
    assert path == "parquet/data/train-00000-of-00010.parquet"


def test_arrow_reads_the_records(records, root):
    for shard, images in records.items():
        path = root / format_.shard_path("tiny", shard)
        assert pq.read_table(path).to_pylist() == [
            {
                "image": {"bytes": record.image, "path": record.file_name},
                "label": record.label,
                "fine_label": record.fine_label,
                "wnid": record.wnid,
                "file_name": record.file_name,
            }
            for record in images
        ]


def test_schema_is_what_hugging_face_writes(root, dataset, records):
    datasets = pytest.importorskip("datasets")
    path = root / format_.shard_path("tiny", next(iter(records)))
    schema = pq.read_schema(path)
    features = datasets.Features.from_arrow_schema(schema)
    assert isinstance(features["image"], datasets.Image)
    assert features["label"].names == [label.folder for label in dataset.labels]
    assert features.arrow_schema.equals(schema)
    assert json.loads(schema.metadata[b"huggingface"]).keys() == {"info"}


def test_card_counts_what_was_written_and_names_every_column(root, dataset, card):
    info = card["dataset_info"]
    for split, told in zip(dataset.splits, info["splits"], strict=True):
        files = sorted((root / "parquet/data").glob(f"{split.name}-*.parquet"))
        assert told == {
            "name": split.name,
            "num_bytes": sum(path.stat().st_size for path in files),
            "num_examples": split.num_images,
        }
    columns = pq.read_schema(files[0]).names
    assert [feature["name"] for feature in info["features"]] == columns


def test_hugging_face_reads_every_image_by_the_card(root, dataset, by_key):
    directory = str(root)
    names = [label.name for label in dataset.labels]
    assert huggingface_parquet.read_names(directory) == names
    images = list(huggingface_parquet.read_images(directory, ["train", "validation"]))
    assert {image.key for image in images} == by_key.keys()
    for image in images:
        record = by_key[image.key]
        assert image.image == record.image
        assert image.labels == (record.label,)
        assert (image.fine_label, image.wnid) == (record.fine_label, record.wnid)


COLUMNS = (
    Column(("image", "bytes"), bytes),
    Column(("image", "path"), str),
    Column(("label",), int),
)
ROW = st.tuples(
    st.binary(max_size=600), st.text(max_size=40), st.integers(-(2**63), 2**63 - 1)
)


@given(st.lists(ROW, max_size=30), st.integers(1, 12))
def test_arrow_reads_any_rows_in_groups_of_any_size(rows, rows_per_group):
    file = io.BytesIO()
    writer = parquet.Writer(
        file.write, COLUMNS, {"a": "b", "ä": "ö"}, rows_per_group=rows_per_group
    )
    places = [writer.add(image, others) for image, *others in rows]
    writer.close()
    data = file.getvalue()
    for place, (image, *_) in zip(places, rows, strict=True):
        assert data[place : place + len(image)] == image
    table = pq.read_table(pa.BufferReader(data))
    assert [
        (row["image"]["bytes"], row["image"]["path"], row["label"])
        for row in table.to_pylist()
    ] == rows
    footer = pq.read_metadata(pa.BufferReader(data))
    assert footer.num_row_groups == -(-len(rows) // rows_per_group)
    assert footer.metadata == {b"a": b"b", "ä".encode(): "ö".encode()}
