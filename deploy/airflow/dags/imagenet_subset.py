"""A recipe for a subset of ImageNet → a built, verified and evaluated dataset.

Two DAGs of one shape: `imagenet_subset` runs every job on the worker, and
`imagenet_subset_on_dataflow` has index, predict and build run by a flex template:

  check → index → predict_* → confusion, difficulty → build → verify → evaluate, publish

Jobs are only ever called by their command lines, so that Airflow needs none of the
program's libraries. All that a run writes lies below OUTPUT/<its run id>/.
"""

import functools
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from airflow.exceptions import AirflowException, AirflowFailException
from airflow.providers.google.cloud.operators.dataflow import (
    DataflowStartFlexTemplateOperator,
)
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import (
    DAG,
    Asset,
    BaseOperator,
    ObjectStoragePath,
    Param,
    Variable,
    chain,
    task,
)
from airflow.sdk.exceptions import AirflowSkipException

Flags = dict[str, Any]

# Where things are, as JSON: python, input, output; and for Dataflow template, project,
# region, environment. Read when a task runs, never when the file is parsed.
PLACE = "imagenet_subset"
GOOGLE = "google_cloud_default"
SUBSET = Asset(name="imagenet_subset")
COMPLETE = "__meta__/complete.json"
USERS_MISTAKE = 2  # the jobs' exit code; no retry mends it

GROUPINGS = ["all_classes", "confusion", "curated", "manual"]
GROUPINGS += ["random_classes", "random_groups", "wordnet"]
RESIZE_MODES = ["shorter_side", "longer_side", "center_crop", "squash", "none"]
FORMATS = ["webdataset", "tfrecord", "folders", "parquet"]


def list_params() -> dict[str, Param]:
    """Return the recipe: what a run can be asked for, and within which bounds."""
    paths = {"type": "array", "items": {"type": "string", "minLength": 1}}
    path = {"type": ["null", "string"], "minLength": 1}
    whole = {"type": "integer", "minimum": 0}
    return {
        "input": Param([], **paths, description="raw ImageNet; empty: the Variable's"),
        "name": Param(
            "imagenet_subset", type="string", pattern="^[a-z][a-z0-9_]*$", maxLength=100
        ),
        "dataset_version": Param(
            "1.0.0", type="string", pattern=r"^(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}$"
        ),
        "grouping": Param("wordnet", type="string", enum=GROUPINGS),
        "groups": Param(None, **path, description="the table of grouping=manual"),
        "num_groups": Param(100, type="integer", minimum=2, maximum=1000),
        "images_per_group": Param(500, type="integer", minimum=1, maximum=1_300_000),
        "min_validation_images": Param(10_000, **whole, maximum=1_300_000),
        "sampling": Param("uniform", type="string", enum=["uniform", "difficulty"]),
        "image_size": Param(256, type="integer", minimum=1, maximum=65_500),
        "resize_mode": Param("shorter_side", type="string", enum=RESIZE_MODES),
        "formats": Param(
            ["webdataset", "tfrecord"],
            type="array",
            items={"type": "string", "enum": FORMATS},
            minItems=1,
            uniqueItems=True,
        ),
        "seed": Param(0, **whole),
        "max_failure_fraction": Param(0.0, type="number", minimum=0, maximum=1),
        "models": Param(
            [], **paths, description="models asked of the official validation images"
        ),
        "halves": Param(
            None, **path, description="a dataset of build --folds 2, for fold_models"
        ),
        "fold_models": Param(
            [],
            **paths,
            maxItems=2,
            description="the model trained on fold_a, then that trained on fold_b; "
            "each is asked of the other's half",
        ),
    }


def find_root(place: Mapping[str, Any], run_id: str) -> str:
    """Return where a run writes: the same place however often it is retried."""
    return f"{str(place.get('output', '')).rstrip('/')}/{make_slug(run_id)}"


def make_slug(run_id: str) -> str:
    """Make a run id safe for paths and job names; the hash keeps alike ones apart."""
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    slug = re.sub("[^a-z0-9]+", "-", run_id.lower()).strip("-")
    return f"{slug[:32]}-{digest}"


