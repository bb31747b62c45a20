"""Test the index job: every image once, with the location of its bytes."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import build, index, predict
from tests import making
from transforms import processes, storage
from transforms.index import parts
from transforms.index import table as index_table
from transforms.index.inventory import read_inventory
from transforms.records import UsageError

_SCHEMA = b"ARROW:schema"  # which a writer adds itself


def _index(imagenet, output, *more):
    path = output / "index.parquet"
    index.main([f"--input={imagenet}", f"--output={path}", *more])
    return path


def _rows(path):
    return pq.read_table(path).to_pylist()


def test_index_locates_the_bytes_of_every_image(mini_imagenet, tmp_path, capfd):
    path = _index(mini_imagenet, tmp_path)
    rows = _rows(path)
    labels = making.read_labels(mini_imagenet / "LOC_val_solution.csv")
    assert len(rows) == len({row["key"] for row in rows}) == 150
    for row in rows:
        where = f"{mini_imagenet}/{row['uri']}"
        data = storage.read_range(where, row["offset"], row["length"])
        assert data[:3] == b"\xff\xd8\xff" or data[:4] == b"\x89PNG"
        assert row["wnid"] == labels.get(row["key"], row["key"][:9])
        assert row["encoding"] == "raw"
    assert capfd.readouterr().out == f"{path}\n"


def test_differences_from_imagenet_are_warnings_or_errors(
    mini_imagenet, tmp_path, capfd
):
    path = _index(mini_imagenet, tmp_path)
    *warnings, other = read_inventory(str(path)).warnings
    drawn = "validation images whose label is not the official one: 30 of 30, 100.0% ("
    assert other.text.startswith(drawn)
    assert [warning.text.partition(";")[0] for warning in warnings] == [
        "found 120 of ImageNet's 1,281,167 training images (6 of its 1000 classes)",
        "found 30 of ImageNet's 50,000 validation images (6 of its 1000 classes)",
    ]
    printed = capfd.readouterr().err
    assert all(
        f"warning: {warning.text}\n" in printed for warning in (*warnings, other)
    )
    with pytest.raises(SystemExit) as error:
        _index(mini_imagenet, tmp_path, "--require_complete")
    assert error.value.code == 2
    lines = capfd.readouterr().err.splitlines()
    assert sum("--require_complete: found " in line for line in lines) == 2


def test_inspection_records_the_kind_of_each_image(class_folders, tmp_path, capfd):
    folder = tmp_path / "imagenet"
    shutil.copytree(class_folders, folder)
    broken = folder / "train/n02088364/n02088364_1.JPEG"
    broken.write_bytes(broken.read_bytes()[:500])
    rows = {row["key"]: row for row in _rows(_index(folder, tmp_path, "--inspect"))}
    err = capfd.readouterr().err
    assert "1 unusable image left out" in err
    assert (
        "inspected 150 images: 149 can be decoded (145 JPEG RGB, 2 JPEG L, "
        "1 JPEG CMYK, 1 PNG RGB), 1 cannot (1 truncated image)\n"
    ) in err
    assert rows["n02088364_1"]["problem"] == "truncated image"
    assert [row["problem"] for row in rows.values()].count("") == 149
    assert rows["n02088364_3"]["mode"] == "CMYK"
    assert rows["n02099601_5"]["format"] == "PNG"
    whole = rows["n02088364_2"]
    described = storage.describe_file(str(folder), whole["uri"])
    assert whole["sha256"] == described.sha256
    assert (whole["format"], whole["mode"]) == ("JPEG", "RGB")
    assert whole["width"] > 0
    assert whole["height"] > 0


def test_inspection_that_finds_no_damage_says_so(class_folders, tmp_path, capfd):
    folder = tmp_path / "imagenet/train"
    shutil.copytree(class_folders / "train/n02099601", folder / "n02099601")
    path = _index(folder, tmp_path, "--inspect")
    line = "inspected 20 images: 20 can be decoded (19 JPEG RGB, 1 PNG RGB), 0 cannot\n"
    assert line in capfd.readouterr().err
    assert index_table.describe_inspection(str(path)) == line.rstrip()
    before = path.read_bytes()
    with pytest.raises(SystemExit) as ended:
        _index(folder, tmp_path)
    assert ended.value.code == 2
    assert f"--output {path}: is an index with the res" in capfd.readouterr().err
    assert path.read_bytes() == before
    _index(folder, tmp_path, "--inspect")


@pytest.mark.parametrize("least", [1, 40, 10_000])
def test_processes_inspect_as_threads_do(class_archives, tmp_path, monkeypatch, least):
    """Processes start at the beginning, in the middle, or never."""
    started = []
    monkeypatch.setattr("transforms.processes.LEAST_IMAGES", least)
    monkeypatch.setattr("transforms.index.inspection.WINDOW_IMAGES", 7)
    start = processes.ProcessPool.__init__
    monkeypatch.setattr(
        processes.ProcessPool, "__init__", lambda *a: started.append(start(*a))
    )
    flags = ["--inspect", "--direct_runner_bundle_repeat=1"]
    found = _index(class_archives, tmp_path / "a", *flags, "--threads=2")
    assert bool(started) == (least < 10_000)
    expected = _index(class_archives, tmp_path / "b", *flags, "--threads=1")
    assert found.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("least", [0, 100])
def test_processes_list_archives_as_one_does(
    class_archives, tmp_path, monkeypatch, least
):
    monkeypatch.setattr(parts, "_LEAST_IN_PROCESSES", least)
    expected = _index(class_archives, tmp_path / "a", "--threads=1")
    monkeypatch.setattr(index, "num_cores", lambda: 2)
    found = _index(class_archives, tmp_path / "b", "--threads=2")
    assert found.read_bytes() == expected.read_bytes()


def test_processes_name_the_first_damaged_archive(
    class_archives, tmp_path, monkeypatch, capfd
):
    damaged = shutil.copytree(class_archives, tmp_path / "damaged")
    for archive in sorted(damaged.glob("*.tar"))[2:4]:
        archive.write_bytes(archive.read_bytes()[:700])
    monkeypatch.setattr(parts, "_LEAST_IN_PROCESSES", 0)
    errors = []
    for name, cores in [("a", 1), ("b", 2)]:
        monkeypatch.setattr(index, "num_cores", lambda cores=cores: cores)
        with pytest.raises(SystemExit):
            _index(damaged, tmp_path / name, "--threads=2")
        errors.append(capfd.readouterr().err.partition("error: ")[2])
        assert not list((tmp_path / name).glob("*"))
    assert errors[0] == errors[1]
    assert "the archive is truncated" in errors[0]


def test_index_of_other_types_is_an_error(mini_index, tmp_path):
    table = pq.read_table(mini_index)
    column = table.schema.get_field_index("key")
    path = tmp_path / "index.parquet"
    changed = table.set_column(column, "key", table["key"].cast(pa.binary()))
    with pq.ParquetWriter(path, changed.schema) as writer:
        told = pq.read_metadata(mini_index).metadata
        writer.add_key_value_metadata({k: v for k, v in told.items() if k != _SCHEMA})
        writer.write_table(changed)
    with pytest.raises(UsageError, match="column key has type binary, not string"):
        read_inventory(str(path))


def test_index_is_the_same_every_time_and_for_any_workers(mini_imagenet, tmp_path):
    once = _index(mini_imagenet, tmp_path / "a")
    again = _index(
        mini_imagenet,
        tmp_path / "b",
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=2",
    )
    assert once.read_bytes() == again.read_bytes()
    assert [path.name for path in once.parent.iterdir()] == ["index.parquet"]


def test_fingerprint_depends_on_images_and_not_on_the_layout(
    mini_imagenet, class_folders, tmp_path
):
    first = read_inventory(str(_index(mini_imagenet, tmp_path / "a")))
    same = read_inventory(str(_index(class_folders, tmp_path / "b")))
    folder = tmp_path / "less"
    shutil.copytree(class_folders, folder)
    (folder / "train/n02088364/n02088364_1.JPEG").unlink()
    less = read_inventory(str(_index(folder, tmp_path / "c")))
    assert first.fingerprint == same.fingerprint != less.fingerprint
    assert first.num_images == same.num_images


def test_strays_are_reported(class_folders, tmp_path, capfd):
    folder = tmp_path / "imagenet"
    shutil.copytree(class_folders, folder)
    (folder / "train/n02088364/Thumbs.db").write_bytes(b"x")
    _index(folder, tmp_path)
    assert "1 non-image file left out (train/n02088364/Thumbs.db" in (
        capfd.readouterr().err
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--input=a", "--output=a.csv"], "--output a.csv: must end in .parquet"),
        (["--output=a.parquet"], "--input: is required"),
        (["--input=a"], "--output: is required"),
        (["--input=nowhere", "--output=a.parquet"], "no such file or folder"),
        (["--input=a", "--output=a.parquet", "--threads=0"], "--threads 0: must be"),
    ],
)
def test_problems_are_named(flags, expected, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        index.main(flags)
    assert ended.value.code == 2
    assert expected in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_files_of_another_kind_are_not_replaced(class_folders, tmp_path, capfd):
    path = tmp_path / "mine.parquet"
    flags = [f"--input={class_folders}", f"--output={path}"]
    pq.write_table(pa.table({"mine": [1]}), path)
    for content in (path.read_bytes(), b"mine"):
        path.write_bytes(content)
        with pytest.raises(SystemExit) as ended:
            index.main(flags)
        assert ended.value.code == 2
        assert f"{path}: exists and is not an index; name" in capfd.readouterr().err
        assert path.read_bytes() == content
    path.write_bytes(b"")
    for _ in range(2):
        index.main(flags)


def test_flags_set_the_splits_of_inputs(class_folders, tmp_path):
    for folder, name in (("train", "a"), ("val", "b")):
        shutil.copytree(class_folders / folder, tmp_path / name)
    path = tmp_path / "index.parquet"
    index.main([
        f"--validation_input={tmp_path / 'b'}",
        f"--train_input={tmp_path / 'a'}",
        f"--output={path}",
    ])
    inventory = read_inventory(str(path))
    assert (inventory.total("train"), inventory.total("validation")) == (120, 30)
    assert inventory.roots == (str(tmp_path / "a"), str(tmp_path / "b"))


@pytest.mark.parametrize("job", [index, build, predict])
def test_index_goes_with_no_other_input(job, tmp_path, capfd):
    words = ["--input=i.parquet", "--train_input=a", f"--output={tmp_path}/o.parquet"]
    with pytest.raises(SystemExit) as ended:
        job.main(words)
    assert ended.value.code == 2
    assert (
        "--input i.parquet: an index must be the only input" in capfd.readouterr().err
    )


def test_folder_of_empty_classes_is_an_error(tmp_path, capfd):
    (tmp_path / "n01440764").mkdir()
    with pytest.raises(SystemExit) as ended:
        _index(tmp_path, tmp_path / "out")
    assert ended.value.code == 2
    assert "no usable images in" in capfd.readouterr().err


@pytest.mark.parametrize("engine", [[], ["--inspect"]])
def test_failing_run_keeps_the_earlier_index(class_folders, tmp_path, capfd, engine):
    (tmp_path / "empty/n02088364").mkdir(parents=True)
    (tmp_path / "bad/n02088364").mkdir(parents=True)
    (tmp_path / "bad/n02088364/n02088364_1.JPEG").write_bytes(b"no image")
    for name in ("a", "b"):
        shutil.copytree(
            class_folders / "train/n02088364", tmp_path / name / "n02088364"
        )
    output = tmp_path / "out"
    path = _index(class_folders, output, *engine)
    before = path.read_bytes()
    for flags, message in [
        (
            [f"--train_input={tmp_path}/{name}" for name in ("a", "b")],
            f"20 image names are repeated in the input (n02088364_1, n02088364_10, "
            f"n02088364_11, n02088364_12, n02088364_13), the first at {tmp_path}/a/"
            f"n02088364/n02088364_1.JPEG at byte 0; {tmp_path}/b/n02088364/",
        ),
        ([f"--train_input={tmp_path}/empty"], f"no usable images in {tmp_path}/empty"),
        (
            [f"--train_input={tmp_path}/bad", "--inspect"],
            f"no usable images in {tmp_path}/bad: inspected 1 images: 0 can be decoded",
        ),
        ([f"--input={class_folders}", "--require_complete"], "--require_complete: fo"),
    ]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            index.main([*flags, *engine, f"--output={path}"])
        assert ended.value.code == 2
        assert f"error: {message}" in capfd.readouterr().err
        assert path.read_bytes() == before
        assert list(output.iterdir()) == [path]


@pytest.mark.real
def test_tiny_imagenet_is_indexed_completely(real_data, tmp_path):
    inventory = read_inventory(str(_index(real_data / "tiny_imagenet", tmp_path)))
    assert (inventory.total("train"), inventory.total("validation")) == (30_300, 5050)
    assert len(inventory.wnids()) == 101
    assert set(inventory.num_images.values()) == {300, 50}


@pytest.mark.real
def test_tiny_imagenet_without_its_labels_is_an_error(real_data, tmp_path, capfd):
    archive = real_data / "tiny_imagenet" / "ILSVRC2012_img_val.tar"
    (tmp_path / archive.name).symlink_to(archive)
    with pytest.raises(SystemExit) as ended:
        _index(tmp_path, tmp_path / "out")
    assert ended.value.code == 2
    assert "5050 validation images without labels" in capfd.readouterr().err


def test_damaged_index_is_named(class_folders, tmp_path):
    path = _index(class_folders, tmp_path)
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56
    path.write_bytes(data)
    with pytest.raises(
        UsageError, match=r"index\.parquet: not a complete Parquet file"
    ):
        read_inventory(str(path))


@pytest.mark.parametrize("num_bytes", [0, 4, 1000, -1])
def test_truncated_index_is_named(mini_index, tmp_path, num_bytes):
    path = tmp_path / "index.parquet"
    path.write_bytes(Path(mini_index).read_bytes()[:num_bytes])
    message = r"index\.parquet: is damaged or no Parquet file; make it again with pyth"
    with pytest.raises(UsageError, match=message):
        read_inventory(str(path))


def test_image_whose_state_is_not_known_is_named(class_folders, tmp_path):
    path = _index(class_folders, tmp_path, "--inspect")
    table = pq.read_table(path)
    problems = [None, *table["problem"].to_pylist()[1:]]
    column = table.column_names.index("problem")
    table = table.set_column(column, "problem", pa.array(problems, pa.string()))
    pq.write_table(table.replace_schema_metadata(pq.read_metadata(path).metadata), path)
    with pytest.raises(UsageError, match="invalid values in problem"):
        read_inventory(str(path))
