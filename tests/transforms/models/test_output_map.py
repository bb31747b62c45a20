import pytest

from transforms.grouping import table as groups
from transforms.models import spec as model_spec
from transforms.models.card import ModelCard, Preprocessing
from transforms.predictions.table import ModelClass
from transforms.records import ImageClass, UsageError

A, B, C, D = (f"n0000000{number}" for number in range(1, 5))


def _card(*outputs):
    return ModelCard(
        model="m",
        classes=tuple(ModelClass("+".join(wnids), wnids) for wnids in outputs),
        preprocessing=Preprocessing(resize_px=1, crop_px=1),
    )


def _groups(**group_of):
    assignment = {wnid: group_of.get("_abcd"[int(wnid[-1])]) for wnid in (A, B, C, D)}
    held = [ImageClass(wnid, -1, wnid, 0, 0) for wnid in assignment]
    return groups.make_table(held, assignment)


def test_without_groups_the_output_of_the_wnid_is_correct():
    output_map = model_spec.map_outputs(_card((B,), (A,)), None)
    assert output_map == model_spec.OutputMap({B: (0,), A: (1,)}, "class")


def test_outputs_of_several_classes_are_correct_by_group():
    output_map = model_spec.map_outputs(_card((A, B), (C,)), None)
    assert output_map == model_spec.OutputMap({A: (0,), B: (0,), C: (1,)}, "group")


def test_all_outputs_in_the_group_are_correct():
    output_map = model_spec.map_outputs(
        _card((D,), (C,), (B,), (A,)), _groups(a=0, c=0, b=1)
    )
    assert output_map.outputs == {A: (1, 3), C: (1, 3), B: (2,)}  # D is in no group
    assert output_map.correct == "group"


def test_groups_of_one_class_each_are_classes():
    assert (
        model_spec.map_outputs(_card((A,), (B,)), _groups(a=0, b=1)).correct == "class"
    )


def test_group_of_several_outputs_of_several_classes():
    output_map = model_spec.map_outputs(
        _card((A, B), (C,), (D,)), _groups(a=0, b=0, c=0, d=1)
    )
    assert output_map.outputs[C] == (0, 1)


@pytest.mark.parametrize(
    "group_of", [{"a": 0, "b": 1, "c": 0}, {"a": 0, "c": 1}], ids=["two", "none"]
)
def test_output_that_straddles_groups_is_an_error(group_of):
    with pytest.raises(UsageError, match=f"its outputs '{A}\\+{B}' cover classes"):
        model_spec.map_outputs(_card((A, B), (C,)), _groups(**group_of))
