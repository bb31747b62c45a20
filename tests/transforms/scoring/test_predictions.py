import io
import zipfile

import numpy as np
import pytest

from transforms.labels import classes, validation
from transforms.records import UsageError
from transforms.scoring.predictions import read_predictions

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


def test_no_paths_are_no_predictions():
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
        (lambda p: write_member(p, b"PK no array"), "top5 is no array"),
        (lambda p: write_member(p, npy(top5())[:-1]), "top5 is cut short"),
        (lambda p: write_member(p, npy(top5())[:90]), "top5 is no array"),
        (lambda p: write_member(p, npy(top5()), compression=14), "stored or deflated"),
        (lambda p: p.write_bytes(b"no archive"), "is no readable npz file"),
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


def test_what_unpacks_to_too_much_is_refused_unread(tmp_path):
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
    with pytest.raises(UsageError, match="top5 is cut short"):
        read_predictions([path])


def test_damaged_files_are_the_users_to_mend(tmp_path):
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


def test_all_files_problems_are_told_at_once(tmp_path):
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
    assert f"--predictions {paths[1]}: {paths[0]} is of a already" in lines[0]
    assert "no such file" in lines[1]
    assert "predictions are files of .npz" in lines[2]


@pytest.mark.real
def test_ten_real_models(real_data):
    paths = sorted(map(str, (real_data / "predictions").glob("*.npz")))
    models = {p.model: p for p in read_predictions(paths)}
    assert len(models) == 10
    vgg16 = models["vgg16"]
    assert int((vgg16.top5[:, 0] == vgg16.truth).sum()) == 35_796
