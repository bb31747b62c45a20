"""Run the local DAG on the miniature, from raw images to the event of the Asset."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session
from sqlalchemy import select

WHEN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def recipe(inputs):
    return {
        "input": [str(inputs / "imagenet")],
        "name": "tiny",
        "grouping": "confusion",
        "num_groups": 3,
        "images_per_group": 12,
        "min_validation_images": 0,
        "sampling": "difficulty",
        "image_size": 32,
        "formats": ["webdataset"],
        "models": [str(inputs / f"linear_{x}/model.keras") for x in "abc"],
        "halves": str(inputs / "halves/1.0.0"),
        "fold_models": [str(inputs / f"linear_{x}/model.keras") for x in "ab"],
    }


def _states(run):
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def _files(folder: Path):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_recipe_builds_a_subset_and_a_retry_keeps_it(dags, place, recipe):
    dag = dags["imagenet_subset"]
    run = dag.test(logical_date=WHEN, run_after=WHEN, run_conf=recipe)
    assert set(_states(run).values()) == {"success"}
    (root,) = Path(place["output"]).iterdir()
    dataset = root / "tiny/1.0.0"
    assert {p.name for p in root.iterdir()} == {
        *("index.parquet", "predictions", "confusion", "difficulty"),
        *("tiny", "evaluation"),
    }
    recorded = json.loads((dataset / "__meta__/recipe.json").read_bytes())
    assert (recorded["grouping"], recorded["sampling"]) == ("confusion", "difficulty")
    report = json.loads((root / "evaluation/report.json").read_bytes())
    assert "linear_c" in json.dumps(report)
    uri, extra = _find_event()
    assert uri == dataset.as_uri()
    assert extra == {
        "directory": str(dataset),
        "name": "tiny",
        "version": "1.0.0",
        "subset_id": json.loads((dataset / "__meta__/complete.json").read_bytes())[
            "subset_id"
        ],
        "groups": 3,
        "images": {"train": 36, "validation": 30},
        "failed": 0,
    }
    before = _files(root)
    retried = "index|predict_.*|build"  # the rest is cheap, and left alone here
    run = dag.test(
        logical_date=WHEN,
        run_after=WHEN,
        run_conf=recipe,
        mark_success_pattern=f"(?!({retried})$).*",
    )
    assert set(_states(run).values()) == {"success"}
    assert _files(root) == before


def _find_event():
    with create_session() as session:
        events = select(AssetEvent).where(AssetEvent.source_dag_id == "imagenet_subset")
        (event,) = session.scalars(events).all()
        return event.uri, dict(event.extra)
