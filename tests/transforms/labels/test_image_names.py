import pytest

from transforms.labels.image_names import ImageName, find_wnid, parse, to_key
from transforms.records import UsageError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("n01440764_10026.JPEG", ("n01440764_10026", "n01440764")),
        ("n01440764_10026_n01440764.JPEG", ("n01440764_10026", "n01440764")),
        (
            "ILSVRC2012_val_00000001_n01751748.JPEG",
            ("ILSVRC2012_val_00000001", "n01751748"),
        ),
        ("train/n01440764_10026.jpg", ("n01440764_10026", "n01440764")),
        ("ILSVRC2012_val_00000001.JPEG", ("ILSVRC2012_val_00000001", "")),
        ("n01440764.JPEG", ("n01440764", "")),
        ("cat.png", ("cat", "")),
        # The same images, as other systems and tools name them.
        ("D:\\imagenet\\N01440764\\N01440764_1.JPEG", ("n01440764_1", "n01440764")),
        ("ilsvrc2012_VAL_00000001.jpg", ("ILSVRC2012_val_00000001", "")),
        ("n01440764_1.JPEG.png", ("n01440764_1", "n01440764")),
        ("a/b/n01440764_1", ("n01440764_1", "n01440764")),
        ("n01440764_1_N01440764.PNG", ("n01440764_1", "n01440764")),
        # Other names keep all of it, or two images might get one key.
        ("art_1_n01440764.jpg", ("art_1_n01440764", "n01440764")),
        ("Cat.v1.txt", ("Cat.v1.txt", "")),
        (".JPEG", (".JPEG", "")),
    ],
    ids=str,
)
def test_name_and_class_are_parted(path, expected):
    assert parse(path) == ImageName(*expected)


@pytest.mark.parametrize(
    ("by_name", "label", "names", "expected"),
    [
        ("n01440764", 0, (), "n01440764"),
        ("", 1, (), "n01443537"),
        ("n01440764", None, (), "n01440764"),
        ("", "n99999999", (), "n99999999"),
        ("", 1, ("n00000001", "n00000002"), "n00000002"),
    ],
    ids=["both", "label", "name", "wnid", "names"],
)
def test_class_is_found(by_name, label, names, expected):
    assert find_wnid(by_name, label, names=names, where="here") == expected


@pytest.mark.parametrize(
    ("by_name", "label", "expected"),
    [
        ("", None, "here: neither a label nor the name gives the class"),
        ("", -1, "here: the label is '-1', neither a wnid nor 0 to 999"),
        ("n01440764", 1000, "here: the label is '1000', neither"),
        ("", "cat", "here: the label is 'cat', neither"),
        ("", 1.0, "here: the label is '1.0', neither"),
        ("n01443537", 0, "here: label 0 is n01440764, and its name says n01443537"),
        ("n01443537", "n01440764", "here: it is n01440764, and its name says n0144353"),
    ],
    ids=["none", "test", "too large", "name", "float", "conflict", "two wnids"],
)
def test_class_that_is_not_clear_is_an_error(by_name, label, expected):
    with pytest.raises(UsageError, match=expected):
        find_wnid(by_name, label, where="here")


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("n01440764_10026", "n01440764_10026"),
        ("/data/train/n01440764/n01440764_10026.jpg", "n01440764_10026"),
        ("D:\\imagenet\\train\\n01440764\\n01440764_10026.JPEG", "n01440764_10026"),
        ("D:\\imagenet/val\\ILSVRC2012_val_00000001.PNG", "ILSVRC2012_val_00000001"),
        ("n01440764_1_n01440764", "n01440764_1"),
        ("data/n01440764_1_n01440764.JPEG", "n01440764_1"),
        ("ILSVRC2012_val_00000001_n01751748.JPEG", "ILSVRC2012_val_00000001"),
        ("cat_n01443537.png", "cat_n01443537"),
        ("img.1", "img.1"),
        ("train/n01440764/", ""),
    ],
)
def test_keys_are_file_names_in_any_spelling(path, key):
    assert to_key(path) == key
