"""Tests of the predict job: tiny models, every kind of input, and every error."""

import fcntl
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import predict
from pipelines.predicting import checks
from pipelines.predicting import work as work_folders
from tests import building, making, making_models, processes
from transforms.dataset import manifest
from transforms.models import inference, parts
from transforms.models import spec as model_spec
from transforms.models.card import Preprocessing
from transforms.predictions import table as predictions_table
from transforms.records import JobError, UsageError

NUM_CLASSES = 6
WORKERS = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


@pytest.fixture(scope="module")
def wnids(mini_imagenet):
    labels = making.read_labels(mini_imagenet / "LOC_val_solution.csv")
    return sorted(set(labels.values()))


@pytest.fixture(scope="module")
def models(tmp_path_factory, wnids):
    """A model of single classes, and a model of three pairs of classes."""
    folder = tmp_path_factory.mktemp("models")
    making_models.write_onnx(folder / "fine.onnx", NUM_CLASSES)
    making_models.write_card(folder / "fine.json", wnids)
    making_models.write_onnx(folder / "coarse.onnx", 3)
    pairs = [wnids[n : n + 2] for n in range(0, NUM_CLASSES, 2)]
    making_models.write_card(folder / "coarse.json", pairs)
    return folder


@pytest.fixture(scope="module")
def groups(tmp_path_factory, wnids):
    path = tmp_path_factory.mktemp("groups") / "groups.csv"
    rows = [f"{wnid},{number // 2}" for number, wnid in enumerate(wnids)]
    path.write_text("\n".join(["wnid,group", *rows]) + "\n")
    return path


def _run(imagenet, folder, *words, model=None, split="validation", **flags):
    table = folder / "predictions.parquet"
    named = {"input": imagenet, "split": split, "model": model, "output": table}
    named |= {"batch_size": 8, **flags}
    predict.main([*(f"--{k}={v}" for k, v in named.items() if v is not None), *words])
    return table


def _fail(capfd, code, *args, **flags):
    with pytest.raises(SystemExit) as caught:
        _run(*args, **flags)
    assert caught.value.code == code
    return capfd.readouterr().err


def _rows(path):
    return pq.read_table(path).to_pylist()


def _expect(imagenet, wnids):
    """Compute the fine model's predictions for the validation images with NumPy."""
    settings = Preprocessing(**{
        k: tuple(v) if isinstance(v, list) else v
        for k, v in making_models.PREPROCESSING.items()
    })
    labels = making.read_labels(imagenet / "LOC_val_solution.csv")
    found = {}
    for name, data in making.read_tar(imagenet / "ILSVRC2012_img_val.tar").items():
        pixels = inference.preprocess(data, settings)[np.newaxis]
        batch = inference.make_batch(pixels, settings)
        key = name.removesuffix(".JPEG")
        probabilities = making_models.expect(batch, NUM_CLASSES)[0]
        found[key] = (wnids.index(labels[key]), probabilities)
    return found


def test_table_has_the_prediction_of_every_image(
    mini_imagenet, models, wnids, tmp_path, capfd
):
    path = _run(
        mini_imagenet, tmp_path, "--keep_probabilities", model=models / "fine.onnx"
    )
    out, err = capfd.readouterr()
    assert out.splitlines()[-1] == str(path)
    expected = _expect(mini_imagenet, wnids)
    rows = _rows(path)
    assert {row["key"] for row in rows} == expected.keys()
    assert len(rows) == 30
    for row in rows:
        right, probabilities = expected[row["key"]]
        assert row["p_correct"] == pytest.approx(probabilities[right], abs=1e-6)
        assert row["top5"] == np.argsort(-probabilities)[:5].tolist()
        assert row["probabilities"] == pytest.approx(probabilities.tolist(), abs=1e-3)
        assert (row["split"], row["wnid"]) == ("validation", wnids[right])
        assert row["seen"] is None
    top1 = np.mean([p.argmax() == right for right, p in expected.values()])
    mean = np.mean([p[right] for right, p in expected.values()])
    assert f"fine: 30 images, top-1 {top1:.3f}, " in err
    assert f"mean p_correct {mean:.4f}" in err
    assert "fine is no better than chance" in err
    (model,) = predictions_table.read_models(str(path))
    assert [c.wnids[0] for c in model.classes] == wnids
    assert model.correct == "class"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_all_inputs_give_the_same_table(
    mini_imagenet, mini_index, class_folders, models, tmp_path
):
    model = models / "fine.onnx"
    raw = _run(mini_imagenet, tmp_path / "raw", model=model)
    from_index = _run(mini_index, tmp_path / "index", model=model)
    assert raw.read_bytes() == from_index.read_bytes()
    folders = _run(class_folders, tmp_path / "folders", model=model)
    assert sorted(row["key"] for row in _rows(folders)) == sorted(
        row["key"] for row in _rows(raw)
    )


