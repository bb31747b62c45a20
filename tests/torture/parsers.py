"""List the parsers of foreign files with their allowed errors and valid examples.

A parser is given the path of a file with its suffix; whatever it raises must be one of
the errors that become a message (`NAMED`).
"""

import contextlib
import io
import json
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import grouping_flags
from pipelines.studying import recipes
from tests import making, making_layouts, making_predictions
from transforms import npz
from transforms.archives import tar, tfrecords
from transforms.confusion import matrix as confusion_matrix
from transforms.difficulty import sources as difficulty_sources
from transforms.difficulty import table as difficulty_table
from transforms.evaluation import by_accuracies, curves
from transforms.grouping.methods import manual
from transforms.grouping.table import GroupingRequest
from transforms.images import read as image_reading
from transforms.index import inventory
from transforms.index import table as index_table
from transforms.labels import validation
from transforms.layouts import (
    InputPart,
    huggingface_parquet,
    kaggle_zip,
    tfds_records,
    webdataset_tars,
)
from transforms.models import card as model_card
from transforms.predictions import reading as prediction_files
from transforms.records import ByteRange, DataError, ImageRef, Record, UsageError

NAMED = (UsageError, DataError)
WNIDS = ("n02088364", "n02099601", "n02123159")


class Target(NamedTuple):
    """One parser."""

    file: str  # the name of the file that it is given
    parse: Callable[[str], object]
    seeds: Callable[[], Iterable[bytes]]


def _exhaust(items: Iterable[object]) -> None:
    for _ in items:
        pass


def _piece(path: str, layout: str, **fields: object) -> InputPart:
    place = Path(path)
    return InputPart(
        layout=layout,
        root=str(place.parent),
        uri=place.name,
        split="train",
        is_labelled=True,
        **fields,
    )


# Archives


def _read_tar(path: str) -> None:
    _exhaust(tar.read_members(path))


def _read_sealed_tar(path: str) -> None:
    """Update the checksum of every header, so that its fields are parsed."""
    data = Path(path).read_bytes()
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    for number, block in enumerate(blocks):
        if block[257:262] == b"ustar":
            blank = block[:148] + b" " * 8 + block[156:]
            blocks[number] = blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]
    Path(path).write_bytes(b"".join(blocks))
    _read_tar(path)


def _tars() -> Iterable[bytes]:
    members = {"a/n02088364_1.JPEG": b"x" * 700, "b.cls": b"3"}
    yield making.tar_bytes(members)
    yield _tar_of(members, "gnu")
    yield _tar_of({"é" * 120 + ".JPEG": b"y" * 20, **members}, "pax")


def _tar_of(members: Mapping[str, bytes], form: str) -> bytes:
    file = io.BytesIO()
    kind = tarfile.GNU_FORMAT if form == "gnu" else tarfile.PAX_FORMAT
    with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name if form == "pax" else f"{'d' * 120}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def _read_webdataset(path: str) -> None:
    _exhaust(webdataset_tars.read(_piece(path, "webdataset_tars")))


def _webdataset_tars() -> Iterable[bytes]:
    described = json.dumps({"wnid": WNIDS[0], "label": 0}).encode()
    yield making.tar_bytes({"n02088364_1.jpg": b"x", "n02088364_1.json": described})
    yield making.tar_bytes({"a.jpg": b"x", "a.cls": b"162"})


def _read_zip(path: str) -> None:
    found = kaggle_zip.find(path)
    for piece in found.pieces if found else ():
        for ref in kaggle_zip.read(piece):
            if hasattr(ref, "encoding"):
                _pass_data_errors(image_reading.read_image_bytes, piece.root, ref)


def _pass_data_errors(function: Callable, *arguments: object) -> None:
    with contextlib.suppress(DataError):  # one image's: a row of failures.csv
        function(*arguments)


def _zips() -> Iterable[bytes]:
    for force_zip64 in (False, True):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for number, method in enumerate((0, 8)):
                name = f"train/{WNIDS[0]}/{WNIDS[0]}_{number}.JPEG"
                info = zipfile.ZipInfo(name)
                info.compress_type = method
                with archive.open(info, "w", force_zip64=force_zip64) as member:
                    member.write(b"abc" * 30)
        yield file.getvalue()


def _read_zipped_labels(path: str) -> None:
    validation.read_labels(f"{path}/LOC_val_solution.csv")


