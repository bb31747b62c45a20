"""Build, verify and evaluate a subset of ImageNet from a recipe.

There are two DAGs with the same steps: `imagenet_subset` runs every job on the worker,
and `imagenet_subset_on_dataflow` runs index and build with a flex template on Dataflow.

    check → index → predict → confusion, difficulty → build → verify → publish, evaluate

Jobs are called only by their command lines, so Airflow needs none of the program's
libraries. A run writes all of its files below OUTPUT/SLUG/, where SLUG is the sanitised
run id followed by a hash (`imagenet_recipe.make_slug`).
"""

import json
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import imagenet_recipe
from airflow.providers.google.cloud.operators.dataflow import (
    DataflowStartFlexTemplateOperator,
)
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import (
    DAG,
    Asset,
    BaseOperator,
    Param,
    Variable,
    chain,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)
from imagenet_commands import COMPLETE, FOLDS, to_words
from imagenet_files import GOOGLE, download_inputs, open_path, upload_outputs
from imagenet_recipe import VARIABLE, Flags

SUBSET = Asset(name="imagenet_subset")
LAUNCHED = {"index", "build"}  # predict collects its tables on the launching machine
USERS_MISTAKE = 2  # exit code of a job; a retry does not help

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


def list_params(*, on_dataflow: bool) -> dict[str, Param]:
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
    if on_dataflow:
        params["max_workers"] = Param(20, type="integer", minimum=1, maximum=1000)
    return params


def gather(context: Mapping[str, Any]) -> tuple[Flags, Flags, str]:
    """Return a run's recipe, the content of the Variable, and the run's folder."""
    place = Variable.get(VARIABLE, default={}, deserialize_json=True)
    recipe = dict(context["params"])
    recipe["input"] = recipe["input"] or place.get("input", [])
    root = imagenet_recipe.find_root(place.get("output", ""), context["run_id"])
    return recipe, place, root


def render_flags(step: str, context: Mapping[str, Any], jinja_env: object) -> Flags:  # noqa: ARG001  # Airflow's signature
    """Return the flags of a step's job; {} if the recipe does not need the step."""
    recipe, _, root = gather(context)
    needed = imagenet_recipe.list_steps(recipe, root).get(step)
    return dict(needed.flags) if needed else {}


def render_body(step: str, context: Mapping[str, Any], jinja_env: object) -> Flags:
    """Return the request that launches a step's flex template; {} if not needed."""
    recipe, place, root = gather(context)
    flags = render_flags(step, context, jinja_env)
    if not flags:
        return {}
    texts = {name: imagenet_recipe.to_text(value) for name, value in flags.items()}
    environment = {**place.get("environment", {}), "maxWorkers": recipe["max_workers"]}
    launch = {
        # Only one job of a name can be active, so nothing is computed twice at once.
        "jobName": f"{step}-{PurePosixPath(root).name}".replace("_", "-"),
        "containerSpecGcsPath": place["template"],
        "parameters": {
            "job": name_job(step),
            "sdk_container_image": place["image"],
            **texts,
        },
        "environment": environment,
    }
    return {"launchParameter": launch}


def name_job(step: str) -> str:
    """Return the name of a step's job, e.g. "predict" for predict_fold_a."""
    return step.partition("_")[0]


class RunJob(BaseOperator):
    """Run a step's job as a process, with the Python of the program's environment."""

    template_fields = ("flags",)

    def __init__(self, *, flags: Flags, **settings: Any) -> None:  # noqa: ANN401  # of Airflow
        super().__init__(**settings)
        self.flags = flags

    @cached_property
    def hook(self) -> SubprocessHook:
        """The hook that runs the job."""
        return SubprocessHook()

    def execute(self, context: Mapping[str, Any]) -> None:
        """Run the job on local copies of its input tables, and upload the results.

        Index and predict do not run if their output exists.

        Raises:
          AirflowSkipException: the recipe does not need the step.
          AirflowFailException: the job rejected its flags or inputs.
          AirflowException: the job failed; Airflow retries.
        """
        if not self.flags:
            raise AirflowSkipException("this recipe does not need it")
        job = name_job(self.task_id)
        if job in {"index", "predict"} and open_path(self.flags["output"]).exists():
            self.log.info("%s exists already", self.flags["output"])
            return
        with tempfile.TemporaryDirectory() as scratch:
            flags = download_inputs(self.flags, Path(scratch))
            python = gather(context)[1]["python"]
            words = [python, "-m", f"pipelines.{job}", *to_words(flags)]
            code = self.hook.run_command(words).exit_code
            if code == USERS_MISTAKE:
                raise AirflowFailException(f"{job} rejected its input; see the log")
            if code:
                raise AirflowException(f"{job}: exit code {code}; see the log")
            upload_outputs(Path(scratch), self.flags)

    def on_kill(self) -> None:
        """Stop the job when its task is killed."""
        self.hook.send_sigterm()


