import io
import zipfile

import numpy as np
import pytest

from transforms import npz

ARRAYS = {
    "numbers": np.arange(6, dtype="<i4").reshape(2, 3),
    "shares": np.asfortranarray(np.arange(4.0).reshape(2, 2) / 3),
    "texts": np.array(["hen", "tench"]),
}


def _zip(**members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return data.getvalue()


def _npy(array, **settings):
    data = io.BytesIO()
    np.lib.format.write_array(data, array, **settings)
    return data.getvalue()


def test_arrays_survive_a_round_trip_and_numpy_reads_them(tmp_path):
    data = npz.to_npz_bytes(ARRAYS)
    assert data == npz.to_npz_bytes(ARRAYS)
    (tmp_path / "a.npz").write_bytes(data)
    theirs = np.load(tmp_path / "a.npz")
    ours = npz.read_npz(data, ["numbers"], optional=["shares", "texts"], max_bytes=1000)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(ours[name], array)
        np.testing.assert_array_equal(theirs[name], array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)], ids=str)
def test_files_of_numpy_are_read(version):
    data = _zip(a=_npy(ARRAYS["shares"], version=version))
    np.testing.assert_array_equal(
        npz.read_npz(data, ["a"], max_bytes=1000)["a"], ARRAYS["shares"]
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is not a readable npz file"),
        (b"PK\x03\x04 and then nothing", "is not a readable npz file"),
        (_zip(b=_npy(np.arange(3))), "lacks the array 'a'"),
        (_zip(a=_npy(np.zeros(500))), "a would take 4128 bytes, of 1000 at most"),
        (_zip(a=b"no array"), "a is not an array"),
        (_zip(a=_npy(np.arange(9))[:-8]), "a is truncated, or longer than its header"),
        (_zip(a=_npy(np.arange(9)) + b"more"), "a is truncated, or longer"),
        (_zip(a=_npy(np.array([{}], object))), "a holds object, not numbers"),
        (_zip(a=_npy(np.array([1j]))), "a holds complex128, not numbers"),
        (_zip(a=_npy(np.array([""]), allow_pickle=False)), None),
    ],
)
def test_other_files_are_refused(data, problem):
    if problem is None:
        assert npz.read_npz(data, ["a"], max_bytes=1000)["a"].tolist() == [""]
        return
    with pytest.raises(ValueError, match=problem):
        npz.read_npz(data, ["a"], max_bytes=1000)


def test_huge_shape_in_a_header_allocates_nothing():
    header = _npy(np.zeros((1, 1))).replace(b"(1, 1), }", b"(9999999, 9999999), }")
    with pytest.raises(ValueError, match="a is"):
        npz.read_npz(_zip(a=header), ["a"], max_bytes=1000)
