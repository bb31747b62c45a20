"""Test that the directory alone locates all members, for any writer of the zip."""

import io
import os
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.archives import zips
from transforms.archives.zips import inflate
from transforms.records import UsageError


def read_members(path: Path) -> dict[str, bytes]:
    """Read all files by their offsets."""
    finder = zips.DataFinder(str(path))
    data = path.read_bytes()
    found = {}
    directory = zips.find_directory(str(path))
    entries = zips.read_entries(str(path), directory.start, directory.end)
    for entry, next_header in zips.with_next(entries):
        member = finder.find(entry, next_header)
        content = data[member.offset : member.offset + member.length]
        found[member.name] = inflate(content) if member.is_deflated else content
    return found


class Pipe(io.RawIOBase):
    """A stream without seek, so that sizes follow the data."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def writable(self):
        return True

    def write(self, data):
        return self._file.write(data)

    def close(self):
        self._file.close()
        super().close()


def write_zip(path: Path, files: dict[str, tuple[bytes, bool, bool]]) -> None:
    """Write files of (content, whether deflated, whether with an extra field)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, (content, is_deflated, has_extra) in files.items():
            method = zipfile.ZIP_DEFLATED if is_deflated else zipfile.ZIP_STORED
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=has_extra) as file:
                file.write(content)


FILE = st.tuples(st.binary(max_size=300), st.booleans(), st.booleans())
NAMES = st.text("abc/ü.", min_size=1, max_size=12).filter(lambda n: n[-1] != "/")


@given(st.dictionaries(NAMES, FILE, max_size=12))
def test_members_are_those_of_zipfile(tmp_path_factory, files):
    path = tmp_path_factory.mktemp("any") / "a.zip"
    write_zip(path, files)
    assert read_members(path) == {name: file[0] for name, file in files.items()}


def test_sizes_behind_the_data_are_no_part_of_them(tmp_path):
    path = tmp_path / "a.zip"
    files = {f"{n}.JPEG": os.urandom(n * 100) for n in range(20)}
    with Pipe(path) as pipe, zipfile.ZipFile(pipe, "w", 8) as archive:
        for number, (name, content) in enumerate(files.items()):
            archive.writestr(name, content, compress_type=8 * (number % 2))
    assert read_members(path) == files


@pytest.mark.parametrize("change", ["order", "extra", "comment"])
def test_directory_may_differ_from_what_lies_before_it(tmp_path, change):
    path = tmp_path / "a.zip"
    files = {f"{n}.JPEG": os.urandom(n * 100) for n in range(20)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if change == "order":
            archive.filelist.reverse()
        elif change == "extra":
            for info in archive.filelist:
                info.extra = b"UT\5\0\3abcd"
                info.comment = b"PK\1\2"
        else:
            archive.comment = b"PK\5 " * 1000
    assert read_members(path) == files


def test_local_headers_are_read_once_for_all_alike(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    write_zip(path, {f"{n}.JPEG": (b"x" * n, False, n % 2 > 0) for n in range(100)})
    places = []
    read = zips._read
    monkeypatch.setattr(
        zips, "_read", lambda path, at, n: places.append(at) or read(path, at, n)
    )
    assert len(read_members(path)) == 100
    assert len(places) == 1 + 1 + 3  # the end, the directory, two kinds and the last


def test_entries_go_on_over_blocks(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    files = {f"{n:05d}{'x' * (n % 90)}": (b"%d" % n, False, False) for n in range(4000)}
    write_zip(path, files)
    monkeypatch.setattr(zips, "_BLOCK_BYTES", 200_003)
    assert read_members(path) == {name: file[0] for name, file in files.items()}


@pytest.mark.parametrize("num_members", [65_535, 65_536])
def test_more_members_than_16_bits_count(tmp_path, num_members):
    """Below 4 GiB, only the number of entries is in the ZIP64 record."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(num_members):
            archive.writestr(str(number), b"")
    directory = zips.find_directory(str(path))
    entries = zips.read_entries(str(path), directory.start, directory.end)
    assert sum(1 for _ in entries) == directory.num_entries == num_members


def test_places_beyond_32_bits_are_understood(tmp_path):
    path = tmp_path / "a.zip"
    start = 5 << 30
    with path.open("wb") as file:
        file.seek(start)  # sparse: takes no space
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.JPEG", b"one")
            archive.writestr("b.JPEG", b"two")
    directory = zips.find_directory(str(path))
    first, second = zips.read_entries(str(path), directory.start, directory.end)
    assert first.header == start
    finder = zips.DataFinder(str(path))
    for entry, following, content in (
        (first, second.header, b"one"),
        (second, None, b"two"),
    ):
        member = finder.find(entry, following)
        with path.open("rb") as file:
            file.seek(member.offset)
            assert file.read(member.length) == content


def write_two(path: Path, **settings: int) -> bytearray:
    with zipfile.ZipFile(path, "w", **settings) as archive:
        archive.writestr("a.JPEG", b"one" * 100)
        archive.writestr("b.JPEG", b"two" * 100)
    return bytearray(path.read_bytes())


def test_another_method_is_an_error_with_a_remedy(tmp_path):
    write_two(tmp_path / "a.zip", compression=zipfile.ZIP_BZIP2)
    with pytest.raises(UsageError, match=r"'a\.JPEG' is compressed by method 12.*extr"):
        read_members(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("offset", "value", "expected"),
    [
        (8, 1, r"member 'a\.JPEG' is encrypted; extract the zip"),
        (0, 0, r"damaged \(no directory entry at byte \d+\)"),
        (28, 200, "damaged"),  # the length of the name
        (42, 7, r"damaged \(no header at byte 7\)"),
        (24, 7, r"damaged \(its two sizes differ\)"),
    ],
    ids=["encrypted", "no entry", "name", "place", "sizes"],
)
def test_bad_directory_is_an_error(tmp_path, offset, value, expected):
    path = tmp_path / "a.zip"
    data = write_two(path)
    data[data.index(b"PK\1\2") + offset] = value
    path.write_bytes(data)
    with pytest.raises(UsageError, match=rf"a\.zip.*{expected}"):
        read_members(path)


def test_directory_at_a_byte_that_no_file_has_is_an_error(tmp_path):
    path = tmp_path / "a.zip"
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 1 << 63, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, *[0xFFFFFFFF] * 2, 0)
    path.write_bytes(bytes(100) + locator + end)
    with pytest.raises(UsageError, match="no file has a byte 9223372036854775808"):
        read_members(path)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (slice(None, -1), "not a zip, or truncated"),
        (slice(None, 300), "not a zip, or truncated"),
        (slice(0, 0), "not a zip, or truncated"),
        (slice(10, None), "does not end at byte"),
    ],
    ids=["last byte", "half", "empty", "beginning"],
)
def test_what_is_no_whole_zip_is_an_error(tmp_path, cut, expected):
    path = tmp_path / "a.zip"
    path.write_bytes(write_two(path)[cut])
    with pytest.raises(UsageError, match=rf"a\.zip: .*{expected}.*again"):
        read_members(path)
