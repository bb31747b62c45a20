import dataclasses
import io
import zipfile

import numpy as np
import pyarrow as pa
import pytest

from tests import making_predictions
from transforms.labels import classes, validation
from transforms.predictions import reading
from transforms.predictions.reading import read_predictions
from transforms.records import UsageError

SHAPE = (50_000, 5)


def write(path, top5, **others):
    np.savez_compressed(path, top5=top5, **others)
    return str(path)


def top5(first=0, dtype=np.uint16):
    return np.tile(np.arange(first, first + 5, dtype=dtype), (SHAPE[0], 1))


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write_member(path, data, name="top5.npy", **settings):
    with zipfile.ZipFile(path, "w", **settings) as archive:
        archive.writestr(name, data)
    return str(path)


def test_each_file_is_a_model_in_the_order_of_the_paths(tmp_path):
    paths = [write(tmp_path / "b.npz", top5(3)), write(tmp_path / "a.1.npz", top5())]
    b, a = read_predictions(paths)
    assert (b.model, a.model) == ("b", "a.1")
    assert b.top5.tolist() == top5(3).tolist()
    assert b.truth is a.truth


def test_truth_and_keys_are_those_of_the_official_images(tmp_path):
    (one,) = read_predictions([write(tmp_path / "a.npz", top5())])
    labels = validation.official_labels()
    assert one.keys == tuple(labels)
    wnids = [classes.load_classes()[index].wnid for index in one.truth.tolist()]
    assert wnids == list(labels.values())
    with pytest.raises(ValueError, match="read-only"):
        one.truth[0] = 1


@pytest.mark.parametrize(
    "change",
    [np.asfortranarray, lambda a: a.astype(np.int64), lambda a: a.astype(">u4")],
    ids=["columns_first", "int64", "big_endian"],
)
def test_any_integers_are_read(tmp_path, change):
    (one,) = read_predictions([write(tmp_path / "a.npz", change(top5(995)))])
    assert one.top5.tolist() == top5(995).tolist()


def test_no_paths_give_no_predictions():
    assert read_predictions([]) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: write(p, top5()[1:]), "(49999, 5) of uint16, not (50000, 5)"),
        (lambda p: write(p, top5().T), "has shape (5, 50000)"),
        (lambda p: write(p, top5(dtype=np.float32)), "of float32"),
        (lambda p: write(p, top5(996)), "image 1 is [996, 997, 998, 999, 1000]"),
        (lambda p: write(p, top5(-1, np.int16)), "50000 images have others"),
        (lambda p: write(p, np.array([{}])), "top5 holds object"),
        (lambda p: write_member(p, b"", "top1.npy"), "lacks the array 'top5'"),
        (lambda p: write_member(p, b"PK no array"), "top5 is not an array"),
        (lambda p: write_member(p, npy(top5())[:-1]), "top5 is truncated"),
        (lambda p: write_member(p, npy(top5())[:90]), "top5 is not an array"),
        (lambda p: write_member(p, npy(top5()), compression=14), "stored or deflated"),
        (lambda p: p.write_bytes(b"no archive"), "is not a readable npz file"),
        (lambda p: p.mkdir(), "is a directory"),
        (lambda _: None, "no such file"),
    ],
    ids=lambda value: value.replace(" ", "_")[:30] if isinstance(value, str) else "",
)
def test_problems_name_the_file(tmp_path, make, message):
    path = tmp_path / "model.npz"
    make(path)
    with pytest.raises(UsageError) as caught:
        read_predictions([str(path)])
    assert str(caught.value).startswith(f"--predictions {path}: ")
    assert message in str(caught.value)


def test_too_large_arrays_are_rejected_before_reading(tmp_path):
    bomb = write_member(tmp_path / "a.npz", bytes(2**25), compression=8)
    with pytest.raises(UsageError, match="top5 would take 33554432 bytes"):
        read_predictions([bomb])
    (tmp_path / "b.npz").write_bytes(bytes(2**25))
    with pytest.raises(UsageError, match="is too large"):
        read_predictions([str(tmp_path / "b.npz")])


def test_header_of_a_huge_array_allocates_nothing(tmp_path):
    file = io.BytesIO()
    header = {"descr": "<u2", "fortran_order": False, "shape": (2**50, 5)}
    np.lib.format.write_array_header_2_0(file, header)
    path = write_member(tmp_path / "a.npz", file.getvalue())
    with pytest.raises(UsageError, match="top5 is truncated"):
        read_predictions([path])


