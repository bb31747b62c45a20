"""Test hostile archives and images, in single steps and in a build."""

import csv
import random
import re
import shutil
from pathlib import Path

import pytest

from pipelines import verify
from tests import building
from tests.torture import broken_pictures, hostile_archives
from transforms.verification import results as check_results

# tests/torture/hostile_archives.py has the whole list; these are the outcomes of
# those that once did harm elsewhere.
EXPECTED = {
    "tar: traversal": "refused: .*would leave the archive's folder",
    "tar: absolute": "refused: .*would leave the archive's folder",
    "tar: pax path": "refused: .*would leave the archive's folder",
    "tar: long name": "refused: .*would leave the archive's folder",
    "tar: backslashes": "read: 8 images, 1 strays",
    "tar: newline": "refused: .*cannot be keys: 1 ",
    "tar: symbolic link": "read: 8 images, 1 strays",
    "tar: hard link": "read: 8 images, 1 strays",
    "tar: character device": "read: 8 images, 1 strays",
    "tar: fifo": "read: 8 images, 1 strays",
    "tar: octal size beyond": "refused: .*truncated",
    "tar: base-256 size beyond": "refused: .*truncated",
    "tar: negative base-256 size": "refused: .*damaged",
    "tar: lowest base-256 size": "refused: .*damaged",
    "tar: pax size negative": "refused: .*damaged header",
    "tar: name beyond": "refused: .*a name of 8589934592 bytes",
    "tar: bomb among images": "read: 8 images, 0 strays, .*over the bound",
    "zip: bomb of 4 GB": "read: 4 images, .*more than 67108864 bytes",
    "zip: directory elsewhere": "refused: .*damaged",
    "zip: encrypted": "refused: .*encrypted",
    "endless tar": "refused: .*are zeros, which is more than the end",
    "class tar outside": "refused: .*would leave the archive's folder",
    "records: path in a name": "read: 1 images",  # of the name alone: evil
    "records: class is a path": "refused: .*neither a wnid",
    "parquet: path in a name": "read: 1 images",
    "parquet: zeros": "read: 0 images, .*too large",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, str]:
    return hostile_archives.attack(tmp_path_factory.mktemp("sandbox"))


def test_every_hostile_archive_is_rejected_or_read(results):
    bad = {n: r for n, r in results.items() if not r.startswith(("read:", "refused:"))}
    assert bad == {}
    assert len(results) > 60


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items(), ids=EXPECTED.keys())
def test_hostile_archive_has_the_expected_outcome(results, name, expected):
    assert re.match(expected, results[name], re.DOTALL), results[name]


def break_images(folder: Path) -> list[Path]:
    """Replace every fifth training image by a broken one."""
    paths = sorted(folder.glob("train/*/*.JPEG"))[::5]
    for number, path in enumerate(paths):
        path.write_bytes(broken_pictures.make(random.Random(number))[1])
    return paths


def test_build_accounts_for_every_broken_image(class_folders, tmp_path):
    folder = shutil.copytree(class_folders, tmp_path / "imagenet")
    broken = {path.stem for path in break_images(folder)}
    flags = {"grouping": "all_classes", "num_groups": None, "images_per_group": None}
    flags |= {"min_validation_images": 0, "max_failure_fraction": 0.5}
    root = building.run(folder, tmp_path / "out", **flags)
    with (root / "__meta__" / "failures.csv").open(newline="") as file:
        failed = {row["key"] for row in csv.DictReader(file)}
    written = {row["key"] for row in building.manifest(root)}
    assert len(broken) == 24
    assert 0 < len(failed) < len(broken)
    assert failed <= broken
    assert not failed & written
    assert failed | written == {path.stem for path in folder.glob("*/*/*.JPEG")}
    options = verify.VerifyOptions(dataset=str(root), readers=("tar_members",))
    assert check_results.MISMATCH not in {row.result for row in verify.verify(options)}