def test_finished_dataset_is_an_input(mini_imagenet, models, tmp_path):
    dataset = building.run(mini_imagenet, tmp_path, folds=2, images_per_group=None)
    for split in ("fold_a", "validation"):
        path = _run(dataset, tmp_path, model=models / "fine.onnx", split=split)
        listed = [r["key"] for r in building.manifest(dataset) if r["split"] == split]
        assert [row["key"] for row in _rows(path)] == listed
        assert {row["split"] for row in _rows(path)} == {split}


@pytest.mark.parametrize(
    "flags",
    [["--threads=1"], ["--threads=3", "--direct_runner_bundle_repeat=2"], WORKERS],
    ids=["one thread", "repeated bundles", "two processes"],
)
def test_workers_bundles_and_threads_change_no_byte(
    mini_imagenet, models, tmp_path, flags, monkeypatch
):
    monkeypatch.setattr("transforms.models.image_chunks._CHUNK_IMAGES", 16)
    words = ["--keep_probabilities", f"--model={models / 'coarse.onnx'}"]
    once = _run(
        mini_imagenet, tmp_path / "a", *words, model=models / "fine.onnx", split="train"
    )
    again = _run(
        mini_imagenet,
        tmp_path / "b",
        *words,
        *flags,
        model=models / "fine.onnx",
        split="train",
    )
    assert pq.read_metadata(once).num_rows == 240
    assert once.read_bytes() == again.read_bytes()


_NOTE_OPENED_MODELS = """
import os, sys
def note(event, args):
    if event == "open" and str(args[0]).endswith("fine.onnx"):
        with open(os.environ["OPENED"], "a") as file:
            file.write(f"{os.getpid()}\\n")
sys.addaudithook(note)
"""


