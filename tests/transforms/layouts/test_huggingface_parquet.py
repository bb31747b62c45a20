import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import inputs
from tests import making_layouts
from tests.making_layouts import LaidImage
from transforms.index import table as index_table
from transforms.input_warnings import Observation
from transforms.labels.classes import load_classes
from transforms.labels.image_names import NumberLabels
from transforms.layouts import huggingface_parquet as layout
from transforms.records import ParquetRow, UsageError

IMAGE = LaidImage("train", "n01440764", "n01440764_1", b"image")


def read(path):
    found = layout.find(str(path))
    items = [image for piece in found.pieces for image in layout.read(piece)]
    return [item for item in items if not isinstance(item, NumberLabels)]


def write(path, rows, schema=None):
    """Write one file of these rows, as training images."""
    schema = schema or making_layouts.huggingface_schema()
    pq.write_table(pa.Table.from_pylist(rows, schema), path / "train-00-of-01.parquet")
    return path


def make_row(path="n01440764_1.JPEG", label=0):
    return {"image": {"bytes": b"x", "path": path}, "label": label}


def test_places_are_row_groups_and_rows(huggingface_parquet):
    refs = read(huggingface_parquet)
    first = [ref for ref in refs if ref.uri.endswith("train-00000-of-00002.parquet")]
    assert [ref.location for ref in first] == [
        ParquetRow(*divmod(number, 7)) for number in range(60)
    ]
    assert {type(ref.location) for ref in refs} == {ParquetRow}


def test_folder_of_the_files_themselves_is_recognised(huggingface_parquet):
    whole, inside = read(huggingface_parquet), read(huggingface_parquet / "data")
    assert [ref._replace(uri=f"data/{ref.uri}") for ref in inside] == whole


def test_test_images_and_missing_files_are_told(huggingface_parquet, tmp_path):
    folder = shutil.copytree(huggingface_parquet, tmp_path / "copy")
    (folder / "data/train-00000-of-00002.parquet").unlink()
    found = layout.find(str(folder))
    assert found.notes == (f"{folder}: the files of test are left out",)
    missing = "missing files of train: 1 of 2 (the first is number 0)"
    assert found.warnings == ((missing, True),)


def test_no_byte_of_an_image_is_read(huggingface_parquet, tmp_path):
    """The data pages of the images are removed."""
    folder = shutil.copytree(huggingface_parquet, tmp_path / "copy")
    for path in (folder / "data").glob("train*"):
        data = bytearray(path.read_bytes())
        footer = pq.read_metadata(path)
        for number in range(footer.num_row_groups):
            chunk = footer.row_group(number).column(0)
            assert chunk.path_in_schema == "image.bytes"
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            data[start : start + chunk.total_compressed_size] = bytes(
                chunk.total_compressed_size
            )
        path.write_bytes(data)
    assert read(folder) == read(huggingface_parquet)


def test_labels_that_are_named_by_wnids_are_these(tmp_path):
    schema = making_layouts.huggingface_schema()
    names = b'{"info": {"features": {"label": {"names": ["n02012849", "n01440764"]}}}}'
    schema = schema.with_metadata({"huggingface": names})
    (ref,) = read(write(tmp_path, [make_row("a_b.JPEG", 1)], schema))
    assert (ref.key, ref.wnid) == ("a_b", "n01440764")


def write_named(folder, names):
    described = {"info": {"features": {"label": {"names": names}}}}
    schema = making_layouts.huggingface_schema()
    schema = schema.with_metadata({"huggingface": json.dumps(described)})
    return write(folder, [make_row("ILSVRC2012_val_00000001.JPEG")], schema)


def test_labels_called_as_the_classes_are_these(tmp_path):
    (ref,) = read(write_named(tmp_path, [c.name.upper() for c in load_classes()]))
    assert ref.wnid == "n01440764"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda n: [n[1], n[0], *n[2:]], "label 0 is called 'goldfish', not 'tench'"),
        (lambda n: n[1:], "its 999 labels are neither named by their wnids nor"),
        (lambda n: ["cat", "dog"] * (len(n) // 2), "are not the classes of ImageNet"),
    ],
    ids=["order", "fewer", "others"],
)
def test_labels_of_other_classes_are_an_error(tmp_path, change, problem):
    """The names of the images do not reveal it."""
    write_named(tmp_path, change([c.lemmas[0] for c in load_classes()]))
    with pytest.raises(UsageError, match=f"{problem}.*; give their wnids with --class"):
        read(tmp_path)


def test_files_of_two_versions_are_an_error(huggingface_parquet, tmp_path):
    folder = shutil.copytree(huggingface_parquet, tmp_path / "copy") / "data"
    old = folder / "train-00000-of-00002-0123456789abcdef.parquet"
    shutil.copy(folder / "train-00000-of-00002.parquet", old)
    with pytest.raises(UsageError, match="the files of train belong to several"):
        layout.find(str(folder))


