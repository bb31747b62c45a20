"""Run the S3 DAG on an emulated S3, and start the training DAG by its Asset."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import imagenet_tasks
import imagenet_training
import pytest
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dag import DagModel
from airflow.models.xcom import XComModel
from airflow.sdk.exceptions import AirflowFailException
from airflow.utils.session import create_session
from sqlalchemy import select, update

from tests.airflow.conftest import HOME, KEYS
from tests.airflow.places import PYTHON

WHEN = datetime(2026, 5, 1, tzinfo=UTC)
MARKER = "imagenet/_SUCCESS"
RECIPE = {
    "name": "tiny",
    "grouping": "random_groups",
    "num_groups": 3,
    "images_per_group": 12,
    "min_validation_images": 0,
    "image_size": 32,
    "formats": ["tfrecord"],  # which training reads
}


@pytest.fixture(autouse=True)
def place(amazon, inputs, monkeypatch):
    for path in (inputs / "imagenet").iterdir():
        amazon.upload_file(str(path), "data", f"imagenet/{path.name}")
    place = {
        "python": PYTHON,
        "input": ["s3://data/imagenet"],
        "output": "s3://data/runs",
        "marker": f"s3://data/{MARKER}",
        "notifier": {
            "class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
            "to": "b@localhost",
            "subject": "{{ dag.dag_id }} failed",
            "html_content": "<pre>{{ failure }}</pre>",
        },
    }
    monkeypatch.setenv("AIRFLOW_VAR_IMAGENET_SUBSET_IN_S3", json.dumps(place))
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token of the worker's identity")
    return place


def _run(dags, recipe=RECIPE, when=WHEN, **settings):
    dag = dags["imagenet_subset_in_s3"]
    run = dag.test(logical_date=when, run_after=when, run_conf=recipe, **settings)
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def _files(amazon, prefix="runs/"):
    pages = amazon.list_objects_v2(Bucket="data", Prefix=prefix)
    return {o["Key"]: (o["ETag"], o["LastModified"]) for o in pages.get("Contents", ())}


def test_build_in_s3_starts_training(
    dags, amazon, lineage, tmp_path, monkeypatch, capfd
):
    with create_session() as session:
        unpause = update(DagModel).where(DagModel.dag_id == "imagenet_training")
        session.execute(unpause.values(is_paused=False))
    amazon.put_object(Bucket="data", Key=MARKER)
    states = _run(dags)
    done = {"check", "wait", "index", "build", "verify", "publish"}
    assert {name for name, state in states.items() if state == "success"} == done
    assert set(states.values()) == {"success", "skipped"}
    before = _files(amazon)
    (mark,) = [
        key for key in before if key.endswith("tiny/1.0.0/__meta__/complete.json")
    ]
    dataset = f"s3://data/{mark.removesuffix('/__meta__/complete.json')}"
    complete = json.loads(amazon.get_object(Bucket="data", Key=mark)["Body"].read())
    extra = {
        "directory": dataset,
        "name": "tiny",
        "version": "1.0.0",
        "subset_id": complete["subset_id"],
        "groups": 3,
        "images": {"train": 36, "validation": 30},
        "failed": 0,
    }
    with create_session() as session:
        asset = session.scalar(select(AssetModel).where(AssetModel.uri == dataset))
        event = session.scalar(
            select(AssetEvent).where(AssetEvent.asset_id == asset.id)
        )
        _, started = DagModel.dags_needing_dagruns(session)
        assert [*started] == ["imagenet_training"]
        assert (event.source_task_id, event.extra) == ("publish", extra)
        results = [str(x.value) for x in session.scalars(select(XComModel))]
    assert asset.name == dataset.removeprefix("s3://data/runs/")
    secret = KEYS["password"]
    logs = [p.read_text() for p in Path(HOME.name).rglob("*.log")]
    assert not [
        text for text in (*results, *logs, *capfd.readouterr()) if secret in text
    ]
    _check_lineage(lineage(), dataset)

    _run(dags, mark_success_pattern="(?!(index|build)$).*")  # a retry
    flags = {"models": "linear", "epochs": 1, "image_size": 16}
    training = {"python": PYTHON, "output": str(tmp_path), "flags": flags}
    monkeypatch.setenv("AIRFLOW_VAR_IMAGENET_TRAINING", json.dumps(training))
    dag = dags["imagenet_training"]
    run = dag.test(run_after=WHEN, run_conf={"dataset": dataset})
    assert str(run.state) == "success"
    assert list(tmp_path.glob("*/linear/seed0/model.keras"))
    assert _files(amazon) == before


def _check_lineage(events, dataset):
    seen = {}
    for event in events:
        if event["eventType"] == "COMPLETE":
            task = event["job"]["name"].rpartition(".")[2]
            seen[task] = [
                {f"{x['namespace']}/{x['name']}" for x in event[kind]}
                for kind in ("inputs", "outputs")
            ]
    index = dataset.replace("tiny/1.0.0", "index.parquet")
    assert seen["index"] == [{"s3://data/imagenet"}, {index}]
    # In this test all tasks share a process, which collects what they report.
    assert [a - b for a, b in zip(seen["build"], seen["index"], strict=True)] == [
        {index},
        {dataset},
    ]


def test_failed_build_is_reported_with_its_last_lines(dags, amazon, mail):
    amazon.put_object(Bucket="data", Key=MARKER)
    states = _run(
        dags, {**RECIPE, "images_per_group": 1000}, datetime(2026, 6, 1, tzinfo=UTC)
    )
    assert states["build"] == "failed"
    assert states["publish"] == "upstream_failed"
    (text,) = mail
    assert "imagenet_subset_in_s3: task build (attempt 1) failed in run" in text
    assert "build rejected its flags or input:" in text
    assert "--images_per_group" in text  # what the job wrote last
    assert "airflow dags clear imagenet_subset_in_s3 --run-id " in text
    assert KEYS["password"] not in text


def test_run_that_is_too_long_is_reported(dags, mail):
    dag = dags["imagenet_subset_in_s3"]
    for reason in ("task_failure", "timed_out"):
        dag.on_failure_callback({"dag": dag, "run_id": "r 1", "reason": reason})
    (text,) = mail
    assert "a task failed in run r 1\nthe run exceeded its time limit\n" in text
    assert "--run-id 'r 1' --only-failed" in text


def test_sensor_waits_for_the_marker(place, amazon):
    sensor = imagenet_tasks.WaitForInput(
        task_id="wait", bucket_key=place["marker"], aws_conn_id="aws_default"
    )
    amazon.delete_object(Bucket="data", Key=MARKER)
    assert not sensor.poke({})
    amazon.put_object(Bucket="data", Key=MARKER)
    assert sensor.poke({})


def test_connection_alone_decides_the_access(amazon, monkeypatch):
    words = ["build", "--input=s3://data/imagenet"]
    environment = imagenet_tasks.find_environment(words)
    access = {k: v for k, v in environment.items() if k.startswith("AWS_")}
    assert access == {
        "AWS_ACCESS_KEY_ID": KEYS["login"],
        "AWS_SECRET_ACCESS_KEY": KEYS["password"],
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": amazon.meta.endpoint_url,
    }
    assert imagenet_tasks.find_environment(["build", "--input=/data"]) == dict(
        os.environ
    )
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws"}))
    assert imagenet_tasks.find_environment(words) == dict(os.environ)


def test_training_takes_the_newest_subset(dags, monkeypatch):
    place = {"output": "/models", "flags": {"models": "resnet50", "epochs": 90}}
    monkeypatch.setenv("AIRFLOW_VAR_IMAGENET_TRAINING", json.dumps(place))
    events = [
        SimpleNamespace(timestamp=n, extra={"directory": f"s3://b/run-{n}/x/1.0.0"})
        for n in (2, 1)
    ]
    context = {
        "dag": dags["imagenet_training"],
        "params": {"dataset": None},
        "triggering_asset_events": {"a": events[:1], "b": events[1:]},
    }
    assert imagenet_training.render_flags(context, None) == {
        "dataset": "s3://b/run-2/x/1.0.0",
        "output": "/models/run-2",
        "models": "resnet50",
        "epochs": 90,
    }
    context["triggering_asset_events"] = {}
    with pytest.raises(AirflowFailException, match="name one"):
        imagenet_training.render_flags(context, None)
