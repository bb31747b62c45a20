"""Run one reader on a dataset and print one line of JSON per image.

Usage: `python -m transforms.verification.reading READER DIRECTORY SPLIT…`. Each reader
runs in its own process because the libraries of different readers conflict. The first
line contains the label names.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence

from transforms.verification import readers


def main(argv: Sequence[str]) -> None:
    """Read a dataset with one reader and print the result; exceptions propagate.

    Args:
      argv: name of the reader, dataset folder, and splits.
    """
    name, directory, *splits = argv
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as lines:
        # Redirect what libraries print, which would mix with the lines.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        reader = readers.load(name)
        lines.write(f"{json.dumps(reader.read_names(directory))}\n")
        for image in reader.read_images(directory, splits):
            line = [
                image.key,
                image.split,
                image.labels,
                hashlib.sha256(image.image).hexdigest(),
                image.fine_label,
                image.wnid,
                image.file_name,
            ]
            lines.write(f"{json.dumps(line)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
    # Threads of libraries can crash the interpreter at exit, after all output.
    sys.stderr.flush()
    os._exit(0)
