"""Test jobs on a Dask cluster: lost workers, a lost scheduler, errors and buckets.

`test_engines.py` compares its datasets, indexes and messages with the default engine,
and `test_cancelling.py` sends Ctrl-C.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import apache_beam as beam
import cloudpickle
import PIL
import pytest
from apache_beam.transforms.combiners import ToList
from apache_beam.transforms.window import GlobalWindows
from distributed import Client

from pipelines import build, engine, index, predict, verify
from pipelines.dask_engine import cluster, runner
from pipelines.dask_engine import stage as dask_stage
from tests import building, making, making_models, processes
from tests.engines import page
from tests.engines.conftest import ENVIRONMENT, Engines
from tests.stores import conftest as stores
from tests.stores.copying import checksums, upload
from transforms.records import JobError, UsageError

(DASK,) = (e for e in page.read_engines() if "DaskRunner" in " ".join(e.flags))
pytestmark = pytest.mark.timeout(300)


# Fixtures of buckets.
amazon, amazon_address = stores.amazon, stores.amazon_address
google, google_address = stores.google, stores.google_address
folder, set_variable = stores.folder, stores.set_variable


@pytest.fixture
def client(engines):
    """Start the cluster if necessary, and connect to it."""
    with cluster.connect(_address(engines.start(DASK))) as client:
        client.wait_for_workers(2)
        yield client


@pytest.fixture
def flags(engines, client):  # noqa: ARG001  # the workers are ready
    return engines.start(DASK)


def _address(flags):
    return flags[-1].partition("=")[2]


def _run(define, flags):
    engine.run(define, engine.make_beam_options(flags))


def _wait_until(condition, deadline_s=120):
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class _Repeat(beam.DoFn):
    """Yields each element, and again from `finish_bundle`; adds lines to files."""

    def __init__(self, folder):
        self._folder = folder

    def _note(self, what):
        with (self._folder / what).open("a") as file:
            file.write(f"{os.getpid()}\n")

    def setup(self):
        self._note("setups")
        # Until both workers run a task.
        _wait_until(lambda: len(set(_lines(self._folder / "setups"))) == 2)

    def teardown(self):
        self._note("teardowns")

    def start_bundle(self):
        self._elements = []

    def process(self, element):
        self._note("elements")
        self._elements.append(element)
        yield element

    def finish_bundle(self):
        for element in self._elements:
            yield GlobalWindows.windowed_value(element + 100)


def _lines(path):
    return path.read_text().splitlines() if path.exists() else []


def _write_once(values, path, total):
    with path.open("x") as file:
        file.write(repr((sorted(values), total)))


def test_all_elements_arrive_once_from_all_workers(client, flags, tmp_path):
    def define(root):
        repeated = root | beam.Create(range(40)) | beam.ParDo(_Repeat(tmp_path))
        total = beam.pvalue.AsSingleton(repeated | beam.CombineGlobally(sum))
        _ = (
            repeated
            | ToList()
            | beam.Map(_write_once, path=tmp_path / "values", total=total)
        )

    _run(define, flags)
    expected = [*range(40), *range(100, 140)]
    written = (tmp_path / "values").read_text()
    assert written == repr((expected, sum(expected)))
    assert len(_lines(tmp_path / "elements")) == 40
    workers = sorted(map(str, client.run(os.getpid).values()))
    assert sorted(_lines(tmp_path / "setups")) == workers
    _wait_until(lambda: sorted(_lines(tmp_path / "teardowns")) == workers)


def _raise(error):
    raise error


@pytest.mark.parametrize("kind", [UsageError, JobError])
def test_error_of_a_step_is_raised_unchanged(flags, kind):
    def define(root):
        _ = root | beam.Create([kind("two\nlines")]) | beam.Map(_raise)

    with pytest.raises(kind) as raised:
        _run(define, flags)
    assert str(raised.value) == "two\nlines"


def test_error_of_a_machine_names_the_worker(flags, tmp_path):
    def define(root):
        _ = root | beam.Create([tmp_path / "missing"]) | beam.Map(os.stat)

    with pytest.raises(JobError, match=r"missing' \(on Dask worker tcp:.*same path$"):
        _run(define, flags)


def test_path_that_only_the_launcher_sees_is_reported(flags, tmp_path):
    opened = os.open(tmp_path, os.O_RDONLY)
    number = fcntl.fcntl(opened, fcntl.F_DUPFD, 900)
    path = f"/proc/self/fd/{number}"
    try:
        with pytest.raises(UsageError) as raised:
            engine.check_reach(
                engine.make_beam_options(flags),
                [(f"--input {path}", path), ("--output", f"{path}/new/subsets")],
            )
    finally:
        os.close(number)
        os.close(opened)
    first, second = str(raised.value).splitlines()
    assert first.startswith(f"--input {path}: 2 of 2 Dask workers do not see it (tcp:")
    assert second.startswith("--output: 2 of 2 Dask workers do not see it")
    assert not list(tmp_path.iterdir())


def test_inspected_index_is_the_same_byte_for_byte(flags, mini_imagenet, tmp_path):
    words = [f"--input={mini_imagenet}", "--inspect"]
    index.main([*words, f"--output={tmp_path}/here.parquet"])
    index.main([*words, f"--output={tmp_path}/dask.parquet", *flags])
    here, dask = (
        (tmp_path / f"{name}.parquet").read_bytes() for name in ("here", "dask")
    )
    assert dask == here
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "dask.parquet",
        "here.parquet",
    ]


def test_predictions_are_the_same_byte_for_byte(flags, mini_imagenet, tmp_path):
    making_models.write_onnx(tmp_path / "fine.onnx", 6)
    labels = making.read_labels(mini_imagenet / "LOC_val_solution.csv")
    making_models.write_card(tmp_path / "fine.json", sorted(set(labels.values())))
    words = [f"--input={mini_imagenet}", "--split=validation", "--batch_size=1"]
    words.append(f"--model={tmp_path}/fine.onnx")
    predict.main([*words, f"--output={tmp_path}/here.parquet"])
    predict.main([*words, f"--output={tmp_path}/dask.parquet", *flags])
    here, dask = (
        (tmp_path / f"{name}.parquet").read_bytes() for name in ("here", "dask")
    )
    assert dask == here


def test_dataset_is_verified(flags, reference, tmp_path, capfd):
    words = [f"--work={tmp_path}", "--readers=tar_members", *flags]
    with pytest.raises(SystemExit) as caught:
        verify.main([str(reference), *words])
    assert not caught.value.code
    assert "90 decoded" in capfd.readouterr().out


def test_dataset_in_a_bucket_is_the_same_byte_for_byte(
    flags, folder, mini_imagenet, reference, request
):
    """Workers, which started without the store's address, receive it with the steps."""
    source = upload(mini_imagenet, f"{folder}/imagenet")
    address = "google_address" if folder.startswith("gs:") else "amazon_address"
    words = [*flags, f"--store_endpoint={request.getfixturevalue(address)}"]
    if address == "google_address":
        words.append("--store_anonymous")
    command = building.command_line(
        source, f"{folder}/out", formats="webdataset,tfrecord"
    )
    build.main([*command, *words])
    assert checksums(f"{folder}/out/small/1.0.0") == building.checksums(reference)


