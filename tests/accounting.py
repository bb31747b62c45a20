"""Build random inputs and recipes, and check that every image is accounted for.

Expected counts come from the input alone, in plain Python. The dataset is read without
the program: tar members, framed records, folders and Parquet.
"""

import contextlib
import csv
import io
import json
import shutil
import struct
import tarfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from hypothesis import strategies as st

from pipelines import build, index
from tests import building, making
from transforms.difficulty import table as difficulty_table
from transforms.miniature.archives import CLASSES

FORMATS = ("webdataset", "tfrecord", "folders", "parquet")
PICTURES = [making.jpeg_bytes(n, size=(16 + n, 12)) for n in range(4)]
BROKEN = {
    "empty": b"",
    "text": b"this is no image",
    "truncated": PICTURES[0][:200],
    "gone": None,  # removed after indexing
}


class Image(NamedTuple):
    """A file of the input."""

    key: str
    wnid: str
    split: str
    broken: str | None


class Case(NamedTuple):
    """An input and a recipe."""

    images: tuple[Image, ...]
    flags: dict
    inspects: bool
    scores: bool


@st.composite
def cases(draw):
    """Draw an input with broken images, and a recipe."""
    wnids = draw(st.permutations(CLASSES[:6]))[: draw(st.integers(2, 6))]
    chance = draw(st.sampled_from([0.0, 0.0, 0.1, 0.4]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = []
    for wnid in sorted(wnids):
        for split, max_images in (("train", 12), ("validation", 4)):
            for number in range(draw(st.integers(0, max_images))):
                key = f"{wnid}_{number}" if split == "train" else ""
                key = key or f"ILSVRC2012_val_{len(images):08d}"
                broken = (
                    str(rng.choice(list(BROKEN))) if rng.random() < chance else None
                )
                images.append(Image(key, wnid, split, broken))
    folds = draw(st.sampled_from([1, 1, 2]))
    grouping = draw(
        st.sampled_from(["all_classes", "random_groups", "random_classes", "curated"])
    )
    least = 0 if folds == 2 or grouping == "all_classes" else 1
    flags = {
        "grouping": grouping,
        "num_groups": None
        if grouping == "all_classes"
        else draw(st.integers(2, len(wnids))),
        "images_per_group": draw(st.integers(least, 14)) or None,
        "stratify_by_class": draw(st.booleans()),
        "folds": folds,
        "min_validation_images": draw(st.integers(0, 16)),
        "allow_small_validation": draw(st.booleans()),
        "max_failure_fraction": draw(st.sampled_from([0, 0.3, 0.9])),
        "images_per_shard": draw(st.integers(1, 20)),
        "seed": draw(st.integers(0, 3)),
        "formats": ",".join(draw(st.permutations(FORMATS))),
        "image_size": 8,
    }
    scores = draw(st.booleans()) and flags["images_per_group"] is not None
    return Case(tuple(images), flags, draw(st.booleans()), scores)


def attack(case: Case, folder: Path) -> str:
    """Build a case and account for its images; return the kind of outcome."""
    shutil.rmtree(folder, ignore_errors=True)
    if not case.images:
        return "no images"
    _write_input(case.images, folder / "in")
    flags = dict(case.flags)
    if case.scores:
        flags |= {"sampling": "difficulty", "difficulty": folder / "scores.parquet"}
        _write_scores(case.images, folder / "scores.parquet")
    table = folder / "index.parquet"
    command = [f"--input={folder / 'in'}", f"--output={table}"]
    code, _ = _call(index, [*command, *(["--inspect"] if case.inspects else [])])
    if code:
        assert not _find_usable(case, inspected=case.inspects)
        return "no usable images"
    for image in case.images:
        if image.broken == "gone":
            _place(folder / "in", image).unlink()
    code, said = _call(build, building.command_line(table, folder / "out", **flags))
    dataset = folder / "out" / "small" / "1.0.0"
    assert "Traceback" not in said
    assert dataset.exists() == (code == 0), said
    if code:
        expected = {1: "chosen images failed", 2: "error: "}
        assert expected[code] in said, said
        return {1: "too many failures", 2: "not feasible"}[code]
    check(case, dataset)
    return "built"


def _call(job, command) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            job.main(command)
        except SystemExit as error:
            return error.code, said.getvalue()
    return 0, said.getvalue()


def _place(folder: Path, image: Image) -> Path:
    split = "train" if image.split == "train" else "val"
    return folder / split / image.wnid / f"{image.key}.JPEG"


def _write_input(images, folder):
    for number, image in enumerate(images):  # every fourth is a copy
        data = BROKEN.get(image.broken) if image.broken else None
        place = _place(folder, image)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(PICTURES[number % len(PICTURES)] if data is None else data)


def _write_scores(images, path):
    """Write difficulty scores of the training images."""
    keys = [i.key for i in images if i.split == "train"]
    percents = [len(key) * int(key.rpartition("_")[2]) % 100 for key in keys]
    table = pa.table({
        "key": pa.array(keys, pa.string()),
        "wnid": pa.array([""] * len(keys), pa.string()),
        "p_correct": pa.array(np.array(percents, np.float32) / 100),
        "percent": pa.array(percents, pa.int16()),
        "fold": pa.array([""] * len(keys), pa.string()),
        "model_id": pa.array(["made up"] * len(keys), pa.string()),
    })
    difficulty_table.write_table(table, str(path))


def _find_usable(case, *, inspected):
    """List the images that the index has as usable; inspection finds broken ones."""
    seen = {"empty", "text", "truncated"} if inspected else set()
    return [image for image in case.images if image.broken not in seen]


def check(case: Case, dataset: Path) -> None:
    """Check that a dataset accounts for every image of its input."""
    by_key = {image.key: image for image in case.images}
    usable = {image.key for image in _find_usable(case, inspected=case.inspects)}
    rows = building.manifest(dataset)
    with (dataset / "__meta__/failures.csv").open() as file:
        failures = list(csv.DictReader(file))
    chosen = [(row["key"], row["split"]) for row in [*rows, *failures]]
    keys = [key for key, _ in chosen]
    assert len(set(keys)) == len(keys), "an image occurs twice, or in two splits"
    assert set(keys) <= usable
    for row in rows:
        image = by_key[row["key"]]
        assert image.wnid == row["wnid"]
        assert image.broken is None, image
        assert image.split == "train" or row["split"] == "validation"
    for failure in failures:
        assert by_key[failure["key"]].broken
        assert by_key[failure["key"]].wnid == failure["wnid"]
    _check_statistics(case, dataset, usable, rows, failures)
    _check_recipe(case, dataset, rows, failures)
    _check_readers(dataset, rows)
    _check_cards(dataset, rows)


def _check_statistics(case, dataset, usable, rows, failures):
    """By class and split: found = chosen + left out, chosen = written + failed."""
    written = Counter((row["wnid"], row["split"]) for row in rows)
    failed = Counter((f["wnid"], f["split"]) for f in failures)
    found = Counter((i.wnid, i.split) for i in case.images if i.key in usable)
    unusable = Counter((i.wnid, i.split) for i in case.images if i.key not in usable)
    statistics = building.read_json(dataset, "__meta__/statistics.json")
    assert {c["wnid"] for c in statistics["classes"]} == {i.wnid for i in case.images}
    for entry in statistics["classes"]:
        wnid = entry["wnid"]

        def of_class(counter, wnid=wnid):
            return {s: n for (w, s), n in counter.items() if w == wnid and n}

        assert entry["found"] == of_class(found)
        assert entry["unusable"] == of_class(unusable)
        assert entry["failed"] == of_class(failed)
        assert {s: n for s, n in entry["written"].items() if n} == of_class(written)
        assert entry["chosen"] == of_class(written + failed)
        assert entry["left_out"] >= 0
        num_chosen = sum(entry["chosen"].values())
        assert sum(entry["found"].values()) == num_chosen + entry["left_out"]
    totals = statistics["totals"]
    assert totals["found"] == len(usable)
    assert totals["unusable"] == len(case.images) - len(usable)
    assert totals["written"] == len(rows)
    assert totals["failed"] == len(failures)
    assert totals["found"] == len(rows) + len(failures) + totals["left_out"]
    for group in statistics["groups"]:
        own = Counter(r["split"] for r in rows if r["label"] == group["label"])
        assert {s: n for s, n in group["written"].items() if n} == own


def _check_recipe(case, dataset, rows, failures):
    """Check that every group has the requested images."""
    chosen = [(int(r["label"]), r["split"]) for r in [*rows, *failures]]
    num_groups = len(building.read_json(dataset, "classes.json"))
    counts = Counter(label for label, split in chosen if split != "validation")
    if wanted := case.flags["images_per_group"]:
        assert counts == dict.fromkeys(range(num_groups), wanted)
    folds = {split for _, split in chosen} - {"validation"}
    assert folds <= ({"fold_a", "fold_b"} if case.flags["folds"] == 2 else {"train"})
    validation = sum(split == "validation" for _, split in chosen)
    if not case.flags["allow_small_validation"]:
        assert validation >= case.flags["min_validation_images"]


def _check_readers(dataset, rows):
    """Check that all readers return the same images with the same labels."""
    splits = sorted({row["split"] for row in rows})
    expected = {s: sorted(_name(r) for r in rows if r["split"] == s) for s in splits}
    readers = (_read_tars, _read_records, _read_folders, _read_parquet)
    images = {}
    for read in readers:
        found = {split: list(read(dataset, split)) for split in splits}
        for split, records in found.items():
            assert sorted(r[:3] for r in records) == expected[split], read.__name__
            images.setdefault(split, []).append({r[0]: r[3] for r in records})
    for of_readers in images.values():
        assert all(each == of_readers[0] for each in of_readers), "other bytes"
    for place in ("", "__tfds__", "folders", "parquet/data"):
        names = [path.name for path in (dataset / place).iterdir()]
        for unwritten in {"train", "fold_a", "fold_b", "validation"} - set(splits):
            assert not [n for n in names if n == unwritten or f"-{unwritten}." in n]


def _name(row):
    return row["key"], row["label"], row["wnid"]


def _read_tars(dataset, split):
    for path in sorted((dataset / split).glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {m.name: tar.extractfile(m).read() for m in tar}
            assert len(members) == len(tar.getnames())
        for stem in sorted({name.split(".")[0] for name in members}):
            facts = json.loads(members[f"{stem}.json"])
            assert facts["label"] == int(members[f"{stem}.cls"])
            assert facts["file_name"] == f"{stem}.JPEG"
            yield stem, facts["label"], facts["wnid"], members[f"{stem}.jpg"]


def _read_records(dataset, split):
    for path in sorted((dataset / "__tfds__").glob(f"*-{split}.tfrecord-*")):
        data, position = path.read_bytes(), 0
        while position < len(data):
            (length,) = struct.unpack_from("<Q", data, position)
            example = data[position + 12 :][:length]
            position += 16 + length
            features = {}
            for entry in _fields(dict(_fields(example))[1]):
                name, feature = dict(_fields(entry[1])).values()
                ((_, values),) = _fields(feature)
                features[name.decode()] = dict(_fields(values))[1]
            key = features["file_name"].decode().removesuffix(".JPEG")
            (label,) = features["label"]  # a packed number, of one byte here
            yield key, label, features["wnid"].decode(), features["image"]


def _fields(message):
    """Yield the fields of a protocol buffer: (number, integer or bytes)."""
    file = io.BytesIO(message)

    def read_varint():
        value = shift = 0
        while (byte := file.read(1)[0]) >= 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    while file.tell() < len(message):
        tag = read_varint()
        value = read_varint()
        yield tag >> 3, file.read(value) if tag & 7 == 2 else value


def _read_folders(dataset, split):
    folder = dataset / "folders" / ("val" if split == "validation" else split)
    wnids = {row["key"]: row["wnid"] for row in building.manifest(dataset)}
    for label, group in enumerate(sorted(folder.iterdir())):  # as readers do
        for path in group.iterdir():
            yield path.stem, label, wnids[path.stem], path.read_bytes()


def _read_parquet(dataset, split):
    for path in sorted((dataset / "parquet" / "data").glob(f"{split}-*.parquet")):
        for row in pq.read_table(path).to_pylist():
            key = row["file_name"].removesuffix(".JPEG")
            yield key, row["label"], row["wnid"], row["image"]["bytes"]


def _check_cards(dataset, rows):
    """Check that cards and sidecars have the actual counts."""
    counts = Counter(row["split"] for row in rows)
    for card in ("README.md", "parquet/README.md"):
        front = yaml.safe_load((dataset / card).read_text().split("---\n")[1])
        splits = front["dataset_info"]["splits"]
        assert {s["name"]: s["num_examples"] for s in splits} == counts, card
    info = building.read_json(dataset, "_info.json")["splits"]
    assert {s["name"]: sum(s["shard_lengths"]) for s in info.values()} == counts
    assert {s["name"]: s["num_samples"] for s in info.values()} == counts
    tfds = building.read_json(dataset, "dataset_info.json")["splits"]
    assert {s["name"]: sum(map(int, s["shardLengths"])) for s in tfds} == counts
