"""Compare every engine of docs/engines.md with the default: bytes and failures.

The commands come from the page, each runs as a process, and the engines are real.
"""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from pipelines import engine as engine_module
from tests import building, making, making_models
from tests.engines import page
from tests.engines.conftest import ENVIRONMENT

# Flink's files cannot be had everywhere; without them its engine is no test to skip.
ENGINES = [e for e in page.read_engines() if page.is_there(e) or "flink" not in e.name]
OUTSIDE = [engine for engine in ENGINES if "--runner" in " ".join(engine.flags)]
_TIMEOUT_S = 500
pytestmark = pytest.mark.timeout(1200)  # of whatever else the machine does meanwhile

each_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.name)
each_outside = pytest.mark.parametrize("engine", OUTSIDE, ids=lambda e: e.name)


def _start(job, flags):
    return subprocess.Popen(
        [sys.executable, "-m", f"pipelines.{job}", *flags],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _run(job, flags):
    """Run a job; return its exit code and output."""
    process = _start(job, flags)
    try:
        out, err = process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"hangs\n{process.communicate()[1]}") from None
    return process.returncode, out, err


def _fail(job, flags):
    """Run a job that fails; return its exit code and errors."""
    code, out, err = _run(job, flags)
    assert out == ""
    assert "Traceback" not in err
    return code, [line for line in err.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("engine", page.read_engines(), ids=lambda e: e.name)
def test_flags_are_known(engine):
    flags = [flag for flag in engine.flags if "--threads" not in flag]
    problems = engine_module.find_flag_problems(flags)
    assert not [
        p for p in problems if "no such" not in p and "connection failed" not in p
    ]


@each_engine
def test_dataset_is_the_same_byte_for_byte(
    engine, engines, mini_imagenet, reference, tmp_path
):
    flags = building.command_line(
        mini_imagenet, tmp_path, formats="webdataset,tfrecord"
    )
    code, out, err = _run("build", [*flags, *engines.start(engine)])
    assert code == 0, err
    dataset = tmp_path / reference.relative_to(reference.parents[1])
    assert out == f"{dataset}\n"
    assert building.checksums(dataset) == building.checksums(reference)


@pytest.fixture(scope="module")
def index(mini_imagenet, tmp_path_factory):
    """Write an index on the default engine."""
    path = tmp_path_factory.mktemp("index") / "index.parquet"
    _make_index(mini_imagenet, path)
    return path


def _make_index(imagenet, path, *flags):
    code, _, err = _run("index", [f"--input={imagenet}", f"--output={path}", *flags])
    assert code == 0, err


@each_outside
def test_index_is_the_same_byte_for_byte(
    engine, engines, mini_imagenet, index, tmp_path
):
    path = tmp_path / "index.parquet"
    _make_index(mini_imagenet, path, *engines.start(engine))
    assert path.read_bytes() == index.read_bytes()


@pytest.fixture(scope="module")
def predict_flags(mini_imagenet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    labels = making.read_labels(mini_imagenet / "LOC_val_solution.csv")
    wnids = sorted(set(labels.values()))
    making_models.write_onnx(folder / "m.onnx", len(wnids))
    making_models.write_card(folder / "m.json", wnids)
    return [f"--input={mini_imagenet}", "--split=train", f"--model={folder}/m.onnx"]


def _make_tables(flags, folder, *engine_flags):
    table, matrices = folder / "p.parquet", folder / "confusion"
    for job, words in (
        ("predict", [*flags, f"--output={table}", "--batch_size=16"]),
        ("confusion", [f"--predictions={table}", f"--output={matrices}"]),
    ):
        code, _, err = _run(job, [*words, *engine_flags])
        assert code == 0, err
    assert sorted(path.name for path in folder.iterdir()) == ["confusion", "p.parquet"]
    return building.checksums(folder)


@pytest.fixture(scope="module")
def tables(predict_flags, tmp_path_factory):
    """Checksums of predictions and matrices of the default engine."""
    return _make_tables(predict_flags, tmp_path_factory.mktemp("tables"))


@each_outside
def test_predictions_and_matrices_are_the_same_byte_for_byte(
    engine, engines, predict_flags, tables, tmp_path
):
    flags = engines.start(engine)
    assert _make_tables(predict_flags, tmp_path, *flags) == tables


@pytest.fixture(scope="module")
def damaged(class_folders, reference, tmp_path_factory):
    """A copy in which one image of the reference is truncated."""
    folder = tmp_path_factory.mktemp("damaged") / "imagenet"
    shutil.copytree(class_folders, folder)
    row = next(r for r in building.manifest(reference) if r["split"] == "train")
    victim = folder / "train" / row["wnid"] / f"{row['key']}.JPEG"
    victim.write_bytes(victim.read_bytes()[:300])
    return folder


@pytest.fixture(scope="module")
def failure(damaged, tmp_path_factory):
    """Errors of the default engine for this input."""
    output = tmp_path_factory.mktemp("failure")
    said = _fail("build", building.command_line(damaged, output))
    assert said[0] == 1
    assert "1 of 90 chosen images failed" in said[1][0]
    return said


@each_outside
def test_failing_build_reports_the_same_as_the_default_engine(
    engine, engines, damaged, failure, tmp_path
):
    flags = building.command_line(damaged, tmp_path)
    said = _fail("build", [*flags, *engines.start(engine)])
    assert said == failure
    assert not list(tmp_path.glob("**/complete.json"))


@pytest.fixture(scope="module")
def truncated(class_archives, tmp_path_factory):
    """A copy with a truncated third archive, and the errors of the default engine."""
    folder = tmp_path_factory.mktemp("truncated") / "imagenet"
    shutil.copytree(class_archives, folder)
    victim = sorted(folder.iterdir())[2]
    victim.write_bytes(victim.read_bytes()[:20000])
    code, errors = _fail("index", [f"--input={folder}", f"--output={folder}.parquet"])
    assert code == 2
    assert str(victim) in errors[0]
    return folder, (code, errors)


@each_outside
def test_damaged_input_reports_the_same_as_the_default_engine(
    engine, engines, truncated, tmp_path
):
    folder, said = truncated
    flags = [f"--input={folder}", f"--output={tmp_path}/index.parquet"]
    assert _fail("index", [*flags, *engines.start(engine)]) == said


@pytest.fixture(scope="module")
def verified(reference, tmp_path_factory):
    """A dataset with a forged label, and the report of the default engine."""
    root = tmp_path_factory.mktemp("verified") / "small" / "1.0.0"
    shutil.copytree(reference, root)
    tar = next(root.glob("train/*.tar"))
    tar.write_bytes(tar.read_bytes().replace(b'"label": 1', b'"label": 2'))
    flags = [str(root), "--readers=tar_members,webdataset"]
    code, out, _ = _run("verify", flags)
    assert code == 1
    assert "has label 2" in out
    return flags, out


@each_outside
def test_verify_reports_the_same_as_the_default_engine(
    engine, engines, verified, tmp_path
):
    flags, expected = verified
    code, out, err = _run(
        "verify", [*flags, f"--work={tmp_path}", *engines.start(engine)]
    )
    assert (code, out) == (1, expected), err
    assert list(tmp_path.iterdir()) == []
