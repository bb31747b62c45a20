"""Test the time estimates of studies, based on finished training."""

import math

import pytest

from pipelines.studying import plan as study_plan
from pipelines.studying import timing
from pipelines.studying.timing import ImagesSeen, StepTime
from tests import making_curves
from tests.making_curves import rows


def make(tmp_path, name, *models) -> ImagesSeen:
    folder = str(tmp_path / name)
    return ImagesSeen(
        folder, models, seed=0, num_train=1000, epochs=4, rates=(0.1, 0.2)
    )


def test_time_is_unknown_before_anything_is_trained(tmp_path):
    one = make(tmp_path, "full", "mlp")
    assert one.num_images == 8000
    assert timing.estimate_training([one]) is None


def test_remaining_time_uses_each_models_speed_or_the_mean(
    tmp_path,
):
    curve_rows = rows({
        "mlp": [0.1, 0.2]
    })  # 2 epochs of 1000 images in 1.5 seconds each
    making_curves.write(tmp_path / "full/mlp/seed0/curves.csv", curve_rows)
    full = make(tmp_path, "full", "mlp")
    assert timing.estimate_training([full]) == pytest.approx(6 * 1.5)
    subset = make(tmp_path, "subset", "mlp", "cnn")
    assert timing.estimate_training([full, subset]) == pytest.approx(22 * 1.5)


def test_unreadable_curves_are_ignored(tmp_path):
    path = tmp_path / "full/mlp/seed0/curves.csv"
    path.parent.mkdir(parents=True)
    path.write_text("train_images,seconds\nmany,1\n")
    assert timing.estimate_training([make(tmp_path, "full", "mlp")]) is None


def test_time_left_counts_builds_evaluations_and_start_up(tmp_path):
    curves = rows({"mlp": [0.1] * 8})  # 8 epochs of 1000 images in 1.5 seconds each
    making_curves.write(tmp_path / "full/mlp/seed0/curves.csv", curves)
    full, subset = make(tmp_path, "full", "mlp"), make(tmp_path, "subset", "mlp")
    steps = [
        StepTime("build", 1000, None, 110.0),
        StepTime("train", 0, full, 12 + 20.0),
        StepTime("confusion", 0, None, 10.0),
        StepTime("build", 100, None, None),
        StepTime("train", 0, subset, None),
        StepTime("evaluate", 0, None, None),
    ]
    left = timing.estimate(steps)
    assert left.training_s == pytest.approx(12)
    assert left.other_s == pytest.approx((10 + 0.1 * 100) + 20 + 10)
    assert left.unmeasured == ("evaluate",)
    assert timing.describe_time(steps) == (
        "time: about 62 seconds are left at the measured speed: 12 seconds of "
        "training, 50 seconds of builds, evaluations and start-up (not measured yet: "
        "evaluate)"
    )
    steps[-1] = StepTime("evaluate", 0, None, 7.0)  # the shortest is the start-up
    assert timing.estimate(steps).other_s == pytest.approx(7 + 0.103 * 100 + 20)
    unmeasured = [step._replace(seconds=step.seconds and math.nan) for step in steps]
    assert timing.estimate(unmeasured)[:2] == (pytest.approx(12), 0)


def test_no_time_is_left_when_all_steps_are_finished(tmp_path):
    steps = [StepTime("train", 0, make(tmp_path, "full", "mlp"), 9.0)]
    assert timing.describe_time(steps) == "time: no training is left"
    (unknown,) = (step._replace(seconds=None) for step in steps)
    assert timing.describe_time([unknown]).startswith("time: unknown until a model")


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
    assert timing.format_duration(seconds) == said


def test_problems_are_one_line_without_details():
    problems = ["--images_per_group 9: too many", "  group 0 (dog): 3", "--seed x: no"]
    assert study_plan.join_problems(problems) == (
        "--images_per_group 9: too many; --seed x: no"
    )
