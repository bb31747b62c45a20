"""Encode and read tf.train.Example records in TFRecord files.

Examples are encoded by hand, so that workers need not import TensorFlow or register its
protobuf message names. Map keys are sorted, so that equal records have equal bytes.

Source: tensorflow/core/example/{example,feature}.proto and lib/io/record_writer;
protobuf.dev, "Encoding".
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import google_crc32c

from transforms import storage
from transforms.archives import signatures
from transforms.records import DataError, Record, UsageError

HEADER_BYTES = 12  # of `frame`, before the data
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5


def frame(data: bytes) -> bytes:
    """Frame a record: length, checksum of the length, data, checksum of the data."""
    length = len(data).to_bytes(8, "little")
    return b"".join((length, masked_crc(length), data, masked_crc(data)))


def masked_crc(data: bytes) -> bytes:
    """Return the masked CRC-32C of TFRecord as 4 little-endian bytes."""
    crc = google_crc32c.value(data)
    rotated = (crc >> 15) | (crc << 17)
    return ((rotated + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def encode_record(record: Record) -> tuple[bytes, int]:
    """Return the serialised tf.train.Example and the byte offset of the image in it."""
    image = _encode_entry("image", record.image)
    before = _encode_features({
        "file_name": record.file_name.encode(),
        "fine_label": record.fine_label,
    })
    after = _encode_features({"label": record.label, "wnid": record.wnid.encode()})
    features = before + image + after
    example = _field(1, features)
    # The image ends its own entry, and `after` ends the example.
    return example, len(example) - len(after) - len(record.image)


def _encode_features(features: Mapping[str, bytes | int]) -> bytes:
    """Encode the map entries of a tf.train.Features message, sorted by key."""
    return b"".join(_encode_entry(name, features[name]) for name in sorted(features))


def _encode_entry(name: str, value: bytes | int) -> bytes:
    """Encode one map entry of tf.train.Features: a name and a list of one value."""
    if isinstance(value, bytes):
        feature = _field(1, _field(1, value))  # bytes_list
    else:
        feature = _field(3, _field(1, varint(value)))  # int64_list, packed
    return _field(1, _field(1, name.encode()) + _field(2, feature))


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Encode an integer as a varint; negative int64 values as two's complement."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_WINDOW_BYTES = 512  # data before or after an image, in one read
_FOOTER_BYTES = 4
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10
_BYTES_LIST, _INT64_LIST = 1, 3
_MAX_TEXT_BYTES = 256


class Span(NamedTuple):
    """A byte range [start, end) of a TFRecord file."""

    start: int
    end: int


class _Field(NamedTuple):
    """A field of a protobuf message: its number, wire type and value's byte range."""

    number: int
    wire_type: int
    value: Span


class Example(NamedTuple):
    """The integer and bytes features of a record that have exactly one value, by name.

    Attributes:
      start: byte offset of the serialised example in the file.
      integers: values of integer features.
      spans: byte ranges of the values of bytes features in the file.
      texts: decoded values of the bytes features of at most 256 bytes.
    """

    start: int
    integers: Mapping[str, int]
    spans: Mapping[str, Span]
    texts: Mapping[str, str]


