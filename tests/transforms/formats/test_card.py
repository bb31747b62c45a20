import dataclasses
import importlib
import json
import re
from importlib import import_module

import pytest
import yaml

from transforms.dataset import card as dataset_card
from transforms.formats import LabelInfo

HUGGING_FACE_FILES = {"state.json", "dataset_dict.json", "index.json"}


def front_matter(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


@pytest.fixture(scope="module")
def text(root) -> str:
    return (root / "README.md").read_text()


def test_hugging_face_loads_both_splits(root, dataset, by_key, tmp_path):
    datasets = import_module("datasets")
    found = datasets.load_dataset(str(root), cache_dir=str(tmp_path))
    assert {name: len(split) for name, split in found.items()} == {
        "train": 7,
        "validation": 3,
    }
    names = [label.name for label in dataset.labels]
    for split in found.values():
        assert split.features["cls"].names == names
        for row in split:
            record = by_key[row["__key__"]]
            assert row["cls"] == row["json"]["label"] == record.label
            assert row["json"]["fine_label"] == record.fine_label
            assert row["json"]["wnid"] == record.wnid
            assert row["json"]["file_name"] == record.file_name
            assert row["jpg"].size[1] == 32


@pytest.mark.parametrize(
    "library",
    [
        "webdataset",
        "datasets",
        "tensorflow_datasets",
        "tensorflow",
        "keras",
        pytest.param("torchvision", marks=pytest.mark.torch),
    ],
)
def test_code_of_the_card_runs(library, text, root, tmp_path, monkeypatch):
    module = importlib.import_module(library)
    if library == "datasets":
        monkeypatch.setattr(module.config, "HF_DATASETS_CACHE", tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    codes = [x for x in blocks if re.match(rf"(import|from) {library}\b", x)]
    assert len(codes) == (2 if library == "datasets" else 1)  # tars and Parquet
    for code in codes:
        namespace: dict = {}
        exec(code.replace("PATH/TO", str(root.parent.parent)), namespace)
        assert sum(1 for _ in namespace["dataset"]) in {1, 7}  # keras: one batch


def test_card_counts_what_was_written(text, root):
    info = front_matter(text)["dataset_info"]
    assert info["splits"] == [
        {"name": name, "num_bytes": num_bytes(root, name), "num_examples": images}
        for name, images in (("train", 7), ("validation", 3))
    ]


def num_bytes(root, split):
    return sum(path.stat().st_size for path in (root / split).glob("*.tar"))


@pytest.mark.parametrize(
    ("formats", "shown", "hidden"),
    [
        (("webdataset",), ["webdataset", "datasets", "wds/tiny"], ["tfds/", "keras"]),
        (("tfrecord",), ["tensorflow", "tfds/tiny"], ["load_dataset", "wds/"]),
        (
            ("folders",),
            ["torchvision", "class_map.txt"],
            ["load_dataset", "tensorflow"],
        ),
        (("parquet",), ["load_dataset", "hfds/"], ["webdataset", "tensorflow"]),
    ],
    ids=["webdataset", "tfrecord", "folders", "parquet"],
)
def test_card_shows_only_what_fits_the_formats(dataset, formats, shown, hidden):
    partial = dataclasses.replace(dataset, formats=formats)
    text = dataset_card.sidecars(partial)["README.md"].decode()
    assert all(word in text for word in shown)
    assert not any(word in text for word in hidden)
    assert ("configs" in front_matter(text)) == ("webdataset" in formats)


def test_card_has_recipe_id_and_terms(text):
    assert "| grouping | manual |" in text
    assert "`5ub5e7`" in text
    assert "https://www.image-net.org/download.php" in text
    assert front_matter(text)["license"] == "other"


def test_card_table_survives_any_name(text):
    assert "| 2 | #Möwe's {鴎} \\| ~ | 002_mowe_s | 1 |" in text


def test_long_label_table_is_cut(dataset):
    labels = tuple(
        LabelInfo(n, f"name {n}", f"{n:04d}_name", (f"n{n:08d}",), (n,))
        for n in range(1000)
    )
    text = dataset_card.sidecars(dataclasses.replace(dataset, labels=labels))[
        "README.md"
    ]
    assert b"| 99 | name 99 |" in text
    assert b"| 100 | name 100 |" not in text
    assert b"900 more labels" in text
    assert (
        len(
            front_matter(text.decode())["dataset_info"]["features"][0]["dtype"][
                "class_label"
            ]["names"]
        )
        == 1000
    )


@pytest.mark.parametrize(
    ("num_images", "size"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (110_000, "100K<n<1M"), (10**8, "1M<n<10M")],
)
def test_size_category(dataset, num_images, size):
    split = dataclasses.replace(dataset.splits[0], num_images=num_images)
    one = dataclasses.replace(dataset, splits=(split,))
    text = dataset_card.sidecars(one)["README.md"].decode()
    assert front_matter(text)["size_categories"] == [size]


def test_classes_json_lists_every_label(root, dataset):
    listed = json.loads((root / "classes.json").read_text())
    assert listed[1] == {
        "label": 1,
        "name": "no",
        "folder": "001_no",
        "wnids": ["n01440764", "n01443537"],
        "class_indices": [0, 1],
    }
    assert [entry["name"] for entry in listed] == [x.name for x in dataset.labels]


def test_no_file_has_the_name_of_another_readers_marker(root):
    assert not HUGGING_FACE_FILES & {path.name for path in root.rglob("*")}
