"""The contract of grouping methods; `_request` has the inputs that they need."""

import dataclasses

import numpy as np
import pytest

from transforms import grouping
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Confusion
from transforms.grouping.table import (
    Grouping,
    GroupingRequest,
    TooFewClassesError,
    make_table,
)
from transforms.labels.classes import load_classes
from transforms.records import ImageClass, UsageError

THOUSAND = tuple(
    ImageClass(info.wnid, info.class_index, info.name, 100 + info.class_index, 50)
    for info in load_classes()
)
CLASSES = THOUSAND[::40]
NUM_GROUPS = (2, 10, len(CLASSES))
FIXED = [m for m in grouping.METHODS if grouping.find_num_groups_source(m) == "method"]
FREE = [method for method in grouping.METHODS if method not in FIXED]


def _request(tmp_path, method, num_groups, *, classes=CLASSES, seed=0):
    rows = "".join(
        f"{c.wnid},{n % num_groups}\n" for n, c in enumerate(sorted(classes))
    )
    path = tmp_path / "by_hand.csv"
    path.write_text("wnid,group\n" + rows)
    return GroupingRequest(
        classes=classes,
        num_groups=len(classes) if method == "all_classes" else num_groups,
        seed=seed,
        images_per_group=None,
        min_validation_images=0,
        allow_small_validation=False,
        groups_file=str(path) if method == "manual" else None,
        confusion_file=_confusion(tmp_path, sorted(classes))
        if method == "confusion"
        else None,
    )


def _confusion(tmp_path, classes):
    rank = np.arange(len(classes))
    apart = np.abs(rank[:, None] - rank)
    matrix = np.where(apart <= 12, (3.0 * rank[:, None] + 5 * rank) % 7, 0)
    wnids = tuple(c.wnid for c in classes)
    num_images = matrix.sum(axis=1).astype(np.int64)
    data = confusion_matrix.to_npz(Confusion(matrix, wnids, num_images))
    (tmp_path / "confusion.npz").write_bytes(data)
    return str(tmp_path / "confusion.npz")


def _group(request, method) -> Grouping:
    module = grouping.load(method)
    return module.group_classes(request, module.Options())


@pytest.mark.parametrize("num_groups", NUM_GROUPS)
@pytest.mark.parametrize("method", FREE)
def test_every_class_is_in_a_group_or_left_out(tmp_path, method, num_groups):
    request = _request(tmp_path, method, num_groups)
    result = _group(request, method)
    assert result.assignment.keys() == {c.wnid for c in CLASSES}
    table = make_table(CLASSES, result.assignment, result.names)
    assert table.num_groups == request.num_groups
    assert set(table.label_of.values()) == set(range(table.num_groups))
    assert len(set(table.names)) == table.num_groups


@pytest.mark.parametrize("num_groups", NUM_GROUPS)
@pytest.mark.parametrize("method", FREE)
def test_order_of_classes_does_not_matter(tmp_path, method, num_groups):
    shuffled = CLASSES[::-2] + CLASSES[-2::-2]
    assert sorted(shuffled) == list(CLASSES)
    one = _group(_request(tmp_path, method, num_groups), method)
    other = _group(_request(tmp_path, method, num_groups, classes=shuffled), method)
    assert one == other


@pytest.mark.parametrize("num_groups", [2, 10, 20, 100, 200, 999, 1000])
@pytest.mark.parametrize("method", FREE)
def test_the_thousand_classes_give_any_number_of_groups(tmp_path, method, num_groups):
    request = _request(tmp_path, method, num_groups, classes=THOUSAND)
    result = _group(request, method)
    table = make_table(THOUSAND, result.assignment, result.names)
    assert table.num_groups == request.num_groups
    assert len(set(table.names)) == table.num_groups


@pytest.mark.parametrize("method", FREE)
def test_same_seed_gives_the_same_groups(tmp_path, method):
    request = _request(tmp_path, method, 10, seed=7)
    assert _group(request, method) == _group(request, method)


@pytest.mark.parametrize("method", FIXED)
def test_a_fixed_number_of_groups_depends_on_no_flag(tmp_path, method):
    request = _fixed_request(tmp_path, method, THOUSAND)
    result = _group(request, method)
    assert result.assignment.keys() == {c.wnid for c in THOUSAND}
    num_groups = make_table(THOUSAND, result.assignment, result.names).num_groups
    turned = dataclasses.replace(
        request, classes=THOUSAND[::-1], seed=7, num_groups=num_groups
    )
    assert _group(turned, method) == result
    with pytest.raises(UsageError, match=f"makes {num_groups} groups"):
        _group(dataclasses.replace(request, num_groups=num_groups + 1), method)


@pytest.mark.parametrize("method", FIXED)
def test_missing_classes_of_a_fixed_grouping_are_an_error_or_dropped(tmp_path, method):
    module = grouping.load(method)
    all_wnids = _list_grouped(module, _fixed_request(tmp_path, method, THOUSAND))
    held = [c for c in THOUSAND if c.wnid not in all_wnids[:5]]
    request = _fixed_request(tmp_path, method, tuple(held))
    expected = f"5 of its {len(all_wnids)} classes are not in the input"
    with pytest.raises(UsageError, match=f"{expected}.*--{method}_missing drop"):
        module.group_classes(request, module.Options())
    dropped = module.group_classes(request, module.Options(missing="drop"))
    assert expected in dropped.notes[0]
    kept = [wnid for wnid, group in dropped.assignment.items() if group is not None]
    assert kept == all_wnids[5:]
    with pytest.raises(TooFewClassesError, match="a subset needs 2 groups"):
        module.group_classes(
            _fixed_request(tmp_path, method, ()), module.Options(missing="drop")
        )


def _fixed_request(tmp_path, method, classes):
    request = _request(tmp_path, method, 2, classes=classes)
    return dataclasses.replace(request, num_groups=None)


def _list_grouped(module, request):
    groups = module.group_classes(request, module.Options()).assignment
    return [wnid for wnid, group in groups.items() if group is not None]


@pytest.mark.parametrize("method", ["random_classes", "random_groups"])
def test_another_seed_gives_other_groups(tmp_path, method):
    results = [
        _group(_request(tmp_path, method, 10, seed=seed), method).assignment
        for seed in range(3)
    ]
    assert all(results[0] != other for other in results[1:])


@pytest.mark.parametrize("method", grouping.METHODS)
def test_first_line_of_the_module_is_its_help(method):
    first = (grouping.load(method).__doc__ or "").splitlines()[0]
    assert 20 < len(first) <= 85
    assert first.endswith(".")


@pytest.mark.parametrize("method", grouping.METHODS)
def test_options_have_defaults_and_help(method):
    options = grouping.load(method).Options
    fields = options.__dataclass_fields__.values()
    assert options() == options()
    assert all(field.metadata.get("help") for field in fields)


def test_methods_are_the_modules_of_the_folder():
    assert {"all_classes", "manual", "random_classes", "random_groups"} <= set(
        grouping.METHODS
    )
