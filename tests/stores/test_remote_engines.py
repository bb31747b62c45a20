"""Test engines whose workers share only a bucket with the launcher.

Beam's job server represents them: it accepts the job, and the launcher continues.
"""

import contextlib
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2

import pipelines
from pipelines import build, confusion, engine, index, predict
from tests import building, making, making_models
from tests.stores.conftest import KEYS
from tests.stores.copying import checksums, upload
from transforms import storage
from transforms.dataset import paths
from transforms.storage import clients
from transforms.storage.clients import StoreSettings

ENGINE = {
    "runner": "PortableRunner",
    "job_endpoint": "embed",
    "environment_type": "LOOPBACK",
}
_PATIENCE_S = 120.0


@pytest.fixture
def source(google, mini_imagenet):
    return upload(mini_imagenet, f"{google}/imagenet")


def test_nothing_is_left_to_do_when_nobody_waits(
    google, source, mini_imagenet, tmp_path, capfd
):
    """The workers write the commit mark, and the same bytes as on one machine."""
    change = {**ENGINE, "no_wait_until_finish": True}
    target = f"{google}/out/small/1.0.0"
    build.main(building.command_line(source, f"{google}/out", **change))
    out, err = capfd.readouterr()
    assert out == f"{target}\n"
    assert "submitted to PortableRunner" in err
    assert err.endswith(f"complete when {target}/{paths.COMPLETE} exists\n")
    end = time.monotonic() + _PATIENCE_S
    work = f"{google}/out/small/.1.0.0.partial"
    while not storage.exists(f"{target}/{paths.COMPLETE}") or storage.exists(work):
        assert time.monotonic() < end
        time.sleep(0.2)
    local = building.run(mini_imagenet, tmp_path)
    assert checksums(target) == building.checksums(local)


def test_parts_of_an_index_lie_beside_it_and_go(google, source, capfd, monkeypatch):
    seen = []
    remove = storage.remove_folder

    def note(path):
        seen.append((path, len(list(storage.list_files(path)))))
        remove(path)

    monkeypatch.setattr(storage, "remove_folder", note)
    flags = [f"--{name}={value}" for name, value in ENGINE.items()]
    index.main([f"--input={source}", f"--output={google}/tables/i.parquet", *flags])
    assert capfd.readouterr().out == f"{google}/tables/i.parquet\n"
    ((folder, num_parts),) = seen
    assert folder.startswith(f"{google}/tables/.")
    assert num_parts
    assert list(storage.list_files(f"{google}/tables")) == ["i.parquet"]


def test_parts_of_a_local_index_outlive_the_launcher(class_folders, tmp_path):
    flags = [f"--{name}={value}" for name, value in ENGINE.items()]
    flags += [f"--input={class_folders}", f"--output={tmp_path}/i.parquet"]
    index.main([*flags, "--no_wait_until_finish"])
    _wait_for(lambda: [path.name for path in tmp_path.iterdir()] == ["i.parquet"])
    with pytest.raises(SystemExit):
        index.main([*flags, "--require_complete"])
    assert [path.name for path in tmp_path.iterdir()] == ["i.parquet"]


@contextlib.contextmanager
def _record_connections():
    """Run a server that counts the connections it receives and closes them."""
    connections = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            connections.append(self.request.recv(200))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", connections
        server.shutdown()


@contextlib.contextmanager
def _run_pool(environment):
    """Run a worker pool; yield its address, and stop it and its workers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:{1}".format(*taken.getsockname())
    pool = subprocess.Popen(
        [sys.executable, "-m", "pipelines.worker_pool", f"--address={address}"],
        env={**environment, "PYTHONPATH": str(Path(pipelines.__file__).parents[1])},
        stderr=subprocess.PIPE,
        start_new_session=True,  # it and its workers are one group
        text=True,
    )
    try:
        assert pool.stderr.readline() == f"listening on {address}\n"
        # Workers write more than a pipe holds.
        threading.Thread(target=pool.stderr.read, daemon=True).start()
        yield address
    finally:
        os.killpg(pool.pid, signal.SIGKILL)
        pool.wait()


def test_store_flags_reach_workers_in_other_processes(
    amazon_address, amazon, mini_imagenet, tmp_path, monkeypatch
):
    """No request of the workers, which have a user's keys, leaves this machine."""
    source = upload(mini_imagenet, f"{amazon}/imagenet")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with (
        _record_connections() as (proxy, connections),
        # Requests to any other host go to the proxy.
        _run_pool({
            "PATH": os.environ["PATH"],
            **KEYS,
            **dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), proxy),
            "NO_PROXY": "127.0.0.1,localhost",
        }) as address,
    ):
        words = {
            **ENGINE,
            "environment_type": "EXTERNAL",
            "environment_config": address,
            "store_endpoint": amazon_address,
            "store_region": "us-east-1",
        }
        flags = [f"--{name}={value}" for name, value in words.items()]
        made = f"{amazon}/index.parquet"
        index.main([f"--input={source}", f"--output={made}", *flags])
        build.main(building.command_line(made, f"{amazon}/out", **words))
        assert connections == []
    written = checksums(f"{amazon}/out/small/1.0.0")
    assert written == building.checksums(building.run(mini_imagenet, tmp_path))


