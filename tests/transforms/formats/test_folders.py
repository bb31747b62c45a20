import pytest

from transforms import storage
from transforms.formats import folders


@pytest.mark.parametrize(
    ("split", "folder"),
    [
        ("train", "folders/train"),
        ("validation", "folders/val"),
        ("fold_a", "folders/fold_a"),
    ],
)
def test_split_folder(split, folder):
    assert folders.split_folder(split) == folder


def test_image_is_in_its_groups_folder(root, records):
    expected = {
        f"{'val' if shard.split == 'validation' else 'train'}"
        f"/{('000_crane', '001_no', '002_mowe_s')[r.label]}/{r.key}.JPEG"
        for shard, images in records.items()
        for r in images
    } | {"class_map.txt"}
    assert set(storage.list_files(str(root / "folders"))) == expected


def test_group_without_images_has_a_folder(root):
    for split in ("train", "val"):
        found = sorted(path.name for path in (root / "folders" / split).iterdir())
        assert found == ["000_crane", "001_no", "002_mowe_s"]
    assert not any((root / "folders/val/002_mowe_s").iterdir())


def test_class_map_lists_the_folders_by_label(root):
    listed = (root / "folders" / "class_map.txt").read_text().splitlines()
    assert listed == ["000_crane", "001_no", "002_mowe_s"]


def test_keras_numbers_the_folders_as_the_labels(root, by_key):
    import keras

    for split, num_images in (("train", 7), ("val", 3)):
        found = keras.utils.image_dataset_from_directory(
            str(root / "folders" / split), shuffle=False, verbose=False
        )
        assert found.class_names == ["000_crane", "001_no", "002_mowe_s"]
        labels = [int(x) for _, batch in found for x in batch]
        stems = [
            path.rsplit("/", 1)[1].removesuffix(".JPEG") for path in found.file_paths
        ]
        assert labels == [by_key[stem].label for stem in stems]
        assert len(labels) == num_images
