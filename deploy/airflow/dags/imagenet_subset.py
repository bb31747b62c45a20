"""Build, verify and evaluate a subset of ImageNet from a recipe.

There are three DAGs with the same steps: `imagenet_subset` works in a folder of the
worker, `imagenet_subset_in_s3` in a bucket of S3, and `imagenet_subset_on_dataflow` in
a bucket of Google's, with index and build on Dataflow.

    check → index → predict → confusion, difficulty → build → verify → publish, evaluate

Jobs are called only by their command lines, so Airflow needs none of the program's
libraries. A run writes all of its files below OUTPUT/SLUG/, where SLUG is the sanitised
run id followed by a hash (`imagenet_recipe.make_slug`).
"""

import json
from datetime import UTC, datetime, timedelta
from functools import partial

import imagenet_recipe
from airflow.sdk import (
    DAG,
    Asset,
    AssetAlias,
    BaseOperator,
    Param,
    chain,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowFailException
from imagenet_commands import COMPLETE, FOLDS, Step
from imagenet_recipe import Store
from imagenet_tasks import (
    AMAZON,
    GOOGLE,
    LaunchJob,
    ReportFailure,
    RunJob,
    WaitForInput,
    gather,
    open_path,
    render_body,
    render_flags,
    render_marker,
    to_uri,
)

SUBSETS = AssetAlias("imagenet_subset")  # every finished dataset is an Asset of it
LAUNCHED = {"index", "build"}  # all other steps run on the Airflow worker

GROUPINGS = [
    *("all_classes", "confusion", "curated", "manual"),
    *("random_classes", "random_groups", "wordnet"),
    *("breeds_entity13", "breeds_entity30", "breeds_living17", "breeds_nonliving26"),
]
SAMPLERS = ["uniform", "difficulty", "list"]
RESIZE_MODES = ["shorter_side", "longer_side", "center_crop", "squash", "none"]
FORMATS = {
    "type": "string",
    "enum": ["array_record", "folders", "parquet", "tfrecord", "webdataset"],
}
PATH = {"type": ["null", "string"], "minLength": 1}
PATHS = {"type": "array", "items": {"type": "string", "minLength": 1}}
COUNT = {"type": "integer", "maximum": 1_300_000}


def list_params(store: Store) -> dict[str, Param]:
    """Return the parameters of a run, with their defaults and bounds."""
    params = {
        "input": Param(
            [], **PATHS, description="raw ImageNet; if empty, the Variable's"
        ),
        "name": Param(
            "imagenet_subset", type="string", pattern="^[a-z][a-z0-9_]*$", maxLength=100
        ),
        "dataset_version": Param(
            "1.0.0", type="string", pattern=r"^(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}$"
        ),
        "grouping": Param("wordnet", type="string", enum=GROUPINGS),
        "groups": Param(None, **PATH, description="table for grouping=manual"),
        "num_groups": Param(100, type="integer", minimum=2, maximum=1000),
        "images_per_group": Param(500, **COUNT, minimum=1),
        "min_validation_images": Param(10_000, **COUNT, minimum=0),
        "sampling": Param("uniform", type="string", enum=SAMPLERS),
        "images": Param(None, **PATH, description="the list of sampling=list"),
        "image_size": Param(256, type="integer", minimum=1, maximum=65_500),
        "resize_mode": Param("shorter_side", type="string", enum=RESIZE_MODES),
        "formats": Param(
            ["webdataset", "tfrecord"],
            **{"type": "array", "items": FORMATS, "minItems": 1, "uniqueItems": True},
        ),
        "seed": Param(0, type="integer", minimum=0),
        "max_failure_fraction": Param(0.0, type="number", minimum=0, maximum=1),
        "models": Param([], **PATHS, description="they predict the validation images"),
        "halves": Param(None, **PATH, description="dataset built with --folds 2"),
        "fold_models": Param(
            [],
            **PATHS,
            maxItems=2,
            description="trained on fold_a and on fold_b; each predicts the other fold",
        ),
    }
    if store is Store.AMAZON:
        params["marker"] = Param(
            None,
            type=["null", "string"],
            pattern="^s3://[^/]+/.",
            description="object to wait for: it marks the input as complete",
        )
    if store is Store.GOOGLE:
        params["max_workers"] = Param(20, type="integer", minimum=1, maximum=1000)
    return params


def make_task(step: Step, store: Store) -> BaseOperator:
    """Create the task of a step, which may launch a template on Dataflow."""
    settings = {"task_id": step.name, "trigger_rule": "none_failed"}
    if store is not Store.GOOGLE or step.job not in LAUNCHED:
        flags = partial(render_flags, step.name)
        return RunJob(job=step.job, flags=flags, **settings)
    return LaunchJob(
        body=partial(render_body, step.name),
        project_id=f"{{{{ var.json.{store.dag_id}.project }}}}",
        location=f"{{{{ var.json.{store.dag_id}.region }}}}",
        gcp_conn_id=GOOGLE,
        deferrable=True,
        append_job_name=False,
        expected_terminal_state="JOB_STATE_DONE",
        poll_sleep=60,
        **settings,
    )


@task(retries=0)
def check(store: Store) -> str:
    """Check the recipe and return the path of its future dataset.

    Raises:
      AirflowFailException: lists all problems of the recipe.
    """
    recipe, settings, root = gather(get_current_context())
    if problems := "\n".join(imagenet_recipe.find_problems(recipe, settings, store)):
        raise AirflowFailException(problems)
    return imagenet_recipe.find_dataset(recipe, root)


@task(outlets=[SUBSETS])
def publish() -> None:
    """Add the dataset as an Asset, with its path, version, subset id and counts."""
    context = get_current_context()
    recipe, _, root = gather(context)
    dataset = imagenet_recipe.find_dataset(recipe, root)
    complete = json.loads(open_path(f"{dataset}/{COMPLETE}").read_text())
    statistics = open_path(f"{dataset}/__meta__/statistics.json").read_text()
    statistics = json.loads(statistics)
    images: dict[str, int] = {}
    for group in statistics["groups"]:
        for split, count in group["written"].items():
            images[split] = images.get(split, 0) + count
    context["outlet_events"][SUBSETS].add(
        Asset(name="/".join(dataset.rsplit("/", 3)[1:]), uri=to_uri(dataset)),
        extra={
            "directory": dataset,
            "name": recipe["name"],
            "version": recipe["dataset_version"],
            "subset_id": complete["subset_id"],
            "groups": len(statistics["groups"]),
            "images": images,
            "failed": statistics["totals"]["failed"],
        },
    )


def define(store: Store) -> DAG:
    """Define the DAG of a store."""
    dag = DAG(
        store.dag_id,
        doc_md=__doc__,
        schedule="@monthly",
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        is_paused_upon_creation=True,
        max_active_runs=1,
        # A job takes all cores of a machine.
        max_active_tasks=8 if store is Store.GOOGLE else 1,
        dagrun_timeout=timedelta(days=3),
        on_failure_callback=ReportFailure(),
        default_args={
            "retries": 2,
            "retry_delay": timedelta(minutes=5),
            "execution_timeout": timedelta(days=1),
            "on_failure_callback": ReportFailure(),
        },
        params=list_params(store),
        tags=["imagenet"],
    )
    with dag:
        models = {"models": ["m"] * 3, "halves": "h", "fold_models": ["a", "b"]}
        every_step = imagenet_recipe.list_steps({**dag.params, **models}, "")
        tasks = {name: make_task(step, store) for name, step in every_step.items()}
        halves = [tasks[f"predict_{fold}"] for fold in FOLDS]
        predictions, build = [tasks["predict_validation"], *halves], tasks["build"]
        first = check(store)
        if store is Store.AMAZON:
            first = first >> WaitForInput(
                task_id="wait",
                bucket_key=render_marker,
                aws_conn_id=AMAZON,
                deferrable=True,
                poke_interval=300,
                timeout=timedelta(days=1).total_seconds(),
            )
        first >> tasks["index"] >> predictions
        chain(predictions, tasks["confusion"], build)
        chain(halves, tasks["difficulty"], build, tasks["verify"])
        tasks["verify"] >> [tasks["evaluate"], publish()]
    return dag


for each in Store:
    define(each)
