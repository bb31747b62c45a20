"""Run the program's jobs as tasks, and report their lineage and failures."""

import importlib
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import imagenet_recipe
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.google.cloud.operators.dataflow import (
    DataflowStartFlexTemplateOperator,
)
from airflow.sdk import BaseNotifier, BaseOperator, ObjectStoragePath, Variable
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)
from airflow.sdk.lineage import get_hook_lineage_collector
from imagenet_commands import Step, to_words
from imagenet_recipe import Flags

GOOGLE, AMAZON = "google_cloud_default", "aws_default"  # Airflow connections
USAGE_ERROR = 2  # exit code of a job; a retry does not help
LAST_LINES = 15  # of a failed job's output, repeated in its error
# Variables of a worker's identity, which a connection with other keys replaces.
CREDENTIALS = re.compile(
    "AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|SECURITY_TOKEN|ROLE_ARN"
    "|CREDENTIAL_EXPIRATION|(DEFAULT_)?PROFILE|WEB_IDENTITY_TOKEN_FILE|CONTAINER_.*)"
)
# Settings and secrets of Airflow, and Python packages that could hide the program's.
FOREIGN = re.compile("_*AIRFLOW_.*|PYTHONPATH|PYTHONHOME")

# How a run fails without a failed task.
RUN_FAILURES = {
    "timed_out": "it exceeded its time limit",
    "all_tasks_deadlocked": "none of its remaining tasks can start",
}

Context = Mapping[str, Any]


def open_path(path: str) -> ObjectStoragePath:
    """Open a path in a bucket or on this machine."""
    connection = {"gs": GOOGLE, "s3": AMAZON}.get(path.partition("://")[0])
    return ObjectStoragePath(path, conn_id=connection)


def read_variable(context: Context) -> Flags:
    """Return the content of the Variable that is named as the DAG."""
    name = context["dag"].dag_id
    return Variable.get(name, default={}, deserialize_json=True)


def gather(context: Context) -> tuple[Flags, Flags, str]:
    """Return a run's recipe, the content of the Variable, and the run's folder."""
    settings = read_variable(context)
    recipe = dict(context["params"])
    if not recipe["input"]:
        recipe["input"] = settings.get("input", [])
        recipe["marker"] = recipe.get("marker") or settings.get("marker")
    root = imagenet_recipe.find_root(settings.get("output", ""), context["run_id"])
    return recipe, settings, root


def find_step(name: str, context: Context) -> Step | None:
    """Return a step of a run; None if the recipe does not need it."""
    recipe, _, root = gather(context)
    return imagenet_recipe.list_steps(recipe, root).get(name)


def render_flags(step: str, context: Context, jinja_env: object) -> Flags:
    """Return the flags of a step's job; {} if the recipe does not need the step."""
    needed = find_step(step, context)
    return dict(needed.flags) if needed else {}


def render_body(step: str, context: Context, jinja_env: object) -> Flags:
    """Return the request that launches a step's flex template; {} if not needed."""
    recipe, settings, root = gather(context)
    needed = find_step(step, context)
    if not needed:
        return {}
    launch = {
        # Only one job of a name can be active, so nothing is computed twice at once.
        "jobName": f"{step}-{PurePosixPath(root).name}".replace("_", "-"),
        "containerSpecGcsPath": settings["template"],
        "parameters": {
            "job": needed.job,
            "sdk_container_image": settings["image"],
            **{k: imagenet_recipe.to_text(v) for k, v in needed.flags.items()},
        },
        "environment": {
            **settings.get("environment", {}),
            "maxWorkers": recipe["max_workers"],
        },
    }
    return {"launchParameter": launch}


def render_marker(context: Context, jinja_env: object) -> str:
    """Return the URL of the object that marks the input as complete; "" if none."""
    return gather(context)[0]["marker"] or ""


def report_lineage(task: BaseOperator, job: str, flags: Flags) -> None:
    """Report the inputs and the output of a job; OpenLineage, if installed, sends them.

    Unlike a task's static inlets and outlets, these are the paths of the run.
    """
    collector = get_hook_lineage_collector()
    for path in imagenet_recipe.list_inputs(flags):
        collector.add_input_asset(task, uri=to_uri(path))
    if output := imagenet_recipe.find_output(job, flags):
        collector.add_output_asset(task, uri=to_uri(output))


def to_uri(path: str) -> str:
    """Return the URI of a path in a bucket or on this machine."""
    return path if "://" in path else Path(path).absolute().as_uri()


def find_environment(paths: Iterable[str]) -> dict[str, str]:
    """Return the environment of a job, with the access of the connection to S3.

    If the connection has no keys, role or profile, the worker's identity is used.

    Args:
      paths: the words of the job and its indirect inputs, e.g. images of an index.
    """
    inherited = {k: v for k, v in os.environ.items() if not FOREIGN.fullmatch(k)}
    if not any("s3://" in path for path in paths):
        return inherited
    hook = S3Hook(aws_conn_id=AMAZON)
    connection = hook.conn_config
    access = {
        "AWS_REGION": hook.region_name,
        "AWS_ENDPOINT_URL_S3": connection.get_service_endpoint_url("s3"),
    }
    if connection.aws_access_key_id or connection.role_arn or connection.profile_name:
        keys = hook.get_credentials()  # masked in logs by the hook
        access |= {
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_SESSION_TOKEN": keys.token,
        }
        inherited = {k: v for k, v in inherited.items() if not CREDENTIALS.fullmatch(k)}
    return inherited | {name: value for name, value in access.items() if value}


