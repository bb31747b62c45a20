"""Printed commands reach the store that the job has used."""

import shlex

import pytest

from pipelines import build, store_flags, verify
from pipelines.store_flags import StoreFlags
from tests import building
from tests.stores.copying import upload

ELSEWHERE = {
    "store_endpoint": "http://127.0.0.1:9",
    "store_region": "a b",
    "store_anonymous": True,
}


@pytest.fixture(autouse=True)
def forgotten(set_variable):
    """Forget the settings of a test."""
    return set_variable


def test_flags_of_the_store_are_repeated():
    store_flags.settle(StoreFlags(**ELSEWHERE))
    flags = shlex.split(store_flags.describe_given())
    assert flags == [
        "--store_endpoint=http://127.0.0.1:9",
        "--store_region=a b",
        "--store_anonymous=true",
    ]
    store_flags.settle(StoreFlags())
    assert store_flags.describe_given() == ""


@pytest.mark.parametrize(
    ("source", "settings", "command"),
    [
        ("/data/small/1.0.0", ELSEWHERE, ""),
        ("gs://b/1.0.0", {}, "gcloud storage cp --recursive gs://b/1.0.0 ."),
        (
            "gs://b/1.0.0",
            ELSEWHERE,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE=http://127.0.0.1:9/storage/v1/ "
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true "
            "gcloud storage cp --recursive gs://b/1.0.0 .",
        ),
        ("s3://b/a b", {}, "aws s3 cp --recursive 's3://b/a b' ./1.0.0"),
        (
            "s3://b/1.0.0",
            ELSEWHERE,
            "aws s3 cp --recursive s3://b/1.0.0 ./1.0.0 "
            "--endpoint-url=http://127.0.0.1:9 --region='a b' --no-sign-request",
        ),
    ],
)
def test_command_that_copies_reaches_the_store(source, settings, command):
    store_flags.settle(StoreFlags(**settings))
    assert store_flags.describe_copy(source, "./1.0.0") == command


def test_printed_check_of_a_dataset_can_be_run_as_it_is(
    faulty, class_folders, monkeypatch, capfd
):
    source = upload(class_folders, "s3://photographs/in")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    output = "s3://photographs/out"
    endpoint = {"store_endpoint": faulty.address}
    build.main(building.command_line(source, output, **endpoint))
    lines = capfd.readouterr().err.splitlines()
    command = lines[lines.index("verify it:") + 1]
    store_flags.settle(StoreFlags())
    assert command.split()[:3] == ["python", "-m", "pipelines.verify"]
    with pytest.raises(SystemExit) as ended:
        verify.main(shlex.split(command)[3:])
    assert ended.value.code == 0
    copy = lines[lines.index("copy it:") + 1]
    assert copy.endswith(f" ./1.0.0 --endpoint-url={faulty.address}")
