import pytest

from transforms.grouping.methods import wordnet
from transforms.grouping.table import GroupingRequest, make_table
from transforms.labels.classes import load_classes
from transforms.records import ImageClass, UsageError

CLASSES = tuple(
    ImageClass(info.wnid, info.class_index, info.name, 1300, 50)
    for info in load_classes()
)


def _group(num_groups, *, rule="pairwise", classes=CLASSES):
    request = GroupingRequest(
        classes=classes,
        num_groups=num_groups,
        seed=0,
        images_per_group=None,
        min_validation_images=0,
        allow_small_validation=False,
        groups_file=None,
    )
    return wordnet.group_classes(request, wordnet.Options(rule=rule))


def _names(result, classes=CLASSES):
    return make_table(classes, result.assignment, result.names).names


def test_groups_are_named_by_their_ancestor_and_its_parts():
    names = _names(_group(20))
    assert "bird" in names  # all birds
    assert "hunting dog" in names
    assert "organism: fungus + flower" in names
    assert "dog: working dog + toy dog (+11 more)" in names


def test_a_single_class_keeps_its_name():
    assert _names(_group(1000)) == tuple(c.name for c in CLASSES)


def test_pure_groups_are_nodes():
    result = _group(20, rule="pure")
    assert {"organism", "covering", "tableware"} <= set(_names(result))
    assert not any(":" in name for name in _names(result))


def test_names_that_repeat_get_a_wnid():
    names = _names(_group(200, rule="pure"))
    assert len(set(names)) == 200
    assert sum("(n" in name for name in names) == 4


def test_quality_has_rule_sizes_and_position_in_the_tree():
    quality = _group(20).quality
    assert quality["rule"] == "pairwise"
    assert quality["effective_num_groups"] == pytest.approx(15.87)
    assert quality["sizes"] == {"min": 5, "median": 57, "max": 94}
    birds = quality["groups"][1]
    assert birds["wnid"] == "n01503061"
    assert birds["path"][:2] == ["entity", "physical entity"]
    assert birds["path"][-2:] == ["vertebrate", "bird"]
    assert birds["size"] == 59
    assert [of["size"] for of in quality["groups"]] == [
        list(_group(20).assignment.values()).count(label) for label in range(20)
    ]


def test_unknown_classes_are_all_named():
    outside = tuple(ImageClass(f"x{n}", -1, f"x{n}", 1, 1) for n in range(3))
    with pytest.raises(UsageError, match=r"3 wnids \(x0, x1, x2\)"):
        _group(2, classes=CLASSES[:5] + outside)


@pytest.mark.parametrize("rule", ["pairwise", "capped", "pure"])
def test_order_of_classes_does_not_matter(rule):
    assert _group(50, rule=rule) == _group(50, rule=rule, classes=CLASSES[::-1])
