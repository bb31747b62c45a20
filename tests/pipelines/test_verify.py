"""Test the verify job: intact datasets pass with every reader, damage is detected.

The second half is a mutation test. `DAMAGES` keep the old checksums, as accidents do;
`FORGERIES` recompute them, so that only the contents of the files reveal the change.
"""

import csv
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import build, verify
from tests import building, making
from transforms import storage
from transforms.archives import tfrecords
from transforms.models import image_source
from transforms.records import Record, UsageError, to_json
from transforms.training import data
from transforms.verification import readers
from transforms.verification import results as check_results

NAME = "small"
TAR = f"train/{NAME}-train-00001-of-00004.tar"
OTHER_TAR = f"train/{NAME}-train-00002-of-00004.tar"
PARQUET = "parquet/data/train-00001-of-00004.parquet"
RECORDS = f"__tfds__/{NAME}-train.tfrecord-00001-of-00004"
MANIFEST = "__meta__/manifest.parquet"
COMPLETE = "__meta__/complete.json"
CROISSANT = "croissant.json"
FAILURES = "__meta__/failures.csv"
GROUPS = "__meta__/groups.csv"
RECIPE = "__meta__/recipe.json"
STATISTICS = "__meta__/statistics.json"

Damage = Callable[[Path], None]


def build_small(
    folder: Path,
    imagenet: Path,
    *flags: str,
    formats: str = "webdataset,tfrecord,parquet,folders,array_record",
) -> Path:
    build.main([
        f"--input={imagenet}",
        "--grouping=random_groups",
        "--num_groups=3",
        "--images_per_group=19",
        "--min_validation_images=20",
        "--image_size=32",
        f"--formats={formats}",
        "--images_per_shard=16",
        f"--name={NAME}",
        f"--output={folder}",
        *flags,
    ])
    return folder / NAME / "1.0.0"


@pytest.fixture(scope="module")
def whole(mini_imagenet, tmp_path_factory) -> Path:
    return build_small(tmp_path_factory.mktemp("whole"), mini_imagenet)


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    """A dataset to damage."""
    return shutil.copytree(whole, tmp_path / NAME / "1.0.0")


def verify_with(root: Path, *names: str) -> dict[str, check_results.Row]:
    options = verify.VerifyOptions(dataset=str(root), readers=names, threads=2)
    return {row.check: row for row in verify.verify(options)}


def find_mismatches(root: Path, *names: str) -> set[str]:
    found = verify_with(root, *names).values()
    return {row.check for row in found if row.result == check_results.MISMATCH}


