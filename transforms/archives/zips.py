"""List the members of a zip archive, and their offsets, from its central directory.

    member, member, …, [central directory: one entry per member], end records

The directory is read in blocks, so memory does not grow with the number of entries.
The data of a member follow its local header. The extra field of the local header can
be longer or shorter than the one in the directory; `DataFinder` derives its length
from the offset of the next member.
Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3 (layout) and 4.5.3 (ZIP64).
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from transforms import storage
from transforms.archives import signatures
from transforms.records import DataError, UsageError

_MAX_INFLATED_BYTES = 1 << 26  # four times the largest image of ImageNet
STORED, DEFLATED = 0, 8
SUFFIX = ".zip"
_ENCRYPTED, _SIZES_BEHIND, _IS_UTF8 = 1, 8, 1 << 11  # bits of the flags
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_END_MARK, _LOCATOR_MARK, _END64_MARK = b"PK\5\6", b"PK\6\7", b"PK\6\6"
_ENTRY_MARK, _LOCAL_MARK = b"PK\1\2", b"PK\3\4"
_MAX_COMMENT, _MAX_16, _MAX_32 = 0xFFFF, 0xFFFF, 0xFFFFFFFF
_MAX_ENTRY_BYTES = _ENTRY.size + 3 * _MAX_16
_BLOCK_BYTES = 1 << 22
_MAX_BYTES = 1 << 26  # of a label table
_ZIP64 = 1  # id of an extra field


def inflate(data: bytes, *, max_bytes: int = _MAX_INFLATED_BYTES) -> bytes:
    """Decompress the deflated data of a zip member.

    Args:
      data: raw deflate stream.
      max_bytes: maximum decompressed size in bytes.

    Raises:
      DataError: the data are damaged or truncated, or exceed `max_bytes`.
    """
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = stream.decompress(data, max_bytes)
    except zlib.error as error:
        raise DataError(f"damaged in the zip ({error})") from None
    if stream.unconsumed_tail or (not stream.eof and len(inflated) == max_bytes):
        raise DataError(f"is more than {max_bytes} bytes when decompressed")
    if not stream.eof:
        raise DataError("ends too early in the zip")
    return inflated


class Entry(NamedTuple):
    """An entry of the central directory."""

    position: int  # byte offset of the entry in the file
    end: int  # byte offset
    name: bytes
    flags: int
    method: int  # of compression
    compressed: int  # size of the data in the file, in bytes
    size: int  # uncompressed, in bytes
    header: int  # byte offset of the local header

    @property
    def path(self) -> bytes:
        """The name with `/` separators; some Windows tools write backslashes."""
        return self.name.replace(b"\\", b"/")


class Directory(NamedTuple):
    """The byte range [start, end) of the central directory and its entry count."""

    start: int
    end: int
    num_entries: int

    def check_count(self, path: str, found: int) -> None:
        """Check the number of entries, modulo 65,536 because old counts may overflow.

        Args:
          path: path of the zip, for messages.
          found: number of entries that were read.

        Raises:
          UsageError: the directory has more or fewer entries than it declares.
        """
        if (found - self.num_entries) % (_MAX_16 + 1):
            raise UsageError(
                f"{path}: damaged ({found} members, not the {self.num_entries} that "
                "its end record declares); download it again"
            )


class Member(NamedTuple):
    """A zip member; its data are bytes [offset, offset + length) of the file."""

    name: str
    offset: int
    length: int
    is_deflated: bool


def find_directory(path: str) -> Directory:
    """Find the central directory with the records at the end of the file.

    Raises:
      UsageError: the file is not a zip, is truncated or damaged, or is one part of a
        multi-file archive.
    """
    total = storage.num_bytes(path)
    start = max(total - _END.size - _MAX_COMMENT, 0)
    tail = _read(path, start, total - start)
    at = tail.rfind(_END_MARK)
    if at < 0 or at + _END.size > len(tail):
        is_zip = _read(path, 0, min(total, 4)) == _LOCAL_MARK
        what = "" if is_zip else signatures.explain(path)
        raise UsageError(f"{path}: not a zip, or truncated; download it again{what}")
    _, disk, _, _, num_entries, size, offset, _ = _END.unpack_from(tail, at)
    end = start + at
    is_full = num_entries == _MAX_16 and _has_locator(path, end)
    if _MAX_32 in {size, offset} or disk == _MAX_16 or is_full:
        disk, num_entries, size, offset, end = _read_end64(path, end)
    if disk:
        raise UsageError(f"{path}: one part of a split zip; join them with zip -s 0")
    if offset + size != end:
        raise UsageError(
            f"{path}: damaged (the directory of {size} bytes at byte {offset} does not "
            f"end at byte {end}); download it again"
        )
    return Directory(offset, end, num_entries)


def _has_locator(path: str, end: int) -> bool:
    place = end - _LOCATOR.size
    return place >= 0 and _read(path, place, 4) == _LOCATOR_MARK


def _read_end64(path: str, end: int) -> tuple[int, int, int, int, int]:
    """Read the ZIP64 end record, whose locator ends at byte `end`.

    Returns:
      (disk, entries, size, offset, end) of the central directory; sizes and offsets
      are in bytes.
    """
    place = end - _LOCATOR.size
    mark, _, record, _ = _LOCATOR.unpack(_read(path, place, _LOCATOR.size))
    if mark != _LOCATOR_MARK:
        raise UsageError(f"{path}: damaged (no ZIP64 record); download it again")
    found, _, _, _, disk, _, _, num_entries, size, offset = _END64.unpack(
        _read(path, record, _END64.size)
    )
    if found != _END64_MARK:
        raise UsageError(f"{path}: damaged (no ZIP64 record); download it again")
    return disk, num_entries, size, offset, record


def read_entries(path: str, start: int, end: int) -> Iterator[Entry]:
    """Yield the central directory entries in the byte range [start, end) of the file.

    Raises:
      UsageError: the directory is damaged.
    """
    position = start
    while position < end:
        block = _read(path, position, min(_BLOCK_BYTES, end - position))
        at, bound = 0, len(block)
        if position + bound < end:
            bound -= _MAX_ENTRY_BYTES  # later entries may continue in the next block
        try:
            while at < bound:
                entry = _parse_entry(block, at, position)
                yield entry
                at = entry.end - position
        except (struct.error, ValueError) as error:
            raise UsageError(
                f"{path}: damaged ({error} at byte {position + at}); download it again"
            ) from error
        position += at


def _parse_entry(block: bytes, at: int, position: int) -> Entry:
    """Parse one entry of the central directory.

    Args:
      block: bytes of the directory.
      at: offset of the entry in `block`.
      position: offset of `block` in the file.

    Raises:
      ValueError: there is no complete entry at this offset.
      struct.error: the block ends too early.
    """
    (
        mark, _, _, flags, method, _, _, _, compressed, size,
        name_bytes, extra_bytes, comment_bytes, _, _, _, header,
    ) = _ENTRY.unpack_from(block, at)  # fmt: skip
    name_at = at + _ENTRY.size
    extra_at = name_at + name_bytes
    end = extra_at + extra_bytes + comment_bytes
    if mark != _ENTRY_MARK or end > len(block):
        raise ValueError("no directory entry")
    if _MAX_32 in (header, size, compressed):  # faster than a set
        extra = block[extra_at : extra_at + extra_bytes]
        size, compressed, header = _enlarge(extra, size, compressed, header)
    name = block[name_at:extra_at]
    return Entry(
        position + at, position + end, name, flags, method, compressed, size, header
    )


def _enlarge(extra: bytes, *values: int) -> list[int]:
    """Replace each value 0xFFFFFFFF with its 64-bit value from the ZIP64 extra field.

    Args:
      extra: extra field of the directory entry.
      values: (size, compressed size, header offset), each in 32 bits.

    Raises:
      ValueError: the ZIP64 field is missing.
    """
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64:
            fields = f"<{values.count(_MAX_32)}Q"
            large = iter(struct.unpack_from(fields, extra, at + 4))
            return [next(large) if v == _MAX_32 else v for v in values]
        at += 4 + length
    raise ValueError("no ZIP64 field")


class DataFinder:
    """Find the offsets of members' data without reading every local header.

        local header, name, extra │ data │ optional sizes │ next local header

    The directory gives all lengths except those of `extra` and of the optional sizes.
    The offset of the next member gives the sum of these two. Members with the same sum
    are assumed to split it in the same way, so only one local header is read for each
    different sum.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._extra_of: dict[tuple[int, int], int] = {}

    def find(self, entry: Entry, next_header: int | None) -> Member:
        """Find the byte range of a member's data.

        Args:
          entry: directory entry of the member.
          next_header: byte offset of the next member's local header; None if unknown.

        Raises:
          UsageError: the member is encrypted, damaged, or compressed by a method other
            than deflate.
        """
        self._check(entry)
        data = entry.header + _LOCAL.size + len(entry.name)
        rest = -1 if next_header is None else next_header - data - entry.compressed
        key = entry.flags & _SIZES_BEHIND, rest
        if rest < 0 or (extra := self._extra_of.get(key)) is None:
            extra = self._read_extra(entry)
            if 0 <= rest <= _MAX_16:
                self._extra_of[key] = extra
        offset = data + extra
        is_deflated = entry.method == DEFLATED
        return Member(decode_name(entry), offset, entry.compressed, is_deflated)

    def _check(self, entry: Entry) -> None:
        if entry.flags & _ENCRYPTED:
            raise UsageError(f"{self._describe(entry)} is encrypted; extract the zip")
        if entry.method not in {STORED, DEFLATED}:
            raise UsageError(
                f"{self._describe(entry)} is compressed by method {entry.method}, "
                "neither stored nor deflated; extract the zip"
            )
        if entry.method == STORED and entry.compressed != entry.size:
            raise UsageError(f"{self._describe(entry)}: damaged (its two sizes differ)")

    def _read_extra(self, entry: Entry) -> int:
        """Read a local header and return the length of its extra field in bytes."""
        length = _LOCAL.size + len(entry.name)
        header = _read(self._path, entry.header, length)
        mark, *_, name_bytes, extra_bytes = _LOCAL.unpack_from(header)
        if mark != _LOCAL_MARK or header[_LOCAL.size :] != entry.name:
            raise UsageError(
                f"{self._describe(entry)}: damaged (no header at byte {entry.header}); "
                "download it again"
            )
        return extra_bytes + name_bytes - len(entry.name)

    def _describe(self, entry: Entry) -> str:
        return f"{self._path}: member {decode_name(entry)!r}"


