"""Test recipe files, their errors and the default recipes."""

import json

import pytest

from pipelines.studying import recipes
from pipelines.studying.recipes import Common, Listed, Size
from transforms.records import UsageError

COMMON = Common(
    flags={"image_size": "64", "min_validation_images": "0", "seed": "0"},
    tables={
        "confusion": "made/confusion.npz",
        "difficulty": "made/difficulty.parquet",
    },
)
GOOD = {"name": "good", "grouping": "wordnet", "num_groups": 5, "images_per_group": 9}


def make(*items: dict):
    listed = [
        Listed(item["name"], {k: str(v) for k, v in item.items() if k != "name"})
        for item in items
    ]
    return recipes.make_recipes(listed, COMMON, source="--recipes r.json")


def test_a_recipe_has_the_flags_of_build(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps([{**GOOD, "upscale": True, "num_groups": 4}]))
    listed = recipes.read_recipes(str(path))
    (recipe,) = recipes.make_recipes(listed, COMMON, source="")
    assert (recipe.name, recipe.base, recipe.epochs) == ("good", "good", None)
    assert recipe.options.upscale
    assert (recipe.options.num_groups, recipe.options.image_size) == (4, 64)
    assert recipe.options.min_validation_images == 0
    assert recipe.files == ()


def test_draws_are_recipes_with_other_seeds_and_their_own_epochs(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(
        json.dumps([
            {**GOOD, "epochs": 7, "draws": 2},
            {**GOOD, "name": "x", "seed": 5, "draws": 2},
        ])
    )
    made = recipes.make_recipes(recipes.read_recipes(str(path)), COMMON, source="")
    assert [(r.name, r.base, r.epochs, r.options.seed) for r in made] == [
        ("good_draw0", "good", 7, 0),
        ("good_draw1", "good", 7, 1),
        ("x_draw0", "x", None, 5),
        ("x_draw1", "x", None, 6),
    ]


def test_flags_of_a_recipe_override_common_flags():
    (recipe,) = make({**GOOD, "image_size": 128, "min_validation_images": 50})
    assert recipe.options.image_size == 128
    assert recipe.options.min_validation_images == 50


def test_paths_of_later_tables_are_filled_in():
    flags = {"name": "hard", "grouping": "confusion", "sampling": "difficulty"}
    (recipe,) = make({**GOOD, **flags})
    assert recipe.files == tuple(COMMON.tables.values())
    (with_own_table,) = make({**GOOD, **flags, "confusion": "mine.npz"})
    assert with_own_table.files == ("mine.npz", COMMON.tables["difficulty"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grouping": "wordnets"}, "--grouping wordnets: is not one of"),
        ({"num_group": 5}, "--num_group: unknown flag; did you mean --num_groups"),
        ({"num_groups": 1}, "--num_groups 1: must be at least 2"),
        ({"output": "x"}, "--output: the study sets this flag for all recipes"),
        ({"name": "Not a name"}, "is not a dataset name"),
        ({"name": "full"}, "full is reserved for a dataset of the study"),
        ({"grouping": "manual"}, "--groups: is required"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value.items()))[1],
)
def test_invalid_flag_is_named(change, said):
    with pytest.raises(UsageError, match=said):
        make({**GOOD, **change})


def test_problems_of_all_recipes_are_reported_at_once():
    with pytest.raises(UsageError) as caught:
        make({**GOOD, "num_groups": 1}, {**GOOD, "name": "bad", "folds": 2}, GOOD)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("--recipes r.json: ") for line in lines)
    assert "two recipes have this name" in lines[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("{}", "must be a list of 1 to 1000 recipes"),
        ("[]", "must be a list of 1 to 1000 recipes"),
        ("[" * 100_000, "is not JSON"),
        ("[3]", "recipe 1: is not an object"),
        ('[{"grouping": "wordnet"}]', "recipe 1: has no name"),
        ('[{"name": "a", "seed": null}]', "recipe 1: seed is neither text"),
    ],
    ids=["broken", "object", "empty", "deep", "number", "nameless", "null"],
)
def test_invalid_recipe_file_is_rejected(tmp_path, text, said):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        recipes.read_recipes(str(path))


def test_problems_of_malformed_and_other_recipes_are_reported_at_once(tmp_path):
    path = tmp_path / "r.json"
    items = [
        {"name": "a", "flags": {"grouping": "wordnet"}},
        {"name": "b", "flags": ["--grouping=wordnet"]},
        {**GOOD, "seed": None},
        {**GOOD, "name": "c", "num_groups": 1},
    ]
    path.write_text(json.dumps(items))
    with pytest.raises(UsageError) as caught:
        recipes.read_recipes(
            str(path), lambda listed: recipes.make_recipes(listed, COMMON, source="f")
        )
    nested = 'flags: flags of build are keys of the recipe itself: {"name": …, "gr'
    starts = [
        f"--recipes {path}: recipe 1: {nested}",
        f"--recipes {path}: recipe 2: {nested}",
        f"--recipes {path}: recipe 3: seed is neither text",
        "f: c: --num_groups 1: must be at least 2",
    ]
    for line, start in zip(str(caught.value).splitlines(), starts, strict=True):
        assert line.startswith(start)


def test_sizes_of_imagenet_are_those_of_the_presets():
    sizes, note = recipes.choose_sizes(1000, 1_281_167)
    assert sizes[:3] == [Size(200, 500), Size(100, 1000), Size(20, 5000)]
    assert len(sizes) == 6
    assert "presets" in note


def test_a_smaller_input_has_the_same_share_of_classes_and_images():
    sizes, note = recipes.choose_sizes(100, 128_116)
    assert sizes == [
        Size(20, 499),
        Size(10, 999),
        Size(2, 4999),
        Size(2, 2499),
        Size(10, 499),
    ]
    assert "N × 100/1000" in note


def test_default_recipes_combine_groupings_samplers_and_sizes():
    num_groups = {"wordnet": None, "confusion": None, "all_classes": 12}
    listed = {r.name: r.flags for r in recipes.list_recipes([Size(4, 30)], num_groups)}
    assert len(listed) == 3 * 2
    assert listed["all_classes_n12_m10"] == {
        "grouping": "all_classes",
        "images_per_group": "10",
    }
    assert listed["wordnet_n4_m30_difficulty"] == {
        "grouping": "wordnet",
        "num_groups": "4",
        "images_per_group": "30",
        "sampling": "difficulty",
    }
    assert len(make(*({"name": name, **flags} for name, flags in listed.items()))) == 6


def test_groups_table_adds_a_grouping():
    num_groups = {"wordnet": None, "manual": 3}
    listed = {r.name: r.flags for r in recipes.list_recipes([Size(4, 30)], num_groups)}
    assert listed["manual_n3_m40"] == {"grouping": "manual", "images_per_group": "40"}