class Reader:
    """Read the records of a TFRecord file in order, without reading image bytes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._num_bytes = storage.num_bytes(path)
        self._start, self._window = 0, b""

    def read_examples(self) -> Iterator[Example]:
        """Yield the parsed example of every record.

        Raises:
          UsageError: the file is truncated or damaged, or does not contain
            tf.train.Example records.
        """
        position = 0
        while position < self._num_bytes:
            header = self._read(Span(position, position + HEADER_BYTES))
            length, checksum = header[:8], header[8:]
            if masked_crc(length) != checksum:
                raise self._damaged(position)
            start = position + HEADER_BYTES
            end = start + int.from_bytes(length, "little")
            if end + _FOOTER_BYTES > self._num_bytes:
                raise self._damaged(position)
            yield self._parse_example(Span(start, end))
            position = end + _FOOTER_BYTES

    def _parse_example(self, example: Span) -> Example:
        integers: dict[str, int] = {}
        spans: dict[str, Span] = {}
        texts: dict[str, str] = {}
        for features in self._messages(example):
            for entry in self._messages(features):
                parts = {field.number: field.value for field in self._fields(entry)}
                if parts.keys() != {1, 2}:
                    raise self._damaged(entry.start)
                name = self._read_text(parts[1])
                value = self._parse_feature(parts[2])
                if isinstance(value, int):
                    integers[name] = value
                elif value:
                    spans[name] = value
                    if value.end - value.start <= _MAX_TEXT_BYTES:
                        texts[name] = self._read_text(value)  # while buffered
        return Example(example.start, integers, spans, texts)

    def _read_text(self, span: Span) -> str:
        if span.end - span.start > _MAX_TEXT_BYTES:
            raise self._damaged(span.start)
        return self._read(span).decode("utf-8", "replace")

    def _parse_feature(self, feature: Span) -> int | Span | None:
        """Return the value of a feature that has exactly one integer or bytes value.

        Return None for float features and for any other number of values.
        """
        for kind in self._fields(feature):
            # Two values suffice to reject a list; a malicious one could fill memory.
            values = list(islice(self._fields(kind.value), 2))
            if len(values) != 1 or kind.number not in {_BYTES_LIST, _INT64_LIST}:
                return None
            (value,) = values
            if kind.number == _BYTES_LIST:
                return value.value
            number, end = self._read_varint(value.value)
            if end == value.value.end:  # else it is a packed list of several values
                return number - (1 << 64) if number >> 63 else number
        return None

    def _messages(self, message: Span) -> Iterator[Span]:
        for field in self._fields(message):
            if field.number == 1 and field.wire_type == _LENGTH_DELIMITED:
                yield field.value

    def _fields(self, message: Span) -> Iterator[_Field]:
        position = message.start
        while position < message.end:
            tag, start = self._read_varint(Span(position, message.end))
            number, wire_type = tag >> 3, tag & 7
            if wire_type == _LENGTH_DELIMITED:
                length, start = self._read_varint(Span(start, message.end))
                end = start + length
            elif wire_type == _VARINT:
                _, end = self._read_varint(Span(start, message.end))
            elif wire_type in _FIXED_BYTES:
                end = start + _FIXED_BYTES[wire_type]
            else:
                raise self._damaged(position)
            if end > message.end:
                raise self._damaged(position)
            yield _Field(number, wire_type, Span(start, end))
            position = end

    def _read_varint(self, span: Span) -> tuple[int, int]:
        """Return the varint at the start of a span, and the offset of its end."""
        value = 0
        end = min(span.end, span.start + _MAX_VARINT_BYTES)
        for shift, byte in enumerate(self._read(Span(span.start, end))):
            value |= (byte & 0x7F) << (7 * shift)
            if byte < 0x80:
                return value & ((1 << 64) - 1), span.start + shift + 1
        raise self._damaged(span.start)

    def _read(self, span: Span) -> bytes:
        """Read the bytes of a span through a read-ahead buffer of 512 bytes or more."""
        at = span.start - self._start
        if at < 0 or span.end > self._start + len(self._window):
            wanted = max(span.end - span.start, _WINDOW_BYTES)
            length = min(wanted, self._num_bytes - span.start)
            if span.end > span.start + length:
                raise self._damaged(span.start)
            try:
                self._window = storage.read_range(self._path, span.start, length)
            except DataError as error:
                raise UsageError(f"{self._path}: {error}") from error
            self._start, at = span.start, 0
        return self._window[at : at + span.end - span.start]

    def _damaged(self, position: int) -> UsageError:
        what = signatures.explain(self._path) if position == 0 else ""
        return UsageError(
            f"{self._path}: truncated, or not a TFRecord file of images (at byte "
            f"{position}); download it again{what}"
        )
