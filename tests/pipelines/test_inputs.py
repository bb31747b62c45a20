"""Test that files beside the images of an input are reported."""

import shutil

from pipelines import inputs
from tests import building


def find_notes(path):
    notes = inputs.recognize([str(path)], None).notes
    return [note for note in notes if "left out" in note]


def test_skipped_archives_and_folders_are_reported(webdataset_tars, tmp_path):
    folder = shutil.copytree(webdataset_tars, tmp_path / "images")
    (folder / "README.md").write_bytes(b"")
    (folder / ".cache").mkdir()
    assert find_notes(folder) == []
    (folder / "default").mkdir()
    (folder / "extra.tar").write_bytes(b"")
    (folder / "imagenet1k-train-0001.tar.gz").write_bytes(b"")
    assert find_notes(folder) == [
        f"{folder}: left out: default, extra.tar, imagenet1k-train-0001.tar.gz"
    ]


def test_folders_beside_train_and_val_are_reported_once(class_folders, tmp_path):
    folder = shutil.copytree(class_folders, tmp_path / "images")
    (folder / "valid").mkdir()
    (folder / "test").mkdir()
    second, first = find_notes(folder)
    assert first == f"{folder}/test is left out: its images have no labels"
    assert second == f"{folder}: left out: valid"


def test_built_dataset_as_input_gives_no_notes(class_folders, tmp_path):
    dataset = building.run(class_folders, tmp_path)
    assert find_notes(dataset) == []
