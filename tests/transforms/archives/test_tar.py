import io
import os
import tarfile

import pytest

from tests import making
from transforms.archives import tar
from transforms.input_warnings import Observation
from transforms.records import UsageError


def _members(path, **where):
    return [tuple(member)[:4] for member in tar.read_members(str(path), **where)]


@pytest.mark.parametrize(
    "form",
    [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT],
    ids=["ustar", "gnu", "pax"],
)
def test_members_are_those_of_tarfile(tmp_path, form):
    path = tmp_path / "a.tar"
    names = ["a.JPEG", "d/" + "x" * 95 + ".JPEG", "d/" + "y" * 140 + ".JPEG", "ü.JPEG"]
    if form == tarfile.USTAR_FORMAT:
        names[2] = "p" * 60 + "/" + "y" * 80 + ".JPEG"
    with tarfile.open(path, "w", format=form) as archive:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = 511 + number
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    with tarfile.open(path) as archive:
        expected = [(m.name, m.offset_data, m.size, True) for m in archive]
    assert _members(path) == expected


def test_an_archive_inside_an_archive_is_read_in_place(tmp_path):
    inner = making.tar_bytes({"n1.JPEG": b"one", "n2.JPEG": b"two"})
    path = making.write_tar(tmp_path / "outer.tar", {"n.tar": inner})
    outer = next(tar.read_members(str(path)))
    end = outer.offset + outer.length
    found = list(tar.read_members(str(path), start=outer.offset, end=end))
    data = path.read_bytes()
    assert [data[m.offset : m.offset + m.length] for m in found] == [b"one", b"two"]


def test_links_folders_and_devices_are_not_files(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for kind in (
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.DIRTYPE,
            tarfile.CHRTYPE,
        ):
            member = tarfile.TarInfo("thing")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    assert [member.is_file for member in tar.read_members(str(path))] == [False] * 4


@pytest.mark.parametrize("keep", [100, 700], ids=["header", "data"])
def test_truncated_archive_is_an_error(tmp_path, keep):
    path = making.write_tar(tmp_path / "a.tar", {"a.JPEG": b"x" * 400})
    os.truncate(path, keep)
    with pytest.raises(UsageError, match=r"a\.tar: the archive is truncated \(.*again"):
        _members(path)


def _observe(path) -> list[str]:
    observations: list[Observation] = []
    num_members = len(list(tar.read_members(str(path), observations=observations)))
    return [f"{num_members}", *(seen.kind for seen in observations)]


_ONE = making.tar_bytes({"a.JPEG": b"x" * 400})  # 1024 bytes, then 9216 zeros


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (_ONE, ["1"]),
        (_ONE[:2048], ["1"]),
        (_ONE[:1536], ["1", "no_end_mark"]),
        (_ONE[:1024], ["1", "no_end_mark"]),
        (_ONE[:1000], ["1", "no_end_mark"]),
        (_ONE.ljust(1 << 20, b"\0"), ["1", "long_end"]),
        (_ONE[:5120], ["1", "long_end"]),
        (_ONE + b"junk" * 5000, ["1", "data_behind_end"]),
        (bytes(10240), ["0", "empty_archive"]),
    ],
    ids=[
        "usual", "no padding", "one empty block", "no end mark", "no member padding",
        "2048 blocks a record", "unusual size", "junk", "empty",
    ],
)  # fmt: skip
def test_odd_end_is_observed(tmp_path, data, expected):
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    assert _observe(path) == expected
    if expected[1:]:
        with pytest.raises(UsageError, match=r"a\.tar"):
            _members(path)