class RunJob(BaseOperator):
    """Run a step's job as a process, with the Python of the program's environment."""

    template_fields = ("flags",)
    process: subprocess.Popen[bytes] | None = None

    def __init__(self, *, job: str, flags: Flags, **settings: Any) -> None:
        super().__init__(**settings)
        self.job = job
        self.flags = flags

    def execute(self, context: Context) -> None:
        """Run the job; index and predict do not run if their output exists.

        Raises:
          AirflowSkipException: the recipe does not need the step.
          AirflowFailException: the job rejected its flags or inputs.
          AirflowException: the job failed; Airflow retries.
        """
        if not self.flags:
            raise AirflowSkipException("this recipe does not need it")
        report_lineage(self, self.job, self.flags)
        output = self.flags.get("output")
        if self.job in {"index", "predict"} and open_path(output).exists():
            self.log.info("%s exists already", output)
            return
        settings = read_variable(context)
        words = to_words(self.flags)
        # The index, which other jobs read, has the paths of the images.
        images = context["params"].get("input") or settings.get("input", [])
        code, lines = self._run(
            [settings["python"], "-m", f"pipelines.{self.job}", *words],
            find_environment([*words, *images]),
        )
        if code == USAGE_ERROR:
            message = f"{self.job} rejected its flags or input:\n{lines}"
            raise AirflowFailException(message)
        if code:
            raise AirflowException(f"{self.job}: exit code {code}:\n{lines}")

    def _run(
        self, words: Sequence[str], environment: Mapping[str, str]
    ) -> tuple[int, str]:
        """Run a command, log its output; return its exit code and last lines."""
        self.log.info("Running %s", shlex.join(words))
        last: deque[str] = deque(maxlen=LAST_LINES)
        with tempfile.TemporaryDirectory() as folder:
            self.process = subprocess.Popen(  # noqa: S603  # the program, without a shell
                words,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,  # not one whose modules would hide the program's
                env=environment,
                start_new_session=True,
            )
            for data in self.process.stdout or ():
                line = data.decode(errors="backslashreplace").rstrip()
                self.log.info("%s", line)
                last.append(line.rpartition("\r")[2])  # of a progress bar
            return self.process.wait(), "\n".join(last)

    def on_kill(self) -> None:
        """Stop the job when its task is killed."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGTERM)


class LaunchJob(DataflowStartFlexTemplateOperator):
    """Launch the flex template of a step's job, unless its output exists."""

    def execute(self, context: Context) -> object:
        """Launch the job, and wait for it without occupying a worker slot.

        Raises:
          AirflowSkipException: the recipe does not need the step.
        """
        step = find_step(self.task_id, context)
        if not step:
            raise AirflowSkipException("this recipe does not need it")
        report_lineage(self, step.job, dict(step.flags))
        if open_path(step.result).exists():
            self.log.info("%s exists already", step.result)
            return None
        return super().execute(context)

    def execute_complete(self, context: Context, event: Flags) -> object:
        """Finish in another process than the one that launched the job."""
        step = find_step(self.task_id, context)
        report_lineage(self, step.job, dict(step.flags))
        return super().execute_complete(context, event)


class WaitForInput(S3KeySensor):
    """Wait for the object that marks the input as complete, if there is one."""

    def execute(self, context: Context) -> None:
        """Wait without occupying a worker slot.

        Raises:
          AirflowSkipException: the recipe names no such object.
        """
        if not self.bucket_key:
            raise AirflowSkipException("neither recipe nor Variable has a marker")
        super().execute(context)


class ReportFailure(BaseNotifier):
    """Log what failed, the job's last lines and how to resume; notify somebody.

    The Variable's `notifier` has the class and the settings of a notifier of Airflow,
    whose templates may use `{{ failure }}`.
    """

    def notify(self, context: Context) -> None:
        """Report a failed task, or a run that failed without one."""
        if context.get("reason") == "task_failure":
            return  # its tasks are reported
        text = describe_failure(context)
        self.log.error("%s", text)
        settings = dict(read_variable(context).get("notifier", {}))
        if settings:
            module, _, name = settings.pop("class").rpartition(".")
            notifier = getattr(importlib.import_module(module), name)
            notifier(**settings)({**context, "failure": text})


def describe_failure(context: Context) -> str:
    """Return what failed, the job's last lines, and how to resume."""
    run, dag = context["run_id"], context["dag"].dag_id
    if reason := context.get("reason"):  # of a run; its context may have any task
        what = f"run {run} failed: {RUN_FAILURES.get(reason, reason)}"
        # A time-out leaves its tasks skipped, not failed.
        tasks, choice = "its tasks", ""
    else:
        ti = context["ti"]
        what = f"task {ti.task_id} (attempt {ti.try_number}) failed in run {run}\n"
        what += str(context.get("exception", ""))
        tasks, choice = "the failed tasks", " --only-failed"
    return (
        f"{dag}: {what}\n"
        f"To resume, remove the cause, then run {tasks} again; finished work "
        f"is kept:\nairflow dags clear {dag} --run-id {shlex.quote(run)}{choice}"
    )
