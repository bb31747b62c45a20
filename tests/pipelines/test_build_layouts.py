"""Test that subsets do not depend on input layout or output format."""

import shutil
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import index, verify
from pipelines.building.planning import compute_plan_id
from tests import building
from transforms import storage
from transforms.index.inventory import read_inventory
from transforms.verification import results as check_results

LAYOUTS = ["kaggle_zip", "huggingface_parquet", "tfds_records", "webdataset_tars"]


@pytest.fixture(scope="module")
def dataset(class_folders, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("of_class_folders")
    return building.run(class_folders, folder, formats="webdataset,parquet")


def read_subset_id(directory: Path) -> str:
    return building.read_json(directory, "__meta__/recipe.json")["subset_id"]


def find_mismatches(directory: Path, *readers: str) -> list[str]:
    options = verify.VerifyOptions(dataset=str(directory), readers=readers, threads=2)
    found = verify.verify(options)
    return [row.check for row in found if row.result == check_results.MISMATCH]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_images(layout, request, tmp_path, dataset):
    other = building.run(request.getfixturevalue(layout), tmp_path)
    assert read_subset_id(other) == read_subset_id(dataset)
    shards = [path for path in building.checksums(dataset) if path.endswith(".tar")]
    assert shards
    for path in shards:
        assert (other / path).read_bytes() == (dataset / path).read_bytes()
    assert find_mismatches(other, "webdataset") == []


def test_dataset_of_parquet_alone_is_complete(class_folders, tmp_path, dataset, capfd):
    alone = building.run(class_folders, tmp_path, formats="parquet")
    assert find_mismatches(alone, "huggingface_parquet") == []
    assert read_subset_id(alone) == read_subset_id(dataset)
    assert 'load_dataset("' in capfd.readouterr().err
    both = building.checksums(dataset)
    files = {p: c for p, c in building.checksums(alone).items() if "parquet/data" in p}
    assert len(files) == 5
    assert files.items() <= both.items()
    for row in building.manifest(alone):
        where = f"{alone}/{row['file']}"
        data = storage.read_range(where, row["offset"], row["length"])
        assert data[:3] == b"\xff\xd8\xff"


def test_recipe_records_the_library_that_encodes_parquet(dataset):
    """The bytes of these files depend on it, so another version is another plan."""
    recipe = building.read_json(dataset, "__meta__/recipe.json")
    assert "parquet" in recipe["formats"]
    assert recipe["versions"]["pyarrow"] == pa.__version__
    for path in dataset.glob("parquet/data/*.parquet"):
        assert pa.__version__ in pq.read_metadata(path).created_by
    newer = {**recipe, "versions": {**recipe["versions"], "pyarrow": "99.0.0"}}
    ids = [compute_plan_id(r, [], sources_sha256="") for r in (recipe, newer)]
    assert ids[0] != ids[1]


@pytest.mark.parametrize("inside", [".", "parquet"], ids=["tars", "parquet"])
def test_built_dataset_is_read_as_input_by_its_wnids(dataset, tmp_path, inside):
    """Its labels are group labels."""
    path = tmp_path / "index.parquet"
    index.main([f"--input={dataset / inside}", f"--output={path}"])
    found = read_inventory(str(path)).num_images
    expected = {}
    for row in building.manifest(dataset):
        key = row["wnid"], row["split"]
        expected[key] = expected.get(key, 0) + 1
    assert found == expected


def test_built_records_are_read_as_input_by_their_wnids(class_folders, tmp_path):
    made = building.run(class_folders, tmp_path, formats="tfrecord")
    path = tmp_path / "index.parquet"
    index.main([f"--input={made / '__tfds__'}", f"--output={path}"])
    found = read_inventory(str(path))
    assert (found.total("train"), found.total("validation")) == (60, 30)
    assert found.wnids() == sorted({row["wnid"] for row in building.manifest(made)})


@pytest.mark.parametrize("layout", ["kaggle_zip", "huggingface_parquet"])
def test_images_are_inspected_in_every_encoding(layout, request, tmp_path):
    path = tmp_path / "index.parquet"
    folder = request.getfixturevalue(layout)
    index.main([f"--input={folder}", f"--output={path}", "--inspect", "--threads=4"])
    inventory = read_inventory(str(path))
    assert sum(inventory.num_images.values()) == 150
    assert not inventory.num_bad


def test_damaged_member_of_a_zip_is_a_failure_with_its_place(kaggle_zip, tmp_path):
    archive = tmp_path / "imagenet.zip"
    data = bytearray(kaggle_zip.read_bytes())
    with zipfile.ZipFile(kaggle_zip) as opened:
        member = next(
            i for i in opened.infolist() if i.compress_type and "train/n" in i.filename
        )
    start = member.header_offset + 30 + len(member.filename)
    data[start : start + 50] = bytes(50)
    archive.write_bytes(data)
    made = building.run(
        archive,
        tmp_path,
        grouping="all_classes",
        num_groups=None,
        images_per_group=None,
        max_failure_fraction=0.1,
        min_validation_images=0,
    )
    failures = (made / "__meta__/failures.csv").read_text()
    assert f"imagenet.zip at byte {start},damaged in the zip" in failures
    assert find_mismatches(made, "webdataset") == []


def test_labels_not_in_wnid_order_are_rejected(tfds_records, tmp_path, capfd):
    other = shutil.copytree(tfds_records, tmp_path / "other")
    label = b"\x0a\x05label\x12\x06\x1a\x04\x0a\x02"
    shard = other / "imagenet2012-train.tfrecord-00000-of-00002"
    data = bytearray(shard.read_bytes())
    data[data.index(label) + len(label)] ^= 1
    shard.write_bytes(data)
    with pytest.raises(SystemExit) as ended:
        index.main([f"--input={other}", f"--output={tmp_path / 'i.parquet'}"])
    assert ended.value.code == 2
    said = capfd.readouterr().err
    assert "these labels are not the classes of ImageNet in the order" in said
    assert str(shard) in said