@pytest.fixture
def prediction_flags(mini_imagenet, tmp_path, monkeypatch):
    """Return a function that uploads images and a model, and returns flags."""
    monkeypatch.setattr("transforms.models.image_chunks._CHUNK_IMAGES", 8)
    labels = making.read_labels(mini_imagenet / "LOC_val_solution.csv")
    wnids = sorted(set(labels.values()))
    making_models.write_onnx(tmp_path / "models/m.onnx", len(wnids))
    making_models.write_card(tmp_path / "models/m.json", wnids)

    def make(bucket):
        return {
            "input": upload(mini_imagenet, f"{bucket}/imagenet"),
            "split": "validation",
            "model": upload(tmp_path / "models", f"{bucket}/models") + "/m.onnx",
            "output": f"{bucket}/tables/p.parquet",
            "batch_size": 4,
        }

    return make


def _predict(flags, *words, **changes):
    named = {**flags, **changes}
    predict.main([*(f"--{name}={value}" for name, value in named.items()), *words])


def test_predictions_are_those_of_the_embedded_engine(
    amazon_address, amazon, prediction_flags, tmp_path
):
    """Only the bucket is shared: images, model, parts and table are in it."""
    flags = prediction_flags(amazon)
    with _run_pool({"PATH": os.environ["PATH"], **KEYS}) as address:
        _predict(
            flags,
            **ENGINE | {"environment_type": "EXTERNAL", "environment_config": address},
            store_endpoint=amazon_address,
            store_region="us-east-1",
        )
    assert list(storage.list_files(f"{amazon}/tables")) == ["p.parquet"]
    _predict(flags, output=tmp_path / "p.parquet")
    written = storage.read(f"{amazon}/tables/p.parquet")
    assert written == (tmp_path / "p.parquet").read_bytes()


def _wait_for(condition):
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_tables_are_written_when_nobody_waits(
    google, prediction_flags, tmp_path, capfd
):
    flags = prediction_flags(google)
    engine_flags = [f"--{name}={value}" for name, value in ENGINE.items()]
    engine_flags.append("--no_wait_until_finish")
    _predict(flags, *engine_flags)
    out, err = capfd.readouterr()
    assert out == f"{google}/tables/p.parquet\n"
    assert "submitted to PortableRunner" in err
    assert re.search(r"complete when \S+/tables/.p\S+ no longer exists\n$", err)
    _wait_for(lambda: list(storage.list_files(f"{google}/tables")) == ["p.parquet"])
    table = tmp_path / "p.parquet"
    _predict(flags, output=table)
    assert storage.read(f"{google}/tables/p.parquet") == table.read_bytes()
    remote = f"{google}/tables/confusion"
    words = [f"--predictions={google}/tables/p.parquet", f"--output={remote}"]
    confusion.main([*words, *engine_flags])
    _wait_for(lambda: storage.exists(f"{remote}/figures/confusion.pdf"))
    confusion.main([f"--predictions={table}", f"--output={tmp_path}/confusion"])
    assert checksums(remote) == building.checksums(tmp_path / "confusion")
    assert sorted(e.name for e in storage.list_folder(f"{google}/tables")) == [
        "confusion",
        "p.parquet",
    ]


def test_steps_carry_store_settings_and_no_keys(set_variable):
    set_variable("AWS_SECRET_ACCESS_KEY", "ShhThisIsASecret")
    settings = StoreSettings(
        endpoint="http://127.0.0.1:9", region="eu-north-1", is_anonymous=True
    )
    clients.configure(settings)
    options = PipelineOptions(["--runner=FnApiRunner"])
    job = engine.make_job(
        lambda root: root | beam.Create([1]) | beam.Map(print), options
    )
    payloads = [t.spec.payload for t in job.components.transforms.values()]
    (step,) = (
        beam_runner_api_pb2.ParDoPayload.FromString(payload).do_fn.payload
        for payload, t in zip(payloads, job.components.transforms.values(), strict=True)
        if t.unique_name.startswith("Map(print)") and payload
    )
    assert b"ShhThisIsASecret" not in job.SerializeToString()
    clients.configure(StoreSettings())
    pickler.loads(step)
    assert clients.read_settings() == settings
