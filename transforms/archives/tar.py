"""Read the names and positions of tar members without extracting them.

Each member costs one 512-byte read; image data are not read. Plain, USTAR, GNU
long-name and pax headers are supported. Members that are not regular files are yielded
with `is_file=False`; an invalid header raises an error with its byte position.

Source: POSIX.1-1988 (USTAR), POSIX.1-2001 (pax), GNU tar manual, "Basic Tar Format".
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from transforms import storage
from transforms.archives import signatures
from transforms.archives.tar_end import BLOCK, check_end, is_header
from transforms.input_warnings import KINDS, Observation
from transforms.records import DataError, UsageError

_END = bytes(BLOCK)
_MAX_NAME_BYTES = 1 << 20  # limits the size of long-name and pax headers
_FILE_TYPES = (b"0", b"\0", b"7")
_LINK_TYPES = (b"1", b"2")  # hard, symbolic
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"

Read = Callable[[int, int], bytes]  # (offset, length) → bytes


class Member(NamedTuple):
    """A tar member; its data are bytes [offset, offset + length) of the file."""

    name: str
    offset: int
    length: int
    is_file: bool
    is_link: bool = False  # symbolic or hard


def read_members(
    path: str,
    *,
    start: int = 0,
    end: int | None = None,
    archive: str | None = None,
    observations: list[Observation] | None = None,
    read: Read | None = None,
) -> Iterator[Member]:
    """Yield the members of a tar archive, which may itself be a member of another.

    Args:
      path: the file that contains the archive.
      start: byte offset of the archive in the file.
      end: byte offset of the end of the archive; None: the end of the file.
      archive: name of the archive in observations; None: the name of the file.
      observations: list to which an unusual archive end is appended; None: raise an
        error for an unusual end.
      read: returns the bytes at (offset, length); None: `storage.read_range`. See
        `tar_headers` for a reader that buffers.

    Raises:
      UsageError: the file is not a tar, is truncated or damaged, or a member name
        leads out of the archive's folder; without `observations`, also if the archive
        has an unusual end.
    """
    end = storage.num_bytes(path) if end is None else end
    read = read or partial(storage.read_range, path)
    position, overrides = start, dict[str, str]()
    while True:
        if position >= end > start and not overrides:
            odd: str | None = "no_end_mark"
            break
        block = _read_block(read, path, position, end)
        if block == _END:
            odd = check_end(path, position, start=start, end=end)
            break
        kind, name, length = _parse_header(path, position, block)
        data = position + BLOCK
        if kind in {_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL}:
            overrides |= _read_overrides(read, path, kind, data, length)
            position = data + _padded(length)
            continue
        name = overrides.get("path", name)
        length = int(overrides.get("size", length))
        overrides = {}
        if data + length > end:
            raise _truncated(path, f"{name} needs {data + length - end} bytes more")
        _check_name(path, name)
        is_file = kind in _FILE_TYPES and not name.endswith("/")
        yield Member(name, data, length, is_file, kind in _LINK_TYPES)
        position = data + _padded(length)
    if odd is None:
        return
    shown = path.rpartition("/")[2] if archive is None else archive
    if observations is None:
        text = KINDS[odd].text.format(count=1, examples=shown)
        raise UsageError(f"{path}: {text}")
    observations.append(Observation(odd, shown))


def _padded(length: int) -> int:
    return -(-length // BLOCK) * BLOCK


def _read_block(read: Read, path: str, position: int, end: int) -> bytes:
    if position + BLOCK > end:
        if position == 0 and (what := signatures.explain(path)):
            raise UsageError(f"{path}: not a tar archive{what}")
        raise _truncated(path, f"no end mark at byte {position}")
    try:
        return read(position, BLOCK)
    except DataError as error:
        raise UsageError(f"{path}: {error}") from error


def _truncated(path: str, detail: str) -> UsageError:
    return UsageError(
        f"{path}: the archive is truncated ({detail}); copy or download it again"
    )


def _parse_header(path: str, position: int, block: bytes) -> tuple[bytes, str, int]:
    """Check a header's checksum and parse its type, name and data length in bytes."""
    try:
        length = _parse_number(block[124:136])
    except ValueError:
        length = -1
    if length < 0 or not is_header(block):
        if position == 0 and (what := signatures.explain(path)):
            raise UsageError(f"{path}: not a tar archive{what}")
        what = "not a tar archive" if position == 0 else "damaged"
        raise UsageError(
            f"{path}: {what} (no tar header at byte {position}); "
            "copy or download it again"
        )
    name = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    return block[156:157], name.decode("utf-8", "surrogateescape"), length


def _parse_number(field: bytes) -> int:
    """Parse an octal field, or GNU's base-256 encoding of larger numbers.

    Raises:
      ValueError: the field is not a number, or is negative in base 256.
    """
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.rstrip(b" \0") or b"0", 8)


def _read_overrides(
    read: Read, path: str, kind: bytes, data: int, length: int
) -> dict[str, str]:
    """Read the next member's `path` and `size` from a long-name or pax header.

    Return {} for long link names and global pax headers, which are ignored.
    """
    if length > _MAX_NAME_BYTES:
        raise UsageError(f"{path}: damaged (a name of {length} bytes at byte {data})")
    if kind in {_LONG_LINK, _PAX_GLOBAL}:
        return {}
    try:
        content = read(data, length)
        if kind == _LONG_NAME:
            return {"path": content.rstrip(b"\0").decode("utf-8", "surrogateescape")}
        return _parse_pax(content)
    except (DataError, ValueError) as error:
        raise UsageError(f"{path}: damaged header at byte {data}: {error}") from error


def _parse_pax(content: bytes) -> dict[str, str]:
    """Parse pax records "LENGTH KEY=VALUE"; return only `path` and `size`."""
    found: dict[str, str] = {}
    while content:
        digits = content.split(b" ", 1)[0]
        size = int(digits)
        if not len(digits) < size <= len(content):
            raise ValueError("a pax record has the wrong length")
        record = content[len(digits) + 1 : size]
        key, _, value = record.rstrip(b"\n").partition(b"=")
        if key == b"path":
            found["path"] = value.decode("utf-8", "surrogateescape")
        elif key == b"size":
            if not value.isdigit():  # a negative size would cause an endless loop
                raise ValueError(f"a pax record states the size {value[:20]!r}")
            found["size"] = str(int(value))
        content = content[size:]
    return found


def _check_name(path: str, name: str) -> None:
    if name.startswith("/") or ".." in name.split("/"):
        raise UsageError(
            f"{path}: member {name!r} would leave the archive's folder; "
            "this is not an archive of ImageNet"
        )
