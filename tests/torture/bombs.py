"""Create small files that require much memory or time to decode."""

import struct
import zlib
from collections.abc import Callable

from tests import making

_NEAR_THE_BOUND = (11_000, 11_000)  # pixels, of 128 million


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def zeros(num_bytes: int) -> bytes:
    """Compress zeros, however many, without making them."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    num_blocks, rest = divmod(num_bytes, 1 << 20)
    end = zlib.compress(bytes(rest), 9, wbits=-15)
    checksum = struct.pack(">2H", num_bytes % 65521, 1)
    return b"\x78\xda" + block * num_blocks + end + checksum


def png(
    size: tuple[int, int],
    *,
    bits: int = 8,
    colour: int = 2,
    interlaced: bool = False,
    before: bytes = b"",
) -> bytes:
    """Return a PNG of zeros, which compresses a thousandfold."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row_bytes = 1 + (size[0] * samples * bits + 7) // 8
    pixels = _chunk(b"IDAT", zeros(row_bytes * size[1] * (1 + interlaced)))
    header = struct.pack(">2L5B", *size, bits, colour, 0, 0, interlaced)
    palette = _chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + before + palette + pixels
        + _chunk(b"IEND", b"")
    )  # fmt: skip


def text_bomb(kind: bytes) -> bytes:
    """Return a PNG with many text chunks or profiles of 200 MB when decompressed."""
    packed = zeros(200 << 20)
    content = {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}[kind]
    return png((8, 8), before=_chunk(kind, content + packed) * 10)


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Set the size in the header of a JPEG, independent of its data."""
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: at + 5] + struct.pack(">2H", height, width) + data[at + 9 :]


def scan_bomb(width: int, height: int, num_scans: int) -> bytes:
    """Return a progressive JPEG that repeats a scan, each a pass over all pixels."""
    small = making.jpeg_bytes(size=(16, 16), progressive=True, mode="L")
    head = with_size(small[: small.index(b"\xff\xda")], width, height)
    scan = b"\xff\xda\0\x08\1\1\0\1\x3f\0"  # its spectral band alone, nothing in it
    codes = b"\xff\xc4\0\x14\x10" + b"\1" + bytes(15) + b"\xe0"  # one: end of band
    first = b"\xff\xda\0\x08\1\1\0\0\0\1" + b"\0" * 10
    return head + codes + first + (scan + b"\0\0\0") * num_scans + b"\xff\xd9"


def gif(width: int, height: int) -> bytes:
    """Return a GIF whose only frame differs in size."""
    small = making.encode(making.picture(1), "GIF")
    at = small.index(b",", 13 + 3 * (2 << (small[10] & 7)))  # behind the palette
    return small[: at + 5] + struct.pack("<2H", width, height) + small[at + 9 :]


def run_length_bmp(width: int, height: int) -> bytes:
    """Return a BMP of runs that skip without a pixel."""
    header = struct.pack("<L2l2H6L", 40, width, height, 1, 8, 1, 0, 0, 0, 256, 0)
    leaps = b"\0\2\xff\xff" * 4000
    data = bytes(1024) + leaps + b"\0\1"
    return (
        b"BM"
        + struct.pack("<3L", 14 + 40 + len(data), 0, 14 + 40 + 1024)
        + header
        + data
    )


def webp(width: int, height: int, *, has_alpha: bool) -> bytes:
    """Return a lossless WebP of one colour, which uses no bits per pixel."""
    one_symbol = 0b0001  # a simple code of one symbol of one bit, which is 0
    codes = sum(one_symbol << (4 * n) for n in range(5))
    bits = (width - 1) | (height - 1) << 14 | has_alpha << 28 | codes << 35
    data = b"\x2f" + bits.to_bytes(8, "little") + bytes(3)
    chunk = b"VP8L" + struct.pack("<L", len(data)) + data
    return b"RIFF" + struct.pack("<L", 4 + len(chunk)) + b"WEBP" + chunk


BOMBS: dict[str, Callable[[], bytes]] = {
    "png beyond the bound": lambda: png((12_000, 12_000)),
    "png at the bound": lambda: png(_NEAR_THE_BOUND),
    "deep png at the bound": lambda: png(_NEAR_THE_BOUND, bits=16, colour=6),
    "deep grey png at the bound": lambda: png(_NEAR_THE_BOUND, bits=16, colour=0),
    "alpha png at the bound": lambda: png(_NEAR_THE_BOUND, colour=6),
    "palette png at the bound": lambda: png(_NEAR_THE_BOUND, bits=1, colour=3),
    "interlaced png at the bound": lambda: png(_NEAR_THE_BOUND, interlaced=True),
    "one row png": lambda: png((100_000_000, 1)),
    "row png at the bound": lambda: png((1_000_000, 120), bits=16, colour=6),
    "column png at the bound": lambda: png((1, 1_000_000)),
    "png of 4 billion rows": lambda: png((1, 3), before=b"")[:16]
    + struct.pack(">2L", 1, 0xFFFFFFFF) + png((1, 3))[24:],
    "zTXt bomb": lambda: text_bomb(b"zTXt"),
    "iTXt bomb": lambda: text_bomb(b"iTXt"),
    "iCCP bomb": lambda: text_bomb(b"iCCP"),
    "jpeg beyond the bound": lambda: with_size(making.jpeg_bytes(), 65_500, 65_500),
    "jpeg at the bound": lambda: with_size(making.jpeg_bytes(), 65_500, 1_950),
    "cmyk jpeg at the bound": lambda: with_size(
        making.jpeg_bytes(mode="CMYK"), 65_500, 1_950
    ),
    "progressive jpeg at the bound": lambda: with_size(
        making.jpeg_bytes(progressive=True), 11_000, 11_000
    ),
    "a thousand scans of 500x500": lambda: scan_bomb(500, 500, 1_000),
    "forty scans at the bound": lambda: scan_bomb(11_000, 11_000, 40),
    "a hundred thousand scans": lambda: scan_bomb(11_000, 11_000, 100_000),
    "gif at the bound": lambda: gif(11_000, 11_000),
    "gif beyond the bound": lambda: gif(65_000, 65_000),
    "leaping bmp": lambda: run_length_bmp(11_000, 11_000),
    "leaping bmp of one column": lambda: run_length_bmp(1, 1_000_000),
    "leaping bmp of one row": lambda: run_length_bmp(100_000_000, 1),
    "webp at the bound": lambda: webp(7_800, 16_000, has_alpha=False),
    "webp with alpha at the bound": lambda: webp(7_800, 16_000, has_alpha=True),
}  # fmt: skip