def _fail_beside(element, folder, *, fails):
    """Run a task until the file "end" exists; fail in the other one."""
    if element:
        (folder / "begun").touch()
        _wait_until((folder / "end").exists)
    elif fails:
        _wait_until((folder / "begun").exists)
        raise JobError("no")


@pytest.mark.parametrize("fails", [False, True])
def test_tasks_that_outlive_the_job_are_reported(
    client, flags, tmp_path, monkeypatch, capfd, fails
):
    def define(root):
        _ = root | beam.Create([0, 1]) | beam.Map(_fail_beside, tmp_path, fails=fails)

    def interrupt():
        _wait_until((tmp_path / "begun").exists)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(runner, "_STOP_S", 0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    if not fails:
        threading.Thread(target=interrupt).start()
    with pytest.raises(JobError if fails else KeyboardInterrupt):
        _run(define, flags)
    signal.signal(signal.SIGINT, before)
    (tmp_path / "end").touch()
    said = capfd.readouterr().err
    assert "1 task still runs; wait for it before you run again\n" in said
    assert ("the job is cancelled, and 1 task" in said) != fails
    _wait_until(lambda: not any(client.processing().values()))


def _start(imagenet, folder, flags):
    """Start a build; return it when the first shards are written."""
    command = building.command_line(imagenet, folder / "out", images_per_shard=1)
    job = processes.RunningBuild([*command, *flags], folder / "log")
    parts = folder / "out" / "small" / ".1.0.0.partial" / "parts"
    job.wait_until(lambda: len(list(parts.glob("*.parquet"))) > 5)
    return job


def test_worker_that_is_killed_changes_nothing(client, flags, mini_imagenet, tmp_path):
    job = _start(mini_imagenet, tmp_path, flags)
    os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
    assert job.wait() == 0, job.said
    expected = building.run(mini_imagenet, tmp_path / "here", images_per_shard=1)
    dataset = tmp_path / "out" / "small" / "1.0.0"
    assert building.checksums(dataset) == building.checksums(expected)


def _wait_until_alone(element, address):
    """Wait in the last task until the scheduler has forgotten all others."""
    if not element:
        with cluster.connect(address) as client:
            _wait_until(
                lambda: len(client.run_on_scheduler(_list_tasks)) == 1, deadline_s=20
            )
    return element


def _list_tasks(dask_scheduler):
    keys = map(str, dask_scheduler.tasks)
    return [key for key in keys if not key.startswith("Stage-")]


def test_finished_tasks_are_not_kept_for_repetition(flags):
    """Dask repeats the tasks of a lost worker that it keeps, also during the commit."""

    def define(root):
        elements = root | beam.Create(range(4))
        for label in ("first", "second"):
            elements |= label >> beam.Map(_wait_until_alone, address=_address(flags))
            elements |= f"after {label}" >> beam.Reshuffle()

    _run(define, flags)


def _exit_if_repeated(path):
    if path.exists():
        os._exit(1)
    path.touch()


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    """Start another cluster, which gives up a task when its first worker dies."""
    name = "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"
    monkeypatch.setitem(ENVIRONMENT, name, "0")
    started = Engines(tmp_path)
    yield started, started.start(DASK)
    started.stop()


def test_loss_of_outputs_that_cannot_be_repeated(fragile, tmp_path, monkeypatch):
    _, flags = fragile
    gather = Client.gather

    def lose_outputs(client, futures):
        with cluster.connect(_address(flags)) as other:
            lost = set(other.nthreads())
            for pid in other.run(os.getpid).values():
                os.kill(pid, signal.SIGKILL)
            _wait_until(lambda: lost.isdisjoint(other.nthreads()))
        return gather(client, futures)

    def define(root):
        _ = root | beam.Create([tmp_path / "ran"]) | beam.Map(_exit_if_repeated)

    monkeypatch.setattr(Client, "gather", lose_outputs)
    with pytest.raises(JobError, match=r"^a task ended its Dask worker 1 times"):
        _run(define, flags)


def test_loss_of_all_workers_and_of_the_scheduler(fragile, mini_imagenet, tmp_path):
    started, flags = fragile
    address = _address(flags)

    def define(root):
        _ = root | beam.Create([9]) | beam.Map(os._exit)

    with pytest.raises(JobError, match=r"^a task ended its Dask worker 1 times"):
        _run(define, flags)
    job = _start(mini_imagenet, tmp_path, flags)
    started.stop()
    assert job.wait() == 1, job.said
    (error,) = (line for line in job.said.splitlines() if line.startswith("error: "))
    assert error.startswith(f"error: connection to the Dask scheduler {address} lost")
    assert "Traceback" not in job.said
    assert not list(tmp_path.glob("**/complete.json"))


def test_worker_with_other_versions_that_joins_late_fails_its_task(client):
    versions = {**cluster.describe_process(), "pillow": "1.0"}
    no_steps = cloudpickle.dumps([])
    stage = dask_stage.Stage(no_steps, versions)
    task = client.submit(dask_stage.run_bundle, no_steps, stage, "job", pure=False)
    with pytest.raises(JobError) as raised:
        task.result()
    worker, _, problem = str(raised.value).partition(": ")
    assert worker.removeprefix("Dask worker ") in client.nthreads()
    assert problem.startswith(f"has pillow {PIL.__version__} instead of 1.0; install")


# Its environment has no program, as an image that was built for other jobs.
_WITHOUT_PROGRAM = """\
import sys
from dask.__main__ import main

sys.modules["pipelines"] = None
main()
"""


def test_workers_without_the_program_are_reported(client, flags, tmp_path):
    words = ["worker", _address(flags), "--no-nanny", "--no-dashboard", "--nthreads=1"]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WITHOUT_PROGRAM, *words],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    try:
        client.wait_for_workers(4)
        (problem,) = engine.find_flag_problems(flags)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert problem.startswith("2 of 4 Dask workers (tcp://127.0.0.1:")
    assert "cannot import the program (ModuleNotFoundError" in problem