def test_processes_of_a_machine_share_models(
    mini_imagenet, models, tmp_path, monkeypatch
):
    monkeypatch.setattr("transforms.models.image_chunks._CHUNK_IMAGES", 16)
    model = models / "fine.onnx"
    once = _run(mini_imagenet, tmp_path / "once", model=model)
    (tmp_path / "sitecustomize.py").write_text(_NOTE_OPENED_MODELS)
    folders = [str(tmp_path), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    monkeypatch.setenv("OPENED", str(tmp_path / "opened"))
    shared = _run(
        mini_imagenet, tmp_path / "shared", "--share_models", *WORKERS, model=model
    )
    assert shared.read_bytes() == once.read_bytes()
    assert len(set((tmp_path / "opened").read_text().splitlines())) == 1


def test_batch_size_changes_predictions_by_rounding_only(
    mini_imagenet, models, tmp_path
):
    one, other = (
        _rows(
            _run(
                mini_imagenet,
                tmp_path / str(size),
                model=models / "fine.onnx",
                batch_size=size,
            )
        )
        for size in (3, 64)
    )
    assert [row["key"] for row in one] == [row["key"] for row in other]
    np.testing.assert_allclose(
        [row["p_correct"] for row in one],
        [row["p_correct"] for row in other],
        atol=1e-6,
    )


def test_keras_and_onnx_predict_the_same(mini_imagenet, models, wnids, tmp_path):
    making_models.write_keras(tmp_path / "fine.keras", NUM_CLASSES)
    making_models.write_card(tmp_path / "fine.json", wnids)
    keras = _rows(
        _run(mini_imagenet, tmp_path / "keras", model=tmp_path / "fine.keras")
    )
    onnx = _rows(_run(mini_imagenet, tmp_path / "onnx", model=models / "fine.onnx"))
    np.testing.assert_allclose(
        [row["p_correct"] for row in keras],
        [row["p_correct"] for row in onnx],
        atol=1e-6,
    )
    assert [row["model"] for row in keras] == [row["model"] for row in onnx]
    assert keras[0]["model_id"] != onnx[0]["model_id"]


def test_coarse_and_fine_models_are_scored_by_group(
    mini_imagenet, models, groups, wnids, tmp_path
):
    words = [f"--model={models / 'coarse.onnx'}", "--keep_probabilities"]
    path = _run(
        mini_imagenet, tmp_path, *words, model=models / "fine.onnx", groups=groups
    )
    fine, coarse = predictions_table.read_models(str(path))
    assert fine.correct == coarse.correct == "group"
    assert fine.groups_sha256 == coarse.groups_sha256 != ""
    rows = _rows(path)
    assert [row["model"] for row in rows] == ["fine"] * 30 + ["coarse"] * 30
    expected = _expect(mini_imagenet, wnids)
    for row in rows:
        group = wnids.index(row["wnid"]) // 2
        if row["model"] == "fine":
            probabilities = expected[row["key"]][1]
            right = probabilities[2 * group] + probabilities[2 * group + 1]
        else:
            right = row["probabilities"][group]
        assert row["p_correct"] == pytest.approx(right, abs=1e-3)


def test_coarse_model_is_scored_by_its_groups_without_a_table(
    mini_imagenet, models, tmp_path
):
    path = _run(mini_imagenet, tmp_path, model=models / "coarse.onnx")
    (coarse,) = predictions_table.read_models(str(path))
    assert (coarse.correct, coarse.groups_sha256) == ("group", "")


def test_images_that_a_model_was_trained_on_are_marked(
    mini_imagenet, models, wnids, tmp_path
):
    shutil.copy(models / "fine.onnx", tmp_path)
    keys = [f"{wnids[0]}_{number}" for number in range(1, 6)]
    pq.write_table(pa.table({"key": keys}), tmp_path / "trained_on.parquet")
    trained_on = {
        "subset_id": "s",
        "split": "fold_a",
        "keys_file": "trained_on.parquet",
    }
    making_models.write_card(tmp_path / "fine.json", wnids, trained_on=trained_on)
    rows = _rows(
        _run(mini_imagenet, tmp_path / "o", model=tmp_path / "fine.onnx", split="train")
    )
    assert {row["key"] for row in rows if row["seen"]} == set(keys)
    assert all(row["seen"] is not None for row in rows)
    assert rows[0]["trained_on_subset_id"] == "s"
    assert rows[0]["trained_on_split"] == "fold_a"


def test_classes_without_an_output_are_left_out_and_reported(
    mini_imagenet, wnids, tmp_path, capfd
):
    making_models.write_onnx(tmp_path / "few.onnx", 2)
    making_models.write_card(tmp_path / "few.json", wnids[:2])
    path = _run(mini_imagenet, tmp_path / "o", model=tmp_path / "few.onnx")
    assert "few: 20 images of 4 classes without an output" in (capfd.readouterr().err)
    assert {row["wnid"] for row in _rows(path)} == set(wnids[:2])


def test_logits_become_probabilities(mini_imagenet, models, wnids, tmp_path, capfd):
    making_models.write_onnx(tmp_path / "fine.onnx", NUM_CLASSES, softmax=False)
    making_models.write_card(tmp_path / "fine.json", wnids)
    err = _fail(capfd, 2, mini_imagenet, tmp_path / "o", model=tmp_path / "fine.onnx")
    assert 'if they are logits, set in its card: "output": "logits"' in err
    making_models.write_card(tmp_path / "fine.json", wnids, output="logits")
    logits = _run(mini_imagenet, tmp_path / "l", model=tmp_path / "fine.onnx")
    plain = _run(mini_imagenet, tmp_path / "p", model=models / "fine.onnx")
    np.testing.assert_allclose(
        [row["p_correct"] for row in _rows(logits)],
        [row["p_correct"] for row in _rows(plain)],
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("last", "output", "problem"),
    [
        ("Softmax", "logits", "they are probabilities, not logits; set in its card"),
        (
            "Sigmoid",
            "probabilities",
            "do not sum to 1, but are from 0 to 1, as after a",
        ),
        ("LogSoftmax", "probabilities", 'set in its card: "output": "logits"'),
        ("LogSoftmax", "logits", ""),
        ("Identity", "logits", ""),
    ],
)
def test_outputs_that_are_not_what_the_card_says_are_refused(
    wnids, tmp_path, last, output, problem
):
    path = making_models.write_onnx(tmp_path / "m.onnx", NUM_CLASSES)
    model = onnx.load(path)
    model.graph.node[-1].op_type = last
    onnx.save(model, path)
    card = making_models.write_card(tmp_path / "m.json", wnids, output=output)
    spec = model_spec.describe_model(str(path), str(card), None)
    if not problem:
        checks.check_models([spec], batch_size=2)
        return
    with pytest.raises(UsageError, match=re.escape(problem)):
        checks.check_models([spec], batch_size=2)


def test_a_background_class_changes_only_the_probabilities(
    mini_imagenet, models, wnids, tmp_path
):
    """The card of the same model calls another of its outputs no class."""
    making_models.write_onnx(tmp_path / "m.onnx", NUM_CLASSES)
    making_models.write_card(tmp_path / "m.json", [None, *wnids[1:]])
    path = _run(
        mini_imagenet, tmp_path / "o", "--keep_probabilities", model=tmp_path / "m.onnx"
    )
    (described,) = predictions_table.read_models(str(path))
    assert [c.wnids[0] for c in described.classes] == wnids[1:]
    plain = _run(
        mini_imagenet,
        tmp_path / "p",
        "--keep_probabilities",
        model=models / "fine.onnx",
    )
    all_outputs = {row["key"]: row["probabilities"] for row in _rows(plain)}
    for row in _rows(path):
        assert row["wnid"] != wnids[0]
        rest = np.array(all_outputs[row["key"]][1:], np.float64)
        expected = rest / rest.sum()
        np.testing.assert_allclose(row["probabilities"], expected, atol=2e-3)
        assert row["top5"][0] == expected.argmax()


@pytest.fixture
def broken(class_folders, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(class_folders, folder)
    paths = sorted(folder.glob("val/*/*.JPEG"))[:2]
    paths[0].write_bytes(paths[0].read_bytes()[:500])
    paths[1].write_bytes(b"no picture")
    return folder, [path.stem for path in paths]


def test_unreadable_images_fail_the_job_by_default(broken, models, tmp_path, capfd):
    folder, keys = broken
    err = _fail(capfd, 1, folder, tmp_path / "o", model=models / "fine.onnx")
    assert "2 of 30 images cannot be read, more than --max_failure_fraction 0" in err
    assert f"{keys[0]} (val/" in err
    assert "truncated image" in err
    assert not list((tmp_path / "o").iterdir())  # and no half of a table


def test_unreadable_images_are_listed_when_allowed(broken, models, tmp_path, capfd):
    folder, keys = broken
    model = models / "fine.onnx"
    path = _run(
        folder, tmp_path / "o", model=model, max_failure_fraction=0.1, batch_size=4
    )
    assert len(_rows(path)) == 28
    listed = tmp_path / "o" / "predictions.failures.csv"
    failures = manifest.read_failures(listed.read_bytes())
    assert [failure.key for failure in failures] == keys
    assert failures[1].reason == "not an image"
    assert f"2 unreadable images: {listed}" in capfd.readouterr().err
    for broken_key in keys:
        next(folder.glob(f"val/*/{broken_key}.JPEG")).unlink()
    _run(folder, tmp_path / "o", model=model)
    assert not listed.exists()  # they are of an earlier run


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("transforms.models.image_chunks._CHUNK_IMAGES", 8)


@pytest.fixture
def killed(mini_imagenet, models, tmp_path):
    """The flags of a run that was killed, and its work folder."""
    output = tmp_path / "o" / "predictions.parquet"
    flags = {
        "input": mini_imagenet,
        "split": "train",
        "model": models / "fine.onnx",
        "output": output,
        "batch_size": 8,
        "threads": 1,
    }
    words = [f"--{name}={value}" for name, value in flags.items()]
    run = processes.RunningBuild(words, tmp_path / "log", job="predict")
    run.wait_until(lambda: list(output.parent.glob(".*/parts/0000002-*.json")))
    run.stop(signal.SIGKILL)
    assert not output.exists()
    (work,) = output.parent.glob(".*.partial")
    return words, work


@pytest.mark.usefixtures("small_chunks")
def test_killed_run_continues_to_the_same_bytes(
    killed, mini_imagenet, models, tmp_path, capfd, monkeypatch
):
    words, work = killed
    folder, model = tmp_path / "o", models / "fine.onnx"
    whole = _run(mini_imagenet, tmp_path / "whole", model=model, split="train")
    predict.main([*words, "--keep_probabilities"])
    err = capfd.readouterr().err
    assert "kept" not in err
    assert f"warning: {work}: parts of an unfinished run with other models" in err
    assert "probabilities" in pq.read_schema(folder / "predictions.parquet").names
    written = []
    write = parts.write

    def note(folder, number, predictions):
        written.append(number)
        return write(folder, number, predictions)

    monkeypatch.setattr(parts, "write", note)
    predict.main(words)
    kept = re.search(
        r"(\d+) of 15 chunks are kept from an earlier run \((\d+) of 120 images\)",
        capfd.readouterr().err,
    )
    assert int(kept[1]) == 15 - len(written) >= 3
    assert int(kept[2]) == 8 * int(kept[1])
    assert (folder / "predictions.parquet").read_bytes() == whole.read_bytes()
    assert list(folder.iterdir()) == [folder / "predictions.parquet"]


def test_stopping_before_a_chunk_is_finished_promises_none(
    mini_imagenet, models, tmp_path, capfd, monkeypatch
):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checks, "check_models", stop)
    err = _fail(capfd, 130, mini_imagenet, tmp_path, model=models / "fine.onnx")
    assert (
        "stopped; the same command continues after the finished chunks, if any" in err
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small_chunks")
def test_second_run_reports_the_running_one(killed, capfd):
    words, work = killed
    descriptor = os.open(work, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(SystemExit) as ended:
        predict.main(words)
    os.close(descriptor)
    assert ended.value.code == 2
    assert f"another run holds the lock on {work}" in capfd.readouterr().err


def test_failed_run_keeps_the_finished_chunks_of_another_list(tmp_path):
    run = work_folders.Run(output=str(tmp_path / "p.parquet"), run_id="a", chunks=())
    mark = Path(run.work, "parts", "0000000-0123.json")

    def fail() -> None:
        with work_folders.acquire(run, b"list"):
            raise JobError("stopped")

    with pytest.raises(JobError):
        fail()
    assert not Path(run.work).exists()
    making.write_files(Path(run.work), {"parts/0000000-0123.json": b"[[8], [], []]"})
    with pytest.raises(JobError):
        fail()
    assert mark.exists()


@pytest.mark.usefixtures("small_chunks")
def test_repaired_images_are_predicted_and_the_others_kept(
    broken, class_folders, models, tmp_path, capfd
):
    folder, _ = broken
    model = models / "fine.onnx"
    err = _fail(capfd, 1, folder, tmp_path / "o", model=model)
    assert "repair the images or raise --max_failure_fraction, then run again" in err
    shutil.copytree(class_folders, folder, dirs_exist_ok=True)
    path = _run(folder, tmp_path / "o", model=model)
    assert "3 of 4 chunks are kept" in capfd.readouterr().err
    assert len(_rows(path)) == 30
    assert list((tmp_path / "o").iterdir()) == [path]


def test_all_problems_are_reported_at_once(models, tmp_path, capfd):
    err = _fail(
        capfd,
        2,
        tmp_path / "nowhere",
        tmp_path,
        f"--model={tmp_path}/a.h5",
        f"--model={models}/fine.onnx",
        model=tmp_path / "none.keras",
    )
    assert f"--input {tmp_path}/nowhere: no such file or folder" in err
    assert f"--model {tmp_path}/none.keras: no such file or folder" in err
    assert f"--model {tmp_path}/a.h5: no such file" in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_files_of_another_kind_are_not_replaced(models, tmp_path, capfd):
    (tmp_path / "predictions.parquet").write_bytes(b"mine")
    err = _fail(capfd, 2, tmp_path / "nowhere", tmp_path, model=models / "fine.onnx")
    assert f"--output {tmp_path}/predictions.parquet: exists and is not a fi" in err
    assert f"--input {tmp_path}/nowhere: no such file or folder" in err
    assert (tmp_path / "predictions.parquet").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"split": "test"}, "--split test: is not one of train, validation, fold_a"),
        ({"split": "fold_a"}, "--split fold_a: the input has no such images; it has"),
        ({"batch_size": 0}, "--batch_size 0: must be between 1 and 4096"),
        ({"threads": 0}, "--threads 0: must be"),
        (
            {"max_failure_fraction": 2},
            "--max_failure_fraction 2: must be between 0 and 1",
        ),
        ({"output": "p.csv"}, "--output p.csv: must end in .parquet"),
        ({"model": None}, "--model: is required"),
        ({"groups": "none.csv"}, "--groups none.csv: no such file"),
        ({"model_card": "x.json"}, "--model_card x.json: every model has a card"),
        ({"modle": "x"}, "--modle: unknown flag; did you mean --model"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_flags_are_named(mini_imagenet, models, tmp_path, capfd, flags, expected):
    flags = {"model": models / "fine.onnx", **flags}
    assert expected in _fail(capfd, 2, mini_imagenet, tmp_path / "o", **flags)


def test_index_whose_images_moved_is_an_error(
    mini_imagenet, mini_index, models, tmp_path, capfd
):
    metadata = pq.read_metadata(mini_index).metadata
    elsewhere = str(tmp_path / "elsewhere")
    moved = {
        key: value.replace(str(mini_imagenet).encode(), elsewhere.encode())
        for key, value in metadata.items()
        if key != b"ARROW:schema"
    }
    table = pq.read_table(mini_index).replace_schema_metadata(moved)
    pq.write_table(table, tmp_path / "moved.parquet")
    model = models / "fine.onnx"
    err = _fail(capfd, 2, tmp_path / "moved.parquet", tmp_path / "o", model=model)
    assert f"{elsewhere}, which does not exist; restore it" in err


def test_index_is_the_only_input_and_needs_no_labels(
    mini_imagenet, mini_index, models, tmp_path, capfd
):
    model = models / "fine.onnx"
    second = f"--input={mini_imagenet}"
    err = _fail(capfd, 2, mini_index, tmp_path, second, model=model)
    assert f"--input {mini_index}: an index or a dataset must be the only input" in err
    labels = mini_imagenet / "LOC_val_solution.csv"
    err = _fail(capfd, 2, mini_index, tmp_path, model=model, validation_labels=labels)
    assert "applies to raw ImageNet only" in err


def test_models_that_do_not_match_their_cards_are_all_named(
    mini_imagenet, wnids, tmp_path, capfd
):
    making_models.write_onnx(tmp_path / "a.onnx", 5)
    making_models.write_card(tmp_path / "a.json", wnids)
    making_models.write_onnx(tmp_path / "b.onnx", NUM_CLASSES, side_px=8)
    making_models.write_card(tmp_path / "b.json", wnids)
    (tmp_path / "c.keras").write_bytes(b"x")
    making_models.write_card(tmp_path / "c.json", wnids)
    words = [f"--model={tmp_path}/{name}" for name in ("b.onnx", "c.keras")]
    err = _fail(
        capfd, 2, mini_imagenet, tmp_path / "o", *words, model=tmp_path / "a.onnx"
    )
    assert f"--model {tmp_path}/a.onnx: has 5 outputs, but its card lists 6" in err
    assert f"--model {tmp_path}/b.onnx: accepts images of 8×8×3, but its card" in err
    assert f"--model {tmp_path}/c.keras: is not a .keras file" in err


def test_bad_cards_are_all_named(mini_imagenet, models, wnids, tmp_path, capfd):
    for name in ("a", "b", "c"):
        shutil.copy(models / "fine.onnx", tmp_path / f"{name}.onnx")
    making_models.write_card(tmp_path / "a.json", wnids, preprocessing=None)
    making_models.write_card(tmp_path / "b.json", wnids, file_sha256="1" * 64)
    words = [f"--model={tmp_path}/{name}.onnx" for name in ("b", "c")]
    err = _fail(
        capfd, 2, mini_imagenet, tmp_path / "o", *words, model=tmp_path / "a.onnx"
    )
    assert "a.json: preprocessing: is missing" in err
    assert "b.json: belongs to another model file" in err
    assert "c.onnx: has no card beside it (c.json or model.json)" in err


def test_model_card_applies_to_models_without_a_card(mini_imagenet, models, tmp_path):
    shutil.copy(models / "fine.onnx", tmp_path / "plain.onnx")
    card = models / "fine.json"
    path = _run(mini_imagenet, tmp_path, model=tmp_path / "plain.onnx", model_card=card)
    assert _rows(path)[0]["model"] == "fine"


def test_models_with_the_same_name_are_rejected(
    mini_imagenet, models, wnids, tmp_path, capfd
):
    shutil.copy(models / "fine.onnx", tmp_path / "other.onnx")
    making_models.write_card(tmp_path / "other.json", wnids, model="fine")
    words = [f"--model={tmp_path}/other.onnx", f"--model={models}/fine.onnx"]
    err = _fail(
        capfd, 2, mini_imagenet, tmp_path / "o", *words, model=models / "fine.onnx"
    )
    assert f"--model {models}/fine.onnx: is given twice" in err
    assert "other.onnx: has the same name 'fine' as another model" in err


def test_outputs_that_straddle_groups_are_rejected(
    mini_imagenet, models, wnids, tmp_path, capfd
):
    path = tmp_path / "groups.csv"
    rows = [f"{wnid},{number % 2}" for number, wnid in enumerate(wnids)]
    path.write_text("\n".join(["wnid,group", *rows]) + "\n")
    err = _fail(
        capfd,
        2,
        mini_imagenet,
        tmp_path / "o",
        model=models / "coarse.onnx",
        groups=path,
    )
    assert "cover classes inside and outside a group" in err


def test_model_of_other_classes_is_rejected(mini_imagenet, tmp_path, capfd):
    making_models.write_onnx(tmp_path / "m.onnx", 2)
    making_models.write_card(tmp_path / "m.json", ["n00000001", "n00000002"])
    err = _fail(capfd, 2, mini_imagenet, tmp_path / "o", model=tmp_path / "m.onnx")
    assert "none of its outputs is a class of these images" in err


@pytest.mark.real
def test_real_model_has_its_known_accuracy(real_data, tmp_path, capfd):
    rows = []
    for kind in ("keras", "onnx"):
        model = tmp_path / kind / f"mobilenet.{kind}"
        preprocessing = {
            "resize_px": 256,
            "crop_px": 224,
            "mean": [127.5] * 3,
            "std": [127.5] * 3,
        }
        making_models.write_card(
            model.with_name("mobilenet.json"), "imagenet", preprocessing=preprocessing
        )
        model.symlink_to(real_data / "models" / f"mobilenet_v1_0.25_224.{kind}")
        path = _run(
            real_data / "full_size",
            tmp_path / kind,
            model=model,
            split="train",
            batch_size=64,
        )
        rows.append(_rows(path))
        right = {"top1": 0, "top5": 0}
        classes = predictions_table.read_models(str(path))[0].classes
        for row in rows[-1]:
            best = [classes[output].wnids[0] for output in row["top5"]]
            right["top1"] += best[0] == row["wnid"]
            right["top5"] += row["wnid"] in best
        assert abs(right["top1"] - 120) <= 1
        assert right["top5"] == 173
        mean = np.mean([row["p_correct"] for row in rows[-1]])
        assert mean == pytest.approx(0.4575, abs=0.005)
    warnings = re.findall("warning.*", capfd.readouterr().err)
    assert all(line.startswith("warning: found 200 of") for line in warnings)
    np.testing.assert_allclose(
        [row["p_correct"] for row in rows[0]],
        [row["p_correct"] for row in rows[1]],
        atol=1e-4,
    )
