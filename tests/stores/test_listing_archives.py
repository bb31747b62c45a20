"""Listing archives in a bucket: its cost is said before, its progress meanwhile."""

import random

import pytest

from pipelines import index
from pipelines.index import describe_cost
from tests import making
from transforms.layouts import InputPart

BUCKET = "s3://photographs"
GIGABYTE = 10**9


def put_class(faulty, wnid, num_images, image_bytes=20_000):
    data = random.Random(wnid).randbytes(image_bytes)
    images = {f"{wnid}_{number}.JPEG": data for number in range(num_images)}
    faulty.objects[f"in/{wnid}.tar"] = making.tar_bytes(images)


def run_index(tmp_path, source=f"{BUCKET}/in"):
    index.main([f"--input={source}", f"--output={tmp_path}/index.parquet"])


def test_images_and_their_rate_are_shown(faulty, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    put_class(faulty, "n01440764", 34)
    put_class(faulty, "n01443537", 21)
    run_index(tmp_path)
    bars = capfd.readouterr().err.split("\r")
    assert "finding: 0 image [" in bars[1]
    assert "finding: 55 image [" in bars[-1]
    assert " image/s]" in bars[-1]


def test_cost_is_said_before_the_images_are_listed(
    faulty, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr(index, "_MANY_REQUESTS", 5)
    put_class(faulty, "n01440764", 30)
    run_index(tmp_path)
    before, _, _ = capfd.readouterr().err.partition("finding: ")
    assert (
        "listing 0.0 GB of archives in a bucket takes about 5 requests, one per image; "
        "an index (python -m pipelines.index) does this once for all jobs"
    ) in before


def describe(faulty, layout, sizes, root=BUCKET):
    """Describe the cost of archives of some sizes, without their bytes."""

    class Sized:
        def __init__(self, size):
            self.size = size

        def __len__(self):
            return self.size

    faulty.objects |= {name: Sized(size) for name, size in sizes.items()}
    return describe_cost([
        InputPart(layout=layout, root=root, uri=name, split="train")
        for name in sizes
        for _ in range(3)  # as the classes in one archive
    ])


@pytest.mark.parametrize(
    "layout", ["class_archives", "official_archives", "webdataset_tars", "tfds_records"]
)
def test_cost_is_a_request_for_each_image(faulty, layout):
    sizes = {"a/x": 138 * GIGABYTE, "a/y": 3 * GIGABYTE, "b/x": GIGABYTE}
    said = describe(faulty, layout, sizes)
    assert "142.0 GB" in said
    assert "1,290,909 requests" in said


@pytest.mark.parametrize(
    ("layout", "size", "root"),
    [
        ("class_archives", 100_000_000, BUCKET),
        ("kaggle_zip", 138 * GIGABYTE, BUCKET),
        ("class_folders", 138 * GIGABYTE, BUCKET),
        ("huggingface_parquet", 138 * GIGABYTE, BUCKET),
        ("class_archives", 138 * GIGABYTE, "/imagenet"),
    ],
)
def test_small_cost_is_not_mentioned(faulty, layout, size, root):
    assert describe(faulty, layout, {"a/x": size}, root) == ""


def test_other_archives_are_given_up_when_one_is_damaged(faulty, tmp_path, capfd):
    for number in range(4):
        put_class(faulty, f"n0144353{number}", 300)
    data = bytearray(faulty.objects["in/n01443531.tar"])
    data[20_992 + 100 : 20_992 + 110] = b"?" * 10
    faulty.objects["in/n01443531.tar"] = bytes(data)
    with pytest.raises(SystemExit) as ended:
        run_index(tmp_path)
    assert ended.value.code == 2
    assert "in/n01443531.tar: damaged" in capfd.readouterr().err.splitlines()[-1]
    assert len(faulty.asked) < 600


def test_index_in_no_bucket_is_a_mistake_before_all_work(faulty, capfd):
    put_class(faulty, "n01440764", 30)
    with pytest.raises(SystemExit) as ended:
        index.main([f"--input={BUCKET}/in", "--output=s3://nobodys/index.parquet"])
    assert ended.value.code == 2
    assert "no such bucket); create the bucket" in capfd.readouterr().err
    assert faulty.asked == [("GET", "")]
