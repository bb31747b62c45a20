import dataclasses
import importlib
import json
import re
import shlex
from importlib import import_module

import pytest
import yaml

from transforms.dataset import card as dataset_card
from transforms.formats import LabelInfo
from transforms.images.settings import ImageSettings

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


@pytest.mark.parametrize("card", ["README.md", "parquet/README.md"])
def test_front_matter_describes_source_and_terms(root, card):
    front = front_matter((root / card).read_text())
    assert front["task_categories"] == ["image-classification"]
    assert front["source_datasets"] == ["extended|imagenet-1k"]
    assert "imagenet" in front["tags"]
    assert front["license_link"] in front["extra_gated_prompt"]
    assert "non-commercial" in front["extra_gated_prompt"]
    assert front["extra_gated_fields"] == {
        "I accept ImageNet's terms of access": "checkbox"
    }


def test_card_says_how_to_cite_the_subset(dataset):
    recipe = {
        **dataset.recipe,
        **{"preset": None, "grouping": "wordnet", "images_per_group": 5, "seed": 3},
        "images": {"image_size": 64, "resize_mode": "squash"},
    }
    described = dataclasses.replace(dataset, recipe=recipe)
    text = dataset_card.sidecars(described)["README.md"].decode()
    line = next(line for line in text.splitlines() if line.startswith("> "))
    assert f"(subset id `{dataset.subset_id}`): grouping wordnet, groups 3, " in line
    assert "training images per group 5, seed 3, image size 64, " in line
    assert "None" not in line


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


def make_card(dataset, **changes) -> str:
    changed = dataclasses.replace(dataset, **changes)
    return dataset_card.sidecars(changed)["README.md"].decode()


def test_card_tells_image_settings_and_versions(dataset):
    recipe = {
        "images": ImageSettings(image_size=99, jpeg_quality=77).describe(),
        "versions": {
            "imagenet-subsets": "9.8.7",
            "pillow": "1.2",
            "libjpeg_turbo": "3",
        },
    }
    text = make_card(dataset, recipe=recipe)
    for row in (
        "| image_size | 99 |",
        "| resize_mode | shorter_side |",
        "| jpeg_quality | 77 |",
        "| chroma | 4:2:0 |",
        "| codec | JPEG, by Pillow 1.2 with libjpeg-turbo 3 |",
        "| imagenet-subsets | 9.8.7 |",
    ):
        assert f"\n{row}\n" in text


def test_card_counts_official_and_held_out_images(dataset):
    described = {
        "official": 50,
        "held_out": 49,
        "trained_classes": 93,
        "validated_classes": 101,
        "untrained_wnids": ["n01440764"],
        "unvalidated_wnids": [],
    }
    text = make_card(dataset, statistics={"validation": described})
    assert "\nValidation images: 50 official, 49 held out of training.\n" in text
    assert "93 classes trained, 101 validated; no training images: tench" in text
    assert "| validation, held out | 49 |" in text


def test_command_of_the_card_is_broken_before_flags_and_admits_failures(dataset):
    command = "python -m pipelines.build --input PATH_TO_IMAGENET --name 'a b' --seed 3"
    text = make_card(
        dataset,
        recipe={"command": command, "input_fingerprint": "f1"},
        statistics={"totals": {"chosen": 90, "failed": 2}},
    )
    (block,) = re.findall(r"Build it again\n\n```sh\n(.*?)```", text, re.DOTALL)
    assert all(len(line) <= 80 for line in block.splitlines())
    words = shlex.split(block.replace("\\\n", " "))
    assert words == [*shlex.split(command), "--max_failure_fraction", "0.023"]
    assert "`f1`" in text


def test_card_lists_how_the_input_differs_from_imagenet(dataset, text):
    warning = "found 120 of ImageNet's 1,281,167 training images"
    differing = make_card(dataset, recipe={"input_warnings": [warning]})
    assert "## Differences from ImageNet\n\nThe input" in differing
    assert f"\n- {warning}\n" in differing
    assert "Differences from ImageNet" not in text


def test_card_cites_imagenet_and_the_subset(text):
    (entries,) = re.findall(r"```bibtex\n(.*?)```", text, re.DOTALL)
    assert re.findall(r"^@\w+\{(\w+),$", entries, re.MULTILINE) == ["ILSVRC15", "tiny"]
    assert entries.count("{") == entries.count("}")
    assert "5ub5e7" in entries


def test_card_names_the_classes_of_each_label_out_of_the_way(text):
    head, _, rest = text.partition("<details>\n<summary>3 labels and their classes")
    assert "| 1 | no | 001_no | 2 | tench, goldfish |" in rest.split("</details>")[0]
    assert "tench" not in head


def test_card_of_200_groups_shows_all_of_them(dataset):
    labels = tuple(
        LabelInfo(n, f"group {n}", f"{n:03d}_group", ("n01440764",) * 5, (0,) * 5)
        for n in range(200)
    )
    text = make_card(dataset, labels=labels)
    assert "| 199 | group 199 | 199_group | 5 | tench" in text
    assert "more labels" not in text


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
