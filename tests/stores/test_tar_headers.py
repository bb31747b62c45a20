"""Headers of tars in a bucket: the same members as locally, in few requests."""

import io
import itertools
import random
import tarfile
import threading

import pytest

from tests import making
from transforms import storage
from transforms.archives import tar, tar_headers
from transforms.layouts import InputPart, webdataset_tars
from transforms.records import ImageRef, UsageError

BUCKET = "s3://photographs"
SEGMENT_BYTES = 1 << 14
TOTAL_BYTES = 24 * SEGMENT_BYTES
NUM_AT_ONCE = 8
NUM_ALONE = 2


segments = pytest.mark.usefixtures("small_segments")


@pytest.fixture
def small_segments(monkeypatch):
    """Cut small archives as large ones are cut."""
    monkeypatch.setattr(tar_headers, "SEGMENT_BYTES", SEGMENT_BYTES)
    monkeypatch.setattr(tar_headers, "_SCAN_BYTES", SEGMENT_BYTES // 4)
    monkeypatch.setattr(tar_headers, "_READS_ALONE", NUM_ALONE)


def make_tar(sizes, *, form=tarfile.GNU_FORMAT, name="{}.JPEG"):
    """Make a tar of images that hold random bytes."""
    randomness = random.Random(1)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for number, size in enumerate(sizes):
            member = tarfile.TarInfo(name.format(number))
            member.size = size
            archive.addfile(member, io.BytesIO(randomness.randbytes(size)))
    return file.getvalue()


def make_sizes(mean, total):
    randomness = random.Random(2)
    return [randomness.randint(1, 2 * mean) for _ in range(total // mean)]


def put(faulty, data):
    faulty.objects["a.tar"] = data
    return f"{BUCKET}/a.tar"


def walk(path, start, end):
    return tar_headers.read_members(
        path, start=start, end=end, archive="a.tar", observations=[]
    )


def read(path, start, end):
    return list(walk(path, start, end))


@segments
@pytest.mark.parametrize("mean", [1_000, 3_000, 40_000])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_a_cut_archive_are_those_of_a_walk(faulty, tmp_path, mean, form):
    name = "d" * 120 + "/{}ü.JPEG"
    data = make_tar(make_sizes(mean, TOTAL_BYTES), form=form, name=name)
    (tmp_path / "a.tar").write_bytes(data)
    expected = list(tar.read_members(str(tmp_path / "a.tar")))
    assert read(put(faulty, data), 0, len(data)) == expected


@segments
def test_cut_archive_inside_an_archive_is_read_in_place(faulty):
    inner = make_tar(make_sizes(5_000, TOTAL_BYTES))
    path = put(faulty, making.tar_bytes({"n.tar": inner}))
    (outer,) = tar.read_members(path)
    members = read(path, outer.offset, outer.offset + outer.length)
    assert members == list(
        tar.read_members(path, start=outer.offset, end=outer.offset + outer.length)
    )


@segments
def test_archives_in_the_images_of_an_archive_are_not_walked_into(faulty):
    """What looks like headers between the headers leads nowhere."""
    nested = make_tar([300] * 30)
    data = making.tar_bytes({f"{n}.JPEG": nested + bytes(n) for n in range(20)})
    members = read(put(faulty, data), 0, len(data))
    assert [m.name for m in members] == [f"{n}.JPEG" for n in range(20)]


@segments
@pytest.mark.parametrize("damage", ["cut short", "header"])
def test_damage_is_reported_as_by_a_walk(faulty, damage):
    data = make_tar(make_sizes(5_000, TOTAL_BYTES))
    path = put(faulty, data)
    member = list(tar.read_members(path))[-20]
    if damage == "header":
        data = data[: member.offset - 412] + b"?" * 100 + data[member.offset - 312 :]
    else:
        data = data[: member.offset + 10]
    storage.forget_open_files()
    path = put(faulty, data)
    messages = []
    for read_members in (tar_headers.read_members, tar.read_members):
        with pytest.raises(UsageError) as raised:
            list(
                read_members(
                    path, start=0, end=len(data), archive="a.tar", observations=[]
                )
            )
        messages.append(str(raised.value))
    assert messages[0] == messages[1]


@segments
def test_cut_archive_is_read_by_many_threads_with_few_more_requests(faulty):
    data = make_tar(sizes := make_sizes(8_000, TOTAL_BYTES))
    path = put(faulty, data)
    take_fault, at_once = faulty.take_fault, threading.Barrier(NUM_AT_ONCE)
    numbers = itertools.count()

    def wait_for_others(method, key):
        if NUM_ALONE <= next(numbers) < NUM_ALONE + NUM_AT_ONCE:
            at_once.wait(timeout=30)  # breaks, and with it the request, if none comes
        return take_fault(method, key)

    faulty.take_fault = wait_for_others
    assert len(read(path, 0, len(data))) == len(sizes)
    assert not at_once.broken
    num_scans = 4 * len(data) / SEGMENT_BYTES
    assert len(faulty.asked) <= len(sizes) + num_scans


@segments
def test_looking_at_the_first_members_starts_no_thread(faulty):
    data = make_tar(make_sizes(8_000, TOTAL_BYTES))
    members = walk(put(faulty, data), 0, len(data))
    assert len(list(itertools.islice(members, NUM_ALONE))) == NUM_ALONE
    assert len(faulty.asked) == NUM_ALONE


@pytest.mark.parametrize(
    ("mean", "num_images", "limit"),
    [(110_000, 50, 52), (3_000, 1_000, 30), (200, 1_000, 10)],
)
def test_requests_of_an_archive(faulty, mean, num_images, limit):
    """One for each large image, one for many small ones, two for the end."""
    data = make_tar(make_sizes(mean, mean * num_images))
    path = put(faulty, data)
    assert len(read(path, 0, len(data))) == num_images
    assert len(faulty.asked) <= limit


@pytest.mark.parametrize(
    "order", ["cls jpg json", "jpg cls json", "jpg cls", "cls jpg"]
)
def test_sample_with_labels_is_one_request(faulty, order):
    """The label is beside the header of an image."""
    files = {}
    for number in range(30):
        key = f"n01440764_{number}"
        contents = {
            "jpg": random.Random(number).randbytes(60_000),
            "cls": b"0",
            "json": b'{"wnid": "n01440764"}',
        }
        files |= {f"{key}.{suffix}": contents[suffix] for suffix in order.split()}
    put(faulty, making.tar_bytes(files))
    part = InputPart(
        layout="webdataset_tars",
        root=BUCKET,
        uri="a.tar",
        split="train",
        is_labelled=True,
    )
    refs = [r for r in webdataset_tars.read(part) if isinstance(r, ImageRef)]
    assert [ref.wnid for ref in refs] == ["n01440764"] * 30
    assert len(faulty.asked) <= 1 + 30 + 2, "the size, the samples, both ends"
