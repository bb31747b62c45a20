"""Test that each layout gives identical datasets from a bucket and from a disk."""

import pytest

from tests import building
from tests.stores.copying import upload
from transforms import storage

LAYOUTS = [
    *("mini_imagenet", "class_archives", "class_folders", "kaggle_tree"),
    *("kaggle_zip", "huggingface_parquet", "tfds_records", "webdataset_tars"),
]
# Few images, each read by the ways that a larger build reads it too.
FLAGS = {
    "formats": "webdataset",
    "num_groups": 2,
    "images_per_group": 12,
    "min_validation_images": 8,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_in_a_bucket_gives_the_local_dataset(
    layout, folder, local, request, tmp_path
):
    place = request.getfixturevalue(layout)
    if place.is_file():
        source = f"{upload(place.parent, f'{folder}/imagenet')}/{place.name}"
    else:
        source = upload(place, f"{folder}/imagenet")
    made = building.run(source, tmp_path, **FLAGS)
    assert building.checksums(made) == building.checksums(local(layout, **FLAGS))
    assert storage.exists(source), "nothing of the input was touched"
