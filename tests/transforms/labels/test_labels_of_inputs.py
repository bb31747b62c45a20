"""Keys and labels of whole inputs: an image has one key and one class everywhere."""

import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import inputs
from tests import making, making_layouts
from tests.making_layouts import LaidImage
from transforms.index import parts as index_parts
from transforms.index.parts import IndexPart
from transforms.labels import validation
from transforms.records import UsageError

A, B, C = "n01440764", "n01443537", "n02106662"
OFFICIAL = validation.official_labels()


def read(path, class_list=None):
    """Return (key, wnid) of all images of an input, sorted, and the warnings."""
    recognised = inputs.recognise([str(path)], None, class_list=class_list)
    labelled = [
        index_parts.label_part(index_parts.read_part(number, piece))
        for number, piece in enumerate(recognised.parts)
    ]
    parts = [
        IndexPart(
            images.number,
            path="",
            num_images=len(images.refs),
            strays=(),
            input=images.piece.input,
            uri=images.piece.uri,
            version="",
            observations=images.observations,
            labels=images.labels,
        )
        for images in labelled
    ]
    warnings = index_parts.judge(parts, [str(path)])
    refs = [ref for images in labelled for ref in images.refs]
    return sorted((r.key, r.wnid) for r in refs), [w.text for w in warnings]


def refuse(path, class_list=None):
    with pytest.raises(UsageError) as caught:
        read(path, class_list)
    return str(caught.value)


def name_images(wnid, num=3):
    return [f"{wnid}_{number}.JPEG" for number in range(1, num + 1)]


def write_folders(folder, *images):
    """Write (folder, file name) of images."""
    files = {f"{place}/{name}": b"image" for place, name in images}
    return making.write_files(folder, files)


def usual(*wnids):
    return [(f"train/{w}", name) for w in wnids for name in name_images(w)]


@pytest.mark.parametrize(
    "pattern",
    [
        "{key}.JPEG", "{key}_{wnid}.JPEG", "{key}.jpg", "{key}.Png", "{key}.JPEG.jpg",
        "train\\{wnid}\\{key}.JPEG",
    ],
)  # fmt: skip
def test_keys_are_those_of_imagenet_whatever_the_names(tmp_path, pattern):
    images = [
        (f"train/{w}", pattern.format(key=f"{w}_{n}", wnid=w))
        for w in (A, B)
        for n in (1, 2)
    ]
    expected = [(f"{w}_{n}", w) for w in (A, B) for n in (1, 2)]
    assert read(write_folders(tmp_path, *images)) == (expected, [])


def test_names_in_capitals_are_those_of_imagenet(tmp_path):
    images = [(f"train/{w}", f"{w}_1.JPEG".upper()) for w in (A, B)]
    expected = [(f"{w}_1", w) for w in (A, B)]
    assert read(write_folders(tmp_path, *images)) == (expected, [])


def test_extracted_names_are_those_of_parquet(tmp_path):
    images = [LaidImage("train", w, f"{w}_{n}", b"x") for w in (A, B) for n in (1, 2)]
    parquet = making_layouts.write_huggingface(tmp_path / "parquet", images)
    folders = write_folders(
        tmp_path / "folders",
        *((f"train/{i.wnid}", f"{i.key}_{i.wnid}.JPEG") for i in images),
    )
    assert (
        read(parquet)[0]
        == read(folders)[0]
        == [(f"{w}_{n}", w) for w in (A, B) for n in (1, 2)]
    )


def test_flat_validation_images_are_labelled_by_the_class_behind_their_names(tmp_path):
    named = dict(list(OFFICIAL.items())[:4])
    images = [("val", f"{key}_{wnid}.JPEG") for key, wnid in named.items()]
    assert read(write_folders(tmp_path, *images)) == (sorted(named.items()), [])
    rows = [f"{key},{wnid} 0 0 1 1\n" for key, wnid in named.items()]
    table = tmp_path / "LOC_val_solution.csv"
    table.write_text("ImageId,PredictionString\n" + "".join(rows))
    assert read(tmp_path) == (sorted(named.items()), [])
    table.write_text(table.read_text().replace("n01751748", "n01443537"))
    images, (warning,) = read(tmp_path)
    assert images == sorted(named.items())
    assert "1 (ILSVRC2012_val_00000001 is n01443537, not n01751748)" in warning


def test_training_names_do_not_label_flat_validation_images(tmp_path):
    """A class archive under another name is not a validation split."""
    path = making.write_tar(tmp_path / "val.tar", dict.fromkeys(name_images(A), b"x"))
    assert "3 validation images without labels" in refuse(path)