def list_flags(step: str, params: Mapping[str, Any], root: str) -> Flags:
    """Return the flags of a step's job; none when this recipe does not need it."""
    index, dataset = f"{root}/index.parquet", find_dataset(params, root)
    folds = [f"{root}/predictions/fold_{fold}.parquet" for fold in "ab"]
    folds = folds if params["fold_models"] else []
    asked = [f"{root}/predictions/validation.parquet"] if params["models"] else []
    match step:
        case "index":
            return {"input": params["input"], "output": index}
        case "predict_validation" if asked:
            ask = {"input": [index], "split": "validation", "model": params["models"]}
            return {**ask, "output": asked[0]}
        case "predict_fold_a" | "predict_fold_b" if folds:
            number = step.endswith("b")
            # Whoever was trained on one half is asked of the other.
            model = params["fold_models"][not number]
            ask = {"input": [params["halves"]], "split": step[-6:], "model": [model]}
            return {**ask, "output": folds[number]}
        case "confusion" if folds or asked:
            return {"predictions": folds or asked, "output": f"{root}/confusion"}
        case "difficulty" if folds:
            return {"predictions": folds, "output": f"{root}/difficulty"}
        case "build":
            return _list_build_flags(params, root) | {"input": [index]}
        case "verify":
            return {"dataset": dataset}
        case "evaluate" if asked and not is_circular(params):
            groups = f"{dataset}/__meta__/groups.csv"
            output = f"{root}/evaluation"
            return {"predictions": asked, "groups": [groups], "output": output}
    return {}


def _list_build_flags(params: Mapping[str, Any], root: str) -> Flags:
    copied = ["grouping", "sampling", "image_size", "resize_mode", "seed", "name"]
    copied += ["min_validation_images", "max_failure_fraction", "dataset_version"]
    flags = {name: params[name] for name in copied}
    flags |= {"formats": params["formats"], "output": root, "resume": True}
    if params["grouping"] != "all_classes":
        flags["images_per_group"] = params["images_per_group"]
    if params["grouping"] not in {"all_classes", "manual"}:
        flags["num_groups"] = params["num_groups"]
    if params["grouping"] == "manual":
        flags["groups"] = params["groups"]
    if is_circular(params):
        flags["confusion"] = f"{root}/confusion/confusion_a.npz"
        flags["confusion_heldout"] = f"{root}/confusion/confusion_b.npz"
    elif params["grouping"] == "confusion":
        flags["confusion"] = f"{root}/confusion/confusion.npz"
    if params["sampling"] == "difficulty":
        flags["difficulty"] = f"{root}/difficulty/difficulty.parquet"
    return flags


def is_circular(params: Mapping[str, Any]) -> bool:
    """Tell whether groups come of the very predictions that would judge them.

    Then one half of the images makes the groups, the build tells how well they hold on
    the other, and models are not ranked on groups that were made to suit them.
    """
    return params["grouping"] == "confusion" and not params["fold_models"]


def find_dataset(params: Mapping[str, Any], root: str) -> str:
    """Return the directory that the build makes."""
    return f"{root}/{params['name']}/{params['dataset_version']}"


def find_problems(
    params: Mapping[str, Any], place: Mapping[str, Any], *, on_dataflow: bool
) -> Iterator[str]:
    """Yield what parameters that are each within bounds get wrong together."""
    needed = ["python", "output"]
    needed += ["template", "project", "region"] if on_dataflow else []
    for name in needed:
        if not place.get(name):
            yield f"Variable {PLACE}: has no {name}; see deploy/airflow/README.md"
    if not params["input"]:
        yield f"input: name raw ImageNet, here or in the Variable {PLACE}"
    has_folds = params["halves"] is not None and len(params["fold_models"]) == 2
    if (params["halves"] is not None or params["fold_models"]) and not has_folds:
        yield "halves: goes with two fold_models, those trained on fold_a and fold_b"
    if params["sampling"] == "difficulty" and not has_folds:
        yield "sampling=difficulty: needs halves and fold_models"
    if params["grouping"] == "confusion" and not has_folds and not params["models"]:
        yield "grouping=confusion: needs halves and fold_models, or models"
    if (params["grouping"] == "manual") != (params["groups"] is not None):
        yield "groups: is the table of grouping=manual, which needs it"
    if on_dataflow:
        named = [*params["input"], *params["models"], *params["fold_models"]]
        named += [params["halves"], params["groups"], place.get("output")]
        for path in named:
            if path and not path.startswith("gs://"):
                yield f"{path}: workers of Dataflow read and write gs:// only"
    elif "://" in place.get("output", ""):
        yield f"{place['output']}: the jobs on this worker write to a folder"


