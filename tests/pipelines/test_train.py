import csv
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines import predict, train
from tests import building
from transforms.models.card import read_card
from transforms.predictions import table as predictions_table

FLAGS = {
    "models": "linear",
    "epochs": "2",
    "learning_rate": "0.003",
    "batch_size": "32",
    "image_size": "16",
}
RESULTS = {
    "model.keras",
    "model.json",
    "curves.csv",
    "predictions.parquet",
    "trained_on.parquet",
}


@pytest.fixture(scope="session")
def groups(mini_imagenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 groups of 2 classes, 20 training and 10 validation images each."""
    output = tmp_path_factory.mktemp("groups")
    return building.run(mini_imagenet, output, formats="tfrecord")


@pytest.fixture(scope="session")
def trained(groups: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained with two learning rates, the second far too small."""
    output = tmp_path_factory.mktemp("trained")
    return run(groups, output, models="mlp", learning_rate="0.01,0.000001")


def command_line(dataset: Path, output: Path, flags: dict[str, object]) -> list[str]:
    chosen = {"dataset": dataset, "output": output} | FLAGS | flags
    return [f"--{name}={value}" for name, value in chosen.items() if value is not None]


def run(dataset: Path, output: Path, **flags: object) -> Path:
    """Train in this process; return the folder of the first model."""
    train.main(command_line(dataset, output, flags))
    model = str(flags.get("models", FLAGS["models"])).split(",")[0]
    return output / model / f"seed{flags.get('seed', 0)}"


def fail(capsys, dataset: Path, output: Path, /, **flags: object) -> str:
    with pytest.raises(SystemExit) as ended:
        train.main(command_line(dataset, output, flags))
    assert ended.value.code == 2
    return capsys.readouterr().err


def read_curves(folder: Path) -> list[dict]:
    with (folder / "curves.csv").open() as file:
        return list(csv.DictReader(file))


def without_seconds(rows: list[dict]) -> list[dict]:
    return [{**row, "seconds": ""} for row in rows]


def model_bytes(folder: Path) -> bytes:
    return (folder / "model.keras").read_bytes()


def test_all_rates_are_in_the_curves_and_the_best_is_kept(trained, groups):
    assert {path.name for path in trained.iterdir()} == RESULTS
    rows = read_curves(trained)
    assert [(row["learning_rate"], row["epoch"]) for row in rows] == [
        ("0.01", "1"),
        ("0.01", "2"),
        ("1e-06", "1"),
        ("1e-06", "2"),
    ]
    subset_id = building.read_json(groups, "__meta__/recipe.json")["subset_id"]
    for row in rows:
        assert (row["dataset"], row["subset_id"]) == ("small", subset_id)
        assert (row["model"], row["seed"], row["epochs"]) == ("mlp", "0", "2")
        assert (row["train_images"], row["validation_images"]) == ("60", "30")
        assert float(row["seconds"]) > 0
    ends = {row["learning_rate"]: float(row["validation_accuracy"]) for row in rows}
    chosen = read_card(str(trained / "model.json")).training["chosen_learning_rate"]
    assert ends[f"{chosen:g}"] == max(ends.values())


def test_predictions_agree_with_the_last_epoch(trained, groups):
    path = trained / "predictions.parquet"
    rows = pq.read_table(path).to_pylist()
    (scored,) = predictions_table.read_models(str(path))
    label_of = {w: n for n, c in enumerate(scored.classes) for w in c.wnids}
    num_right = sum(row["top5"][0] == label_of[row["wnid"]] for row in rows)
    card = read_card(str(trained / "model.json"))
    (last,) = [
        row
        for row in read_curves(trained)
        if row["epoch"] == "2"
        and float(row["learning_rate"]) == card.training["chosen_learning_rate"]
    ]
    assert float(last["validation_accuracy"]) == num_right / len(rows)
    held = [row for row in building.manifest(groups) if row["split"] == "validation"]
    assert [(row["key"], row["wnid"]) for row in rows] == [
        (row["key"], row["wnid"]) for row in held
    ]
    assert [row["seen"] for row in rows] == [False] * 30
    assert scored.correct == "group"
    for row in rows:
        assert row["p_correct"] == pytest.approx(
            row["probabilities"][label_of[row["wnid"]]], abs=1e-3
        )


def test_the_card_has_classes_in_label_order_and_the_training_set(trained, groups):
    card = read_card(str(trained / "model.json"))
    described = building.read_json(groups, "classes.json")
    assert [(c.name, list(c.wnids)) for c in card.classes] == [
        (item["name"], item["wnids"]) for item in described
    ]
    assert card.output == "probabilities"
    assert (card.preprocessing.resize_px, card.preprocessing.crop_px) == (18, 16)
    assert card.file_sha256 == hashlib.sha256(model_bytes(trained)).hexdigest()
    assert card.trained_on.split == "train"
    keys = pq.read_table(trained / card.trained_on.keys_file)["key"].to_pylist()
    rows = building.manifest(groups)
    assert keys == sorted(row["key"] for row in rows if row["split"] == "train")
    assert card.training["epochs"] == 2
    assert str(groups) not in (trained / "model.json").read_text()


def test_predict_writes_the_same_predictions(trained, groups, tmp_path):
    output = tmp_path / "predicted.parquet"
    predict.main([
        f"--input={groups}",
        "--split=validation",
        f"--model={trained / 'model.keras'}",
        f"--output={output}",
    ])
    trained_rows = pq.read_table(trained / "predictions.parquet").drop([
        "probabilities"
    ])
    predicted = pq.read_table(output)
    same = [
        name for name in trained_rows.column_names if name not in {"p_correct", "top5"}
    ]
    assert predicted.select(same).sort_by("key") == trained_rows.select(same).sort_by(
        "key"
    )
    assert np.allclose(
        predicted.sort_by("key")["p_correct"],
        trained_rows.sort_by("key")["p_correct"],
        atol=1e-5,
    )
    assert predictions_table.read_models(str(output)) == predictions_table.read_models(
        str(trained / "predictions.parquet")
    )


@pytest.mark.parametrize("stopped_in", [2, 3], ids=["epoch 2", "the next rate"])
def test_an_interrupted_run_continues_to_the_same_results(
    trained, groups, tmp_path, monkeypatch, stopped_in
):
    from transforms.training.trainer import Trainer

    train_epoch, epochs = Trainer.train, []

    def stop(self, batches, advance):
        epochs.append(None)
        if len(epochs) == stopped_in:
            advance(2)
            raise KeyboardInterrupt
        train_epoch(self, batches, advance)

    flags = {"models": "mlp", "learning_rate": "0.01,0.000001"}
    monkeypatch.setattr(Trainer, "train", stop)
    with pytest.raises(SystemExit) as ended:
        run(groups, tmp_path, **flags)
    assert ended.value.code == 130
    assert len(read_curves(tmp_path / "mlp/seed0")) == stopped_in - 1
    epochs.clear()
    monkeypatch.setattr(
        Trainer, "train", lambda *args: (epochs.append(None), train_epoch(*args))
    )
    folder = run(groups, tmp_path, **flags)
    assert len(epochs) == 4 - (stopped_in - 1)
    assert without_seconds(read_curves(folder)) == without_seconds(read_curves(trained))
    for name in RESULTS - {"curves.csv"}:
        assert (folder / name).read_bytes() == (trained / name).read_bytes(), name


def test_finished_run_is_unchanged(trained, groups, capsys, monkeypatch):
    before = building.checksums(trained)
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # is not needed
    run(groups, trained.parents[1], models="mlp", learning_rate="0.01,0.000001")
    written = capsys.readouterr()
    assert "is finished" in written.err
    assert written.out == f"{trained.parents[1]}\n"
    assert building.checksums(trained) == before


def test_only_missing_models_are_trained(groups, tmp_path, capsys):
    run(groups, tmp_path, epochs=1)
    capsys.readouterr()
    run(groups, tmp_path, epochs=1, models="linear,mixer")
    err = capsys.readouterr().err
    assert "linear/seed0 is finished" in err
    assert re.search(
        r"mixer: 0\.\d+ of 30 images correct, with learning rate 0\.003", err
    )
    assert "linear, learning rate" not in err


def test_another_seed_is_another_run(groups, tmp_path):
    first, second = (run(groups, tmp_path, seed=seed, epochs=1) for seed in (0, 1))
    assert model_bytes(first) != model_bytes(second)
    assert read_card(str(second / "model.json")).training["seed"] == 1


def test_folds_are_trained_crosswise(halves, tmp_path):
    output = tmp_path / "a"
    folder = run(
        halves, output, train_split="fold_a", validation_split="fold_b", epochs=1
    )
    (scored,) = predictions_table.read_models(str(folder / "predictions.parquet"))
    assert (scored.correct, scored.trained_on_split) == ("class", "fold_a")
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    assert {row["split"] for row in rows} == {"fold_b"}
    assert not any(row["seen"] for row in rows)


def test_other_settings_in_the_same_folder_are_rejected(trained, groups, capsys):
    err = fail(capsys, groups, trained.parents[1], models="mlp", epochs=3)
    assert "epochs 2 there, 3 here" in err
    assert "learning_rate 0.01,1e-06 there, 0.003 here" in err
    assert "give another --output, or remove that folder" in err


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (
            {"models": "resnet5"},
            "vgg19, xception; did you mean resnet50",
        ),
        ({"models": "linear,linear"}, "--models linear: is given twice"),
        ({"models": "x1"}, "--models x1: is not one of linear, mlp, mixer"),
        ({"learning_rate": "0.1,much"}, "--learning_rate much: is not a number"),
        ({"learning_rate": "0"}, "--learning_rate 0: must be above 0"),
        ({"learning_rate": "nan"}, "--learning_rate nan: must be above 0"),
        ({"learning_rate": "0.1,0.10"}, "--learning_rate 0.1: is given twice; give it"),
        ({"epochs": 0}, "--epochs 0: must be between 1 and 10000"),
        ({"batch_size": 0}, "--batch_size 0: must be between 1 and 65536"),
        ({"label_smoothing": 1}, "--label_smoothing 1: must be at least 0 and below 1"),
        ({"weight_decay": -1}, "--weight_decay -1: must be between 0 and 1"),
        ({"image_size": 4}, "--image_size 4: must be between 8 and 1024"),
        ({"mixed_precision": "yes"}, "--mixed_precision yes: is not one of auto"),
        (
            {"train_split": "trian"},
            "--train_split trian: the dataset has no such split; it has",
        ),
        (
            {"validation_split": "test"},
            "it has train (60 images), validation (30 images)",
        ),
        (
            {"validation_split": "train"},
            "--validation_split train: is the training split",
        ),
        ({"dataset": "nowhere"}, "--dataset nowhere: is not a folder; give OUTPUT/NAM"),
        ({"model": "linear"}, "--model: unknown flag; did you mean --models?"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_problems_are_reported_at_launch(groups, tmp_path, capsys, flags, shown):
    err = fail(capsys, groups, tmp_path / "output", **flags)
    assert shown in err
    assert "Traceback" not in err
    assert not (tmp_path / "output").exists()


def test_all_problems_are_reported_at_once(groups, tmp_path, capsys):
    err = fail(capsys, groups, tmp_path, epochs=-1, batch_size=-1, models="a,b")
    assert len(err.splitlines()) == 4
    err = fail(
        capsys, groups, tmp_path, train_split="fold_a", validation_split="fold_b"
    )
    assert len(err.splitlines()) == 2


def test_too_small_images_are_rejected(groups, tmp_path, capsys):
    err = fail(capsys, groups, tmp_path, models="mobilenetv2", image_size=16)
    assert "--image_size 16: is too small for mobilenetv2; its default is 224" in err


def test_a_folder_of_datasets_is_rejected(groups, tmp_path, capsys):
    err = fail(capsys, groups.parents[1], tmp_path)
    assert "contains datasets; give one of them: small/1.0.0" in err


def test_a_dataset_without_records_is_rejected(mini_imagenet, tmp_path, capsys):
    dataset = building.run(mini_imagenet, tmp_path / "sets", formats="webdataset")
    err = fail(capsys, dataset, tmp_path / "models")
    assert "holds webdataset, but training reads tfrecord; build it again" in err


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("__meta__/recipe.json", b"{"),
        ("__meta__/manifest.parquet", b"PAR1"),
        ("classes.json", b'[{"label": 1, "name": "a", "wnids": []}]'),
    ],
    ids=["recipe", "manifest", "classes"],
)
def test_a_damaged_dataset_is_rejected(groups, tmp_path, capsys, path, data):
    damaged = shutil.copytree(groups, tmp_path / "damaged")
    (damaged / path).write_bytes(data)
    err = fail(capsys, damaged, tmp_path / "models")
    assert "is damaged" in err
    assert "python -m pipelines.verify" in err


