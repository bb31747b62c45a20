import itertools
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from transforms.formats import ShardPlace, parquet
from transforms.records import Record, Shard
from transforms.verification.readers import huggingface_parquet


@pytest.fixture
def card(root) -> dict:
    text = (root / "parquet" / "README.md").read_text()
    return yaml.safe_load(text.split("---\n")[1])


def test_shard_path():
    path = parquet.shard_path("tiny", Shard("train", 0, 10))
    assert path == "parquet/data/train-00000-of-00010.parquet"


def test_arrow_reads_the_records(records, root):
    for shard, images in records.items():
        path = root / parquet.shard_path("tiny", shard)
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


def test_schema_agrees_with_hugging_face(root, dataset, records):
    datasets = pytest.importorskip("datasets")
    path = root / parquet.shard_path("tiny", next(iter(records)))
    schema = pq.read_schema(path)
    features = datasets.Features.from_arrow_schema(schema)
    assert isinstance(features["image"], datasets.Image)
    assert features["label"].names == [label.folder for label in dataset.labels]
    assert features.arrow_schema.equals(schema)
    assert json.loads(schema.metadata[b"huggingface"]).keys() == {"info"}


def test_card_counts_what_was_written_and_names_every_column(root, dataset, card):
    info = card["dataset_info"]
    for split, split_info in zip(dataset.splits, info["splits"], strict=True):
        files = sorted((root / "parquet/data").glob(f"{split.name}-*.parquet"))
        assert split_info == {
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


ROW = st.builds(
    Record,
    key=st.text(max_size=40),
    image=st.binary(max_size=600),
    label=st.integers(-(2**63), 2**63 - 1),
    fine_label=st.integers(-(2**63), 2**63 - 1),
    wnid=st.text(max_size=9),
)


@given(st.lists(ROW, max_size=30), st.integers(1, 12), st.integers(1, 4000))
def test_arrow_reads_any_rows_in_groups_of_any_size(rows, rows_per_group, max_bytes):
    shard = Shard("train", 0, 1)
    with TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROWS_PER_GROUP", rows_per_group)
        patch.setattr(parquet, "MAX_GROUP_BYTES", max_bytes)
        writer = parquet.ShardWriter(
            ShardPlace(root=root, name="tiny", folders=["a", "ö"], shard=shard)
        )
        for row in rows:
            writer.add(row)
        (file,), locations = writer.close()
        data = Path(root, file.path).read_bytes()
    for location, row in zip(locations, rows, strict=True):
        assert location.file == file.path
        content = data[location.offset : location.offset + location.length]
        assert content == row.image
    table = pq.read_table(pa.BufferReader(data))
    assert [
        Record(
            row["file_name"].removesuffix(".JPEG"),
            row["image"]["bytes"],
            *(row[name] for name in ("label", "fine_label", "wnid")),
        )
        for row in table.to_pylist()
    ] == rows
    footer = pq.read_metadata(pa.BufferReader(data))
    assert footer.num_rows == len(rows)
    groups = [footer.row_group(n) for n in range(footer.num_row_groups)]
    ends = list(itertools.accumulate(group.num_rows for group in groups))
    for start, end in zip([0, *ends], ends, strict=False):
        sizes = [len(row.image) for row in rows[start:end]]
        assert len(sizes) <= rows_per_group
        assert sum(sizes[:-1]) < max_bytes
        assert (
            end == len(rows)
            or len(sizes) == rows_per_group
            or (sum(sizes) >= max_bytes)
        )
    assert footer.metadata.keys() == {b"huggingface"}
    features = json.loads(footer.metadata[b"huggingface"])["info"]["features"]
    assert features["label"] == {"names": ["a", "ö"], "_type": "ClassLabel"}


def test_images_are_stored_unchanged(root, records):
    for shard in records:
        footer = pq.read_metadata(root / parquet.shard_path("tiny", shard))
        for number in range(footer.row_group(0).num_columns):
            column = footer.row_group(0).column(number)
            assert column.compression == "UNCOMPRESSED"
            assert not column.has_dictionary_page
            assert set(column.encodings) == {"PLAIN", "RLE"}


def test_memory_holds_no_more_than_one_row_group(tmp_path):
    image = bytes(1 << 20)
    place = ShardPlace(
        root=str(tmp_path), name="tiny", folders=["a"], shard=Shard("train", 0, 1)
    )
    writer = parquet.ShardWriter(place)
    before = pa.total_allocated_bytes()
    for number in range(100):
        writer.add(Record(f"n01440764_{number}", image, 0, 0, "n01440764"))
        assert sum(len(row.image) for row in writer._rows) < parquet.MAX_GROUP_BYTES
        assert pa.total_allocated_bytes() - before < 2 * parquet.MAX_GROUP_BYTES
    (file,), _ = writer.close()
    footer = pq.read_metadata(tmp_path / file.path)
    assert footer.num_row_groups == 7  # 100 MiB in groups of 16
