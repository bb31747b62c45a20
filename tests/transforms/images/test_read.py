"""Test reading images in every encoding; hostile ones are data errors."""

import io
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.archives.zips import inflate
from transforms.images import read as image_reading
from transforms.images.read import RowGroups, read_image_bytes
from transforms.records import ByteRange, DataError, ImageRef, Location, ParquetRow


def make_ref(uri: str, location: Location) -> ImageRef:
    return ImageRef("key", "n01440764", "train", 0, uri, location)


def row(group: int, number: int, uri: str = "a.parquet") -> ImageRef:
    return make_ref(uri, ParquetRow(group, number))


def write_rows(path: Path, values: list, *, row_group_size: int = 2, **more) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [v if v is None else {"bytes": v, "path": "x.JPEG"} for v in values]
    table = pa.table({"image": pa.array(rows, struct), "label": [0] * len(rows)})
    pq.write_table(table, path, row_group_size=row_group_size, **more)


@pytest.fixture(autouse=True)
def forget():
    yield
    image_reading.forget()


def deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


def test_member_of_a_zip_is_inflated(tmp_path):
    data = deflate(b"image" * 100)
    (tmp_path / "a.zip").write_bytes(b"before" + data + b"behind")
    ref = make_ref("a.zip", ByteRange(6, len(data), "deflate"))
    assert read_image_bytes(str(tmp_path), ref) == b"image" * 100


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (deflate(bytes(1001)), "is more than 1000 bytes when decompressed"),
        (deflate(bytes(10**7)), "is more than 1000 bytes when decompressed"),
        (deflate(b"image" * 50)[:-2], "ends too early in the zip"),
        (b"", "ends too early in the zip"),
        (b"\xff" * 50, "damaged in the zip"),
    ],
    ids=["too large", "bomb", "truncated", "empty", "damaged"],
)
def test_bad_member_is_a_data_error(data, problem):
    with pytest.raises(DataError, match=problem):
        inflate(data, max_bytes=1000)


def test_member_of_just_the_largest_size_is_fine():
    assert inflate(deflate(bytes(1000)), max_bytes=1000) == bytes(1000)


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
@pytest.mark.parametrize("use_dictionary", [True, False])
def test_rows_of_parquet_are_read_in_any_order(tmp_path, compression, use_dictionary):
    values = [b"%d" % number * 50 for number in range(9)]
    write_rows(
        tmp_path / "a.parquet",
        values,
        compression=compression,
        use_dictionary=use_dictionary,
    )
    for number in (8, 0, 5, 1, 4, 7, 2, 3, 6):
        group, within = divmod(number, 2)
        assert read_image_bytes(str(tmp_path), row(group, within)) == values[number]


@pytest.mark.parametrize(
    ("ref", "problem"),
    [
        (row(0, 2), "row group 0 has 2 rows"),
        (row(2, 0), "the file has 2 row groups"),
        (row(1, 0), "the row holds no image"),
        (row(1, 1), "the row holds no image"),
        (row(0, 0, "gone"), "the file is gone"),
        (row(0, 0, "a.parquet/gone"), "the file is gone"),
        (row(0, 0, "b.parquet"), "damaged Parquet file"),
        (row(0, 0, "c.parquet"), "damaged Parquet file"),
        (row(0, 0, "d.parquet"), "damaged Parquet file"),
    ],
    ids=str,
)
def test_what_is_not_there_is_a_data_error(tmp_path, ref, problem):
    path = tmp_path / "a.parquet"
    write_rows(path, [b"a" * 99, b"b" * 99, None, None], use_dictionary=False)
    data = bytearray(path.read_bytes())
    (tmp_path / "b.parquet").write_bytes(data[:-9])
    pq.write_table(pa.table({"label": [1]}), tmp_path / "d.parquet")
    data[4:40] = bytes(36)
    (tmp_path / "c.parquet").write_bytes(data)
    with pytest.raises(DataError, match=problem):
        read_image_bytes(str(tmp_path), ref)


def test_enormous_row_group_is_refused_before_it_is_read(tmp_path, monkeypatch):
    write_rows(tmp_path / "a.parquet", [bytes(1000)], use_dictionary=False)
    monkeypatch.setattr(image_reading, "_MAX_ROW_GROUP_BYTES", 999)
    with pytest.raises(DataError, match="bytes of images is too large"):
        read_image_bytes(str(tmp_path), row(0, 0))


def load_counted(loaded: list):
    def load(path: str, number: int) -> pa.ChunkedArray:
        loaded.append((path, number))
        return pa.chunked_array([pa.array([bytes(1000)])])

    return load


def test_threads_that_go_on_together_load_each_row_group_once():
    loaded: list = []
    groups, load = RowGroups(), load_counted(loaded)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: groups.get("a", n // 100, load), range(2000)))
    assert sorted(loaded) == [("a", number) for number in range(20)]


def test_no_more_is_kept_than_allowed():
    loaded: list = []
    groups, load = RowGroups(max_bytes=2500), load_counted(loaded)
    for number in (0, 1, 0, 2, 0, 1):  # 1 is the one used longest ago when 2 comes
        groups.get("a", number, load)
    assert [number for _, number in loaded] == [0, 1, 2, 1]


def test_one_row_group_is_kept_however_large():
    loaded: list = []
    groups, load = RowGroups(max_bytes=1), load_counted(loaded)
    for number in (0, 0, 1, 1):
        groups.get("a", number, load)
    assert [number for _, number in loaded] == [0, 1]


def test_zip_of_python_is_inflated_by_its_place(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"image" * 99)
        info = archive.getinfo("a")
    (tmp_path / "a.zip").write_bytes(file.getvalue())
    ref = make_ref("a.zip", ByteRange(31, info.compress_size, "deflate"))
    assert read_image_bytes(str(tmp_path), ref) == b"image" * 99


def test_places_are_described():
    raw = make_ref("a.tar", ByteRange(512, 9))
    assert image_reading.describe_place(raw) == "a.tar at byte 512"
    assert (
        image_reading.describe_place(row(3, 7)) == "a.parquet in row 7 of row group 3"
    )