def _zipped_labels() -> Iterable[bytes]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LOC_val_solution.csv", next(iter(_labels())))
    yield file.getvalue()


# Records and Parquet


def _read_records(path: str) -> None:
    _exhaust(tfrecords.Reader(path).read_examples())


def _read_tfds(path: str) -> None:
    _exhaust(tfds_records.read(_piece(path, "tfds_records")))


def _records() -> Iterable[bytes]:
    record = Record(f"{WNIDS[0]}_1", making.jpeg_bytes(size=(8, 8)), 0, 162, WNIDS[0])
    framed = tfrecords.frame(tfrecords.encode_record(record)[0])
    yield framed
    yield framed * 2


def _read_example(path: str) -> None:
    """Parse the file as one record, so that its frame is always valid."""
    data = Path(path).read_bytes()
    Path(path).write_bytes(tfrecords.frame(data))
    _read_records(path)


def _examples() -> Iterable[bytes]:
    for framed in _records():
        length = struct.unpack_from("<Q", framed)[0]
        yield framed[12 : 12 + length]


def _read_huggingface(path: str) -> None:
    refs = list(huggingface_parquet.read(_piece(path, "huggingface_parquet")))
    root = str(Path(path).parent)
    for ref in refs[:9]:
        if hasattr(ref, "encoding"):
            _pass_data_errors(image_reading.read_image_bytes, root, ref)


def _huggingface() -> Iterable[bytes]:
    rows = [
        {"image": {"bytes": b"x" * 40, "path": f"{w}_1_{w}.JPEG"}, "label": 0}
        for w in ("n01440764",)
    ] * 3
    table = pa.Table.from_pylist(rows, making_layouts.huggingface_schema())
    table = table.replace_schema_metadata({})
    for compression in ("none", "zstd"):
        yield _parquet(table, compression=compression, row_group_size=2)


