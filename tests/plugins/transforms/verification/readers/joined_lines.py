"""Read joined images with Python alone."""

import json
from pathlib import Path

from transforms.verification.readers import ReadImage

FORMAT = "joined"
LIBRARY = ""


def read_names(directory):
    return Path(directory, "joined", "names.txt").read_text().splitlines()


def read_images(directory, splits):
    for split in splits:
        for path in sorted(Path(directory, "joined").glob(f"*-{split}-*.joined")):
            with path.open("rb") as file:
                while line := file.readline():
                    key, num_bytes, label, wnid = json.loads(line)
                    yield ReadImage(
                        split, key, file.read(num_bytes), (label,), wnid=wnid
                    )
