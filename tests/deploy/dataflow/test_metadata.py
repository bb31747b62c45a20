import json
import re
import subprocess
import sys

import pytest

from pipelines.building.options import BuildOptions
from tests.deploy.dataflow.loading import FOLDER, load

IMAGE = f"europe-docker.pkg.dev/a-project/subsets/image@sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def parameters():
    return {
        described["name"]: described
        for described in json.loads((FOLDER / "metadata.json").read_text())[
            "parameters"
        ]
    }


def test_committed_file_is_the_generated_one():
    """If options have changed, run python deploy/dataflow/make_metadata.py."""
    assert (FOLDER / "metadata.json").read_text() == load("make_metadata").to_text()


def test_every_option_of_a_build_is_a_parameter(parameters):
    fields = set(BuildOptions.__dataclass_fields__) - {"plan_only", "dry_run"}
    assert fields <= set(parameters)
    required = {n for n, described in parameters.items() if not described["isOptional"]}
    assert required == {"input", "output", "sdk_container_image"}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("job", ["build", "index", "predict", ""], ["train"]),
        ("model", ["gs://b/m.onnx,gs://b/n.keras", ""], ["m.onnx"]),
        ("split", ["validation", "fold_a"], ["test"]),
        ("grouping", ["wordnet", ""], ["nonsense", "wordnet2"]),
        ("formats", ["parquet", "tfrecord,webdataset"], ["tar", "tfrecord,"]),
        ("num_groups", ["20", ""], ["-1", "many", "2.5"]),
        ("max_failure_fraction", ["0.01", "0"], ["-0.1", "a"]),
        ("resume", ["true", "false"], ["maybe"]),
        ("output", ["gs://b/out"], ["", "subsets", "gs://"]),
        ("groups", ["gs://b/g.csv", ""], ["s3://b/g.csv", "groups.csv"]),
        ("input", ["gs://b/i.parquet", "gs://b/a,s3://c/d"], ["/data", "gs://b,x"]),
        ("sdk_container_image", [IMAGE], ["image:latest"]),
    ],
)
def test_values_are_checked_at_launch(parameters, name, good, bad):
    patterns = [re.compile(p) for p in parameters[name]["regexes"]]
    matches = [all(p.match(value) for p in patterns) for value in (*good, *bad)]
    assert matches == [True] * len(good) + [False] * len(bad)


def test_types_and_defaults_suit_the_console(parameters):
    """The types are those of Dataflow's API, v1b3."""
    resize = parameters["resize_mode"]
    assert resize["paramType"] == "ENUM"
    assert resize["defaultValue"] == "shorter_side"
    assert {"value": "squash", "label": "squash"} in resize["enumOptions"]
    kinds = {n: (p["paramType"], p.get("defaultValue")) for n, p in parameters.items()}
    assert kinds["resume"] == ("BOOLEAN", "false")
    assert kinds["groups"] == ("GCS_READ_FILE", None)
    assert kinds["num_groups"] == ("TEXT", None)
    assert kinds["image_size"] == ("TEXT", "256")
    for described in parameters.values():
        value = described.get("defaultValue", "")
        if described["isOptional"] and "regexes" in described:
            assert all(re.match(p, value) for p in described["regexes"]), described


def test_launcher_converts_parameters_to_a_command():
    launch = load("launch")
    command = launch.make_command([
        "--job=index", "--input=gs://b/a,gs://b/c", "--inspect=true", "--name=",
        "--seed=0", "--resume=false", "--formats=webdataset,tfrecord",
    ])  # fmt: skip
    assert command[1:] == [
        "-m", "pipelines.index", "--input", "gs://b/a", "gs://b/c", "--inspect=true",
        "--no_wait_until_finish", "--no_save_main_session",
    ]  # fmt: skip
    command = launch.make_command([
        "--job=predict", "--input=gs://b/i.parquet", "--model=gs://b/a.onnx,gs://b/b",
        "--split=validation", "--batch_size=64", "--keep_probabilities=true",
    ])  # fmt: skip
    assert command[1:-2] == [
        "-m", "pipelines.predict", "--input", "gs://b/i.parquet", "--model",
        "gs://b/a.onnx", "gs://b/b", "--split=validation", "--keep_probabilities=true",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="--job train: is not one of build, index, pr"):
        launch.make_command(["--job=train"])


def test_launcher_is_replaced_by_the_job():
    """All flags are known; the job reports errors."""
    words = ["--input=gs://b/i.parquet", "--output=gs://b/o", "--runner=DataflowRunner"]
    done = subprocess.run(
        [sys.executable, FOLDER / "launch.py", *words, "--grouping=wordnet"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert {line.split(":")[1].strip() for line in lines} == {
        "--images_per_group", "--num_groups", "--project", "--region",
        "--temp_location",
    }  # fmt: skip