def open_path(path: str) -> ObjectStoragePath:
    """Return a path of a bucket, or of this machine."""
    return ObjectStoragePath(path, conn_id=GOOGLE if "://" in path else None)


def gather(context: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return a run's recipe, where things are, and where the run writes."""
    place = Variable.get(PLACE, default={}, deserialize_json=True)
    params = dict(context["params"])
    params["input"] = params["input"] or place.get("input", [])
    return params, place, find_root(place, context["run_id"])


def render_flags(step: str, context: Mapping[str, Any], jinja_env: object) -> Flags:
    """Fill in the flags of a step's job when its task runs."""
    del jinja_env
    params, _, root = gather(context)
    return list_flags(step, params, root)


def render_body(step: str, context: Mapping[str, Any], jinja_env: object) -> Flags:
    """Fill in the launch of a step's flex template, whose parameters are all texts."""
    params, place, root = gather(context)
    flags = render_flags(step, context, jinja_env)
    if not flags:
        return {}
    words = {name: to_text(value) for name, value in flags.items()}
    environment = {"maxWorkers": params["max_workers"]} | place.get("environment", {})
    launch = {
        # Of several jobs of one name only one can be active: no launch is paid twice.
        "jobName": f"{step}-{PurePosixPath(root).name}".replace("_", "-"),
        "containerSpecGcsPath": place["template"],
        "parameters": {"job": step.split("_")[0], **words},
        "environment": environment,
    }
    return {"launchParameter": launch}


def to_text(value: object) -> str:
    """Write a flag's value as the template's parameters have it."""
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


class RunJob(BaseOperator):
    """Run a job by its command line, in the interpreter that has the program."""

    template_fields = ("flags",)

    def __init__(self, *, job: str, flags: Flags, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.flags = flags

    @functools.cached_property
    def hook(self) -> SubprocessHook:
        """What runs the job, and stops it with the task."""
        return SubprocessHook()

    def execute(self, context: Mapping[str, Any]) -> None:
        """Run the job; files of buckets that it reads whole are brought to it."""
        if not self.flags:
            raise AirflowSkipException("this recipe does not need it")
        is_file = self.job in {"index", "predict"}
        if is_file and open_path(self.flags["output"]).exists():
            self.log.info("%s is there already", self.flags["output"])
            return
        with tempfile.TemporaryDirectory() as scratch:
            flags = bring(self.flags, Path(scratch))
            self._run(flags)
            if flags.get("output") != self.flags.get("output"):
                send(Path(flags["output"]), self.flags["output"])

    def _run(self, flags: Flags) -> None:
        python = Variable.get(PLACE, deserialize_json=True)["python"]
        words = [python, "-m", f"pipelines.{self.job}"]
        for name, value in flags.items():
            words += [f"--{name}", *value] if isinstance(value, list) else []
            words += [] if isinstance(value, list) else [f"--{name}={value}"]
        code = self.hook.run_command(words).exit_code
        if code == USERS_MISTAKE:
            raise AirflowFailException(f"{self.job}: see the errors above")
        if code:
            raise AirflowException(f"{self.job}: exit code {code}; see above")

    def on_kill(self) -> None:
        """Stop the job."""
        self.hook.send_sigterm()


def bring(flags: Flags, scratch: Path) -> Flags:
    """Copy files out of buckets, and put a folder in place of one that is in a bucket.

    confusion, difficulty and evaluate take local files only.
    """
    local = dict(flags)
    for name in {"predictions", "groups"} & flags.keys():
        local[name] = []
        for path in flags[name]:
            place = scratch / name / "/".join(PurePosixPath(path).parts[-4:])
            if "://" in path:
                place.parent.mkdir(parents=True, exist_ok=True)
                with open_path(path).open("rb") as file, place.open("wb") as copy:
                    shutil.copyfileobj(file, copy)
            local[name].append(str(place) if "://" in path else path)
    if "://" in flags.get("output", ""):
        local["output"] = str(scratch / "output")
    return local


def send(folder: Path, target: str) -> None:
    """Copy a folder's files into a bucket."""
    for path in folder.rglob("*"):
        if path.is_file():
            place = open_path(f"{target}/{path.relative_to(folder).as_posix()}")
            place.write_bytes(path.read_bytes())


class LaunchJob(DataflowStartFlexTemplateOperator):
    """Launch a job's flex template, unless what it makes is there already."""

    def execute(self, context: Mapping[str, Any]) -> Any:  # noqa: ANN401  # a job
        """Launch it, and wait without a worker's slot."""
        if not self.body:
            raise AirflowSkipException("this recipe does not need it")
        flags = self.body["launchParameter"]["parameters"]
        made = flags["output"]
        if flags["job"] == "build":
            made = f"{find_dataset(flags, made)}/{COMPLETE}"
        if open_path(made).exists():
            self.log.info("%s is there already", made)
            return None
        return super().execute(context)


def make_task(step: str, *, on_dataflow: bool = False, **settings: Any) -> BaseOperator:
    """Make the task of a step."""
    common = {"task_id": step, "trigger_rule": "none_failed", **settings}
    if not on_dataflow:
        flags = functools.partial(render_flags, step)
        return RunJob(job=step.split("_")[0], flags=flags, **common)
    return LaunchJob(
        body=functools.partial(render_body, step),
        project_id=f"{{{{ var.json.{PLACE}.project }}}}",
        location=f"{{{{ var.json.{PLACE}.region }}}}",
        gcp_conn_id=GOOGLE,
        deferrable=True,
        poll_sleep=60,
        append_job_name=False,
        expected_terminal_state="JOB_STATE_DONE",
        **common,
    )


def define(dag_id: str, *, on_dataflow: bool) -> DAG:
    """Make one of the two DAGs."""
    params = list_params()
    if on_dataflow:
        params["max_workers"] = Param(20, type="integer", minimum=1, maximum=1000)
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
        params=params,
        tags=["imagenet"],
    )
    with dag:

        @task(retries=0)
        def check(**context: Any) -> str:
            params, place, root = gather(context)
            problems = list(find_problems(params, place, on_dataflow=on_dataflow))
            if problems:
                raise AirflowFailException("\n".join(problems))
            return find_dataset(params, root)

        @task(outlets=[SUBSET])
        def publish(**context: Any) -> None:
            params, _, root = gather(context)
            dataset = find_dataset(params, root)
            extra = describe_dataset(dataset)
            context["outlet_events"][SUBSET].extra = extra

        heavy = functools.partial(make_task, on_dataflow=on_dataflow)
        halves = [heavy("predict_fold_a"), heavy("predict_fold_b")]
        index, asked, build = (
            heavy("index"), heavy("predict_validation"), heavy("build"),
        )  # fmt: skip
        confusion, difficulty = make_task("confusion"), make_task("difficulty")
        verify, evaluate = make_task("verify"), make_task("evaluate")
        chain(check(), index, asked, confusion, build, verify)
        chain(index, halves, difficulty, build)
        for half in halves:
            half >> confusion
        verify >> [evaluate, publish()]
    return dag


def describe_dataset(dataset: str) -> dict[str, Any]:
    """Return what consumers of the Asset are told of a finished dataset."""
    complete = json.loads(open_path(f"{dataset}/{COMPLETE}").read_text())
    statistics = json.loads(
        open_path(f"{dataset}/__meta__/statistics.json").read_text()
    )
    images: dict[str, int] = {}
    for group in statistics["groups"]:
        for split, count in group["written"].items():
            images[split] = images.get(split, 0) + count
    return {
        "directory": dataset,
        "subset_id": complete["subset_id"],
        "groups": len(statistics["groups"]),
        "images": images,
        "failed": statistics["totals"]["failed"],
    }


define("imagenet_subset", on_dataflow=False)
define("imagenet_subset_on_dataflow", on_dataflow=True)
