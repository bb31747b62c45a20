"""Run readers on a dataset and print one line of JSON per image.

Usage: `python -m transforms.verification.reading READER,… DIRECTORY SPLIT…`. For each
reader, the first line contains the label names, and `END` follows the last line.
Readers run in processes of their own because the libraries of different readers
conflict; those in one process use the same ones.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence

from transforms.verification import readers

END = b"\f\n"  # JSON escapes form feeds


def main(argv: Sequence[str]) -> None:
    """Read a dataset with each reader and print the result; exceptions propagate.

    Args:
      argv: names of the readers, separated by commas, dataset folder, and splits.
    """
    names, directory, *splits = argv
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as lines:
        # Redirect what libraries print, which would mix with the lines.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for name in names.split(","):
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
            lines.write(END.decode())
            lines.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
    # Threads of libraries can crash the interpreter at exit, after all output.
    sys.stderr.flush()
    os._exit(0)
