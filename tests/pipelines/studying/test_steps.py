"""Test the steps of a study."""

from pipelines.building.options import BuildOptions
from pipelines.commands import Places, Training
from pipelines.studying.recipes import Recipe
from pipelines.studying.steps import Steps


def test_changed_contents_of_inputs_rerun_a_step(tmp_path):
    """A rebuilt subset is trained again, and new curves are evaluated again."""
    places = Places(str(tmp_path))
    training = Training(("linear",), (0,), 2, ())
    steps = Steps(places, str(tmp_path / "index.parquet"), "95c140", ())
    recipe = Recipe(
        name="small",
        base="small",
        draw=0,
        epochs=None,
        flags={},
        words=(),
        options=BuildOptions(),
        grouping_options=None,
        sampling_options=None,
    )
    built, trained = steps.list_recipe(recipe, training)
    judged = steps.list_evaluation(recipe, training, training, seed=0)
    assert (built.identity, built.files) == ("95c140", ())  # an index has local paths
    assert f"{places.dataset('small')}/__meta__/manifest.parquet" in trained.files
    for name in ("full", "small"):
        (curves,) = places.curves(name, training)
        assert curves in judged.files
        assert curves.replace("curves.csv", "predictions.parquet") in judged.files