class LaunchJob(DataflowStartFlexTemplateOperator):
    """Launch the flex template of a step's job, unless its output exists."""

    def execute(self, context: Mapping[str, Any]) -> object:
        """Launch the job, and wait for it without occupying a worker slot.

        Raises:
          AirflowSkipException: the recipe does not need the step.
        """
        if not self.body:
            raise AirflowSkipException("this recipe does not need it")
        flags = self.body["launchParameter"]["parameters"]
        made = flags["output"]
        if flags["job"] == "build":
            made = f"{imagenet_recipe.find_dataset(flags, made)}/{COMPLETE}"
        if open_path(made).exists():
            self.log.info("%s exists already", made)
            return None
        return super().execute(context)


def make_task(step: str, *, on_dataflow: bool = False) -> BaseOperator:
    """Create the task of a step, which launches a template if `on_dataflow`."""
    settings = {"task_id": step, "trigger_rule": "none_failed"}
    if not on_dataflow:
        return RunJob(flags=partial(render_flags, step), **settings)
    return LaunchJob(
        body=partial(render_body, step),
        project_id=f"{{{{ var.json.{VARIABLE}.project }}}}",
        location=f"{{{{ var.json.{VARIABLE}.region }}}}",
        gcp_conn_id=GOOGLE,
        deferrable=True,
        append_job_name=False,
        expected_terminal_state="JOB_STATE_DONE",
        poll_sleep=60,
        **settings,
    )


@task(retries=0)
def check(*, on_dataflow: bool) -> str:
    """Check the recipe and return the path of its future dataset.

    Raises:
      AirflowFailException: lists all problems of the recipe.
    """
    recipe, place, root = gather(get_current_context())
    problems = imagenet_recipe.find_problems(recipe, place, on_dataflow=on_dataflow)
    if found := "\n".join(problems):
        raise AirflowFailException(found)
    return imagenet_recipe.find_dataset(recipe, root)


@task(outlets=[SUBSET])
def publish() -> None:
    """Update the Asset with the path, subset id and image counts of the dataset."""
    context = get_current_context()
    recipe, _, root = gather(context)
    dataset = imagenet_recipe.find_dataset(recipe, root)
    complete = json.loads(open_path(f"{dataset}/{COMPLETE}").read_text())
    told = json.loads(open_path(f"{dataset}/__meta__/statistics.json").read_text())
    images: dict[str, int] = {}
    for group in told["groups"]:
        for split, count in group["written"].items():
            images[split] = images.get(split, 0) + count
    context["outlet_events"][SUBSET].extra = {
        "directory": dataset,
        "subset_id": complete["subset_id"],
        "groups": len(told["groups"]),
        "images": images,
        "failed": told["totals"]["failed"],
    }


def define(dag_id: str, *, on_dataflow: bool) -> DAG:
    """Define a DAG whose index and build run on Dataflow if `on_dataflow`."""
    dag = DAG(
        dag_id,
        doc_md=__doc__,
        schedule="@monthly",
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        is_paused_upon_creation=True,
        max_active_runs=1,
        max_active_tasks=8 if on_dataflow else 1,  # a job takes all cores of a machine
        dagrun_timeout=timedelta(days=3),
        default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
        params=list_params(on_dataflow=on_dataflow),
        tags=["imagenet"],
    )
    with dag:
        models = {"models": ["m"] * 3, "halves": "h", "fold_models": ["a", "b"]}
        every_step = imagenet_recipe.list_steps({**dag.params, **models}, "")
        tasks = {
            step: make_task(step, on_dataflow=on_dataflow and step in LAUNCHED)
            for step in every_step
        }
        halves = [tasks[f"predict_{fold}"] for fold in FOLDS]
        predictions, build = [tasks["predict_validation"], *halves], tasks["build"]
        check(on_dataflow=on_dataflow) >> tasks["index"] >> predictions
        chain(predictions, tasks["confusion"], build)
        chain(halves, tasks["difficulty"], build, tasks["verify"])
        tasks["verify"] >> [tasks["evaluate"], publish()]
    return dag


define("imagenet_subset", on_dataflow=False)
define("imagenet_subset_on_dataflow", on_dataflow=True)
