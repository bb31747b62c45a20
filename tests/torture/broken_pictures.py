"""Draw broken image files from a random generator."""

import base64
import functools
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, features

from tests import making

# 24x16 pixels by cjpeg -arithmetic of libjpeg-turbo 2.1.5; Pillow only reads these.
_ARITHMETIC = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwz"
    "Oko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09P"
    "T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//yQARCAAQABgDASIAAhEBAxEB/8wA"
    "CgAQEAUBEBEF/9oADAMBAAIRAxEAPwDSaYwnORFLg0W8MQVtLynVaG4mqycar7QXU0Kvgu/kkcP7IO/h"
    "mGMSg/iD6h3SNuymLL4Qa9mHe3TG1OILNNcRf6OrO1u1+1KPq0ieqonUT4QotuoD/PdkmdKvM4QggztzK"
    "8FinBK/3VRgvnP/2Q=="
)
_SOFS = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_SIDES = (0, 1, 2, 7, 255, 256, 4096, 65500, 65535)

Change = Callable[[random.Random, bytes], bytes]


def make(draw: random.Random) -> tuple[str, bytes]:
    """Return an image in a random encoding with up to three faults."""
    sources = load_sources()
    source = draw.choice(list(sources))
    data = sources[source]
    changes = draw.sample(list(CHANGES), draw.choice((0, 1, 1, 1, 2, 3)))
    for change in changes:
        data = CHANGES[change](draw, data)
    return f"{source}/{'+'.join(changes)}", data


@functools.cache
def load_sources() -> dict[str, bytes]:
    """Encode drawn images in every supported way; add photographs, if any."""
    sources = _encode_pictures() | {
        "text": b"<html>404 not found</html>" * 20,
        "zero bytes": bytes(4096),
        "empty": b"",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(range(256)) * 8,
    }
    if folder := os.environ.get("SUBSETS_REAL_DATA"):
        photographs = sorted(Path(folder, "full_size").glob("*/*.JPEG"))[::40]
        sources |= {f"photograph {p.stem}": p.read_bytes() for p in photographs}
    return sources


def _encode_pictures() -> dict[str, bytes]:
    picture = making.picture(3)
    frames: dict[str, Any] = {
        "save_all": True,
        "append_images": [making.picture(n) for n in (4, 5)],
    }
    deep = Image.frombytes("I;16", (40, 30), bytes(range(200)) * 12)
    sources = {
        "jpeg": making.jpeg_bytes(),
        "progressive jpeg": making.jpeg_bytes(progressive=True),
        "4:4:4 jpeg": making.jpeg_bytes(subsampling=0, optimize=True),
        "restarting jpeg": making.jpeg_bytes(restart_marker_rows=1),
        "grey jpeg": making.greyscale_jpeg(picture),
        "cmyk jpeg": making.cmyk_jpeg(picture),
        "ycck jpeg": _as_ycck(making.cmyk_jpeg(picture)),
        "arithmetic jpeg": base64.b64decode(_ARITHMETIC),
        "turned jpeg": making.turned_jpeg(picture),
        "giant exif jpeg": making.giant_exif_jpeg(picture),
        "profiled jpeg": making.profiled_jpeg(picture),
        "mpo": making.encode(picture, "MPO", **frames),
        "png": making.png_named_jpeg(picture),
        "png with profile": making.encode(picture, "PNG", icc_profile=bytes(5000)),
        "16-bit png": making.encode(deep, "PNG"),
        "bilevel png": making.encode(picture.convert("1"), "PNG"),
        "palette png": making.encode(picture.convert("P"), "PNG", transparency=3),
        "alpha png": making.encode(picture.convert("RGBA"), "PNG"),
        "grey alpha png": making.encode(picture.convert("LA"), "PNG"),
        "animated png": making.encode(picture, "PNG", **frames),
        "gif": making.encode(picture, "GIF"),
        "animated gif": making.encode(picture, "GIF", **frames),
        "webp": making.encode(picture, "WEBP"),
        "lossless webp": making.encode(picture, "WEBP", lossless=True),
        "animated webp": making.encode(picture, "WEBP", **frames),
        "bmp": making.encode(picture, "BMP"),
        "palette bmp": making.encode(picture.convert("P"), "BMP"),
        "tiff": making.encode(picture, "TIFF"),
        "jpeg 2000": making.encode(picture, "JPEG2000"),
        "ico": making.encode(picture, "ICO"),
    }
    if features.check("avif"):
        sources["avif"] = making.encode(picture, "AVIF")
    return sources


def _as_ycck(jpeg: bytes) -> bytes:
    """Set the Adobe segment to YCCK."""
    at = jpeg.index(b"Adobe") + 11
    return jpeg[:at] + b"\2" + jpeg[at + 1 :]


# Ways to break any file


def _place(draw: random.Random, data: bytes) -> int:
    """Draw an offset, mostly in the header."""
    bound = len(data) if draw.random() < 0.4 else min(len(data), 700)
    return draw.randrange(bound) if bound else 0


def flip_bits(draw: random.Random, data: bytes) -> bytes:
    broken = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        if broken:
            broken[_place(draw, data)] ^= 1 << draw.randrange(8)
    return bytes(broken)


def truncate(draw: random.Random, data: bytes) -> bytes:
    return data[: _place(draw, data)]


def overwrite(draw: random.Random, data: bytes) -> bytes:
    at, length = _place(draw, data), draw.choice((1, 2, 4, 16, 300))
    fill = draw.choice((b"\0", b"\xff", b"\x80", draw.randbytes(1)))
    return data[:at] + fill * min(length, len(data) - at) + data[at + length :]