def run_main(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        verify.main(words)
    return int(ended.value.code or 0)


# A whole dataset


def test_whole_dataset_passes_with_every_reader(whole, capsys):
    assert run_main(str(whole), "--threads", "2") == 0
    table = capsys.readouterr().out.splitlines()
    results = {line.split("|")[0].strip(): line.split("|")[1] for line in table[2:-1]}
    assert {result.strip() for result in results.values()} == {check_results.OK}
    assert {f"opened with {name}" for name in readers.READERS} <= results.keys()
    assert table[-1] == f"ok: {len(results)} checks"


@pytest.mark.parametrize(
    ("formats", "flags"),
    [
        ("folders,webdataset", ["--folds=2"]),
        ("folders", []),
        ("tfrecord", ["--resize_mode=none"]),
        ("parquet", ["--folds=2"]),
        ("array_record", ["--seed=2"]),
        ("webdataset", ["--images_per_shard=1000", "--seed=3"]),
    ],
    ids=["folds", "folders", "original bytes", "parquet", "array_record", "one shard"],
)
def test_every_kind_of_dataset_passes(mini_imagenet, tmp_path, formats, flags):
    root = build_small(tmp_path, mini_imagenet, *flags, formats=formats)
    assert find_mismatches(root, "image_folders") == set()


def test_failed_images_are_accounted_for(class_folders, tmp_path):
    raw = shutil.copytree(class_folders, tmp_path / "raw")
    for path in sorted(raw.glob("train/*/*.JPEG"))[::17]:
        path.write_bytes(path.read_bytes()[:300])
    root = build_small(
        tmp_path, raw, "--max_failure_fraction=0.5", "--images_per_shard=8"
    )
    found = verify_with(root, "image_folders")
    assert {row.result for row in found.values()} == {check_results.OK}
    assert not found["keys"].detail.endswith(" 0 failed")


def test_reader_that_is_not_installed_is_no_failure(whole, monkeypatch):
    monkeypatch.setattr(readers.load("webdataset"), "LIBRARY", "not_to_be_found")
    row = verify_with(whole, "webdataset")["opened with webdataset"]
    assert row.result == check_results.NOT_INSTALLED


# What is no dataset


@pytest.mark.parametrize(
    ("inside", "remedy"),
    [
        ("", "is not a dataset but contains some; give .*1.0.0"),
        (f"{NAME}/1.0.0/train", "it has no __meta__"),
        (f"{NAME}/1.0.0/README.md", "is not a folder"),
        ("gone", "is not a folder"),
    ],
    ids=["output", "split", "file", "missing"],
)
def test_invalid_dataset_exits_with_2_and_a_remedy(whole, capsys, inside, remedy):
    assert run_main(str(whole.parents[1] / inside)) == 2
    assert re.search(remedy, capsys.readouterr().err)


@pytest.mark.parametrize("name", [".1.0.0.partial", "1.0.0", "1.0.0/"])
def test_unfinished_dataset_is_named(tmp_path, capsys, name):
    (tmp_path / ".1.0.0.partial").mkdir()
    assert run_main(f"{tmp_path}/{name}") == 2
    assert re.search("is unfinished.*; run the same .* --r", capsys.readouterr().err)


def test_every_reader_of_datasets_names_a_plan(mini_index, tmp_path):
    plan = str(building.run(mini_index, tmp_path, plan_only=True))
    message = "is a plan without images; build the dataset with the same command"
    assert message in verify.find_problem(plan)
    with pytest.raises(UsageError, match=message):
        data.read_training_set(plan, train_split="train", validation_split="validation")
    with pytest.raises(UsageError, match=message):
        image_source.read_dataset(plan, "train")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--dataset: is required"),
        (["--thread", "2"], "did you mean --threads"),
        (["--threads", "0"], "must be between"),
        (["--readers", "tfdss"], "did you mean tfds"),
        (["--runer", "DirectRunner"], "did you mean --runner"),
    ],
    ids=["nothing", "misspelt", "out of bounds", "reader", "beam"],
)
def test_wrong_flags_exit_with_2(whole, capsys, words, message):
    assert run_main(*([str(whole)] if words else []), *words) == 2
    assert message in capsys.readouterr().err


def test_help_is_given(capsys):
    assert run_main("--help") == 0
    assert "--dataset" in capsys.readouterr().out


# Damage


def flip(path: str, where: float = 0.5) -> Damage:
    def damage(root: Path) -> None:
        data = bytearray((root / path).read_bytes())
        data[int(where * (len(data) - 1))] ^= 0x10
        (root / path).write_bytes(data)

    return damage


def remove(path: str) -> Damage:
    return lambda root: (root / path).unlink()


def add(path: str, data: bytes = b"") -> Damage:
    def damage(root: Path) -> None:
        (root / path).parent.mkdir(exist_ok=True, parents=True)
        (root / path).write_bytes(data)

    return damage


