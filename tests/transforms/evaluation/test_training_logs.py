import re

import keras
import pytest

from tests import making_logs
from transforms.evaluation import curves, log_sets, training_logs
from transforms.evaluation.log_sets import LogSettings
from transforms.evaluation.training_logs import ANY_COLUMNS, LogColumns
from transforms.records import UsageError

CURVE = [0.25, 0.5, 0.75]
PERCENT = [25.0, 50.0, 75.0]
NAMED = LogColumns("Epoch", "Test Acc")
SAMPLES = {
    "columns": making_logs.columns(CURVE),
    "huggingface": making_logs.huggingface(CURVE),
    "keras": making_logs.keras(CURVE),
    "lightning": making_logs.lightning(CURVE),
    "timm": making_logs.timm(PERCENT),
}
SIZES = LogSettings(train_images=(100,), validation_images=(2000,))
TIMM, LIGHTNING = SAMPLES["timm"], SAMPLES["lightning"]


def read(text, columns=ANY_COLUMNS):
    log = training_logs.read_log(text, columns)
    assert log is not None
    return log


def to_rows(full, subset, settings=SIZES):
    logs = {
        "full": curves.read_files(full, settings.columns).logs,
        "subset": curves.read_files(subset, settings.columns).logs,
    }
    return log_sets.to_rows(logs, settings)


def describe(rows):
    """Return the set, model and seed of each run."""
    return sorted({(r.row.dataset, r.row.model, r.row.seed) for r in rows})


def test_formats_are_complete():
    assert set(training_logs.FORMATS) == set(SAMPLES)
    for name in training_logs.FORMATS:
        module = training_logs.load(name)
        assert module.__doc__
        assert module.FILE_PATTERNS


@pytest.mark.parametrize("name", SAMPLES)
def test_each_format_is_read_by_its_module_only(name):
    columns = NAMED if name == "columns" else ANY_COLUMNS
    log = read(SAMPLES[name], columns)
    assert log.format == name
    scale = 100 if name == "timm" else 1
    assert log.accuracies == {n: a * scale for n, a in enumerate(CURVE, 1)}
    for other in set(training_logs.FORMATS) - {name}:
        assert training_logs.load(other).read(SAMPLES[name], columns) is None


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_keras_logger_is_read(tmp_path, separator):
    path = tmp_path / "training.log"
    logger = keras.callbacks.CSVLogger(str(path), separator=separator)
    logger.on_train_begin()
    for epoch, accuracy in enumerate(CURVE):
        result = {"accuracy": 0.9, "loss": 1.0, "val_accuracy": accuracy, "val_loss": 2}
        logger.on_epoch_end(epoch, result)
    logger.on_train_end()
    assert list(read(path.read_text()).accuracies.values()) == CURVE


@pytest.mark.parametrize(
    "metric",
    ["val_acc", "val/acc", "valid_accuracy_epoch", "Val/Top1", "val-acc@1", "valAcc"],
)
def test_usual_names_of_metrics_are_recognised(metric):
    text = making_logs.lightning(CURVE, metric=metric)
    assert read(text).column == metric
    more = text.replace("val_loss", "val_top5").replace(
        "train_acc_epoch", "val_acc_step"
    )
    assert read(more).column == metric


def test_last_evaluation_of_an_epoch_counts():
    log = read(making_logs.huggingface([0.1, 0.2, 0.3, 0.4], per_epoch=2))
    assert log.accuracies == {1: 0.2, 2: 0.4}
    assert log.notes == (
        "of several evaluations in an epoch the last counts (2 dropped)",
    )
    twice = LIGHTNING + "2,,300,,,0.875,1\n"
    assert read(twice).accuracies[3] == 0.875


def test_number_of_images_is_derived_from_speed():
    log = read(SAMPLES["huggingface"])
    assert (log.validation_images, log.epochs) == (2000, 3)
    unclear = SAMPLES["huggingface"].replace("22.671", "22671.0")
    assert read(unclear).validation_images == 0


