"""Train a model on every new subset: an example, to be adapted.

The Variable `imagenet_training` has the keys `python`, `output` (a folder of models)
and `flags` (of the job `train`).
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

from airflow.sdk import DAG, AssetAlias, Param
from airflow.sdk.exceptions import AirflowFailException
from imagenet_recipe import Flags
from imagenet_tasks import ReportFailure, RunJob, read_variable

SUBSETS = AssetAlias("imagenet_subset")


def render_flags(context: Mapping[str, Any], jinja_env: object) -> Flags:
    """Return the flags that train on the newest of the subsets that started the run."""
    dataset = context["params"]["dataset"]
    if not dataset:
        events = [e for es in context["triggering_asset_events"].values() for e in es]
        if not events:
            raise AirflowFailException("dataset: name one; no subset started this run")
        dataset = max(events, key=lambda event: event.timestamp).extra["directory"]
    settings = read_variable(context)
    output = f"{settings['output']}/{PurePosixPath(dataset).parts[-3]}"
    return {"dataset": dataset, "output": output, **settings["flags"]}


with DAG(
    "imagenet_training",
    schedule=[SUBSETS],
    max_active_runs=1,
    is_paused_upon_creation=True,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "on_failure_callback": ReportFailure(),
    },
    params={"dataset": Param(None, type=["null", "string"])},  # of a run by hand
    tags=["imagenet"],
):
    RunJob(task_id="train", job="train", flags=render_flags, inlets=[SUBSETS])