def write(path: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda root: (root / path).write_bytes(change((root / path).read_bytes()))


def replace(path: str, old: str, new: str) -> Damage:
    """Replace the first occurrence; it must be there."""

    def change(data: bytes) -> bytes:
        assert old.encode() in data
        return data.replace(old.encode(), new.encode(), 1)

    return write(path, change)


def edit(path: str, change: Callable[[Any], object]) -> Damage:
    """Change a JSON file's value in place."""

    def damage(root: Path) -> None:
        value = json.loads((root / path).read_bytes())
        change(value)
        (root / path).write_text(json.dumps(value))

    return damage


def exchange(path: str, other: str) -> Damage:
    def damage(root: Path) -> None:
        first, second = (root / path).read_bytes(), (root / other).read_bytes()
        (root / path).write_bytes(second)
        (root / other).write_bytes(first)

    return damage


def remake(change: Callable[[pa.Table], pa.Table]) -> Damage:
    """Change the manifest."""

    def damage(root: Path) -> None:
        pq.write_table(change(pq.read_table(root / MANIFEST)), root / MANIFEST)

    return damage


def set_value(column: str, row: int, value: Any) -> Damage:
    """Set a value of the manifest; a function receives the old value."""

    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = value(values[row]) if callable(value) else value
        kind = table.schema.field(column)
        array = pa.array(values, kind.type)
        return table.set_column(table.column_names.index(column), kind, array)

    return remake(change)


def reorder(change: Callable[[np.ndarray], Any]) -> Damage:
    return remake(lambda table: table.take(pa.array(change(np.arange(len(table))))))


def folder_link(root: Path) -> None:
    (root / "more").symlink_to(root / "train")


def empty_folder(root: Path) -> None:
    (root / "train" / "more").mkdir()


def file_to_folder(root: Path) -> None:
    (root / "_info.json").unlink()
    (root / "_info.json").mkdir()
    (root / "_info.json" / "x").touch()


def duplicate_tar(root: Path) -> None:
    shutil.copy(root / TAR, root / TAR.replace("00001-of", "00004-of"))


def sidecar_paths() -> list[str]:
    return [
        "README.md",
        "_info.json",
        "classes.json",
        "dataset_info.json",
        "features.json",
        "label.labels.txt",
        "metadata.json",
        "__meta__/preview.jpg",
        FAILURES,
        GROUPS,
        MANIFEST,
        RECIPE,
        STATISTICS,
    ]


DAMAGES: dict[str, Damage] = {
    "byte flipped in tar": flip(TAR),
    "byte flipped in last tar": flip(
        f"validation/{NAME}-validation-00001-of-00002.tar"
    ),
    "byte flipped in tar's padding": flip(TAR, 1.0),
    "byte flipped in records": flip(RECORDS),
    "tar removed": remove(TAR),
    "records removed": remove(RECORDS),
    "tar truncated": write(TAR, lambda data: data[:-5000]),
    "tar emptied": write(TAR, lambda _: b""),
    "byte appended to records": write(RECORDS, lambda data: data + b"\0"),
    "tars exchanged": exchange(TAR, OTHER_TAR),
    "tar added": duplicate_tar,
    "stray file": add("notes.txt"),
    "stray file among shards": add("train/.x.tmp"),
    "stray file in class folder": add("folders/train/000_group_0/x.JPEG"),
    "stray file in meta": add("__meta__/more.json", b"{}"),
    "stray link to folder": folder_link,
    "stray empty folder": empty_folder,
    "file became folder": file_to_folder,
    "mark removed": remove(COMPLETE),
    "mark emptied": write(COMPLETE, lambda _: b""),
    "mark truncated": write(COMPLETE, lambda data: data[: len(data) // 2]),
    "mark is a list": write(COMPLETE, lambda _: b"[]"),
    "mark is deep": write(COMPLETE, lambda _: b"[" * 100_000),
    "mark of other subset": edit(
        COMPLETE, lambda mark: mark.update(subset_id="0" * 64)
    ),
    "mark lists no files": edit(COMPLETE, lambda mark: mark.update(files={})),
    "mark misses a file": edit(COMPLETE, lambda mark: mark["files"].popitem()),
    "mark leaves directory": edit(
        COMPLETE, lambda mark: mark["files"].update({"../../x": "0" * 64})
    ),
    "mark's checksum is none": edit(
        COMPLETE, lambda mark: mark["files"].update({TAR: None})
    ),
    **{f"byte flipped in {path}": flip(path) for path in sidecar_paths()},
    **{f"{path} removed": remove(path) for path in sidecar_paths()},
    **{f"{path} emptied": write(path, lambda _: b"") for path in sidecar_paths()},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_detected(copy, damage):
    damage(copy)
    found = find_mismatches(copy)
    assert found & {"commit mark", "files and checksums", "subset id"}


def test_image_of_folders_is_checked(copy):
    first = next(copy.glob("folders/train/*/*.JPEG"))
    flip(str(first.relative_to(copy)))(copy)
    assert find_mismatches(copy) == {"files and checksums"}


def test_shard_of_another_run_is_found(mini_imagenet, copy, tmp_path):
    other = build_small(tmp_path / "other", mini_imagenet, "--seed=1")
    shutil.copy(other / TAR, copy / TAR)
    assert {"files and checksums", "images"} <= find_mismatches(copy)


def test_all_mismatches_are_shown_without_a_traceback(copy, capsys):
    for path in sidecar_paths():
        (copy / path).write_bytes(b"\xff\0nonsense")
    assert run_main(str(copy)) == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert captured.out.splitlines()[-1].startswith("MISMATCH in ")
    assert captured.out.count(check_results.MISMATCH) > 12


def test_mark_of_another_run_is_found(mini_imagenet, copy, tmp_path):
    other = build_small(tmp_path / "other", mini_imagenet, "--seed=1")
    shutil.copy(other / COMPLETE, copy / COMPLETE)
    assert {"files and checksums", "subset id"} <= find_mismatches(copy)


def test_shard_of_another_run_is_found_under_any_checksum(
    mini_imagenet, copy, tmp_path
):
    other = build_small(tmp_path / "other", mini_imagenet, "--seed=1")
    shutil.copy(other / RECORDS, copy / RECORDS)
    forge(copy)
    assert "opened with tf_data" in find_mismatches(copy, "tf_data")
    shutil.copy(other / PARQUET, copy / PARQUET)
    forge(copy)
    assert "opened with arrow" in find_mismatches(copy, "arrow")


# Forgeries: the checksums are made anew


def forge(root: Path) -> None:
    """Rewrite the checksums for the current files, as a careless editor might."""
    description = json.loads((root / CROISSANT).read_bytes())
    for file in description["distribution"]:
        path = root / file.get("contentUrl", "")
        if path.is_file():
            file["contentSize"] = f"{path.stat().st_size} B"
            file["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (root / CROISSANT).write_bytes(to_json(description))
    mark = json.loads((root / COMPLETE).read_bytes())
    mark["files"] = {
        path: hashlib.sha256((root / path).read_bytes()).hexdigest()
        for path in storage.list_files(str(root))
        if path != COMPLETE
    }
    (root / COMPLETE).write_text(json.dumps(mark))


def add_failure(root: Path) -> None:
    with (root / FAILURES).open("a") as file:
        csv.writer(file).writerow(["n01", "train", 0, "n02088364", "x", "gone"])


def swap_groups(root: Path) -> None:
    """Exchange labels 0 and 1 of groups.csv, and update its checksum in the recipe."""
    with (root / GROUPS).open(newline="") as file:
        table = list(csv.reader(file))
    for row in table[1:]:
        row[3] = {"0": "1", "1": "0"}.get(row[3], row[3])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    (root / GROUPS).write_text(text.getvalue())
    checksum = hashlib.sha256(text.getvalue().encode()).hexdigest()
    edit(RECIPE, lambda recipe: recipe.update(groups_sha256=checksum))(root)
    edit("metadata.json", lambda data: data["recipe"].update(groups_sha256=checksum))(
        root
    )


def move_between_folders(root: Path) -> None:
    first = next(root.glob("folders/train/000_*/*.JPEG"))
    first.rename(next(root.glob("folders/train/001_*")) / first.name)


def key_in_two_splits(root: Path) -> None:
    first = pq.read_table(root / MANIFEST)["key"][0].as_py()
    set_value("key", -1, first)(root)


def lower(value: Any) -> Any:
    return value - 1


def other_label(label: int) -> int:
    return (label + 1) % 3


def manifest_rows(root: Path) -> list[dict[str, Any]]:
    return pq.read_table(root / MANIFEST).to_pylist()


def cut_out(root: Path, row: dict[str, Any]) -> bytes:
    data = (root / row["file"]).read_bytes()
    return data[row["offset"] : row["offset"] + row["length"]]


def enlarge_picture(root: Path) -> None:
    """Append another image after the end of a tar, and update the manifest."""
    picture = making.jpeg_bytes(size=(48, 64))
    row, tar = 5, root / manifest_rows(root)[5]["file"]
    offset = tar.stat().st_size
    tar.write_bytes(tar.read_bytes() + picture)
    told = {"offset": offset, "length": len(picture), "width": 48, "height": 64}
    for column, value in told.items():
        set_value(column, row, value)(root)


FORGERIES: dict[str, tuple[str, Damage]] = {
    "tar removed": ("list of files", remove(TAR)),
    "tar added": ("list of files", duplicate_tar),
    "stray file": ("list of files", add("notes.txt")),
    "image in other class folder": ("list of files", move_between_folders),
    "tars exchanged": ("images", exchange(TAR, OTHER_TAR)),
    "tar truncated": ("images", write(TAR, lambda data: data[:2000])),
    "label": ("labels", set_value("label", 7, other_label)),
    "label is another subset": ("subset id", set_value("label", 7, other_label)),
    "fine label": ("labels", set_value("fine_label", 0, lower)),
    "wnid": ("labels", set_value("wnid", 3, "n00000001")),
    "unknown label": ("labels", set_value("label", 0, 99)),
    "key": ("subset id", set_value("key", 3, "n02088364_999")),
    "key twice": ("keys", reorder(lambda n: [*n, n[0]])),
    "key in two splits": ("keys", key_in_two_splits),
    "split": ("subset id", set_value("split", 0, "validation")),
    "row missing": ("subset id", reorder(lambda n: n[1:])),
    "rows missing": ("counts", reorder(lambda n: n[:-9])),
    "no rows": ("subset id", reorder(lambda n: n[:0])),
    "rows exchanged": ("shards and order", reorder(lambda n: [1, 0, *n[2:]])),
    "position": ("shards and order", set_value("position", 5, 6)),
    "shard": ("shards and order", set_value("shard", 5, 1)),
    "negative shard": ("shards and order", set_value("shard", 5, -1)),
    "shard that is not": ("shards and order", set_value("shard", 5, 900)),
    "file": ("images", set_value("file", 5, OTHER_TAR)),
    "file outside": ("images", set_value("file", 5, "../../../../etc/passwd")),
    "offset": ("images", set_value("offset", 5, lambda n: n + 512)),
    "negative offset": ("images", set_value("offset", 5, -512)),
    "vast length": ("images", set_value("length", 5, 1 << 60)),
    "width": ("images", set_value("width", 5, lower)),
    "null": ("keys", set_value("wnid", 5, None)),
    "column missing": ("keys", remake(lambda table: table.drop_columns("wnid"))),
    "checksum of source": ("sources", set_value("source_sha256", 0, "x")),
    "path of a machine": ("sources", set_value("source", 0, "/home/me/x.tar")),
    "no source": ("sources", set_value("source_length", 0, 0)),
    "failures emptied": ("keys", write(FAILURES, lambda _: b"")),
    "failure added": ("subset id", add_failure),
    "groups exchanged": ("groups", swap_groups),
    "group's name": ("groups", replace(GROUPS, "group 1", "group one")),
    "class name": ("groups", replace(GROUPS, "Beagle", "Bagel")),
    "subset id": ("subset id", edit(RECIPE, lambda r: r.update(subset_id="0" * 64))),
    "image size": (
        "subset id",
        edit(RECIPE, lambda r: r["images"].update(image_size=64)),
    ),
    "seed": ("shards and order", edit(RECIPE, lambda r: r.update(seed=1))),
    "seed in metadata": (
        "sidecars and card",
        edit("metadata.json", lambda data: data["recipe"].update(seed=1)),
    ),
    "plan id": ("sidecars and card", edit(RECIPE, lambda r: r.update(plan_id="x"))),
    "images per group": (
        "recipe",
        edit(RECIPE, lambda r: r.update(images_per_group=9)),
    ),
    "folds": ("recipe", edit(RECIPE, lambda r: r.update(folds=2))),
    "no images per shard": (
        "shards and order",
        edit(RECIPE, lambda r: r.update(images_per_shard=0)),
    ),
    "formats": ("list of files", edit(RECIPE, lambda r: r["formats"].pop())),
    "unknown format": ("images", edit(RECIPE, lambda r: r.update(formats=["../x"]))),
    "name": ("list of files", edit(RECIPE, lambda r: r.update(name="other"))),
    "total": ("counts", edit(STATISTICS, lambda s: s["totals"].update(found=1))),
    "class's count": (
        "counts",
        edit(STATISTICS, lambda s: s["classes"][0]["written"].update(train=1)),
    ),
    "found": (
        "counts",
        edit(STATISTICS, lambda s: s["classes"][0]["found"].update(train=1)),
    ),
    "held out": (
        "counts",
        edit(STATISTICS, lambda s: s["classes"][0].update(held_out=1)),
    ),
    "official images": (
        "counts",
        edit(STATISTICS, lambda s: s["validation"].update(official=1)),
    ),
    "class missing": ("counts", edit(STATISTICS, lambda s: s["classes"].pop())),
    "group's count": (
        "counts",
        edit(STATISTICS, lambda s: s["groups"][0]["written"].update(train=1)),
    ),
    "smaller images": (
        "counts",
        edit(STATISTICS, lambda s: s["oddities"].update(smaller_than_asked=1)),
    ),
    "names exchanged": ("sidecars and card", edit("classes.json", list.reverse)),
    "class in other group": (
        "sidecars and card",
        edit("classes.json", lambda c: c[0]["wnids"].append(c[1]["wnids"].pop())),
    ),
    "names in label.labels.txt": (
        "sidecars and card",
        replace("label.labels.txt", "group 0\ngroup 1", "group 1\ngroup 0"),
    ),
    "shard lengths": (
        "sidecars and card",
        edit("dataset_info.json", lambda d: d["splits"][0]["shardLengths"].sort()),
    ),
    "number of labels": ("sidecars and card", replace("features.json", '"3"', '"4"')),
    "files for timm": (
        "sidecars and card",
        edit("_info.json", lambda d: d["splits"]["train"]["filenames"].pop()),
    ),
    "counts for timm": (
        "sidecars and card",
        edit("_info.json", lambda d: d["splits"]["train"].update(num_samples=1)),
    ),
    "count in card": (
        "sidecars and card",
        replace("README.md", "num_examples: 57", "num_examples: 58"),
    ),
    "name in card": (
        "sidecars and card",
        replace("README.md", "'1': group 1", "'1': x"),
    ),
    "card is no card": ("sidecars and card", write("README.md", lambda _: b"hello")),
    "preview": ("preview", write("__meta__/preview.jpg", lambda data: data[:900])),
    "larger picture": ("images", enlarge_picture),
}


@pytest.mark.parametrize(("check", "damage"), FORGERIES.values(), ids=FORGERIES.keys())
def test_forgery_is_found(copy, check, damage):
    damage(copy)
    forge(copy)
    found = find_mismatches(copy)
    assert check in found
    assert "files and checksums" not in found


# Forgeries that only a reader can tell


def rewrite_tar(change: Callable[[dict[str, bytes]], None]) -> Damage:
    """Change the members of a tar."""

    def damage(root: Path) -> None:
        members = making.read_tar(root / TAR)
        change(members)
        making.write_tar(root / TAR, members)

    return damage


def first_member(members: dict[str, bytes], suffix: str) -> str:
    return next(name for name in members if name.endswith(suffix))


def change_label(members: dict[str, bytes]) -> None:
    name = first_member(members, ".cls")
    members[name] = str(other_label(int(members[name]))).encode()


def change_json_label(members: dict[str, bytes]) -> None:
    name = first_member(members, ".json")
    labels = json.loads(members[name])
    labels["label"] = other_label(labels["label"])
    members[name] = json.dumps(labels).encode()


def change_wnid(members: dict[str, bytes]) -> None:
    name = first_member(members, ".json")
    members[name] = re.sub(rb"n\d{8}(?=\")", b"n00000000", members[name])


def forge_records(root: Path) -> None:
    """Replace a shard of records by one with another image."""
    record = Record("n02088364_1", making.jpeg_bytes(), 0, 162, "n02088364")
    example, _ = tfrecords.encode_record(record)
    (root / RECORDS).write_bytes(tfrecords.frame(example))


def exchange_pictures(root: Path) -> None:
    first, second = sorted(root.glob("folders/train/000_*/*.JPEG"))[:2]
    exchange(str(first.relative_to(root)), str(second.relative_to(root)))(root)


def change_record_label(root: Path) -> None:
    """Rewrite the records, the first with the label of another group."""
    rewritten = []
    own = [row for row in manifest_rows(root) if row["file"] == TAR]
    for number, row in enumerate(own):
        label = other_label(row["label"]) if number == 0 else row["label"]
        image = cut_out(root, row)
        record = Record(row["key"], image, label, row["fine_label"], row["wnid"])
        rewritten.append(tfrecords.frame(tfrecords.encode_record(record)[0]))
    (root / RECORDS).write_bytes(b"".join(rewritten))


def change_parquet(column: str, change: Callable[[Any], Any]) -> Damage:
    """Change a column's first value in a Parquet file."""

    def damage(root: Path) -> None:
        table = pq.read_table(root / PARQUET)
        values = table[column].to_pylist()
        values[0] = change(values[0])
        array = pa.array(values, table.schema.field(column).type)
        place = table.column_names.index(column)
        pq.write_table(table.set_column(place, column, array), root / PARQUET)

    return damage


def shorten_parquet(root: Path) -> None:
    pq.write_table(pq.read_table(root / PARQUET)[1:], root / PARQUET)


def append_behind_end(root: Path) -> None:
    with (root / TAR).open("ab") as file:
        file.write(making.tar_bytes({"x.jpg": making.jpeg_bytes()}))


def add_member(name: str) -> Damage:
    return rewrite_tar(lambda members: members.update({name: b"x"}))


DEEP_FORGERIES: dict[str, tuple[str, Damage]] = {
    "label in tar": ("webdataset", rewrite_tar(change_label)),
    "json label in tar": ("webdataset", rewrite_tar(change_json_label)),
    "label in tar, without its library": ("tar_members", rewrite_tar(change_label)),
    "wnid in tar, without its library": ("tar_members", rewrite_tar(change_wnid)),
    "member more in a sample": ("tar_members", add_member("n02088364_1.txt")),
    "member of no sample": ("tar_members", add_member("../../evil.jpg")),
    "sample behind the tar's end": ("tar_members", append_behind_end),
    "label in records": ("tf_data", change_record_label),
    "label in parquet": ("arrow", change_parquet("label", other_label)),
    "fine label in parquet": ("arrow", change_parquet("fine_label", lower)),
    "wnid in parquet": ("arrow", change_parquet("wnid", lambda _: "n00000000")),
    "picture in parquet": (
        "arrow",
        change_parquet("image", lambda i: i | {"bytes": i["bytes"] + b"\0"}),
    ),
    "name in parquet": (
        "arrow",
        change_parquet("image", lambda i: i | {"path": "n02088364_1.JPEG"}),
    ),
    "row of parquet removed": ("arrow", shorten_parquet),
    "label in parquet, as card reads it": (
        "huggingface_parquet",
        change_parquet("label", other_label),
    ),
    "wnid in tar, as card reads it": ("huggingface", rewrite_tar(change_wnid)),
    "byte flipped in records": ("tf_data", flip(RECORDS)),
    "records of others": ("tfds", forge_records),
    "pictures exchanged in folder": ("image_folders", exchange_pictures),
    "byte flipped in folder's picture": (
        "image_folders",
        lambda root: flip(
            str(next(root.glob("folders/train/*/*.JPEG")).relative_to(root))
        )(root),
    ),
}


@pytest.mark.parametrize(
    ("reader", "damage"), DEEP_FORGERIES.values(), ids=DEEP_FORGERIES.keys()
)
def test_forgery_is_found_by_a_reader(copy, reader, damage):
    damage(copy)
    forge(copy)
    assert f"opened with {reader}" in find_mismatches(copy, reader)


# Blame: the damaged file is named, and no other format

ONE_READER_A_FORMAT = {
    TAR: "tar_members",
    RECORDS: "tf_data",
    PARQUET: "arrow",
    "folders": "image_folders",
}


def flip_in_picture(root: Path, path: str) -> str:
    """Flip a byte of the first picture of the second shard; returns the file."""
    row = next(row for row in manifest_rows(root) if row["file"] == TAR)
    if path == "folders":
        (place,) = root.glob(f"folders/train/*/{row['key']}.JPEG")
        path = place.relative_to(root).as_posix()
    picture = cut_out(root, row)
    data = (root / path).read_bytes()
    assert data.count(picture) == 1
    spoilt = bytearray(picture)
    spoilt[-20] ^= 1
    (root / path).write_bytes(data.replace(picture, bytes(spoilt)))
    return path


@pytest.mark.parametrize(("path", "reader"), ONE_READER_A_FORMAT.items())
def test_one_flipped_byte_blames_its_file_and_no_healthy_format(copy, path, reader):
    damaged = flip_in_picture(copy, path)
    rows = verify_with(copy, *ONE_READER_A_FORMAT.values())
    assert list(rows)[-4:] == [
        f"opened with {name}" for name in ONE_READER_A_FORMAT.values()
    ]
    assert {n for n, row in rows.items() if row.result == check_results.MISMATCH} == {
        "files and checksums",
        f"opened with {reader}",
    }
    (named,) = rows["files and checksums"].examples
    assert named.startswith(f"{damaged} has other bytes")
    (told,) = rows[f"opened with {reader}"].examples
    assert damaged in told
    for other in {TAR, RECORDS, PARQUET} - {damaged}:
        assert other not in told or f"than in {other}" in told
    assert "manifest" not in told  # which has no checksum of written images


def test_truncated_tar_is_named_with_a_remedy(copy):
    images = pq.read_table(copy / MANIFEST).to_pylist()
    lost = [i for i in images if i["file"] == TAR][-3:]
    size = lost[0]["offset"] + 1
    os.truncate(copy / TAR, size)
    rows = verify_with(copy, "tar_members")
    (problem,) = rows["files and checksums"].examples
    assert problem.startswith(f"{TAR} has other bytes (sha256 ")
    assert problem.endswith("copy it again, or build the dataset again")
    decoded = f"{len(images) - len(lost)} decoded, "
    assert rows["images"].detail.startswith(f"{len(lost)} problems; {decoded}")
    needed = f"{lost[0]['offset']} to {lost[0]['offset'] + lost[0]['length']}"
    shown = f": needs bytes {needed} of a file of {size} bytes"
    assert rows["images"].examples[0].endswith(shown)
    *_, problem = rows["opened with tar_members"].examples
    assert problem.startswith(f"ValueError: damaged: {TAR}; the reader failed (1): ")


def test_damage_without_an_intact_copy_is_named(mini_imagenet, tmp_path):
    root = build_small(tmp_path, mini_imagenet, formats="webdataset")
    flip_in_picture(root, TAR)
    row = verify_with(root, "tar_members")["opened with tar_members"]
    assert row.result == check_results.MISMATCH
    assert row.examples == (
        f"{TAR} is damaged: no other copy of its 14 images to compare with",
    )


@pytest.mark.parametrize("path", [MANIFEST, GROUPS, RECIPE, COMPLETE])
def test_readers_are_not_blamed_for_what_they_are_compared_with(copy, path):
    write(path, lambda data: data[: len(data) // 2])(copy)
    row = verify_with(copy, "image_folders")["opened with image_folders"]
    assert row.result == check_results.NOT_RUN
    assert path in row.detail


def test_images_that_a_reader_lacks_are_counted_by_file(copy):
    first = next(copy.glob("folders/train/*/*.JPEG"))
    first.unlink()
    row = verify_with(copy, "image_folders")["opened with image_folders"]
    place = first.relative_to(copy).as_posix()
    assert row.examples == (f"{place}: 1 image not read ({first.stem})",)


# Warnings


def test_same_photograph_in_two_splits_is_a_warning(copy):
    checksum = pq.read_table(copy / MANIFEST)["source_sha256"][0].as_py()
    set_value("source_sha256", -1, checksum)(copy)
    forge(copy)
    found = verify_with(copy)
    assert found["leaks between splits"].result == check_results.WARNING
    assert " = validation " in found["leaks between splits"].examples[0]
    others = {row.result for row in found.values() if "leaks" not in row.check}
    assert others == {check_results.OK}


def test_dataset_of_version_0_1_0_lacks_counts_of_held_out_images(copy):
    def remove_counts(statistics: dict[str, Any]) -> None:
        del statistics["validation"]
        for entry in statistics["classes"]:
            del entry["held_out"]

    edit(STATISTICS, remove_counts)(copy)
    edit(RECIPE, lambda recipe: recipe.pop("command"))(copy)
    for folder in ("", "array_record/"):
        path = f"{folder}metadata.json"
        edit(path, lambda data: data["recipe"].pop("command"))(copy)
    forge(copy)
    assert find_mismatches(copy) == set()


def test_other_wording_is_a_warning(copy):
    replace("README.md", "A small ImageNet", "A tiny ImageNet")(copy)
    forge(copy)
    found = verify_with(copy)
    assert found["wording"].result == check_results.WARNING
    assert check_results.MISMATCH not in {row.result for row in found.values()}
