"""Fuzz every parser of foreign files briefly, with `tests.torture.fuzz_parsers`."""

import pytest

from tests.torture import fuzz_parsers, parsers

NUM_FILES = 30


@pytest.mark.parametrize("name", parsers.TARGETS)
def test_valid_files_are_read(tmp_path, name):
    target = parsers.TARGETS[name]
    for data in target.seeds():
        (tmp_path / target.file).write_bytes(data)
        target.parse(str(tmp_path / target.file))


@pytest.mark.parametrize("name", parsers.TARGETS)
def test_broken_files_raise_only_named_errors(tmp_path, name):
    assert fuzz_parsers.attack(name, tmp_path, NUM_FILES) == {}