def test_continued_run_repeats_its_header():
    head, *rows = TIMM.splitlines(keepends=True)
    assert read("".join([head, rows[0], head, *rows[1:]])) == read(TIMM)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TIMM[:-20], r"line 4: has 3 fields where the header has 6"),
        (TIMM.replace("75.0", "nan"), r"line 4: eval_top1 nan is not 0 to 1, nor 0 to"),
        (TIMM.replace("75.0", "175"), r"line 4: eval_top1 175 is not 0 to 1, nor 0 to"),
        (TIMM.replace("75.0", "high"), r"line 4: eval_top1 'high' is not a number"),
        (TIMM.replace("\n0,", "\nx,"), r"line 2: epoch 'x' is not a whole number"),
        (TIMM.replace("\n2,", "\n1,"), r"several accuracies for epoch 1; keep one run"),
        (TIMM.replace("\n0,", "\n3,"), r"starts with epoch 1, but timm numbers epochs"),
        (TIMM.replace("lr", "eval_top1"), r"the column eval_top1 twice"),
        (TIMM.splitlines()[0], r"has no value of eval_top1; continue the training"),
        (
            LIGHTNING.replace("val_loss", "val_acc2").replace("train_acc", "val_top1"),
            r"several columns of validation accuracy, val_top1_epoch, val_acc; give ",
        ),
        (
            LIGHTNING.replace("val_acc", "f1"),
            r"has no column of validation accuracy; it",
        ),
        (LIGHTNING.replace("\n1,,199", "\n,,199"), r"line 8: epoch '' is not a whole"),
        (
            SAMPLES["keras"].replace("0.25", "NA").replace("0.5,", "NA,"),
            r"starts with epoch 2, but keras numbers epochs from 0; give the whole log",
        ),
        (SAMPLES["huggingface"][:-9], r"is damaged JSON .*copy it again"),
        (SAMPLES["huggingface"].replace("0.75", '"a"'), r"log_history\[5\]: eval_accu"),
        (
            SAMPLES["huggingface"].replace(": 3.0", ": NaN"),
            r"\[5\]: epoch nan is not a",
        ),
        (
            SAMPLES["huggingface"].replace("eval_accuracy", "eval_f1"),
            r"has no column of validation accuracy; its columns are epoch",
        ),
    ],
)
def test_damaged_logs_are_refused(text, problem):
    with pytest.raises(UsageError) as caught:
        training_logs.read_log(text, ANY_COLUMNS)
    assert re.search(problem, str(caught.value))


@pytest.mark.parametrize(
    "text",
    ["", "name,score\na,1\n", "{}", "{[", "epoch\n1\n", "\0", "epoch,loss\n0,1\n"],
)
def test_other_files_are_no_logs(text, tmp_path):
    root = making_logs.write(tmp_path, {"a.csv": text})
    with pytest.raises(UsageError, match=r"is neither|contains no|is damaged"):
        curves.read_files([f"{root}/a.csv"])


def test_models_and_seeds_are_named_by_folders(tmp_path):
    names = {
        "20210101-120000-resnet50-224/summary.csv": TIMM,
        "vit/seed0/summary.csv": TIMM,
        "vit/seed_1/summary.csv": TIMM,
    }
    full = making_logs.write(tmp_path / "timm", names)
    names = {
        "a/lightning_logs/version_3/metrics.csv": LIGHTNING,
        "b/checkpoint-50/trainer_state.json": making_logs.huggingface(CURVE[:1]),
        "b/checkpoint-150/trainer_state.json": SAMPLES["huggingface"],
        "c/checkpoint-150/trainer_state.json": making_logs.huggingface(CURVE[:1]),
        "c/trainer_state.json": SAMPLES["huggingface"],
        "logs/d.csv": SAMPLES["keras"],
        "logs/e.csv": SAMPLES["keras"],
        "f/training.log": SAMPLES["keras"],
        "f/other.csv": "name,score\nx,1\n",
        "a/lightning_logs/version_3/other.csv": SAMPLES["keras"],
    }
    subset = making_logs.write(tmp_path / "small", names)
    rows, _ = to_rows([full], [subset])
    assert describe(rows["full"]) == [
        ("full", "resnet50-224", 0),
        ("full", "vit", 0),
        ("full", "vit", 1),
    ]
    assert describe(rows["subset"]) == [("small", name, 0) for name in "abcdef"]


def test_models_can_be_named_by_flag(tmp_path):
    root = making_logs.write(
        tmp_path, {"run1/summary.csv": TIMM, "x/metrics.csv": LIGHTNING}
    )
    names = {"run1": "resnet50", f"{root}/x/metrics.csv": "vit"}
    settings = LogSettings(model_names=names, train_images=(1,), validation_images=(1,))
    rows, _ = to_rows([root], [], settings)
    assert describe(rows["full"]) == [("full", "resnet50", 0), ("full", "vit", 0)]
    settings = LogSettings(
        model_names={"run2": "a"}, train_images=(1,), validation_images=(1,)
    )
    with pytest.raises(UsageError, match="--model_names run2: matches no log"):
        to_rows([root], [], settings)


