"""Damage archives at random: every image keeps its label, or is reported.

2,000 archives with holes of zeros, joined, renamed or truncated parts. The images are
random bytes, so that each is recognised wherever a reader finds it.
"""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from pipelines import inputs
from tests import making
from transforms import input_warnings, storage
from transforms.index import parts as index_parts
from transforms.records import ImageRef, UsageError

_CASES = 2000
_CASES_PER_TEST = 100
_WNIDS = ("n01440764", "n01443537", "n02099601")
# Longer than the zeros that tar pads an archive with: a hole that takes the place of
# the padding is an archive without the image, and nothing can tell.
_IMAGE_BYTES = (13_000, 20_000)


class _Image(NamedTuple):
    wnid: str
    split: str
    data: bytes


class _Archive(NamedTuple):
    """An archive and its images by key."""

    file: str
    data: bytes
    images: Mapping[str, _Image]


def _draw_images(chance: random.Random, split: str) -> dict[str, _Image]:
    images = {}
    for label, wnid in enumerate(_WNIDS):
        for number in range(1, 4):
            key = f"{wnid}_{number}"
            if split == "validation":
                key = f"ILSVRC2012_val_{3 * label + number:08d}"
            data = chance.randbytes(chance.randint(*_IMAGE_BYTES))
            images[key] = _Image(wnid, split, data)
    return images


def _pack_classes(images: Mapping[str, _Image]) -> dict[str, bytes]:
    return {
        f"{wnid}.tar": making.tar_bytes({
            f"{key}.JPEG": image.data
            for key, image in images.items()
            if image.wnid == wnid
        })
        for wnid in _WNIDS
    }


def _make_training(chance: random.Random) -> _Archive:
    images = _draw_images(chance, "train")
    data = making.tar_bytes(_pack_classes(images))
    return _Archive("ILSVRC2012_img_train.tar", data, images)


def _make_class(chance: random.Random) -> _Archive:
    images = _draw_images(chance, "train")
    wnid = _WNIDS[0]
    own = {key: image for key, image in images.items() if image.wnid == wnid}
    return _Archive(f"{wnid}.tar", _pack_classes(images)[f"{wnid}.tar"], own)


def _make_validation(chance: random.Random) -> _Archive:
    images = _draw_images(chance, "validation")
    members = {f"{key}.JPEG": image.data for key, image in images.items()}
    return _Archive("ILSVRC2012_img_val.tar", making.tar_bytes(members), images)


def _make_shard(chance: random.Random) -> _Archive:
    images = _draw_images(chance, "train")
    members = {}
    for key, image in images.items():
        members[f"{key}.jpg"] = image.data
        members[f"{key}.cls"] = b"%d" % {"n02099601": 207}.get(
            image.wnid, _WNIDS.index(image.wnid)
        )
    return _Archive("imagenet-train-000000.tar", making.tar_bytes(members), images)


_MAKERS = (_make_training, _make_class, _make_validation, _make_shard)


def _punch_hole(chance: random.Random, data: bytes) -> bytes:
    """Fill a range with zeros; half of the holes start at a block."""
    start = chance.randrange(len(data))
    if chance.random() < 0.5:
        start -= start % 512
    end = min(len(data), start + chance.choice([512, 1000, 4096, 16_384, 65_536]))
    return data[:start] + bytes(end - start) + data[end:]


def _truncate(chance: random.Random, data: bytes) -> bytes:
    end = chance.randrange(1, len(data))
    return (
        data[: end - end % 512] if chance.random() < 0.5 and end > 512 else data[:end]
    )


def _join(chance: random.Random, data: bytes) -> bytes:
    """Append a part of the archive, or another archive."""
    other = making.tar_bytes({"n02106662_1.JPEG": chance.randbytes(100)})
    return data + chance.choice([data, other, data[: len(data) // 2], b"junk" * 99])


def _rename(chance: random.Random, data: bytes) -> bytes:
    """Rename a member of the archive or of a nested archive."""
    headers = [
        start
        for start in range(0, len(data) - 512, 512)
        if data[start + 257 : start + 262] == b"ustar"
    ]
    start = chance.choice(headers)
    header = bytearray(data[start : start + 512])
    old = header[:100].rstrip(b"\0").decode()
    new = chance.choice([
        old.replace(chance.choice(_WNIDS), chance.choice(_WNIDS)),
        old.replace("_1", "_7"),
        f"{old}.part",
        f"copy of {old}",
    ])
    header[:100] = new.encode().ljust(100, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:start] + bytes(header) + data[start + 512 :]


_DAMAGE: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _punch_hole, _truncate, _join, _rename,
)  # fmt: skip


def _write_labels(folder: Path, images: Mapping[str, _Image]) -> None:
    rows = [f"{key},{image.wnid} 0 0 1 1\n" for key, image in images.items()]
    text = "ImageId,PredictionString\n" + "".join(rows)
    (folder / "LOC_val_solution.csv").write_text(text)


def _read_input(folder: Path) -> tuple[list[ImageRef], list[str]]:
    """Read the images and all messages about an input."""
    recognised = inputs.recognise([str(folder)], None)
    parts = [
        index_parts.label_part(index_parts.read_part(number, part))
        for number, part in enumerate(recognised.parts)
    ]
    refs = [ref for part in parts for ref in part.refs]
    warnings = [
        *recognised.warnings,
        *input_warnings.summarise(seen for part in parts for seen in part.observations),
    ]
    skipped = [skipped.name for part in parts for skipped in part.strays]
    return refs, [*(warning.text for warning in warnings), *skipped]


def _find_silent_faults(archive: _Archive, folder: Path) -> list[str]:
    """Return faults that the reader does not report."""
    try:
        refs, messages = _read_input(folder)
    except UsageError:
        return []
    if messages:
        return []
    by_data = {image.data: image for image in archive.images.values()}
    faults = []
    seen = set()
    for ref in refs:
        offset, length, _ = ref.location
        data = storage.read_range(f"{folder}/{ref.uri}", offset, length)
        image = by_data.get(data) or archive.images.get(ref.key)
        if image is None or (ref.wnid, ref.split) != (image.wnid, image.split):
            faults.append(f"{ref.key} is {ref.wnid} of {ref.split}")
        else:
            seen.add(image)
    lost = set(archive.images.values()) - seen
    return [*faults, *(f"an image of {image.wnid} is lost" for image in lost)]


def test_whole_archives_are_read_without_a_message(tmp_path):
    for number, make in enumerate(_MAKERS):
        archive = make(random.Random(number))
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / archive.file).write_bytes(archive.data)
        _write_labels(folder, archive.images)
        refs, messages = _read_input(folder)
        assert messages == []
        assert {(ref.key, ref.wnid, ref.split) for ref in refs} == {
            (key, image.wnid, image.split) for key, image in archive.images.items()
        }


@pytest.mark.parametrize("first", range(0, _CASES, _CASES_PER_TEST))
def test_nothing_is_lost_or_mislabelled_silently(tmp_path, first):
    silent = []
    for seed in range(first, first + _CASES_PER_TEST):
        chance = random.Random(seed)
        archive = chance.choice(_MAKERS)(chance)
        damage = chance.choice(_DAMAGE)
        (tmp_path / archive.file).write_bytes(damage(chance, archive.data))
        _write_labels(tmp_path, archive.images)
        for fault in _find_silent_faults(archive, tmp_path):
            silent.append(f"seed {seed}, {damage.__name__} {archive.file}: {fault}")
        (tmp_path / archive.file).unlink()
    assert silent == []
