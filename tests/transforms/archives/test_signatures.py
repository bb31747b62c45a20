"""Files that are not what their names say are called what they are."""

import gzip

import pytest

from transforms import layouts
from transforms.archives import signatures
from transforms.records import UsageError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>\n" * 40
CONTENTS = {
    "a Git LFS pointer; fetch the file with git lfs pull": POINTER,
    "a web page, perhaps a login page": PAGE,
    "a gzip file; decompress it first (gunzip)": gzip.compress(bytes(999)),
    "an empty file": b"",
}
NAMES = (
    "ILSVRC2012_img_train.tar",
    "n01440764.tar",
    "x-train-0000.tar",
    "imagenet-object-localization-challenge.zip",
    "train-00000-of-00001.parquet",
    "imagenet2012-train.tfrecord-00000-of-00001",
)


def read_all(folder):
    for found in layouts.find(str(folder)):
        for piece in found.pieces:
            list(layouts.read(piece))


@pytest.mark.parametrize("what", CONTENTS)
@pytest.mark.parametrize("name", NAMES)
def test_what_a_file_is_stands_in_the_message(tmp_path, name, what):
    content = CONTENTS[what]
    (tmp_path / name).write_bytes(content)
    if "tfrecord" in name and not content:  # a file of no records is valid
        read_all(tmp_path)
        return
    with pytest.raises(UsageError) as raised:
        read_all(tmp_path)
    assert f"{tmp_path}/{name}: " in str(raised.value)
    assert what in str(raised.value)


def test_files_of_no_known_kind_are_not_described(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert signatures.explain(str(tmp_path / "a")) == ""
