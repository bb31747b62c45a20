"""Test the launch requests of the Dataflow DAG, without the service itself."""

import json
import re
from datetime import UTC, datetime

import imagenet_tasks
import pytest
from airflow.providers.google.cloud.hooks import dataflow
from google.cloud.dataflow_v1beta3 import JobState

from tests.airflow.places import ROOT

WHEN = datetime(2026, 4, 1, tzinfo=UTC)
IMAGE = "europe-west4-docker.pkg.dev/p/r/subsets@sha256:" + "0" * 64
RECIPE = {
    "input": ["gs://images/a.tar", "gs://images/b.tar"],
    "num_groups": 20,
    "max_workers": 7,
}
# What follows the build is that of the local run: here it only counts as done.
AFTER_BUILD = "verify|evaluate|publish"
UNNEEDED = {
    *("predict_validation", "predict_fold_a", "predict_fold_b"),
    *("confusion", "difficulty"),
}


@pytest.fixture
def place(bucket, monkeypatch):
    place = {
        "python": "/opt/subsets/bin/python",
        "output": f"{bucket}/runs",
        "template": f"{bucket}/templates/subsets.json",
        "image": IMAGE,
        "project": "p",
        "region": "europe-west4",
        "environment": {"serviceAccountEmail": "subsets-worker@p"},
    }
    monkeypatch.setenv("AIRFLOW_VAR_IMAGENET_SUBSET_ON_DATAFLOW", json.dumps(place))
    return place


@pytest.fixture
def launches(monkeypatch):
    """A fake Dataflow that creates the output of each job at once."""
    asked = []

    def launch(_, body, location, project_id):
        asked.append((body, location, project_id))
        flags = body["launchParameter"]["parameters"]
        output = flags["output"]
        if flags["job"] == "build":
            mark = "__meta__/complete.json"
            output += f"/{flags['name']}/{flags['dataset_version']}/{mark}"
        imagenet_tasks.open_path(output).write_text("{}")
        return {"id": f"job-{len(asked)}", "projectId": project_id}

    async def is_done(*_, **__):
        return JobState.JOB_STATE_DONE

    hook, later = dataflow.DataflowHook, dataflow.AsyncDataflowHook
    monkeypatch.setattr(hook, "launch_job_with_flex_template", launch)
    monkeypatch.setattr(hook, "get_job", lambda *_, job_id, **__: {"id": job_id})
    monkeypatch.setattr(later, "get_job_status", is_done)
    return asked


def _run(dags, recipe):
    dag = dags["imagenet_subset_on_dataflow"]
    dates = {"logical_date": WHEN, "run_after": WHEN}
    run = dag.test(**dates, run_conf=recipe, mark_success_pattern=AFTER_BUILD)
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


@pytest.mark.usefixtures("place")
def test_retries_launch_index_and_build_only_once(dags, launches, lineage):
    states = _run(dags, RECIPE)
    outputs = [x["name"] for event in lineage() for x in event["outputs"]]
    for name in ("index.parquet", "imagenet_subset/1.0.0"):
        assert any(output.endswith(name) for output in outputs)
    assert {name for name, state in states.items() if state == "skipped"} == UNNEEDED
    assert {states[name] for name in states.keys() - UNNEEDED} == {"success"}
    assert {(region, project) for _, region, project in launches} == {
        ("europe-west4", "p")
    }
    index, build = (body["launchParameter"] for body, _, _ in launches)
    assert index["parameters"]["job"] == "index"
    assert index["parameters"]["input"] == "gs://images/a.tar,gs://images/b.tar"
    assert build["parameters"]["input"] == index["parameters"]["output"]
    assert build["parameters"]["num_groups"] == "20"
    assert build["parameters"]["resume"] == "true"
    assert build["parameters"]["formats"] == "webdataset,tfrecord"
    environment = {"serviceAccountEmail": "subsets-worker@p", "maxWorkers": 7}
    assert index["environment"] == build["environment"] == environment
    assert index["jobName"] != build["jobName"]
    for launch in (index, build):
        assert re.fullmatch("[a-z]([-a-z0-9]{0,61}[a-z0-9])?", launch["jobName"])
        assert all(isinstance(v, str) for v in launch["parameters"].values())
        _fits_the_template(launch["parameters"])
    assert _run(dags, RECIPE) == states
    assert len(launches) == 2


def _fits_the_template(parameters):
    metadata = json.loads((ROOT / "deploy/dataflow/metadata.json").read_bytes())
    known = {p["name"]: p for p in metadata["parameters"]}
    assert parameters.keys() <= known.keys()
    for name, value in parameters.items():
        for pattern in known[name].get("regexes", ()):
            assert re.fullmatch(pattern, value), (name, value)
    needed = {name for name, p in known.items() if not p.get("isOptional")}
    assert needed <= parameters.keys()


@pytest.mark.usefixtures("place")
def test_local_paths_are_rejected_before_launch(dags, launches):
    states = _run(dags, {**RECIPE, "input": ["/data/imagenet"]})
    assert states["check"] == "failed"
    assert states["index"] == "upstream_failed"
    assert launches == []
