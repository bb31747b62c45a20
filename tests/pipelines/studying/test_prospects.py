"""Test the time estimates of studies, based on finished training."""

import pytest

from pipelines.studying import plan as study_plan
from pipelines.studying.plan import ImagesSeen
from tests import making_curves
from tests.making_curves import rows


def make(tmp_path, name, *models) -> ImagesSeen:
    folder = str(tmp_path / name)
    return ImagesSeen(folder, models, seed=0, num_train=1000, epochs=4, num_rates=2)


def test_time_is_unknown_before_anything_is_trained(tmp_path):
    one = make(tmp_path, "full", "mlp")
    assert one.num_images == 8000
    assert study_plan.estimate_seconds([one]) is None


def test_remaining_time_uses_each_models_speed_or_the_mean(
    tmp_path,
):
    curve_rows = rows({
        "mlp": [0.1, 0.2]
    })  # 2 epochs of 1000 images in 1.5 seconds each
    making_curves.write(tmp_path / "full/mlp/seed0/curves.csv", curve_rows)
    full = make(tmp_path, "full", "mlp")
    assert study_plan.estimate_seconds([full]) == pytest.approx(6 * 1.5)
    subset = make(tmp_path, "subset", "mlp", "cnn")
    assert study_plan.estimate_seconds([full, subset]) == pytest.approx(22 * 1.5)


def test_unreadable_curves_are_ignored(tmp_path):
    path = tmp_path / "full/mlp/seed0/curves.csv"
    path.parent.mkdir(parents=True)
    path.write_text("train_images,seconds\nmany,1\n")
    assert study_plan.estimate_seconds([make(tmp_path, "full", "mlp")]) is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (20, "20 seconds"),
        (600, "10.0 minutes"),
        (9000, "2.5 hours"),
        (1e6, "11.6 days"),
    ],
    ids=["seconds", "minutes", "hours", "days"],
)
def test_durations_have_a_suitable_unit(seconds, said):
    assert study_plan.format_duration(seconds) == said


def test_problems_are_one_line_without_details():
    problems = ["--images_per_group 9: too many", "  group 0 (dog): 3", "--seed x: no"]
    assert study_plan.join_problems(problems) == (
        "--images_per_group 9: too many; --seed x: no"
    )
