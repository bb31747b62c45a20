import dataclasses

import numpy as np
import pytest

from pipelines.confusion import main as make_confusion
from transforms import seeds
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Confusion
from transforms.grouping.methods import confusion
from transforms.grouping.table import (
    GroupingRequest,
    MissingTableError,
    TooFewClassesError,
    make_table,
)
from transforms.labels.classes import load_classes
from transforms.records import ImageClass, UsageError

CLASSES = tuple(
    ImageClass(info.wnid, info.class_index, info.name, 100, 50)
    for info in load_classes()[::50]
)
WNIDS = tuple(c.wnid for c in CLASSES)


def _confusion(classes=CLASSES, *, blocks=5, seed=0):
    """Confuse classes within blocks, and a little across blocks."""
    count = len(classes)
    keys = (f"{a.wnid} {b.wnid}" for a in classes for b in classes)
    noise = seeds.orders(seed, "draw", keys).reshape(count, count) % 3
    block = np.arange(count) % blocks
    matrix = noise + 6.0 * (block[:, None] == block)
    np.fill_diagonal(matrix, 200)
    num_images = matrix.sum(axis=1).astype(int)
    return Confusion(matrix, tuple(c.wnid for c in classes), num_images, ("alexnet",))


def _write(tmp_path, made, name="confusion.npz"):
    (tmp_path / name).write_bytes(confusion_matrix.to_npz(made))
    return str(tmp_path / name)


def _request(path, num_groups=5, classes=CLASSES, seed=0):
    return GroupingRequest(
        classes=classes,
        num_groups=num_groups,
        seed=seed,
        images_per_group=None,
        min_validation_images=0,
        allow_small_validation=False,
        groups_file=None,
        confusion_file=path,
    )


def _group(path, num_groups=5, classes=CLASSES, **options):
    return confusion.group_classes(
        _request(path, num_groups, classes), confusion.Options(**options)
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"rule": "sequential"}, {"prior": 0.1}],
    ids=["balanced", "sequential", "prior"],
)
def test_confused_classes_are_grouped(tmp_path, options):
    result = _group(_write(tmp_path, _confusion()), **options)
    table = make_table(CLASSES, result.assignment, result.names)
    assert [row.group for row in table.rows] == [0, 1, 2, 3, 4] * 4


def test_a_table_of_another_order_gives_the_same_groups(tmp_path):
    made = _confusion()
    order = np.argsort(seeds.orders(1, "draw", WNIDS))
    shuffled = made.select([WNIDS[i] for i in order], source="")
    one = _group(_write(tmp_path, made), 3)
    assert one == _group(_write(tmp_path, shuffled, "other.npz"), 3)
    assert one == _group(_write(tmp_path, made), 3, classes=CLASSES[::-1])


def test_figures_are_reported(tmp_path):
    result = _group(_write(tmp_path, _confusion()), 6)
    quality = result.quality
    assert 0 < quality["captured_share"] < 1
    assert quality["captured_rate"] <= quality["bound"] <= 1
    assert quality["gap"] == pytest.approx(
        quality["bound"] - quality["captured_rate"], abs=1e-4
    )
    assert sorted(quality["group_sizes"]) == [3, 3, 3, 3, 4, 4]
    table = make_table(CLASSES, result.assignment, result.names)
    counted = [len(table.wnids(label)) for label in range(6)]
    assert quality["group_sizes"] == counted
    assert f"capture {quality['captured_share']:.1%} of the errors" in result.notes[0]
    assert "alexnet: do not rank that model" in result.notes[-1]
    assert "cross-fit with --confusion_heldout" in result.notes[-1]


def test_groups_without_captured_confusion_are_reported(tmp_path):
    matrix = np.diag([20.0] * len(WNIDS))
    matrix[0, 1] = 5
    num_images = matrix.sum(axis=1).astype(int)
    path = _write(tmp_path, Confusion(matrix, WNIDS, num_images))
    result = _group(path, 4)
    assert result.quality["groups_that_capture_nothing"] == 3
    assert "3 of 4 groups capture nothing" in result.notes
    assert "the model it was made with" in result.notes[-1]
    assert result.assignment[WNIDS[0]] == result.assignment[WNIDS[1]]


def test_held_out_images_evaluate_the_groups(tmp_path):
    path = _write(tmp_path, _confusion())
    same = _group(path)
    with pytest.raises(UsageError, match=r"counts images of --confusion .* too"):
        _group(path, heldout=path)
    other = _group(path, heldout=_write(tmp_path, _confusion(blocks=4), "b.npz"))
    held = other.quality["heldout"]["captured_share"]
    assert held < same.quality["captured_share"]
    assert (
        f"on the held-out images they capture {held:.1%} of the errors" in other.notes
    )
    assert "cross-fit" not in other.notes[-1]


def test_groups_are_named_by_their_most_confused_classes(tmp_path):
    path = _write(tmp_path, _confusion())
    names = set(_group(path, 5).names.values())
    assert all(name.endswith(" + 2 more") and name.count(",") == 1 for name in names)
    names = _group(path, 7).names
    assert {name.count(",") for name in names.values()} == {1, 2}
    assert not any("more" in name for name in names.values())


def test_classes_missing_from_the_input_are_ignored(tmp_path):
    path = _write(tmp_path, _confusion())
    assert _group(path, 2, classes=CLASSES[:8]).assignment.keys() == set(WNIDS[:8])


def test_problems_name_flag_file_and_remedy(tmp_path):
    path = _write(tmp_path, _confusion())
    small = _write(tmp_path, _confusion(CLASSES[:9]), "small.npz")
    with pytest.raises(MissingTableError, match="=confusion needs --confusion FILE"):
        _group(None)
    with pytest.raises(TooFewClassesError, match="--num_groups 21"):
        _group(path, 21)
    with pytest.raises(UsageError) as caught:
        _group(small, heldout=str(tmp_path / "none.npz"))
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"--confusion {small}: has no row for 11 of the 20 classes")
    assert second.startswith(f"--confusion_heldout {tmp_path}/none.npz: No such file")
    perfect = dataclasses.replace(_confusion(), matrix=np.diag([9.0] * 20))
    with pytest.raises(UsageError, match="holds no errors between the classes"):
        _group(_write(tmp_path, perfect))


@pytest.mark.real
@pytest.mark.parametrize(
    ("num_groups", "rule", "captured", "bound"),
    [
        (200, "balanced", 0.3896, 0.4921),
        (100, "balanced", 0.4745, 0.5806),
        (20, "balanced", 0.6397, 0.7356),
        (10, "balanced", 0.7015, 0.7971),
        (200, "sequential", 0.3612, 0.4921),
        (10, "sequential", 0.6402, 0.7971),
    ],
)
def test_golden_captured_share_of_resnet34(
    real_data, tmp_path, num_groups, rule, captured, bound
):
    predictions = f"{real_data}/predictions/resnet34.npz"
    make_confusion([f"--predictions={predictions}", f"--output={tmp_path}"])
    path = str(tmp_path / "confusion.npz")
    classes = tuple(
        ImageClass(info.wnid, info.class_index, info.name, 1000, 50)
        for info in load_classes()
    )
    result = _group(path, num_groups, classes, rule=rule)
    assert result.quality["captured_share"] == pytest.approx(captured, abs=5e-5)
    assert result.quality["bound"] == pytest.approx(bound, abs=0.01)
    assert set(result.quality["group_sizes"]) == {1000 // num_groups}
