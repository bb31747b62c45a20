"""Test that all other jobs read and write buckets as they do local folders."""

from pathlib import Path

import pytest

from pipelines import confusion, difficulty, evaluate, group, index, predict, train
from tests import building, making_curves, making_models
from tests.stores.copying import checksums, upload
from transforms import storage

TRAINING = {
    "models": "linear",
    "epochs": 1,
    "learning_rate": 0.003,
    "batch_size": 32,
    "image_size": 16,
    "train_split": "fold_a",
}


def flags(**values):
    return [f"--{name}={value}" for name, value in values.items()]


def download(root, target):
    for name in storage.list_files(root):
        path = Path(target, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(storage.read(f"{root}/{name}"))


@pytest.fixture
def trained(google, halves):
    dataset = upload(halves, f"{google}/halves")
    train.main(flags(dataset=dataset, output=f"{google}/models", **TRAINING))
    return google


def test_models_are_trained_and_asked_in_a_bucket(trained, halves, tmp_path, capfd):
    """Finished work is recognised, and no scratch file remains."""
    where = {"dataset": f"{trained}/halves", "output": f"{trained}/models"}
    results = {
        f"linear/seed0/{name}"
        for name in ("curves.csv", "model.json", "model.keras", "predictions.parquet")
    }
    found = checksums(f"{trained}/models")
    assert found.keys() == results | {"linear/seed0/trained_on.parquet"}
    train.main(flags(**where, **TRAINING))
    captured = capfd.readouterr()
    assert f"{trained}/models/linear/seed0 is finished" in captured.err
    assert captured.out.splitlines()[-1] == f"{trained}/models"
    with pytest.raises(SystemExit) as ended:
        train.main(flags(**where, **TRAINING | {"epochs": 2}))
    assert ended.value.code == 2
    assert f"{trained}/models/linear/seed0: holds a run with other settings" in (
        capfd.readouterr().err
    )
    assert checksums(f"{trained}/models") == found

    download(f"{trained}/models", tmp_path / "models")
    tables = []
    for root, dataset in ((trained, f"{trained}/halves"), (str(tmp_path), halves)):
        model = f"{root}/models/linear/seed0/model.keras"
        table = f"{root}/fold_b.parquet"
        predict.main(flags(input=dataset, split="fold_b", model=model, output=table))
        tables.append(storage.read_parquet(table))
    assert tables[0].num_rows == 60
    assert tables[0].equals(tables[1])
    assert tables[0]["seen"].to_pylist() == [False] * 60


def test_training_that_is_stopped_goes_on_from_the_bucket(google, halves, monkeypatch):
    dataset = upload(halves, f"{google}/halves")
    where = {"dataset": dataset, "output": f"{google}/models"}
    seen = []

    def stop(row):
        seen.append(row.epoch)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(train, "_report", stop)
    wanted = TRAINING | {"epochs": 3}
    with pytest.raises(SystemExit) as ended:
        train.main(flags(**where, **wanted))
    assert ended.value.code == 130
    assert storage.list_files(f"{google}/models/linear")
    train.main(flags(**where, **wanted))
    assert seen[:2] == [1, 2]
    assert seen[2] > 1, "not from the beginning"
    assert seen[-1] == 3
    names = list(storage.list_files(f"{google}/models/linear/seed0"))
    assert len(names) == 5, names


def test_saved_models_are_folders_in_a_bucket(amazon, halves, tmp_path):
    making_models.write_saved_model(tmp_path / "models" / "saved", 6)
    wnids = sorted({row["wnid"] for row in building.manifest(halves)})
    making_models.write_card(tmp_path / "models" / "saved.json", wnids)
    upload(tmp_path / "models", f"{amazon}/models")
    tables = []
    for root in (amazon, str(tmp_path)):
        where = {"model": f"{root}/models/saved", "output": f"{root}/p.parquet"}
        predict.main(flags(input=halves, split="validation", **where))
        tables.append(storage.read_parquet(where["output"]))
    first, second = tables
    assert first.num_rows == 30
    assert first.equals(second)


@pytest.fixture
def tables(class_folders, tmp_path):
    """An index, predictions and curves, locally."""
    index.main(flags(input=class_folders, output=tmp_path / "index.parquet"))
    wnids = sorted({path.name for path in (class_folders / "train").iterdir()})
    making_models.write_onnx(tmp_path / "model.onnx", 6)
    making_models.write_card(tmp_path / "model.json", wnids)
    predict.main(
        flags(
            input=tmp_path / "index.parquet",
            split="train",
            model=tmp_path / "model.onnx",
            output=tmp_path / "tables/predictions.parquet",
        )
    )
    (tmp_path / "index.parquet").rename(tmp_path / "tables/index.parquet")
    ids = {"full": making_curves.FULL_ID, "small": making_curves.SUBSET_ID}
    for which, subset_id in ids.items():
        for number, name in enumerate("abc"):
            curve = {name: [0.5 - 0.05 * number, 0.9 - 0.05 * number]}
            made = making_curves.rows(curve, subset_id=subset_id)
            making_curves.write(tmp_path / f"tables/{which}/{name}/curves.csv", made)
    return tmp_path / "tables"


def run_all(root):
    """Run the jobs that derive tables and pages from tables."""
    predictions = f"{root}/predictions.parquet"
    confusion.main(flags(predictions=predictions, output=f"{root}/confusion"))
    difficulty.main(
        flags(
            scores=predictions,
            score_column="p_correct",
            output=f"{root}/difficulty",
        )
    )
    group.main(
        flags(
            index=f"{root}/index.parquet",
            grouping="confusion",
            confusion=f"{root}/confusion/confusion_a.npz",
            num_groups=2,
            output=f"{root}/groups",
        )
    )
    group.main(flags(index=f"{root}/index.parquet", export_starter=f"{root}/mine.csv"))
    evaluate.main(
        flags(full=f"{root}/full", subset=f"{root}/small", output=f"{root}/report")
    )


def test_tables_are_made_in_a_bucket_as_they_are_locally(folder, tables, capfd):
    root = upload(tables, f"{folder}/tables")
    run_all(root)
    out = capfd.readouterr().out.splitlines()
    assert f"{root}/confusion" in out
    assert f"{root}/mine.csv" in out
    run_all(str(tables))
    found, expected = checksums(root), building.checksums(tables)
    assert found.keys() == expected.keys()
    assert {f for f in found if found[f] != expected[f]} == set()


@pytest.mark.parametrize(
    ("job", "given"),
    [
        (confusion, {"predictions": "p.parquet"}),
        (difficulty, {"scores": "s.csv"}),
        (group, {"grouping": "curated", "num_groups": 10}),
        (evaluate, {"accuracies": "a.csv"}),
        (train, {"dataset": "d", "models": "linear"}),
    ],
    ids=["confusion", "difficulty", "group", "evaluate", "train"],
)
def test_output_in_no_bucket_is_a_mistake_before_all_work(google, job, given, capfd):
    missing = google.replace("photographs", "nobodys")
    with pytest.raises(SystemExit) as ended:
        job.main(flags(**given, output=missing))
    assert ended.value.code == 2
    assert f"--output {missing}: is not writable" in capfd.readouterr().err
