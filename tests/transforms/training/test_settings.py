import dataclasses
import json

import pytest

from transforms.records import UsageError
from transforms.training import settings as settings_module
from transforms.training.settings import TrainSettings, is_finished, mark_started

SETTINGS = TrainSettings(
    subset_id="a" * 64,
    train_split="train",
    validation_split="validation",
    model="linear",
    image_size=16,
    epochs=2,
    learning_rate=(0.01, 0.001),
    batch_size=8,
    label_smoothing=0.1,
    weight_decay=0.05,
    seed=0,
    mixed_precision="false",
)


def test_new_folder_is_not_started(tmp_path):
    assert not is_finished(str(tmp_path / "new"), SETTINGS)


def test_a_started_run_can_continue(tmp_path):
    mark_started(str(tmp_path), SETTINGS)
    assert not is_finished(str(tmp_path), SETTINGS)


def test_run_is_finished_when_its_card_exists(tmp_path):
    described = SETTINGS.describe(chosen=0.01)
    assert described["chosen_learning_rate"] == 0.01
    (tmp_path / "model.json").write_text(json.dumps({"training": described}))
    assert is_finished(str(tmp_path), SETTINGS)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"epochs": 3}, "epochs 2 there, 3 here"),
        ({"learning_rate": (0.01,)}, "learning_rate 0.01,0.001 there, 0.01 here"),
        ({"subset_id": "b" * 64}, "subset_id aaa"),
        ({"mixed_precision": "true"}, "mixed_precision false there, true here"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_another_run_is_rejected_with_the_differences(tmp_path, change, shown):
    mark_started(str(tmp_path), SETTINGS)
    with pytest.raises(UsageError, match=shown) as caught:
        is_finished(str(tmp_path), dataclasses.replace(SETTINGS, **change))
    assert str(caught.value).count(" there, ") == 1
    assert "give another --output" in str(caught.value)


@pytest.mark.parametrize("name", settings_module.RESULTS)
def test_unrelated_files_are_never_overwritten(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match=f"holds {name}, which this run did not write"):
        is_finished(str(tmp_path), SETTINGS)


def test_a_card_that_is_not_json_is_rejected(tmp_path):
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(UsageError, match=r"model\.json: is not JSON"):
        is_finished(str(tmp_path), SETTINGS)
