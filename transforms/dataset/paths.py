"""Define the paths of metadata files, relative to the dataset's folder."""

from transforms import storage

MANIFEST = "__meta__/manifest.parquet"
FAILURES = "__meta__/failures.csv"
GROUPS = "__meta__/groups.csv"
SAMPLES = "__meta__/samples.parquet"  # further fields, in `write_samples` only
RECIPE = "__meta__/recipe.json"
STATISTICS = "__meta__/statistics.json"
PREVIEW = "__meta__/preview.jpg"
DIFFICULTY = "__meta__/difficulty.svg"  # only with a difficulty table
CROISSANT = "croissant.json"
COMPLETE = "__meta__/complete.json"
PLAN_PAGE = "plan.html"  # of a folder that --plan_only writes
PLAN_ID = "plan_id"  # of the plan in progress; not the id of the dataset


def name_partial(target: str) -> str:
    """Return the path of the work folder of an unfinished dataset."""
    folder, _, version = storage.absolute(target).rpartition("/")
    return f"{folder}/.{version}.partial"


def describe_missing(target: str) -> str:
    """Return why a dataset has no folder, with the remedy."""
    partial = name_partial(target)
    if storage.is_folder(partial):
        return f"is unfinished ({partial} exists); run the same build with --resume"
    return "is not a folder; give OUTPUT/NAME/VERSION, as printed by build"