def write_as(folder, kind, images):
    """Write (class folder, file name) of images in a layout."""
    if kind == "folders":
        return write_folders(folder, *images)
    if kind == "zip":
        with zipfile.ZipFile(folder / "imagenet.zip", "w") as archive:
            for place, name in images:
                archive.writestr(f"{place}/{name}", b"image")
        return folder / "imagenet.zip"
    members = {w: {n: b"x" for p, n in images if p.endswith(w)} for w in (A, B)}
    tars = {f"{w}.tar": making.tar_bytes(files) for w, files in members.items()}
    if kind == "class_archives":
        return making.write_files(folder, tars)
    return making.write_tar(folder / "ILSVRC2012_img_train.tar", tars)


KINDS = ["folders", "zip", "class_archives", "official_archives"]


@pytest.mark.parametrize("kind", KINDS)
def test_image_in_the_place_of_another_class_has_the_class_of_its_name(tmp_path, kind):
    misplaced = [*usual(A, B), (f"train/{A}", f"{B}_99.JPEG")]
    images, (warning,) = read(write_as(tmp_path, kind, misplaced))
    assert images == sorted((name[:-5], name[:9]) for name in [
        *name_images(A), *name_images(B), f"{B}_99.JPEG"
    ])  # fmt: skip
    assert "another class than their folder, archive or table: 1 (" in warning
    assert f"{B}_99.JPEG in " in warning
    assert A in warning
    assert warning.endswith("; the class of the name is used")


@pytest.mark.parametrize("kind", KINDS)
def test_places_of_another_class_are_refused_with_both_names(tmp_path, kind):
    swapped = {A: B, B: C}
    images = [(f"train/{w}", name) for w in (A, B) for name in name_images(swapped[w])]
    message = refuse(write_as(tmp_path, kind, images))
    assert "in which the name of every image gives another class: 2 (" in message
    assert f"of {A} (tench): 3 images of {B} (goldfish)" in message
    assert f"of {B} (goldfish): 3 images of {C} (German Shepherd Dog)" in message


def test_names_that_cannot_be_keys_are_all_reported_at_once(tmp_path):
    copies = [(f"train/{w}", f"{w}_{n} (1).JPEG") for w in (A, B) for n in range(1, 21)]
    message = refuse(write_folders(tmp_path, *usual(A, B), *copies))
    assert message.count(" (1).JPEG' in ") == 10
    assert "cannot be keys: 40 ('n01440764_1 (1).JPEG' in n01440764, " in message
    assert " and 30 more); use only letters, digits, - and _" in message


def test_all_problems_of_an_input_are_reported_at_once(tmp_path):
    images = [*usual(A), (f"train/{A}", "a b.JPEG"), (f"train/{B}", f"{C}_1.JPEG")]
    lines = refuse(write_folders(tmp_path, *images)).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "folders or archives in which the name of every image gives another class",
        "image names that cannot be keys",
    ]


def write_shards(folder, samples):
    """Write (key, label) as WebDataset's tars."""
    members = {}
    for key, label in samples:
        members |= {f"{key}.jpg": b"x", f"{key}.cls": str(label).encode()}
    making.write_tar(folder / "imagenet-train-0000.tar", members)
    return folder