def test_wnid_beside_the_label_is_the_class(tmp_path):
    schema = pa.schema([*making_layouts.huggingface_schema(), ("wnid", pa.string())])
    rows = [{**make_row(label=17), "wnid": "n01440764"}]
    (ref,) = read(write(tmp_path, rows, schema))
    assert ref.wnid == "n01440764"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (make_row(label=1), "label 1 is n01443537, and its name says n01440764"),
        (make_row(label=-1), "the label is '-1', neither a wnid nor 0 to 999"),
        ({"image": None, "label": 0}, "row 0 of row group 0 has no image$"),
    ],
    ids=["conflict", "no label", "no image"],
)
def test_bad_row_is_an_error_with_its_place(tmp_path, row, problem):
    write(tmp_path, [row])
    with pytest.raises(UsageError, match=rf"train-00-of-01\.parquet.*{problem}"):
        read(tmp_path)


def test_name_that_cannot_be_a_key_is_observed(tmp_path):
    (observed,) = read(write(tmp_path, [make_row(path="a b_n01440764.JPEG")]))
    assert observed == Observation("no_key", "'a b_n01440764.JPEG' in n01440764")


def test_path_that_is_no_text_is_an_error(tmp_path):
    image = pa.struct([("bytes", pa.binary()), ("path", pa.binary())])
    schema = pa.schema([("image", image), ("label", pa.int64())])
    row = {"image": {"bytes": b"x", "path": b"n01440764_1.JPEG"}, "label": 0}
    write(tmp_path, [row], schema)
    with pytest.raises(UsageError, match=r"image\.path is of type binary, not string"):
        read(tmp_path)


def test_parquet_of_other_things_is_an_error_at_once(tmp_path):
    write(tmp_path, [{"text": "x"}], pa.schema([("text", pa.string())]))
    with pytest.raises(UsageError, match="has no columns image"):
        layout.find(str(tmp_path))


def test_truncated_file_is_an_error(huggingface_parquet, tmp_path):
    folder = shutil.copytree(huggingface_parquet, tmp_path / "copy")
    path = folder / "data/train-00000-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match="not a complete Parquet file"):
        layout.find(str(folder))


def test_index_of_ours_is_no_input(tmp_path):
    write(tmp_path, [make_row()]).joinpath("train-00-of-01.parquet").rename(
        tmp_path / "imagenet.parquet"
    )
    assert layout.find(str(tmp_path)) is None


@pytest.mark.parametrize("path", [b"n\xff", None], ids=["no text", "damaged page"])
def test_file_damaged_inside_is_named(tmp_path, path):
    write(tmp_path, [make_row("n01440764_1.JPEG")] * 9)
    file = tmp_path / "train-00-of-01.parquet"
    data = file.read_bytes()
    if path:
        file.write_bytes(data.replace(b"n01440764_1", path.ljust(11, b"_")))
    else:
        chunk = pq.read_metadata(file).row_group(0).column(1)
        start = chunk.dictionary_page_offset
        file.write_bytes(data[:start] + b"\xff" * 20 + data[start + 20 :])
    with pytest.raises(UsageError, match=r"train-00-of-01\.parquet: not a complete"):
        read(tmp_path)


def test_images_without_a_path_are_named_by_file_and_row(tmp_path):
    rows = [make_row(), make_row(path=None, label=1), make_row(path="", label=2)]
    folder = tmp_path / "default" / "train"
    folder.mkdir(parents=True)
    schema = making_layouts.huggingface_schema()
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, folder / "0000.parquet", row_group_size=2)
    *refs, told = read(tmp_path)
    assert [(ref.key, ref.wnid, *ref.location) for ref in refs] == [
        ("n01440764_1", "n01440764", 0, 0),
        ("default-train-0000-0000001", "n01443537", 0, 1),
        ("default-train-0000-0000002", "n01484850", 1, 0),
    ]
    assert told == Observation("made_keys", "default-train-0000-0000001.JPEG", 2)


@pytest.mark.parametrize(
    "name",
    ["default/train/0000.parquet", "train/0001.parquet", "data/train.parquet"],
)
def test_files_of_other_names(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    schema = making_layouts.huggingface_schema()
    pq.write_table(pa.Table.from_pylist([make_row()], schema), path)
    (ref,) = read(tmp_path)
    assert (ref.uri, ref.split, ref.key) == (name, "train", "n01440764_1")


def test_one_file_by_its_name(tmp_path):
    write(tmp_path, [make_row()])
    path = tmp_path / "train-00-of-01.parquet"
    (ref,) = read(path)
    assert (ref.uri, ref.split) == (path.name, "train")
    assert not index_table.is_index(str(path))
    path.rename(tmp_path / "a.parquet")
    (piece,) = inputs.recognise([str(tmp_path / "a.parquet")], None).parts
    assert (piece.uri, piece.split) == ("a.parquet", "train")


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view()])
def test_text_of_other_types(tmp_path, kind):
    image = pa.struct([("bytes", pa.large_binary()), ("path", kind)])
    schema = pa.schema([("image", image), ("label", pa.uint16())])
    (ref,) = read(write(tmp_path, [make_row()], schema))
    assert (ref.key, ref.wnid) == ("n01440764_1", "n01440764")


def test_columns_of_other_datasets_are_named(tmp_path):
    schema = pa.schema([("jpg", pa.binary()), ("cls", pa.int64())])
    write(tmp_path, [{"jpg": b"x", "cls": 0}], schema)
    with pytest.raises(UsageError, match=r"its columns are jpg, cls$"):
        layout.find(str(tmp_path))


def test_table_of_another_kind_is_no_layout(tmp_path):
    table = pa.table({"key": ["a"]})
    pq.write_table(table, tmp_path / "train.parquet")
    assert layout.find(str(tmp_path)) is None
