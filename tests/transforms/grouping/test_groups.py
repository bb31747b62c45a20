import re

import hypothesis.strategies as st
import pytest
from hypothesis import given

from transforms.grouping import groups_file
from transforms.grouping import table as groups
from transforms.grouping.table import GroupRow, make_table
from transforms.records import ImageClass, UsageError

A = ImageClass("n00000001", 5, "ant", 10, 1)
B = ImageClass("n00000002", 6, "bee", 10, 1)
C = ImageClass("n00000003", -1, "cat", 10, 1)
D = ImageClass("n00000004", 8, "dog", 10, 1)
CLASSES = (A, B, C, D)


def _table(*ids, names=None):
    return make_table(
        CLASSES, dict(zip([c.wnid for c in CLASSES], ids, strict=True)), names
    )


def test_labels_follow_each_groups_smallest_wnid():
    table = _table("z", None, 7, "z", names={"z": "last letter", 7: "seven"})
    assert table.rows == (
        GroupRow("n00000001", 5, "ant", 0, "last letter"),
        GroupRow("n00000002", 6, "bee", -1, ""),
        GroupRow("n00000003", -1, "cat", 1, "seven"),
        GroupRow("n00000004", 8, "dog", 0, "last letter"),
    )
    assert table.num_groups == 2
    assert table.label_of == {A.wnid: 0, C.wnid: 1, D.wnid: 0}
    assert table.wnids(0) == (A.wnid, D.wnid)


def test_order_of_classes_does_not_matter():
    assignment = {c.wnid: c.name for c in CLASSES}
    assert make_table(CLASSES, assignment) == make_table(CLASSES[::-1], assignment)


def test_single_classes_are_named_as_the_class_and_others_by_their_label():
    assert _table("x", 5, 5, None).names == ("ant", "group 1")
    assert _table("x", 5, 5, None, names={"x": "", 5: " \n"}).names == (
        "ant",
        "group 1",
    )


def test_names_that_repeat_get_their_smallest_wnid():
    names = dict.fromkeys("xyz", "same")
    assert _table("x", "y", "y", "z", names=names).names == (
        "same (n00000001)",
        "same (n00000002)",
        "same (n00000004)",
    )
    names = {"x": "same (n00000002)", "y": "same", "z": "same"}
    assert len(set(_table("x", "y", "y", "z", names=names).names)) == 3


def test_names_are_one_clean_line():
    names = {"x": "\ta\nb\r\x00c\u2028d  e\x85 "}
    assert _table("x", "x", "x", "x", names=names).names == ("a b c d e",)


def test_assignment_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="exactly"):
        make_table(CLASSES, {A.wnid: 0})


def test_folders_are_wnids_when_every_group_is_one_class():
    assert _table(3, None, 1, 2).folders == (A.wnid, C.wnid, D.wnid)


def test_folders_are_padded_numbers_and_slugs_otherwise():
    names = {0: "Élan: 3 Dogs/Cats", 1: "日本"}
    assert _table(0, 0, 1, 1, names=names).folders == (
        "000_elan_3_dogs_cats",
        "001_group",
    )


def _natural_key(text):
    """Sort naturally: digits by value, ignoring case."""
    parts = re.split(r"(\d+)", text.lower())
    return [int(part) if part.isdigit() else part for part in parts]


@pytest.mark.parametrize("num_groups", [2, 11, 101, 1000, 1001, 1200])
@pytest.mark.parametrize("size", [1, 2])
def test_folders_sort_alike_plain_and_natural_in_the_order_of_labels(num_groups, size):
    classes = [
        ImageClass(f"n{number:08d}", -1, f"n{number:08d}", 1, 1)
        for number in range(num_groups * size)
    ]
    words = ("Zebra", "apple", "10", "class2", "_", "9 lives")
    table = make_table(
        classes,
        {c.wnid: number // size for number, c in enumerate(classes)},
        {number: words[number % len(words)] for number in range(num_groups)},
    )
    folders = list(table.folders)
    assert len(set(folders)) == num_groups
    assert all(folder == folder.lower() for folder in folders)
    assert sorted(folders) == folders
    assert sorted(folders, key=_natural_key) == folders


def test_golden_groups_csv():
    table = _table("z", None, 7, "z", names={"z": 'last, "best"', 7: "seven"})
    assert groups.to_csv(table).decode() == (
        "wnid,class_index,name,group,group_name\n"
        'n00000001,5,ant,0,"last, ""best"""\n'
        "n00000002,6,bee,,\n"
        "n00000003,-1,cat,1,seven\n"
        'n00000004,8,dog,0,"last, ""best"""\n'
    )
    assert (
        table.sha256
        == _table(1, None, 2, 1, names={1: 'last, "best"', 2: "seven"}).sha256
    )
    assert table.sha256 != _table(1, None, 2, 1).sha256


@given(
    ids=st.lists(
        st.one_of(st.none(), st.integers(0, 3), st.text(max_size=3)),
        min_size=4,
        max_size=4,
    ),
    words=st.lists(st.text(max_size=8), min_size=4, max_size=4),
)
def test_groups_csv_gives_the_same_table_again(ids, words):
    names = dict(zip([i for i in ids if i is not None], words, strict=False))
    table = _table(*ids, names=names)
    text = groups.to_csv(table).decode()
    assert (
        make_table(CLASSES, *groups_file.parse_csv(text, CLASSES, source="x")) == table
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("wnid,class_index,name,group,", "a,b,c,d,", "x:1: the header is"),
        (
            "n00000003,-1",
            "n00000009,-1",
            "x:4: 'n00000009' is not a class of the input",
        ),
        ("n00000003,-1", "n00000009,-1", "x: no row for 1 classes (n00000003)"),
        ("n00000003,-1", "n00000001,-1", "x:4: n00000001 is repeated; keep one row"),
        ("n00000004,8,dog,0,group 0", "n00000004,8,dog,0,hm", "x:5: group 0 is named"),
        ("dog,0", "dog", "x:5: has 4 fields where the header has 5"),
    ],
)
def test_problems_of_groups_csv_name_file_and_line(old, new, message):
    text = groups.to_csv(_table(0, None, 1, 0)).decode()
    assert old in text
    with pytest.raises(UsageError) as caught:
        groups_file.parse_csv(text.replace(old, new), CLASSES, source="x")
    assert message in str(caught.value)
