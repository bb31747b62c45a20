"""Detect runs of zero bytes in JPEG data, which libjpeg decodes to garbage.

Interrupted downloads and copies, and crashed file systems, leave pages of zeros. Zeros
can also be valid: an optimised Huffman table may assign the all-zeros code, its
shortest, to unchanged blocks. A run therefore counts as damage only if it is longer
than the longest run that a uniform image of the same size and Huffman tables contains.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_MIN_BYTES = 4096  # a page of memory, the smallest block of common file systems
_STEP = _MIN_BYTES // 2  # two successive multiples of it are in any such run
_RUN = re.compile(rb"\0{%d,}" % _MIN_BYTES)
_MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd7])", re.DOTALL)
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_HUFFMAN_TABLES, _SEQUENTIAL = 0xC4, frozenset({0xC0, 0xC1})
_LENGTHS = 16  # a table starts with the number of codes of 1 to 16 bits


class _Segment(NamedTuple):
    marker: int
    content: bytes
    start: int
    end: int


class _Code(NamedTuple):
    """The all-zeros code of a Huffman table, which is its first code."""

    num_bits: int
    symbol: int


def describe(data: bytes, num_blocks: int) -> str:
    """Describe a damaging run of zero bytes in a JPEG; "" if there is none.

    Args:
      data: contents of the file.
      num_blocks: number of 8x8 blocks in all components.
    """
    if b"\0\0" not in data[::_STEP]:  # nearly all files; searching a page is slower
        return ""
    segments = list(_list_segments(data))
    scans = [s for s in segments if s.marker == _START_OF_SCAN]
    if not scans:
        return ""
    end = segments[-1].start if segments[-1].marker == _END_OF_IMAGE else len(data)
    runs = _RUN.finditer(data, scans[0].end, end)
    run = max(runs, key=lambda match: len(match[0]), default=None)
    if run is None or 8 * len(run[0]) <= _count_zero_bits(segments, num_blocks):
        return ""
    return (
        f"damaged: {len(run[0])} zero bytes at byte {run.start()} (an incomplete "
        "download?)"
    )


def _list_segments(data: bytes) -> Iterator[_Segment]:
    """Yield the marker segments of all scans, up to the end-of-image marker."""
    position = 0
    while match := _MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        start = match.start()
        content = b""
        if marker not in {_START_OF_IMAGE, _END_OF_IMAGE}:
            length = max(int.from_bytes(data[position : position + 2]), 2)
            content = data[position + 2 : position + length]
            position += length
        yield _Segment(marker, content, start, position)
        if marker == _END_OF_IMAGE:
            return


def _count_zero_bits(segments: list[_Segment], num_blocks: int) -> int:
    """Return an upper bound on the length of zero runs in a uniform image, in bits."""
    first_scan = next(s for s in segments if s.marker == _START_OF_SCAN)
    codes: dict[int, list[_Code]] = {}
    for segment in segments:
        if segment.marker == _HUFFMAN_TABLES:
            for number, code in _list_zero_codes(segment.content):
                codes.setdefault(number, []).append(code)
    if not codes:  # arithmetic codes
        return num_blocks * 8 * _MIN_BYTES
    is_sequential = any(s.marker in _SEQUENTIAL for s in segments)
    num_components = first_scan.content[0] if first_scan.content else 0
    if is_sequential and num_components > 1:
        # Every block of an MCU is then zeros only if both codes mean "no change".
        tables = first_scan.content[2 : 2 + 2 * num_components : 2]
        used = {n for t in tables for n in (t >> 4, 0x10 | t & 15)}
        if any(code.symbol for number in used for code in codes.get(number, ())):
            return 0
    longest = {0: 0, 1: 0}  # by class of table: DC, AC
    for number, of_table in codes.items():
        kind = min(number >> 4, 1)
        longest[kind] = max(longest[kind], *(code.num_bits for code in of_table))
    if is_sequential:
        return num_blocks * sum(longest.values())
    # A progressive scan has either DC or AC, or one bit of each block.
    return num_blocks * max(*longest.values(), 1)


def _list_zero_codes(content: bytes) -> Iterator[tuple[int, _Code]]:
    """Yield the id byte (class and number) and all-zeros code of each Huffman table."""
    while len(content) > _LENGTHS + 1:
        counts = content[1 : _LENGTHS + 1]
        symbols = content[_LENGTHS + 1 : _LENGTHS + 1 + sum(counts)]
        if symbols:
            num_bits = next(i for i, count in enumerate(counts, 1) if count)
            yield content[0], _Code(num_bits, symbols[0])
        content = content[_LENGTHS + 1 + sum(counts) :]
