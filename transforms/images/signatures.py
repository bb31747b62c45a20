"""Identify unsupported files and kinds of JPEG by their headers."""

import re
from typing import NamedTuple

from transforms.archives.signatures import FILE_KINDS

JPEG = b"\xff\xd8\xff"
_CONVERT = "convert it to JPEG or PNG"
_HEAD_BYTES = 1024

# Unsupported image formats by their first bytes.
_UNSUPPORTED = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"II\xbc": "JPEG XR",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\x01\0": "ICO",
    b"\0\0\x02\0": "ICO",
    b"8BPS": "Photoshop",
    b"gimp xcf": "GIMP",
    b"DDS ": "DDS",
    b"qoif": "QOI",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"BPG\xfb": "BPG",
    b"\x8aMNG": "MNG",
}
# Brands of the ISO base media format; AVIF is read, unless Pillow lacks it.
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"hevc": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
    b"crx ": "Canon CR3",
}
_NETPBM = re.compile(rb"P[1-7]\s")
# Files that are not images.
_OTHERS = {
    **{start: name for start, (name, _) in FILE_KINDS.items()},
    b"%PDF-": "a PDF document",
    b"%!PS": "a PostScript document",
    b"\x1aE\xdf\xa3": "a Matroska or WebM video",
    b"\0\0\x01\xba": "an MPEG video",
    b"RIFF": "a RIFF file",
    b"\0\x05\x16\x07": "macOS attributes of another file",
}
_MARKUP = (
    (re.compile(rb"<svg[\s>]", re.IGNORECASE), "SVG"),
    (re.compile(rb"<!doctype html|<html[\s>]", re.IGNORECASE), "HTML"),
    (re.compile(rb"<\?xml|<error>", re.IGNORECASE), "XML"),
)


def describe(data: bytes) -> str:
    """Return an error message that names the unsupported format of a file, if known."""
    head = data[:_HEAD_BYTES]
    if image_format := _find_format(head):
        return f"{image_format} image: not supported; {_CONVERT}"
    kind = _find_signature(head) or _find_text(head) or _find_offset(head)
    if not kind and data.count(0) == len(data):
        kind = "only zero bytes; download it again"
    return f"not an image: {kind}" if kind else "not an image"


def _find_signature(head: bytes) -> str:
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[4:8] == b"ftyp":
        return "a video"
    return next((name for start, name in _OTHERS.items() if head.startswith(start)), "")


def _find_offset(head: bytes) -> str:
    start = head.find(JPEG)
    return f"{start} bytes before the start of a JPEG" if start > 0 else ""


def _find_format(head: bytes) -> str:
    for signature, name in _UNSUPPORTED.items():
        if head.startswith(signature):
            return name
    if brands := list_brands(head):
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), "")
    if _NETPBM.match(head):
        return "Netpbm (PPM)"
    markup = _find_markup(head)
    return markup if markup == "SVG" else ""


def list_brands(head: bytes) -> list[bytes]:
    """List the brands of an ISO base media file (AVIF, HEIC, MP4); [] for others."""
    if head[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(head[:4]), len(head))
    return [head[8:12], *(head[n : n + 4] for n in range(16, end, 4))]


def _find_markup(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith(b"<"):
        return ""
    return next((name for pattern, name in _MARKUP if pattern.search(text)), "")


def _find_text(head: bytes) -> str:
    """Describe HTML, XML and JSON, which servers return as errors; "" for others."""
    if markup := _find_markup(head):
        return f"{markup} text, e.g. an error page; download it again"
    if head.lstrip().startswith((b'{"', b"[{")):
        return "JSON text, e.g. an error message; download it again"
    return ""


# Start-of-frame markers. Source: ITU-T T.81, table B.1, and T.87 for JPEG-LS.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_LS = 0xF7
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF})
# Baseline, extended and progressive with Huffman codes: the kinds that every reader
# decodes. TensorFlow does not decode lossless JPEG, many others not arithmetic JPEG.
_COMMON = frozenset({0xC0, 0xC1, 0xC2})
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})  # without a segment
_BITS = 8


class _Frame(NamedTuple):
    marker: int
    bits: int
    height: int


def _find_frame(data: bytes) -> _Frame | None:
    """Parse the start-of-frame segment of a JPEG; None if it is missing or damaged."""
    position = data.find(b"\xff", 2)
    while 0 <= position < len(data) - 1:
        marker = data[position + 1]
        if marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            return None
        segment = data[position + 2 : position + 7]
        if marker in _FRAMES or marker == _JPEG_LS:
            bits, height = segment[2:3], segment[3:5]
            return _Frame(marker, int.from_bytes(bits), int.from_bytes(height))
        position += 1
        if marker not in _BARE and marker != 0xFF:
            position += 1 + max(int.from_bytes(segment[:2]), 2)
        position = data.find(b"\xff", position)
    return None


def find_jpeg_problem(data: bytes) -> str:
    """Describe why a JPEG is unsupported; "" if it is supported or has no frame."""
    frame = _find_frame(data)
    kind = ""
    if frame is None:
        pass
    elif frame.marker == _JPEG_LS:
        kind = "JPEG-LS image"
    elif frame.marker in _HIERARCHICAL:
        kind = "hierarchical JPEG"
    elif frame.bits != _BITS:
        kind = f"{frame.bits}-bit JPEG"
    elif not frame.height:
        kind = "JPEG without its height in the header"
    return kind and f"{kind}: not supported; {_CONVERT}"


def is_common_jpeg(data: bytes) -> bool:
    """Return whether a JPEG is Huffman-coded baseline, extended or progressive."""
    frame = _find_frame(data)
    return frame is not None and frame.marker in _COMMON