def decode_name(entry: Entry) -> str:
    """Decode a member name as UTF-8 or CP437, as its flags require."""
    return entry.path.decode("utf-8" if entry.flags & _IS_UTF8 else "cp437", "replace")


def with_next(entries: Iterator[Entry]) -> Iterator[tuple[Entry, int | None]]:
    """Pair each entry with the next one's local header offset; None for the last."""
    entry = next(entries, None)
    while entry is not None:
        following = next(entries, None)
        yield entry, following.header if following else None
        entry = following


def _read(path: str, offset: int, length: int) -> bytes:
    if offset < 0:
        raise UsageError(f"{path}: damaged, or truncated; download it again")
    try:
        return storage.read_range(path, offset, length)
    except DataError as error:
        raise UsageError(f"{path}: {error}") from error


def is_inside(path: str) -> bool:
    """Return whether a path names a member of a zip, as in `archive.zip/member`.

    A path that exists is a file or folder of its own, not a member.
    """
    return f"{SUFFIX}/" in path.lower() and not storage.exists(path)


def read(path: str) -> bytes:
    """Read a small member of a zip, e.g. a label table.

    Args:
      path: path of the form `archive.zip/member`.

    Raises:
      UsageError: the zip is invalid, or the member is missing, damaged, encrypted,
        compressed by a method other than deflate, or larger than 64 MiB.
    """
    end = path.lower().rindex(f"{SUFFIX}/") + len(SUFFIX)
    archive, name = path[:end], path[end + 1 :]
    directory = find_directory(archive)
    for entry in read_entries(archive, directory.start, directory.end):
        if entry.path == name.encode():
            member = DataFinder(archive).find(entry, None)
            if max(entry.compressed, entry.size) > _MAX_BYTES:
                raise UsageError(f"{path}: is larger than {_MAX_BYTES} bytes")
            try:
                data = storage.read_range(archive, member.offset, member.length)
                return inflate(data) if member.is_deflated else data
            except DataError as error:
                raise UsageError(f"{path}: {error}") from error
    raise UsageError(f"{path}: no such member of the zip")