def test_folders_of_several_models_are_sets(tmp_path):
    logs = {"a/summary.csv": TIMM, "b/summary.csv": TIMM}
    one, two = (making_logs.write(tmp_path / n, logs) for n in ("n200/x", "n100/x"))
    alone = making_logs.write(tmp_path / "alone", logs)
    paths = [one, two, f"{alone}/a", f"{alone}/b/summary.csv"]
    settings = LogSettings(train_images=(9, 1, 2, 3), validation_images=(5,))
    rows, _ = to_rows([f"{alone}/a"], paths, settings)
    del rows["full"]
    sizes = {r.row.dataset: r.row.train_images for r in rows["subset"]}
    assert sizes == {"n200/x": 1, "n100/x": 2, "subset": 3}


def test_percentages_are_recognised_and_said(tmp_path):
    full = making_logs.write(tmp_path / "full", {"a/summary.csv": TIMM})
    small = making_logs.write(tmp_path / "small", {"a/metrics.csv": LIGHTNING})
    rows, notes = to_rows([full], [small])
    assert [r.row.validation_accuracy for r in rows["full"]] == CURVE
    assert [r.row.validation_accuracy for r in rows["subset"]] == CURVE
    assert notes == [
        "full: accuracies in 1 timm log (eval_top1) are in percent, and divided by 100 "
        "(up to 75)",
        "subset: accuracies in 1 lightning log (val_acc) are 0 to 1 (up to 0.75)",
    ]
    high = making_logs.keras(PERCENT)
    mixed = making_logs.write(
        tmp_path / "mixed", {"a/log.csv": high, "b/log.csv": SAMPLES["keras"]}
    )
    with pytest.raises(UsageError, match=r"b/log.csv: its accuracies are at most 0.75"):
        to_rows([mixed], [small])


def test_timm_is_always_in_percent(tmp_path):
    """Even if no model, or only a failed one, is right for more than 1 % of images."""
    low = making_logs.write(
        tmp_path, {"a/summary.csv": making_logs.timm(CURVE), "b/summary.csv": TIMM}
    )
    rows, notes = to_rows([low], [])
    accuracies = {r.row.model: r.row.validation_accuracy for r in rows["full"]}
    assert accuracies == {"a": CURVE[-1] / 100, "b": CURVE[-1]}
    assert "2 timm logs (eval_top1) are in percent" in notes[0]


def test_unfinished_and_sparse_runs_are_refused(tmp_path):
    stopped = making_logs.huggingface(CURVE, epochs=9)
    sparse = SAMPLES["keras"].replace("0.5,", "NA,")
    root = making_logs.write(
        tmp_path, {"a/trainer_state.json": stopped, "b/log.csv": sparse}
    )
    rows, _ = to_rows([root], [])
    with pytest.raises(UsageError) as caught:
        curves.group_by_set(rows["full"])
    assert "a, seed 0, learning rate 0 is not finished: 3 of 9 epochs" in str(
        caught.value
    )
    assert "b, seed 0, learning rate 0 lacks epoch 2" in str(caught.value)


def test_sizes_that_no_log_states_are_required(tmp_path):
    root = making_logs.write(tmp_path / "full", {"a/summary.csv": TIMM})
    state = {"a/trainer_state.json": SAMPLES["huggingface"]}
    small = making_logs.write(tmp_path / "small", state)
    with pytest.raises(UsageError) as caught:
        to_rows([root], [small], LogSettings(train_images=(1, 2, 3)))
    text = str(caught.value)
    assert "--train_images 1,2,3: 3 numbers are given for 2 sets of logs" in text
    assert "--validation_images: is required, since the logs of full do not" in text


def test_unreadable_file_in_a_folder_is_named(tmp_path):
    root = making_logs.write(tmp_path, {"a/summary.csv": TIMM})
    (tmp_path / "job.log").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"job.log: is .*; if it is no log, give the"):
        curves.read_files([root])
    assert len(curves.read_files([f"{root}/a"]).logs) == 1


def test_plain_table_may_have_any_name(tmp_path):
    root = making_logs.write(tmp_path, {"a/curves.csv": SAMPLES["columns"]})
    assert len(curves.read_files([root], NAMED).logs) == 1
