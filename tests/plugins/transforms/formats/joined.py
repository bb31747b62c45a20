"""Concatenate images, each after a line of JSON that describes it."""

import json

from transforms import storage
from transforms.formats import WrittenShard
from transforms.records import ImageLocation


def shard_path(name, shard):
    return f"joined/{name}-{shard}.joined"


def find_split(path):
    return path.split("-")[-4] if path.endswith(".joined") else None


class ShardWriter:
    def __init__(self, place):
        self._path = shard_path(place.name, place.shard)
        self._file = storage.AtomicFile(place.root, self._path)
        self._locations = []

    def add(self, record):
        described = [record.key, len(record.image), record.label, record.wnid]
        self._file.write(json.dumps(described).encode() + b"\n")
        location = ImageLocation(self._path, self._file.tell(), len(record.image))
        self._file.write(record.image)
        self._locations.append(location)

    def close(self):
        return WrittenShard((self._file.close(),), tuple(self._locations))

    def discard(self):
        self._file.discard()


def sidecars(dataset):
    names = "".join(f"{label.name}\n" for label in dataset.labels)
    return {"joined/names.txt": names.encode()}


def how_to_load(dataset):
    return f"joined:\n\nRead {dataset.example_path}/joined line by line.\n"


def loading_snippet(directory, split):
    return f'open("{directory}/joined/{split}")'