def test_damaged_files_are_usage_errors(tmp_path):
    whole = tmp_path / "whole.npz"
    write(whole, top5())
    data = whole.read_bytes()
    path = tmp_path / "model.npz"
    for position in [*range(0, 200, 3), *range(len(data) - 120, len(data))]:
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            (one,) = read_predictions([str(path)])
        except UsageError:
            continue
        assert one.top5.shape == SHAPE


def test_problems_of_all_files_are_reported_at_once(tmp_path):
    (tmp_path / "other").mkdir()
    paths = [
        write(tmp_path / "a.npz", top5()),
        write(tmp_path / "other" / "a.npz", top5()),
        str(tmp_path / "b.npz"),
        str(tmp_path / "c.txt"),
    ]
    with pytest.raises(UsageError) as caught:
        read_predictions(paths)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert f"--predictions {paths[1]}: {paths[0]} already has a" in lines[0]
    assert "no such file" in lines[1]
    assert "must end in .npz or .parquet" in lines[2]


def test_many_models_given_twice_are_one_problem(tmp_path):
    paths = [write(tmp_path / f"m{number}.npz", top5()) for number in range(9)]
    with pytest.raises(UsageError) as caught:
        read_predictions(paths * 2)
    (line,) = str(caught.value).splitlines()
    assert "already has m0 (8 more models are repeated: " in line
    assert "m5.npz and 3 more); rename the file" in line


def test_indices_that_count_from_one_are_explained(tmp_path):
    shifted = write(tmp_path / "a.npz", top5(995) + 1)
    with pytest.raises(UsageError, match="subtract 1 if they count from 1, or from a"):
        read_predictions([shifted])


def test_classes_that_are_repeated_or_in_the_opposite_order_are_refused(tmp_path):
    _, truth = reading.official_images()
    likeliest_last = np.stack([(truth + step) % 1000 for step in (4, 3, 2, 1, 0)], 1)
    path = write(tmp_path / "last.npz", likeliest_last)
    with pytest.raises(UsageError, match="give the most probable class first"):
        read_predictions([path])
    read_predictions([write(tmp_path / "first.npz", likeliest_last[:, ::-1])])
    likeliest_last[7] = 1
    with pytest.raises(UsageError, match=r"top5 of image 8 is .* repeats a class; so"):
        read_predictions([write(tmp_path / "repeated.npz", likeliest_last)])


WNIDS = [info.wnid for info in classes.load_classes()]
CNN = making_predictions.scored([WNIDS[7], WNIDS[3], WNIDS[900]])
ANSWERS = [[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]]


def parquet(path, *, model=CNN, keys=("b", "a"), truth=(7, 900), change=None):
    """Write a model's predictions for two images, with changes."""
    wnids = [n if isinstance(n, str) else WNIDS[n] for n in truth]
    answers = np.resize(ANSWERS, (len(keys), len(model.classes)))
    table = making_predictions.rows(model, keys, wnids, answers)
    if change is not None:
        name, values = change
        column = table.schema.names.index(name)
        field = table.schema.field(column)
        table = table.set_column(column, field, pa.array(values, field.type))
    return making_predictions.write(path, [model], table)


def test_outputs_of_a_parquet_file_become_class_indices_by_key(tmp_path):
    (one,) = read_predictions([parquet(tmp_path / "any_name.parquet")])
    assert (one.model, one.keys) == ("cnn", ("a", "b"))
    assert one.top5.tolist() == [[7, 3, 900], [3, 900, 7]]
    assert one.truth.tolist() == [900, 7]


