"""A record → one tf.train.Example, framed as TFRecord files hold it.

Encoded by hand: TensorFlow stays out of the workers, none of its message names is
registered, and the keys of the map are sorted, so that equal records are equal bytes.
Source: tensorflow/core/example/{example,feature}.proto and lib/io/record_writer;
protobuf.dev, "Encoding".
"""

from collections.abc import Mapping

import google_crc32c

from transforms.records import Record

HEADER_BYTES = 12  # what `frame` puts before the data
_LENGTH_DELIMITED = 2  # protobuf's wire type


def frame(data: bytes) -> bytes:
    """Frame a record: its length, the length's checksum, the data, their checksum."""
    length = len(data).to_bytes(8, "little")
    return b"".join((length, masked_crc(length), data, masked_crc(data)))


def masked_crc(data: bytes) -> bytes:
    """Return the checksum that the frames hold."""
    crc = google_crc32c.value(data)
    rotated = (crc >> 15) | (crc << 17)
    return ((rotated + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def encode_record(record: Record) -> tuple[bytes, int]:
    """Return (serialized tf.train.Example, where in it the image's bytes begin)."""
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
    """Encode a tf.train.Features message, keys sorted."""
    return b"".join(_encode_entry(name, features[name]) for name in sorted(features))


def _encode_entry(name: str, value: bytes | int) -> bytes:
    """Encode one feature: an entry of the map, holding a list of one value."""
    if isinstance(value, bytes):
        feature = _field(1, _field(1, value))  # bytes_list
    else:
        feature = _field(3, _field(1, varint(value)))  # int64_list, packed
    return _field(1, _field(1, name.encode()) + _field(2, feature))


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Encode seven bits a byte, lowest first; a negative int64 as its complement."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