def cut_out(draw: random.Random, data: bytes) -> bytes:
    at = _place(draw, data)
    return data[:at] + data[at + draw.choice((1, 2, 17, 400)) :]


def repeat(draw: random.Random, data: bytes) -> bytes:
    at, length = _place(draw, data), draw.choice((1, 4, 60, 800))
    part, times = data[at : at + length], draw.choice((1, 3, 50))
    return data[: at + length] + part * times + data[at + length :]


def splice(draw: random.Random, data: bytes) -> bytes:
    """Replace the start of a file by that of another."""
    other = draw.choice(list(load_sources().values()))
    return other[: _place(draw, other)] + data[_place(draw, data) :]


def append(draw: random.Random, data: bytes) -> bytes:
    other = draw.choice(list(load_sources().values()))
    return data + draw.choice((b"\0" * 5000, draw.randbytes(3000), other))


# Ways to break a JPEG; other files pass


def _find_segment(data: bytes, codes: tuple[int, ...]) -> int | None:
    """Return the offset of the segment of one of these markers."""
    at = 2
    while data[:2] == b"\xff\xd8" and at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in codes:
            return at
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def resize_header(draw: random.Random, data: bytes) -> bytes:
    """Change the size in the frame header."""
    at = _find_segment(data, _SOFS)
    if at is None:
        return data
    sides = struct.pack(">2H", draw.choice(_SIDES), draw.choice(_SIDES))
    return data[: at + 5] + sides + data[at + 9 :]


def recode(draw: random.Random, data: bytes) -> bytes:
    """Change the coding in the frame header: lossless, arithmetic, …"""
    at = _find_segment(data, _SOFS)
    if at is None:
        return data
    code = draw.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA, 0xCB, 0xCC, 0xCF))
    bits = draw.choice((data[at + 4], 8, 12, 16, 0))
    broken = bytearray(data)
    broken[at + 1], broken[at + 4] = code, bits
    return bytes(broken)


def resample(draw: random.Random, data: bytes) -> bytes:
    """Change components and sampling factors in the frame header."""
    at = _find_segment(data, _SOFS)
    if at is None:
        return data
    broken = bytearray(data)
    broken[at + 9] = draw.choice((0, 1, 2, 3, 4, 5, 255))
    for number in range(3):
        if at + 11 + 3 * number < len(broken):
            broken[at + 11 + 3 * number] = draw.choice((
                0,
                0x11,
                0x22,
                0x44,
                0x14,
                0xFF,
            ))
    return bytes(broken)


def _insert(data: bytes, segments: bytes) -> bytes:
    return data[:2] + segments + data[2:] if data[:2] == b"\xff\xd8" else data


def _segment(code: int, content: bytes) -> bytes:
    return b"\xff" + bytes([code]) + struct.pack(">H", len(content) + 2) + content


def insert_exif(draw: random.Random, data: bytes) -> bytes:
    """Add EXIF with an arbitrary orientation value, type, count and offset."""
    order = draw.choice("<>")
    start = b"II*\0" if order == "<" else b"MM\0*"
    tag = draw.choice((0x0112, 0x0112, 0x8769, draw.randrange(1 << 16)))
    values = draw.randrange(12), draw.randrange(12) << 16, draw.randrange(1 << 32)
    number = draw.choice((0, 1, 2, 1 << 31))
    kind, value = draw.randrange(14), draw.choice(values)
    entry = struct.pack(f"{order}2H2L", tag, kind, number, value)
    offset = draw.choice((8, 8, 8, 0, 1 << 31, 12))
    head = struct.pack(f"{order}LH", offset, draw.choice((1, 1, 0, 65535)))
    content = b"Exif\0\0" + start + head + entry + draw.randbytes(6)
    return _insert(data, _segment(0xE1, content))


def insert_profile(draw: random.Random, data: bytes) -> bytes:
    """Add inconsistent parts of a profile."""
    lengths = draw.choice(((0,), (1, 40_000), (9,) * 40))
    parts = [
        _segment(0xE2, b"ICC_PROFILE\0" + draw.randbytes(2 + length))
        for length in lengths
    ]
    return _insert(data, b"".join(parts))


def insert_metadata(draw: random.Random, data: bytes) -> bytes:
    """Add megabytes of segments."""
    code = draw.choice((*range(0xE0, 0xF0), 0xFE))
    xmp = b"http://ns.adobe.com/xap/1.0/\0"
    start = draw.choice((b"", b"Photoshop 3.0\0", xmp, b"MPF\0", b"Adobe"))
    content = start + draw.randbytes(draw.choice((0, 3, 60, 65_000)))
    return _insert(data, _segment(code, content) * draw.choice((1, 5, 64)))


def insert_tables(draw: random.Random, data: bytes) -> bytes:
    """Add invalid quantisation and Huffman tables."""
    code = draw.choice((0xDB, 0xC4, 0xCC, 0xDD, 0xDA))
    content = draw.randbytes(draw.choice((0, 1, 6, 65, 200)))
    return _insert(data, _segment(code, content))


_CHANGES = (
    *(flip_bits, truncate, overwrite, cut_out, repeat, splice, append),
    *(resize_header, recode, resample),
    *(insert_exif, insert_profile, insert_metadata, insert_tables),
)
CHANGES: dict[str, Change] = {change.__name__: change for change in _CHANGES}
