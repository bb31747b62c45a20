"""Build subsets with a flat difficulty histogram."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import verify
from tests import building
from transforms import seeds
from transforms.difficulty import table as difficulty_table


@pytest.fixture(scope="module")
def scores(mini_imagenet, tmp_path_factory):
    """Scores of all training images, most of them easy."""
    folder = tmp_path_factory.mktemp("scores")
    everything = building.run(
        mini_imagenet,
        folder,
        grouping="all_classes",
        num_groups=None,
        images_per_group=None,
        min_validation_images=0,
        plan_only=True,
    )
    images = pq.read_table(everything / "images.parquet").to_pylist()
    keys = sorted(image["key"] for image in images if image["split"] == "train")
    draws = np.array([seeds.order(0, "draw", key) % 1000 / 1000 for key in keys])
    table = pa.table({
        "key": keys,
        "wnid": [key.split("_")[0] for key in keys],
        "p_correct": pa.array(np.round(draws**0.4, 1), pa.float32()),
        "percent": pa.array(np.zeros(len(keys), np.int16)),
        "fold": [""] * len(keys),
        "model_id": ["made up"] * len(keys),
    })
    path = folder / "difficulty.parquet"
    difficulty_table.write_table(table, str(path))
    return path


def _percents(scores, directory, split="train"):
    table = pq.read_table(scores).to_pydict()
    p_correct = dict(zip(table["key"], table["p_correct"], strict=True))
    by_label = {}
    for row in building.manifest(directory):
        if row["split"] == split:
            percent = round(100 * p_correct[row["key"]])
            by_label.setdefault(row["label"], Counter())[percent] += 1
    return by_label


def _build(imagenet, output, scores, **flags):
    return building.run(
        imagenet, output, sampling="difficulty", difficulty=scores, **flags
    )


def test_subset_is_flatter_in_every_group_and_verifies(mini_imagenet, scores, tmp_path):
    flat = _build(mini_imagenet, tmp_path / "flat", scores)
    plain = building.run(mini_imagenet, tmp_path / "plain")
    for label, bins in _percents(scores, flat).items():
        assert sum(bins.values()) == 20
        assert bins.total() == _percents(scores, plain)[label].total()
        assert np.std([bins[p] for p in range(0, 101, 10)]) <= np.std([
            _percents(scores, plain)[label][p] for p in range(0, 101, 10)
        ])
    validations = [
        {r["key"] for r in building.manifest(d) if r["split"] == "validation"}
        for d in (flat, plain)
    ]
    assert validations[0] == validations[1]
    with pytest.raises(SystemExit) as caught:
        verify.main([str(flat)])
    assert caught.value.code == 0


def test_statistics_contain_the_histograms(mini_imagenet, scores, tmp_path):
    flat = _build(mini_imagenet, tmp_path, scores)
    histograms = building.read_json(flat, "__meta__/statistics.json")["difficulty"]
    bins = sum(_percents(scores, flat).values(), Counter())
    chosen = histograms["chosen"]["images_by_percent"]
    assert {p: n for p, n in enumerate(chosen) if n} == dict(sorted(bins.items()))
    assert sum(histograms["available"]["images_by_percent"]) == 120
    assert histograms["available"]["without_score"] == 0
    recipe = building.read_json(flat, "__meta__/recipe.json")
    assert recipe["sampling_options"]["rule"] == "flat"
    assert len(recipe["difficulty_sha256"]) == 64


def test_whole_set_as_scope_gives_groups_of_unequal_size(
    mini_imagenet, scores, tmp_path
):
    flags = {"difficulty_scope": "set", "difficulty_rule": "hardest"}
    dataset = _build(mini_imagenet, tmp_path, scores, **flags)
    sizes = {n: c.total() for n, c in _percents(scores, dataset).items()}
    assert sum(sizes.values()) == 60
    assert len(sizes) == 3
    groups = building.read_json(dataset, "__meta__/statistics.json")["groups"]
    assert {g["label"]: g["written"]["train"] for g in groups} == sizes
    with pytest.raises(SystemExit) as caught:
        verify.main([str(dataset)])
    assert caught.value.code == 0


@pytest.mark.parametrize(
    "change",
    [
        {"difficulty_rule": "easiest"},
        {"difficulty_scope": "set"},
        {"difficulty_bins": "quantile"},
        {"difficulty_drop_hardest": 0.2},
        {"images_per_group": 10},
        {"stratify_by_class": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_flag_of_the_sampler_changes_the_subset(
    mini_imagenet, scores, tmp_path, change
):
    ids = [
        building.read_json(
            _build(mini_imagenet, tmp_path / name, scores, plan_only=True, **flags),
            "recipe.json",
        )["subset_id"]
        for name, flags in (("plain", {}), ("changed", change))
    ]
    assert ids[0] != ids[1]


@pytest.mark.parametrize("rule", ["flat", "easiest", "hardest"])
@pytest.mark.parametrize("scope", ["group", "set"])
def test_smaller_subset_is_contained_in_larger_one(
    mini_imagenet, scores, tmp_path, rule, scope
):
    keys = {}
    for images_per_group in (7, 15):
        plan = _build(
            mini_imagenet,
            tmp_path / str(images_per_group),
            scores,
            plan_only=True,
            difficulty_rule=rule,
            difficulty_scope=scope,
            images_per_group=images_per_group,
        )
        images = pq.read_table(plan / "images.parquet").to_pylist()
        trained = {i["key"] for i in images if not i["shard"].startswith("val")}
        keys[images_per_group] = trained
    assert len(keys[7]) == 21
    assert keys[7] < keys[15]


def _fails(capsys, *words, code=2):
    with pytest.raises(SystemExit) as caught:
        building.build.main([*words])
    assert caught.value.code == code
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"difficulty": None}, "--difficulty: is required"),
        ({"sampling": "uniform"}, "applies only with --sampling=difficulty"),
        ({"difficulty": "gone.parquet"}, "--difficulty gone.parquet: no such file"),
        ({"difficulty_rule": "flatt"}, "--difficulty_rule flatt: is not one of"),
        ({"difficulty_drop_hardest": 1.5}, "--difficulty_drop_hardest 1.5: must be"),
        ({"difficulty_drop_hardest": 0.6}, "largest that works is 1"),
    ],
    ids=["none", "uniform", "gone", "misspelt", "out of bounds", "too few left"],
)
def test_infeasible_sampling_is_reported_before_images_are_read(
    mini_imagenet, scores, tmp_path, capsys, flags, message
):
    chosen = {"sampling": "difficulty", "difficulty": scores, **flags}
    words = building.command_line(mini_imagenet, tmp_path, **chosen)
    assert message in _fails(capsys, *words)
    assert not (tmp_path / "small").exists()


def test_all_problems_of_counts_are_reported_at_once(
    mini_imagenet, scores, tmp_path, capsys
):
    table = pq.read_table(scores)
    part = tmp_path / "part.parquet"
    pq.write_table(table.slice(5), part)
    words = building.command_line(
        mini_imagenet,
        tmp_path,
        sampling="difficulty",
        difficulty=part,
        images_per_group=1000,
    )
    err = _fails(capsys, *words)
    assert "has no score for 5 of 120 training images" in err
    assert "--images_per_group 1000: too many" in err


def test_images_without_a_score_may_be_drawn_by_hash(
    mini_imagenet, scores, tmp_path, capsys
):
    part = tmp_path / "part.parquet"
    pq.write_table(pq.read_table(scores).slice(5), part)
    plan = _build(
        mini_imagenet, tmp_path, part, plan_only=True, difficulty_missing="random"
    )
    assert "has no score for 5 of 120" in capsys.readouterr().err
    histograms = building.read_json(plan, "statistics.json")["difficulty"]
    assert histograms["available"]["without_score"] == 5
    page = (plan / "plan.html").read_text()
    assert "before and after selection" in page
    assert "What the validation images can show" in page


def test_training_images_take_precedence_when_the_hardest_are_excluded(
    mini_imagenet, scores, tmp_path
):
    plan = _build(
        mini_imagenet,
        tmp_path,
        scores,
        plan_only=True,
        images_per_group=28,
        difficulty_drop_hardest=0.3,
        min_validation_images=1000,
        allow_small_validation=True,
    )
    chosen = pq.read_table(plan / "images.parquet").to_pydict()
    assert Counter(chosen["split"]) == {"train": 84, "validation": 30}


def test_random_classes_are_drawn_from_classes_with_enough_remaining_images(
    mini_imagenet, scores, tmp_path, capsys
):
    words = building.command_line(
        mini_imagenet,
        tmp_path,
        sampling="difficulty",
        difficulty=scores,
        grouping="random_classes",
        difficulty_drop_hardest=0.5,
        min_validation_images=0,
        images_per_group=11,
    )
    assert "10" in _fails(capsys, *words)


def test_predictions_are_rejected_as_difficulty_table(
    mini_imagenet, scores, tmp_path, capsys
):
    table = pq.read_table(scores).drop_columns(["percent"])
    top5 = pa.array([[0]] * len(table), pa.list_(pa.uint16()))
    pq.write_table(table.append_column("top5", top5), tmp_path / "predictions.parquet")
    for name, message in (
        ("predictions.parquet", "holds predictions; give them to"),
        ("", "is a folder; give the file difficulty.parquet in it"),
    ):
        words = building.command_line(
            mini_imagenet,
            tmp_path,
            sampling="difficulty",
            difficulty=tmp_path / name,
        )
        assert message in _fails(capsys, *words)


def test_plan_has_the_location_and_split_of_an_image(mini_imagenet, scores, tmp_path):
    plan = _build(
        mini_imagenet, tmp_path, scores, plan_only=True, min_validation_images=42
    )
    images = pq.read_table(plan / "images.parquet").to_pylist()
    pairs = Counter((i["source_split"], i["split"]) for i in images)
    assert pairs["train", "validation"] == 12
    assert pairs["train", "train"] == 60