def _parquet(table: pa.Table, **options: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def _indexes() -> Iterable[bytes]:
    refs = [
        ImageRef(f"{w}_{n}", w, split, 0, "train/a.tar", ByteRange(512 * n, 99))
        for w in WNIDS
        for n, split in enumerate(("train", "train", "validation"))
    ]
    with tempfile.TemporaryDirectory() as folder:
        part, output = f"{folder}/part.parquet", f"{folder}/index.parquet"
        index_table.write_part(part, refs)
        index_table.merge_parts([part], output, roots=["/imagenet"], strays=["x"])
        yield Path(output).read_bytes()


def _read_difficulty(path: str) -> None:
    difficulty_table.read_table(path)


def _difficulty() -> Iterable[bytes]:
    rows = {"key": ["a", "b"], "wnid": list(WNIDS[:2]), "p_correct": [0.25, 1.0]}
    more = {"percent": [25, 100], "fold": ["", ""], "model_id": ["m", "m"]}
    table = pa.table({**rows, **more}).cast(difficulty_table.SCHEMA)
    yield _parquet(table)


def _read_scores(path: str) -> None:
    difficulty_sources.read_scores(
        path, kind="easiness", key_column="key", score_column="score"
    )


def _scores() -> Iterable[bytes]:
    yield b"key,score\nn02088364_1.JPEG,0.5\nb,1e3\n"


def _scores_in_parquet() -> Iterable[bytes]:
    yield _parquet(pa.table({"key": ["a", "b"], "score": [1.0, 2.0]}))


def _read_predictions(path: str) -> None:
    described = prediction_files.describe(path)
    groups = range(described.num_row_groups)
    _exhaust(prediction_files.read_batches(described, groups, with_probabilities=True))


def _predictions() -> Iterable[bytes]:
    model = making_predictions.scored(WNIDS)
    shares = [[0.5, 0.25, 0.25], [0, 0.5, 0.5]]
    rows = making_predictions.rows(model, ["a", "b"], WNIDS[:2], shares, keep=True)
    with tempfile.TemporaryDirectory() as folder:
        path = making_predictions.write(Path(folder, "p.parquet"), [model], rows)
        yield Path(path).read_bytes()


# Tables


def _read_groups(path: str) -> None:
    request = GroupingRequest(
        classes=grouping_flags.list_official_classes(),
        num_groups=None,
        seed=0,
        images_per_group=None,
        min_validation_images=0,
        allow_small_validation=True,
        groups_file=path,
    )
    manual.group_classes(request, manual.Options(missing="drop"))


def _groups() -> Iterable[bytes]:
    yield b"wnid,group,group_name\nn02088364,0,dogs\nn02123159,1,cats\n"
    yield b"class_index,name,group\n1,goldfish,a\n2,great white shark,b\n"


def _groups_in_yaml() -> Iterable[bytes]:
    yield b"dogs: [n02088364, golden retriever]\ncats:\n- '281'\n- '283'\n"


def _read_labels(path: str) -> None:
    validation.read_labels(path)


def _labels() -> Iterable[bytes]:
    yield b"ImageId,PredictionString\nILSVRC2012_val_00000001,n02088364 1 2 3 4 \n"


def _read_curves(path: str) -> None:
    curves.read_rows([path])


def _curves() -> Iterable[bytes]:
    yield (
        b"dataset,subset_id,model,seed,learning_rate,epoch,epochs,train_images,"
        b"validation_images,validation_accuracy,seconds\n"
        b"a,b,cnn,0,0.1,1,2,60,30,0.5,1.5\na,b,cnn,0,0.1,2,2,60,30,0.6,1.5\n"
    )


def _read_accuracies(path: str) -> None:
    by_accuracies.read_table(path)


def _accuracies() -> Iterable[bytes]:
    yield b"model,accuracy\nresnet,0.7\nvit,0.8\n"


def _read_confusion(path: str) -> None:
    confusion_matrix.read_confusion(path)


def _confusions() -> Iterable[bytes]:
    yield npz.to_npz_bytes({
        "matrix": np.array([[3, 1], [0, 4]], np.int64),
        "wnids": np.array(WNIDS[:2]),
        "num_images": np.array([4, 4], np.int64),
    })


def _confusions_in_csv() -> Iterable[bytes]:
    yield b"wnid,n02088364,n02099601,num_images\nn02088364,3,1,4\nn02099601,0,4,4\n"


def _read_card(path: str) -> None:
    model_card.read_card(path)


def _cards() -> Iterable[bytes]:
    names = [{"name": n, "wnids": [w]} for n, w in zip("abc", WNIDS, strict=True)]
    yield json.dumps({
        "model": "m",
        "classes": names,
        "preprocessing": {"resize_px": 32, "crop_px": 32, "mean": [0, 0, 0]},
        "output": "logits",
        "trained_on": {"subset_id": "x", "split": "train"},
    }).encode()
    yield b'{"classes": "imagenet", "preprocessing": {"resize_px": 9, "crop_px": 9}}'


def _read_recipes(path: str) -> None:
    recipes.read_recipes(path)


def _recipes() -> Iterable[bytes]:
    yield b'[{"name": "a", "grouping": "random_groups", "num_groups": [2], "x": true}]'


TARGETS: dict[str, Target] = {
    "tar": Target("a.tar", _read_tar, _tars),
    "tar of right checksums": Target("c.tar", _read_sealed_tar, _tars),
    "webdataset tar": Target("train-0.tar", _read_webdataset, _webdataset_tars),
    "zip": Target("a.zip", _read_zip, _zips),
    "labels in a zip": Target("b.zip", _read_zipped_labels, _zipped_labels),
    "tfrecord": Target("a.tfrecord", _read_records, _records),
    "tfds": Target("b.tfrecord", _read_tfds, _records),
    "tf.Example": Target("c.tfrecord", _read_example, _examples),
    "hugging face parquet": Target("a.parquet", _read_huggingface, _huggingface),
    "index": Target("i.parquet", inventory.read_inventory, _indexes),
    "predictions": Target("p.parquet", _read_predictions, _predictions),
    "difficulty": Target("d.parquet", _read_difficulty, _difficulty),
    "scores in csv": Target("s.csv", _read_scores, _scores),
    "scores in parquet": Target("s.parquet", _read_scores, _scores_in_parquet),
    "groups in csv": Target("g.csv", _read_groups, _groups),
    "groups in yaml": Target("g.yaml", _read_groups, _groups_in_yaml),
    "validation labels": Target("l.csv", _read_labels, _labels),
    "curves": Target("curves.csv", _read_curves, _curves),
    "accuracies": Target("accuracies.csv", _read_accuracies, _accuracies),
    "confusion in npz": Target("c.npz", _read_confusion, _confusions),
    "confusion in csv": Target("c.csv", _read_confusion, _confusions_in_csv),
    "model card": Target("model.json", _read_card, _cards),
    "recipes": Target("recipes.json", _read_recipes, _recipes),
}