def test_a_parquet_file_may_hold_several_models(tmp_path):
    other = making_predictions.scored(WNIDS[:10], "mlp", "f1")
    tables = [
        making_predictions.rows(other, ["x", "y"], WNIDS[:2], np.eye(2, 10)),
        making_predictions.rows(CNN, ["x", "y"], WNIDS[:2], ANSWERS),
    ]
    path = making_predictions.write(tmp_path / "two.parquet", [CNN, other], *tables)
    npz = write(tmp_path / "vgg16.npz", top5())
    found = read_predictions([npz, path])
    assert [p.model for p in found] == ["vgg16", "cnn", "mlp"]
    assert [p.top5.shape for p in found] == [SHAPE, (2, 3), (2, 5)]
    assert found[2].top5[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model": making_predictions.scored([WNIDS[0], f"{WNIDS[1]}+{WNIDS[2]}"])},
            "predicts groups, not classes: 1 of its 2 outputs",
        ),
        (
            {"model": making_predictions.scored([WNIDS[0], "n00000001"])},
            "model cnn has outputs of 1 classes outside the 1000 of ImageNet (n0000",
        ),
        (
            {"model": making_predictions.scored([WNIDS[0], "dog"])},
            "outputs that are not wnids ('dog')",
        ),
        (
            {"model": making_predictions.scored([WNIDS[0], WNIDS[0]])},
            "several outputs for one class",
        ),
        ({"truth": (1, "n00000002")}, "it has images of 1 classes outside the 1000"),
        ({"truth": (1, "cat")}, "'cat' is not a wnid"),
        ({"keys": ("a", "a")}, "image a appears more than once for model cnn"),
        ({"keys": (), "truth": ()}, "contains no predictions"),
        ({"change": ("key", ["a", None])}, "column key has missing values"),
        ({"change": ("wnid", [WNIDS[0], None])}, "column wnid has missing values"),
        ({"change": ("top5", [[0, 1, 2], None])}, "column top5 has missing values"),
        ({"change": ("top5", [[0, 1, 2], [0, 1, None]])}, "a list has missing values"),
        ({"change": ("top5", [[0, 1, 2], [0, 1, 3]])}, "top5 of image a is not 0…2"),
        ({"change": ("top5", [[0, 1], [0, 1, 2]])}, "length of a list of image b"),
        ({"change": ("p_correct", [0.5, 1.1])}, "p_correct of image a is not 0 to 1"),
        ({"change": ("p_correct", [np.nan, 1])}, "p_correct of image b"),
        ({"change": ("model_id", ["f0", "f1"])}, "rows of 'cnn', which it does not"),
    ],
    ids=lambda value: value.replace(" ", "_")[:30] if isinstance(value, str) else "",
)
def test_problems_of_a_parquet_file_name_it(tmp_path, settings, message):
    path = parquet(tmp_path / "p.parquet", **settings)
    with pytest.raises(UsageError) as caught:
        read_predictions([path])
    assert str(caught.value).startswith(f"--predictions {path}: ")
    assert message in str(caught.value)


def test_a_parquet_column_of_another_type_is_refused(tmp_path):
    table = making_predictions.rows(CNN, ["a"], [WNIDS[3]], ANSWERS[:1])
    at = table.schema.names.index("top5")
    table = table.set_column(at, "top5", pa.array([["0", "1", "2"]]))
    path = making_predictions.write(tmp_path / "p.parquet", [CNN], table)
    with pytest.raises(UsageError, match=r"column top5 is list.*string.*not list"):
        read_predictions([path])


def test_models_with_the_same_name_are_rejected(tmp_path):
    other = dataclasses.replace(CNN, model_id="f1")
    table = making_predictions.rows(CNN, ["a"], [WNIDS[3]], ANSWERS[:1])
    both = making_predictions.write(tmp_path / "both.parquet", [CNN, other], table)
    one = parquet(tmp_path / "one.parquet")
    two = parquet(tmp_path / "two.parquet", model=other)
    with pytest.raises(UsageError) as caught:
        read_predictions([both, one, two])
    first, second = str(caught.value).splitlines()
    assert f"{both}: has two models named cnn" in first
    assert f"{two}: {one} already has cnn" in second


def test_damaged_parquet_files_are_usage_errors(tmp_path):
    whole = tmp_path / "whole.parquet"
    parquet(whole)
    data = whole.read_bytes()
    path = tmp_path / "p.parquet"
    for position in range(0, len(data), 5):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            (one,) = read_predictions([str(path)])
        except UsageError:
            continue
        assert one.top5.shape == (2, 3)


@pytest.mark.real
def test_real_models(real_data):
    paths = sorted(map(str, (real_data / "predictions").glob("*.npz")))
    models = {p.model: p for p in read_predictions(paths)}
    assert len(models) == len(paths) >= 10  # a model each
    vgg16 = models["vgg16"]
    assert int((vgg16.top5[:, 0] == vgg16.truth).sum()) == 35_796
