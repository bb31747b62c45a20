from collections import Counter

import numpy as np
import pytest

from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Confusion
from transforms.grouping.methods import curated
from transforms.grouping.methods.curated import load_categories
from transforms.grouping.table import GroupingRequest, make_table
from transforms.labels import validation
from transforms.labels.classes import class_index, load_classes
from transforms.records import ImageClass, UsageError

CLASSES = tuple(
    ImageClass(info.wnid, info.class_index, info.name, 1300, 50)
    for info in load_classes()
)
CATEGORIES = load_categories()
_FIXES = (
    "the published table puts 21 of these classes in the wrong category (e.g. sea "
    "snake in fish); --curated_fixes corrects them"
)


def _group(num_groups, *, fixes=False, classes=CLASSES, confusion=None):
    request = GroupingRequest(
        classes=classes,
        num_groups=num_groups,
        seed=0,
        images_per_group=None,
        min_validation_images=0,
        allow_small_validation=False,
        groups_file=None,
        confusion_file=confusion,
    )
    return curated.group_classes(request, curated.Options(fixes=fixes))


def _table(num_groups, *, classes=CLASSES, **settings):
    result = _group(num_groups, classes=classes, **settings)
    return make_table(classes, result.assignment, result.names)


def _sizes(table):
    counts = Counter(table.label_of.values())
    return {name: counts[label] for label, name in enumerate(table.names)}


def _write_confusion(path, matrix, wnids):
    num_images = matrix.sum(axis=1).astype(np.int64)
    confusion = Confusion(matrix, tuple(wnids), num_images, ("alexnet", "vgg"))
    data = confusion_matrix.to_npz(confusion)
    path.write_bytes(data)
    return str(path)


def _in(*categories):
    return tuple(c for c in CLASSES if CATEGORIES[c.wnid] in categories)


def test_67_groups_are_the_categories():
    table = _table(67)
    assert set(table.names) == set(CATEGORIES.values())
    names = {row.wnid: row.group_name for row in table.rows}
    assert names == CATEGORIES
    assert _group(67).quality["categories"] == "as they are"


@pytest.mark.parametrize("num_groups", [*range(2, 75), 150, 500, 998, 999, 1000])
def test_there_are_exactly_n_groups_with_unique_names(num_groups):
    table = _table(num_groups)
    assert len(table.label_of) == 1000
    assert len(set(table.names)) == table.num_groups == num_groups


def test_fewer_groups_merge_the_smallest_into_the_most_similar():
    one_fewer = _sizes(_table(66))
    assert one_fewer["crocodile + dinosaur"] == 3  # the first of three singletons
    assert {"trilobite", "armadillo"} <= one_fewer.keys()
    assert _sizes(_table(20))["dog"] == 119


def test_confusion_selects_the_groups_to_merge(tmp_path):
    wnids = [c.wnid for c in CLASSES]
    dinosaur = next(n for n, w in enumerate(wnids) if CATEGORIES[w] == "dinosaur")
    pizza = next(n for n, c in enumerate(CLASSES) if c.name == "pizza")
    matrix = np.eye(1000) * 50
    matrix[dinosaur, pizza] = 1
    path = _write_confusion(tmp_path / "c.npz", matrix, wnids)
    result = _group(66, confusion=path)
    assert "food + dinosaur" in result.names.values()
    assert result.quality["categories"] == "merged by confusion"


def test_known_errors_of_the_table_are_named_until_they_are_fixed():
    assert _group(67).notes == (_FIXES,)
    assert _group(67, fixes=True).notes == ()


def test_matrix_without_confusion_falls_back_to_wordnet(tmp_path):
    wnids = [c.wnid for c in CLASSES]
    path = _write_confusion(tmp_path / "c.npz", np.eye(1000) * 50, wnids)
    assert _group(10, confusion=path).assignment == _group(10).assignment


def test_confusion_matrix_without_effect_is_reported(tmp_path):
    wnids = [c.wnid for c in CLASSES]
    path = _write_confusion(tmp_path / "c.npz", np.eye(1000) * 50, wnids)
    note = "the confusion matrix is not used: no categories are merged"
    assert _group(67, confusion=path).notes == (note, _FIXES)
    assert _group(99, confusion=path).notes == (note, _FIXES)
    for num_groups in (67, 99):
        quality = _group(num_groups, confusion=path).quality
        assert "confusion_models" not in quality