def test_an_unfinished_dataset_is_rejected(groups, tmp_path, capsys):
    unfinished = shutil.copytree(groups, tmp_path / "unfinished")
    (unfinished / "__meta__/complete.json").unlink()
    err = fail(capsys, unfinished, tmp_path / "models")
    assert "is not a finished dataset (no __meta__/complete.json); finish it" in err
    unfinished.rename(tmp_path / ".1.0.0.partial")
    err = fail(capsys, tmp_path / "1.0.0", tmp_path / "models")
    assert "is unfinished (" in err


def test_a_broken_shard_fails_the_job(groups, tmp_path, capsys):
    damaged = shutil.copytree(groups, tmp_path / "damaged")
    shard = next((damaged / "__tfds__").glob("*-train.tfrecord-*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(SystemExit) as ended:
        run(damaged, tmp_path / "models")
    assert ended.value.code == 1
    err = capsys.readouterr().err
    assert "error: linear: " in err
    assert "python -m pipelines.verify" in err


def test_results_depend_on_no_path_and_no_time(groups, tmp_path):
    folder = run(groups, tmp_path, epochs=1)
    again = run(groups, tmp_path / "again", epochs=1)
    for name in RESULTS - {"curves.csv"}:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name
    assert json.loads((folder / "model.json").read_bytes())["model"] == "linear"