@pytest.mark.parametrize(
    "data",
    [
        _ONE + _ONE,
        _ONE[:2048] + _ONE,
        _ONE[:1024] + bytes(512) + _ONE,
        _ONE[:1024] + bytes(700) + b"data" * 500 + _ONE,
        _ONE[:1024] + bytes(9216) + b"data" * 500 + bytes(1024),
        _ONE[:1024] + bytes(99 * 512),
        _ONE.ljust(3 << 20, b"\0"),
        _ONE + b"junk" * 500_000,
        bytes(1 << 20),
        bytes(1 << 20) + _ONE,
    ],
    ids=[
        "joined", "joined without padding", "one empty block", "hole", "hole in last",
        "unusual number of zeros", "preallocated", "much junk", "only zeros",
        "hole at start",
    ],
)  # fmt: skip
def test_members_behind_an_empty_block_are_never_lost_silently(tmp_path, data):
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"a\.tar: the archive is damaged or was not"):
        _observe(path)


def test_header_sum_of_signed_bytes_is_accepted(tmp_path):
    header = bytearray(making.tar_bytes({"a.JPEG": b"x"})[:512])
    header[265:267] = "Å".encode()  # in the user's name
    header[148:156] = b" " * 8
    total = sum(byte - 256 * (byte > 127) for byte in header)
    header[148:156] = b"%06o\0 " % total
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(header) + b"x".ljust(512, b"\0") + bytes(1024))
    assert _members(path) == [("a.JPEG", 512, 1, True)]


@pytest.mark.parametrize("name", ["../a.JPEG", "/a.JPEG", "d/../../a.JPEG"])
def test_member_that_leaves_the_archive_is_an_error(tmp_path, name):
    path = making.write_tar(tmp_path / "a.tar", {name: b"x"})
    with pytest.raises(UsageError, match="would leave the archive's folder"):
        _members(path)


def test_what_is_no_tar_is_an_error(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"<html>not found</html>".ljust(2000))
    with pytest.raises(UsageError, match=r"a\.tar: not a tar archive"):
        _members(path)


def test_damaged_header_names_its_place(tmp_path):
    path = making.write_tar(tmp_path / "a.tar", {"a.JPEG": b"x", "b.JPEG": b"y"})
    data = bytearray(path.read_bytes())
    data[1024] ^= 1
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"damaged \(no tar header at byte 1024\)"):
        _members(path)


def test_enormous_name_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.tar"
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT).ljust(1 << 16, b"\0"))
    with pytest.raises(UsageError, match="a name of 8589934592 bytes"):
        _members(path)


def test_size_beyond_octal_is_understood(tmp_path):
    path = tmp_path / "a.tar"
    member = tarfile.TarInfo("big.bin")
    member.size = 1 << 34
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 512 + (1 << 34) + 1024)  # sparse: takes no space
    assert _members(path) == [("big.bin", 512, 1 << 34, True)]


def with_pax_size(size: bytes) -> bytes:
    record = b"%d size=%s\n"
    content = next(
        text for n in range(99) if len(text := record % (n, size)) == n
    )  # its own length counts
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(content)
    return header.tobuf(tarfile.USTAR_FORMAT) + content.ljust(512, b"\0")


@pytest.mark.parametrize("size", [b"-1536", b"-512", b"1_0", b"+1", b"1e3", b""])
def test_pax_size_that_would_lead_back_is_refused(tmp_path, size):
    path = tmp_path / "a.tar"
    path.write_bytes(with_pax_size(size) + making.tar_bytes({"a.JPEG": b"x"}))
    with pytest.raises(UsageError, match="damaged header at byte 512: a pax record"):
        _members(path)


@pytest.mark.parametrize("content", [b"5 ", b"1 x", b"2 path=a\n", b"30 a=b\n", b"x"])
def test_pax_record_of_a_wrong_length_is_refused(tmp_path, content):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(content)
    record = header.tobuf(tarfile.USTAR_FORMAT) + content.ljust(512, b"\0")
    path = tmp_path / "a.tar"
    path.write_bytes(record + making.tar_bytes({"a.JPEG": b"x"}))
    with pytest.raises(UsageError, match="damaged header at byte 512"):
        _members(path)


def test_pax_size_goes_before_the_header(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(with_pax_size(b"3") + making.tar_bytes({"a.JPEG": b"xyz"})[:2048])
    assert _members(path) == [("a.JPEG", 1536, 3, True)]
