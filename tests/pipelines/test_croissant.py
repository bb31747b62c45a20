"""Load a built dataset by its croissant.json, and compare it with the shards."""

import json
import tarfile

import mlcroissant
import numpy as np
import pytest
from etils import epath
from mlcroissant._src.core.context import CroissantVersion
from mlcroissant._src.operation_graph.operations import extract
from PIL import Image

from tests import building
from transforms.dataset.croissant import CONFORMS_TO
from transforms.verification.dataset import DatasetFiles
from transforms.verification.sidecars import check_sidecars

FORMATS = "webdataset,tfrecord,folders,parquet"


@pytest.fixture(scope="module")
def dataset(mini_imagenet, tmp_path_factory):
    output = tmp_path_factory.mktemp("croissant")
    return building.run(
        mini_imagenet, output, formats=FORMATS, images_per_shard=10, image_size=32
    )


@pytest.fixture(scope="module")
def samples(dataset):
    """Return the fields and the pixels in the tars, by key."""
    samples = {}
    for path in sorted(dataset.glob("*/*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, suffix = member.name.split(".")
                sample = samples.setdefault(
                    key, {"key": key, "split": path.parent.name}
                )
                if suffix == "json":
                    sample |= json.load(tar.extractfile(member))
                elif suffix == "jpg":
                    sample["image"] = np.asarray(Image.open(tar.extractfile(member)))
    return samples


@pytest.fixture
def described(dataset, tmp_path, monkeypatch):
    # The cache is named by the shard's relative path, which other datasets share.
    monkeypatch.setattr(extract, "EXTRACT_PATH", epath.Path(tmp_path))
    return mlcroissant.Dataset(dataset / "croissant.json")


def test_description_is_valid(described):
    issues = described.metadata.ctx.issues
    assert not issues.errors
    (warning,) = issues.warnings  # a date would differ between equal builds
    assert "datePublished" in warning
    assert described.metadata.conforms_to == [CONFORMS_TO]
    assert CroissantVersion.LATEST_VERSION.value == CONFORMS_TO


@pytest.mark.parametrize("name", ["webdataset", "folders", "parquet"])
def test_records_equal_those_of_the_shards(described, samples, name):
    records = list(described.records(name))
    assert len(records) == len(samples)
    for record in records:
        values = {field.removeprefix(f"{name}/"): v for field, v in record.items()}
        sample = samples[values["key"].decode()]
        assert np.array_equal(np.asarray(values.pop("image")), sample["image"])
        for field, value in values.items():
            text = value.decode() if isinstance(value, bytes) else value
            assert text == sample[field], field


def test_labels_are_listed(described, dataset):
    records = list(described.records("labels"))
    groups = building.read_json(dataset, "classes.json")
    assert [r["labels/label"] for r in records] == list(range(len(groups)))
    assert [r["labels/wnids"] for r in records] == [g["wnids"] for g in groups]


def test_every_shard_is_listed_with_its_checksum(dataset):
    content = building.read_json(dataset, "croissant.json")
    listed = {
        file["contentUrl"]: file["sha256"]
        for file in content["distribution"]
        if "sha256" in file
    }
    marked = building.read_json(dataset, "__meta__/complete.json")["files"]
    assert listed.items() <= marked.items()
    shards = [p for p in marked if ".tar" in p or ".tfrecord" in p or "data/" in p]
    assert set(listed) == {*shards, "__meta__/manifest.parquet"}
    assert str(dataset) not in json.dumps(content)


def test_changed_description_is_found(dataset):
    path = dataset / "croissant.json"
    data = path.read_bytes()
    assert list(check_sidecars(DatasetFiles(str(dataset)))) == []
    try:
        path.write_bytes(data.replace(b'"sha256": "', b'"sha256": "0', 1))
        (problem,) = check_sidecars(DatasetFiles(str(dataset)))
    finally:
        path.write_bytes(data)
    assert problem.startswith("croissant.json: .distribution[0].sha256 is ")