def test_a_confusion_matrix_that_changes_the_groups_is_said_and_recorded(tmp_path):
    wnids = [c.wnid for c in CLASSES]
    path = _write_confusion(tmp_path / "c.npz", np.eye(1000) * 50, wnids)
    result = _group(66, confusion=path)
    assert result.notes == (
        "categories are merged by the confusion of alexnet, vgg, not by WordNet as "
        "without --confusion: do not rank that model on the same images",
        _FIXES,
    )
    assert result.quality["confusion_models"] == ["alexnet", "vgg"]
    assert _group(66).notes == (_FIXES,)
    assert "confusion_models" not in _group(66).quality


def test_more_groups_halve_the_largest_along_a_node():
    sizes = _sizes(_table(68))
    assert sizes["dog: hunting dog"] + sizes["dog without hunting dog"] == 119
    assert "dog" not in sizes
    assert sizes["bird"] == 59


def test_single_classes_keep_their_names_unless_they_were_a_category():
    changed = {
        name: c.name
        for name, c in zip(_table(1000).names, CLASSES, strict=True)
        if name != c.name
    }
    assert changed == {"dinosaur": "triceratops"}


def test_node_with_the_name_of_its_category_gets_another_name():
    names = _table(100).names
    assert "furniture proper" in names
    assert "furniture without furniture proper" in names


def test_groups_are_nested_in_those_of_a_smaller_n():
    for few, many in ((67, 68), (68, 120), (120, 400), (66, 67), (10, 66)):
        outer, inner = _table(few).label_of, _table(many).label_of
        assert len({(inner[w], outer[w]) for w in inner}) == many


def test_some_classes_give_some_categories():
    classes = _in("cat", "shark", "trilobite")
    assert set(_table(3, classes=classes).names) == {"cat", "shark", "trilobite"}
    assert _table(2, classes=classes).num_groups == 2
    table = _table(9, classes=classes)
    assert _sizes(table)["trilobite"] == 1


def test_fixes_are_applied_only_on_request():
    lemur = next(c.wnid for c in CLASSES if c.name == "ring-tailed lemur")
    as_published, fixed = _table(67), _table(67, fixes=True)
    name_of = {row.wnid: row.group_name for row in as_published.rows}
    assert name_of[lemur] == "mongoose"
    name_of = {row.wnid: row.group_name for row in fixed.rows}
    assert name_of[lemur] == "primate"
    listed = _group(67, fixes=True).quality["fixes"]
    assert lemur in {fix["wnid"] for fix in listed}
    assert _group(67).quality["fixes"] == []


def test_classes_without_a_category_are_all_named():
    outside = tuple(ImageClass(f"n9999999{n}", -1, f"x{n}", 1, 1) for n in range(2))
    with pytest.raises(UsageError, match=r"2 classes .*: n99999990, n99999991; remove"):
        _group(2, classes=CLASSES + outside)


@pytest.mark.real
def test_confusion_of_a_real_model_keeps_the_large_categories(real_data, tmp_path):
    labels = validation.official_labels().values()
    true = np.array([class_index(wnid) for wnid in labels])
    with np.load(real_data / "predictions" / "resnet34.npz") as file:
        predicted = file["top5"][:, 0].astype(np.int64)
    matrix = np.zeros((1000, 1000))
    np.add.at(matrix, (true, predicted), 1)
    wnids = [c.wnid for c in CLASSES]
    path = _write_confusion(tmp_path / "c.npz", matrix, wnids)
    sizes = sorted(_sizes(_table(20, confusion=path)).values())
    assert (sizes[0], sizes[-1]) == (28, 119)
    sizes = sorted(_sizes(_table(10, confusion=path)).values())
    assert (sizes[0], sizes[-1]) == (59, 137)


@pytest.mark.real
def test_shipped_table_is_the_published_one(real_data):
    text = (real_data / "labels" / "curated_categories_synset.csv").read_text()
    rows = [line.split(",") for line in text.splitlines()[1:]]
    assert {row[1]: row[-1] for row in rows} == CATEGORIES
