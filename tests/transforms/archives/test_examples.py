import subprocess
import sys

from transforms.archives import tfrecords
from transforms.records import Record

RECORD = Record("n99999999_1", b"\xff\xd8\xff\xd9", 3, -1, "n99999999")
GOLDEN = (
    "0a7b"
    "0a210a0966696c655f6e616d6512140a120a106e39393939393939395f312e4a504547"
    "0a1c0a0a66696e655f6c6162656c120e1a0c0a0affffffffffffffffff01"
    "0a110a05696d61676512080a060a04ffd8ffd9"
    "0a0e0a056c6162656c12051a030a0103"
    "0a150a04776e6964120d0a0b0a096e3939393939393939"
)  # file_name, fine_label, image, label, wnid


def test_example_golden():
    example, offset = tfrecords.encode_record(RECORD)
    assert example.hex() == GOLDEN
    assert example[offset : offset + 4] == RECORD.image


def test_empty_record_frame_golden():
    assert tfrecords.frame(b"").hex() == "0000000000000000" + "29039807" + "d8ea82a2"


def test_header_bytes_stand_before_the_data():
    assert tfrecords.frame(b"data")[tfrecords.HEADER_BYTES :][:4] == b"data"


def test_example_longer_than_a_one_byte_length():
    record = RECORD._replace(image=bytes(range(256)) * 300)
    example, offset = tfrecords.encode_record(record)
    assert example[offset : offset + 76_800] == record.image


def test_tensorflow_is_not_imported():
    code = (
        "import sys, transforms.formats.tfrecord; sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
