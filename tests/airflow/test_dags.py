"""Test the DAGs as Airflow parses them: edges, parameters and imports."""

import ast
import copy
import json
import subprocess
from pathlib import Path

import imagenet_recipe
import pytest
from airflow.exceptions import ParamValidationError
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import func, select

from tests.airflow.places import DAGS, PYTHON, ROOT

LOCAL, CLOUD = "imagenet_subset", "imagenet_subset_on_dataflow"
AMAZON, TRAINING = "imagenet_subset_in_s3", "imagenet_training"
EDGES = {
    "check": {"index"},
    "index": {"predict_validation", "predict_fold_a", "predict_fold_b"},
    "predict_validation": {"confusion"},
    "predict_fold_a": {"confusion", "difficulty"},
    "predict_fold_b": {"confusion", "difficulty"},
    "confusion": {"build"},
    "difficulty": {"build"},
    "build": {"verify"},
    "verify": {"evaluate", "publish"},
    "evaluate": set(),
    "publish": set(),
}
# Run by the program's Python.
CHOICES = """
import json
from transforms import formats, grouping, sampling
from transforms.evaluation.ranking import MIN_MODELS
from transforms.images.settings import RESIZE_MODES
methods, samplers = list(grouping.METHODS), list(sampling.SAMPLERS)
source = grouping.find_num_groups_source
print(json.dumps([
    MIN_MODELS,
    [method for method in methods if source(method) == "flag"],
    [(method, grouping.list_tables(method)) for method in methods]
    + [(sampler, sampling.list_tables(sampler)) for sampler in samplers],
    *(methods, samplers, list(RESIZE_MODES), list(formats.FORMATS)),
]))
"""


@pytest.mark.parametrize("dag_id", [LOCAL, CLOUD, AMAZON])
def test_tasks_and_edges(dags, dag_id):
    tasks = dags[dag_id].tasks
    waits = {"check": {"wait"}, "wait": {"index"}} if dag_id == AMAZON else {}
    assert {t.task_id: t.downstream_task_ids for t in tasks} == EDGES | waits
    assert dags[dag_id].max_active_runs == 1
    assert [t.task_id for t in tasks if t.outlets] == ["publish"]
    assert all(t.on_failure_callback and t.execution_timeout for t in tasks)


def test_training_is_started_by_what_is_published(dags):
    (train,) = dags[TRAINING].tasks
    publish = dags[LOCAL].task_dict["publish"]
    schedule = dags[TRAINING].timetable.asset_condition.objects
    assert [*schedule] == publish.outlets == train.inlets


def test_only_index_and_build_run_on_dataflow(dags):
    cloud = {t.task_id: t for t in dags[CLOUD].tasks}
    launched = {name for name, t in cloud.items() if hasattr(t, "body")}
    assert launched == {"index", "build"}
    assert all(cloud[name].deferrable for name in launched)
    assert not any(hasattr(t, "body") for t in dags[LOCAL].tasks)


def test_dags_do_not_import_the_program():
    for path in DAGS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in getattr(node, "names", [])]
            names.append(getattr(node, "module", None) or "")
            tops = {str(name).split(".")[0] for name in names}
            assert not tops & {"pipelines", "transforms", "apache_beam", "tensorflow"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_groups", 1),
        ("num_groups", "20"),
        ("images_per_group", 0),
        ("max_failure_fraction", 1.5),
        ("grouping", "wordnett"),
        ("formats", []),
        ("formats", ["webdataset", "webdataset"]),
        ("name", "My Subset"),
        ("dataset_version", "1.0"),
        ("models", "one.keras"),
        ("fold_models", ["a", "b", "c"]),
        ("marker", "s3://bucket"),
    ],
)
def test_invalid_values_are_rejected(dags, name, value):
    params = copy.deepcopy(dags[AMAZON].params)
    params.validate()
    with pytest.raises(ParamValidationError, match=name):
        params.update({name: value})


def test_invalid_value_creates_no_task_instance(dags):
    with pytest.raises(ParamValidationError, match="num_groups"):
        dags[LOCAL].test(run_conf={"num_groups": 1})
    with create_session() as session:
        count = select(func.count()).where(TaskInstance.dag_id == LOCAL)
        assert session.scalar(count.where(TaskInstance.state.is_not(None))) == 0


def test_choices_are_those_of_the_program(dags):
    output = subprocess.check_output([PYTHON, "-c", CHOICES], cwd=ROOT)
    min_models, takes_num_groups, tables, *lists = json.loads(output)
    assert min_models == imagenet_recipe.LEAST_RANKED
    assert {*takes_num_groups} == imagenet_recipe.TAKES_NUM_GROUPS
    assert {method: [*flags] for method, flags in tables if flags} == {
        method: [flag] for method, flag in imagenet_recipe.TABLES.items()
    }
    params = dags[LOCAL].params
    named = [params.get_param(n).schema for n in ("grouping", "sampling")]
    named += [params.get_param("resize_mode").schema]
    named += [params.get_param("formats").schema["items"]]
    for choices, schema in zip(lists, named, strict=True):
        assert sorted(choices) == sorted(schema["enum"])


def test_readme_names_every_parameter(dags):
    page = Path(ROOT / "deploy/airflow/README.md").read_text()
    for name in {**dags[CLOUD].params, **dags[AMAZON].params}:
        assert f"`{name}`" in page, name
