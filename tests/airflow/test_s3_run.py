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
    dags, amazon, lineage, mail, tmp_path, monkeypatch, capfd
):
    with create_session() as session:
        unpause = update(DagModel).where(DagModel.dag_id == "imagenet_training")
        session.execute(unpause.values(is_paused=False))
    amazon.put_object(Bucket="data", Key=MARKER)
    states = _run(dags)
    assert mail == []  # else the last lines of what failed
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


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("timed_out", "it exceeded its time limit"),
        ("all_tasks_deadlocked", "none of its remaining tasks can start"),
    ],
)
def test_run_that_fails_without_a_failed_task_is_reported(dags, mail, reason, message):
    dag = dags["imagenet_subset_in_s3"]
    # Airflow adds a task of the run, which need not have failed.
    ti = SimpleNamespace(task_id="index", try_number=1)
    context = {"dag": dag, "run_id": "r 1", "ti": ti}
    for each in ("task_failure", reason):
        dag.on_failure_callback({**context, "reason": each})
    (text,) = mail
    assert f"imagenet_subset_in_s3: run r 1 failed: {message}\n" in text
    assert "index" not in text
    # Airflow marks the tasks as skipped, so --only-failed clears none.
    assert text.rstrip().endswith("clear imagenet_subset_in_s3 --run-id 'r 1'</pre>")


def test_sensor_waits_for_the_marker(place, amazon):
    sensor = imagenet_tasks.WaitForInput(
        task_id="wait", bucket_key=place["marker"], aws_conn_id="aws_default"
    )
    amazon.delete_object(Bucket="data", Key=MARKER)
    assert not sensor.poke({})
    amazon.put_object(Bucket="data", Key=MARKER)
    assert sensor.poke({})


def _find_access(words):
    environment = imagenet_tasks.find_environment(words)
    return {k: v for k, v in environment.items() if k.startswith("AWS_")}


def test_connection_alone_decides_the_access(amazon, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    words = ["build", "--input=s3://data/imagenet"]
    keys = {
        "AWS_ACCESS_KEY_ID": KEYS["login"],
        "AWS_SECRET_ACCESS_KEY": KEYS["password"],
    }
    expected = {
        **keys,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": amazon.meta.endpoint_url,
    }
    assert _find_access(words) == expected
    (tmp_path / "config").write_text("[profile worker]\n")
    worker = {
        "AWS_DEFAULT_REGION": "eu-north-1",
        "AWS_REGION": "eu-north-1",
        "AWS_ENDPOINT_URL_S3": "https://store.example.org",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
    }
    identity = {
        **{"AWS_PROFILE": "worker", "AWS_DEFAULT_PROFILE": "worker"},
        **{"AWS_SECURITY_TOKEN": "t", "AWS_SESSION_TOKEN": "t"},
        **{"AWS_ROLE_ARN": "arn:aws:iam::1:role/w", "AWS_WEB_IDENTITY_TOKEN_FILE": "f"},
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    }
    for name, value in (worker | identity).items():
        monkeypatch.setenv(name, value)
    assert _find_access(words) == worker | expected
    assert _find_access(["build", "--input=/data"]) == worker | identity
    only_keys = {"conn_type": "aws", **KEYS}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(only_keys))
    assert _find_access(words) == worker | keys
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws"}))
    assert _find_access(words) == worker | identity


def test_jobs_inherit_nothing_of_airflow(monkeypatch):
    monkeypatch.setenv("SUBSETS_OF_NOBODY", "1")
    names = ("AIRFLOW__CORE__FERNET_KEY", "_AIRFLOW_PROCESS_CONTEXT")
    for name in (*names, "__AIRFLOW_SUPERVISOR_FD", "PYTHONPATH", "PYTHONHOME"):
        monkeypatch.setenv(name, "a-secret")
    for words in (["build", "--input=/data"], ["build", "--input=s3://data/imagenet"]):
        environment = imagenet_tasks.find_environment(words)
        assert environment["SUBSETS_OF_NOBODY"] == "1"
        assert not [k for k, v in environment.items() if v == "a-secret"]
        assert not [k for k in environment if "AIRFLOW" in k]


def test_local_run_reads_images_in_s3(dags, place, tmp_path, monkeypatch):
    local = {**place, "output": str(tmp_path)}
    monkeypatch.setenv("AIRFLOW_VAR_IMAGENET_SUBSET", json.dumps(local))
    dag = dags["imagenet_subset"]
    dates = {"logical_date": WHEN, "run_after": WHEN}
    run = dag.test(**dates, run_conf=RECIPE, mark_success_pattern="verify|publish")
    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    assert states["build"] == "success"
    assert list(tmp_path.glob("*/tiny/1.0.0/__meta__/complete.json"))


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
