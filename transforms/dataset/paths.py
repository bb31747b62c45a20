"""Define the paths of metadata files, relative to the dataset's folder."""

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
