import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import building
from transforms.images import decode
from transforms.images.read import read_image_bytes
from transforms.index import table as index_table
from transforms.models import image_source
from transforms.records import UsageError


@pytest.fixture(scope="module")
def dataset(mini_imagenet, tmp_path_factory):
    return building.run(mini_imagenet, tmp_path_factory.mktemp("built"))


def test_images_are_read_from_files_of_blocks(mini_imagenet, dataset, tmp_path):
    root = building.run(mini_imagenet, tmp_path, formats="array_record")
    source = image_source.read_dataset(str(root), "train")
    sizes = {r["key"]: (r["width"], r["height"]) for r in building.manifest(root)}
    for ref in index_table.to_refs(source.table):
        data = read_image_bytes(source.roots[0], ref)
        image = decode.open_image(data)
        decode.decode(image)
        assert image.size == sizes[ref.key]
    sheets = [(x / "__meta__/preview.jpg").read_bytes() for x in (root, dataset)]
    assert sheets[0] == sheets[1]


def test_images_with_a_problem_are_left_out(mini_index, tmp_path):
    table = pq.read_table(mini_index)
    bad = pa.array(["truncated"] + [""] * (len(table) - 1))
    metadata = dict(pq.read_metadata(mini_index).metadata)
    metadata.pop(b"ARROW:schema")
    table = table.append_column("problem", bad).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "index.parquet")
    split = table["split"][0].as_py()
    for path, missing in ((mini_index, 0), (tmp_path / "index.parquet", 1)):
        source = image_source.read_index(str(path), split)
        assert len(source.table) == table["split"].to_pylist().count(split) - missing


def test_images_of_a_dataset_are_in_its_shards(dataset):
    source = image_source.read_dataset(str(dataset), "validation")
    assert source.roots == (str(dataset),)
    rows = [r for r in building.manifest(dataset) if r["split"] == "validation"]
    assert source.table["key"].to_pylist() == [row["key"] for row in rows]
    first = rows[0]
    data = (dataset / first["file"]).read_bytes()[first["offset"] :]
    assert data[:3] == b"\xff\xd8\xff"


def test_absent_split_is_an_error_that_names_the_others(dataset, mini_index):
    message = r"--split fold_a: .* it has train \(60 images\), validation \(30 images\)"
    with pytest.raises(UsageError, match=message):
        image_source.read_dataset(str(dataset), "fold_a")
    with pytest.raises(UsageError, match=r"it has train \(120 images\)"):
        image_source.read_index(str(mini_index), "fold_a")


def test_unfinished_dataset_is_an_error(tmp_path):
    (tmp_path / "__meta__").mkdir()
    assert image_source.is_dataset(str(tmp_path))
    with pytest.raises(UsageError, match="is not a finished dataset"):
        image_source.read_dataset(str(tmp_path), "train")


@pytest.mark.parametrize(
    ("column", "value"), [("file", "../outside"), ("offset", -1), ("key", "same")]
)
def test_damaged_manifest_is_an_error(dataset, tmp_path, column, value):
    table = pq.read_table(dataset / "__meta__/manifest.parquet")
    position = table.schema.get_field_index(column)
    field = table.schema.field(column)
    values = pa.array([value] * len(table), field.type)
    (tmp_path / "__meta__").mkdir()
    (tmp_path / "__meta__/complete.json").write_text("{}")
    pq.write_table(
        table.set_column(position, field, values),
        tmp_path / "__meta__/manifest.parquet",
    )
    named = "uri" if column == "file" else column
    with pytest.raises(UsageError, match=f"invalid values in {named}"):
        image_source.read_dataset(str(tmp_path), "train")


def test_dataset_without_manifest_is_an_error(tmp_path):
    (tmp_path / "__meta__").mkdir()
    (tmp_path / "__meta__/complete.json").write_text("{}")
    with pytest.raises(UsageError, match="its manifest cannot be read"):
        image_source.read_dataset(str(tmp_path), "train")
