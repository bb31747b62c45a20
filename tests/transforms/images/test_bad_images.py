"""A short run of `tests.torture.bad_images` in a child with bounded memory and time."""

import random

import pytest

from tests.torture import bad_images, bombs, broken_pictures
from transforms.images import decode
from transforms.records import DataError

NUM_FILES = 250


def test_broken_pictures_are_images_or_data_errors():
    start = bad_images.NUM_BOMBS
    found = list(bad_images.attack(1, start + NUM_FILES, start=start))
    assert [o for o in found if not o.is_accounted_for] == []
    assert len(found) == NUM_FILES
    results = [outcome.result for outcome in found]
    assert min(results.count("image"), NUM_FILES - results.count("image")) > 50


def test_child_that_is_ended_is_told_and_followed_by_another(monkeypatch):
    monkeypatch.setattr(bad_images, "_MODULE", "tests.torture.no_such_module")
    found = list(bad_images.attack(1, 2))
    assert [outcome.number for outcome in found] == [0, 1]
    assert not any(outcome.is_accounted_for for outcome in found)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("png beyond the bound", "over the bound of 128000000 pixels"),
        ("one row png", "and 1000000 a side"),
        ("leaping bmp of one row", "and 1000000 a side"),
        ("gif beyond the bound", "broken header"),
        ("a hundred thousand scans", "in 100001 scans would take too long"),
        ("zTXt bomb", "Decompressed data too large"),
        ("iCCP bomb", "Decompressed data too large"),
    ],
)
def test_bomb_is_refused_by_its_header(name, reason):
    with pytest.raises(DataError, match=reason):
        decode.open_image(bombs.BOMBS[name]())


def test_every_change_is_made_and_the_same_file_each_time():
    made = [broken_pictures.make(random.Random(n)) for n in range(500)]
    kinds = " ".join(kind for kind, _ in made)
    assert all(change in kinds for change in broken_pictures.CHANGES)
    assert made[:20] == [broken_pictures.make(random.Random(n)) for n in range(20)]
