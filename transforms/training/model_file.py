"""A Keras model → a .keras file, the same bytes for the same weights."""

import io
import itertools
import json
import re
import zipfile
from collections import defaultdict
from pathlib import Path

from transforms.training.architectures import Model

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that zip files know
_METADATA, _CONFIG = "metadata.json", "config.json"
_ADDRESS = re.compile(rb'"shared_object_id": (\d+)')


def write(model: Model, path: str) -> None:
    """Write a model; the file appears whole or not at all."""
    place = Path(path)
    temporary = place.with_name(f".{place.stem}.tmp.keras")
    try:
        model.save(temporary)
        temporary.write_bytes(_make_equal(temporary.read_bytes()))
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _make_equal(data: bytes) -> bytes:
    """Take out what differs from run to run: dates, and addresses in memory."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == _METADATA:
                metadata = json.loads(content) | {"date_saved": ""}
                content = json.dumps(metadata).encode()
            if name == _CONFIG:
                content = _number_objects(content)
            new.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return made.getvalue()


def _number_objects(config: bytes) -> bytes:
    """Name objects that layers share by number, in order, not by their address."""
    numbers: defaultdict[bytes, int] = defaultdict(itertools.count(1).__next__)
    return _ADDRESS.sub(
        lambda found: b'"shared_object_id": %d' % numbers[found[1]], config
    )