def write_parquet(folder, rows, split="train"):
    """Write (path, label) as Hugging Face's Parquet, without names of labels."""
    values = [{"bytes": b"x", "path": path} for path, _ in rows]
    image = pa.array(values, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": image, "label": pa.array([label for _, label in rows])})
    pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    return folder


IMAGENETTE = ("n01440764", "n02102040", "n02979186", "n03000684", "n03028079")
NUMBERED = [(f"sample{number:04d}", number % 5) for number in range(20)]


@pytest.mark.parametrize("write", [write_shards, write_parquet])
def test_labels_of_a_subset_need_a_class_list(tmp_path, write):
    folder = write_samples(write, tmp_path, NUMBERED)
    message = refuse(folder)
    assert "20 images are given by numbers alone, 0 to 4 (5 different)" in message
    listed = tmp_path / "classes.txt"
    listed.write_text("\n".join(IMAGENETTE))
    images, warnings = read(folder, str(listed))
    assert warnings == []
    assert images == [(key, IMAGENETTE[label]) for key, label in NUMBERED]
    (tmp_path / "short.txt").write_text("\n".join(IMAGENETTE[:4]))
    assert "neither a wnid nor 0 to 3" in refuse(folder, str(tmp_path / "short.txt"))


def test_class_list_also_replaces_the_names_of_labels(tmp_path):
    schema = making_layouts.huggingface_schema()
    names = ["goldfish", "American robin"]
    described = {"info": {"features": {"label": {"names": names}}}}
    schema = schema.with_metadata({"huggingface": json.dumps(described)})
    rows = [{"image": {"bytes": b"x", "path": "a.JPEG"}, "label": 1}]
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    assert "give their wnids with --class_list" in refuse(tmp_path)
    (tmp_path / "classes.txt").write_text("goldfish\nAmerican robin\n")
    assert read(tmp_path, str(tmp_path / "classes.txt"))[0] == [("a", "n01558993")]


def test_class_list_must_agree_with_the_names_of_images(tmp_path):
    write_shards(tmp_path, [(f"{A}_1", 0), (f"{B}_1", 1)])
    (tmp_path / "classes.txt").write_text(f"{B}\n{A}\n")
    message = refuse(tmp_path, str(tmp_path / "classes.txt"))
    assert f"label 0 is {B}, and its name says {A}" in message


@pytest.mark.parametrize("num_shown", [1, 60])
def test_file_of_official_validation_images_confirms_its_labels(tmp_path, num_shown):
    index_of = {w: n for n, w in enumerate(sorted(set(OFFICIAL.values())))}
    rows = [(f"{k}.JPEG", index_of[w]) for k, w in list(OFFICIAL.items())[:num_shown]]
    images, warnings = read(write_parquet(tmp_path, rows, "validation"))
    assert (len(images), warnings) == (num_shown, [])


def test_names_of_training_images_confirm_the_labels_of_validation_images(tmp_path):
    write_parquet(tmp_path, [(f"{A}_1.JPEG", 0), (f"{B}_1.JPEG", 1)])
    write_parquet(tmp_path, [("a.JPEG", 0), ("b.JPEG", 1)], "validation")
    images, warnings = read(tmp_path)
    assert warnings == []
    assert images[:2] == [("a", A), ("b", B)]


def write_samples(write, folder, samples):
    """Write (key, label) by one of the functions above."""
    suffix = ".JPEG" if write is write_parquet else ""
    return write(folder, [(f"{key}{suffix}", label) for key, label in samples])


@pytest.mark.parametrize("write", [write_shards, write_parquet])
def test_one_named_image_does_not_confirm_the_labels_of_a_subset(tmp_path, write):
    numbered = [(f"sample{number:04d}", number % 3) for number in range(24)]
    message = refuse(write_samples(write, tmp_path, [(f"{A}_1", 0), *numbered]))
    assert "24 images are given by numbers alone, 0 to 2 (3 different)" in message


def test_named_folders_do_not_confirm_numbers_beside_them(tmp_path):
    members = {f"{w}/{name}": b"x" for w in (A, B, C) for name in name_images(w)}
    making.write_tar(tmp_path / "train.tar", members)
    write_parquet(tmp_path, [(f"{n}.JPEG", n % 3) for n in range(24)], "validation")
    message = refuse(tmp_path)
    assert "24 images are given by numbers alone, 0 to 2 (3 different)" in message


@pytest.mark.parametrize("write", [write_shards, write_parquet])
def test_names_of_five_classes_confirm_the_labels_of_the_other_images(tmp_path, write):
    named = [(f"{w}_1", n) for n, w in enumerate(sorted(set(OFFICIAL.values()))[:20])]
    images, warnings = read(write_samples(write, tmp_path, [*named, *NUMBERED]))
    assert (len(images), warnings) == (40, [])


def test_label_past_the_thousand_hints_at_labels_from_one(tmp_path):
    write_parquet(tmp_path, [("a.JPEG", 1000)])
    hint = "if the labels start at 1, give --class_list with - in line 1"
    assert hint in refuse(tmp_path)


def test_validation_folders_in_another_order_are_refused(tmp_path):
    """As where ILSVRC2012_ID is taken for the rank of the wnid."""
    wnids = sorted(set(OFFICIAL.values()))[:4]
    other = dict(zip(wnids, [*wnids[1:], wnids[0]], strict=True))
    images = [
        (f"val/{other[w]}", f"{k}.JPEG") for k, w in OFFICIAL.items() if w in other
    ]
    message = refuse(write_folders(tmp_path, *images))
    assert "200 of 200, 100.0% (" in message
    assert "in 4 classes all images have the label of another class" in message


@pytest.mark.parametrize(
    ("members", "wnid"),
    [
        ({"a.cls": b"N01440764\n"}, A),
        ({"a.json": b'{"label": 7, "synset": "n01440764"}'}, A),
        ({"a.json": b'{"label": "n01440764"}'}, A),
    ],
    ids=["cls", "synset", "label"],
)
def test_labels_of_webdataset_may_be_wnids(tmp_path, members, wnid):
    members = {**members, "a.jpg": b"x"}
    making.write_tar(tmp_path / "imagenet-train-0000.tar", members)
    assert read(tmp_path) == ([("a", wnid)], [])


@pytest.mark.real
def test_tiny_imagenet_works_with_a_warning(real_data):
    images, (warning,) = read(real_data / "tiny_imagenet")
    assert len(images) == 101 * 350
    assert " of 5,050, " in warning
    assert "other images under official names" in warning


@pytest.mark.real
def test_labels_of_kaggle_agree_with_the_official_ones(real_data):
    table = validation.read_labels(str(real_data / "labels" / "LOC_val_solution.csv"))
    assert table == OFFICIAL
