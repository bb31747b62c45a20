"""Buckets of emulators, and of a server with injected faults.

Each test sees an empty folder of its own in a bucket, reached by the environment as
users reach theirs.
"""

import functools
import itertools

import pytest

from tests import building
from tests.stores import fault_server, gcs_emulator
from transforms import storage
from transforms.storage import clients as store_clients
from transforms.storage.clients import StoreSettings

BUCKET = "photographs"
KEYS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "nobody",
    "AWS_REGION": "us-east-1",
}
_numbers = itertools.count()


@pytest.fixture(scope="session")
def local(request, tmp_path_factory):
    """Build the dataset of a layout from a local disk, once per set of flags."""

    @functools.cache
    def find(layout, formats="webdataset,tfrecord", **flags):
        output = tmp_path_factory.mktemp("local")
        source = request.getfixturevalue(layout)
        return building.run(source, output, formats=formats, **flags)

    return find


@pytest.fixture(scope="session")
def google_address():
    with gcs_emulator.run(BUCKET) as address:
        yield address


@pytest.fixture(scope="session")
def amazon_address():
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="somebody",
        aws_secret_access_key="nobody",
    ).create_bucket(Bucket=BUCKET)
    yield address
    server.stop()


@pytest.fixture
def set_variable(monkeypatch):
    """Set the environment; forget clients and versions before and after a test."""
    store_clients.configure(StoreSettings())
    yield monkeypatch.setenv
    store_clients.configure(StoreSettings())
    storage.forget_open_files()


@pytest.fixture
def google(google_address, set_variable):
    set_variable("STORAGE_EMULATOR_HOST", google_address)
    return f"gs://{BUCKET}/{next(_numbers)}"


@pytest.fixture
def amazon(amazon_address, set_variable):
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": amazon_address}.items():
        set_variable(name, value)
    return f"s3://{BUCKET}/{next(_numbers)}"


@pytest.fixture(params=["gs", "s3"])
def folder(request):
    """Name an empty folder in each of the emulated stores."""
    return request.getfixturevalue({"gs": "google", "s3": "amazon"}[request.param])


@pytest.fixture
def faulty(set_variable):
    """Run the server with injected faults; its bucket is s3://photographs."""
    with fault_server.run(BUCKET) as (address, state):
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
            set_variable(name, value)
        yield state
