"""Run a build, and count the bytes that it reads and sends through shuffles.

    python -m tests.benchmarks.watched_build FOLDER FLAGS OF BUILD

Prints the bytes read from files in the folder, how many of these files were opened in
any way other than for range reads, and the bytes and images in shuffles.
"""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from apache_beam.runners.portability.fn_api_runner import execution

from pipelines import build

# Magic numbers of image files, and the identifiers that follow in most JPEG files.
_IMAGE = re.compile(rb"\xff\xd8\xff[\xdb\xe0-\xef\xfe]|JFIF\0|Exif\0\0|\x89PNG\r\n")


def main(folder: str, *argv: str) -> None:
    """Run the build, and print the counts."""
    seen = Counter({"read_bytes": 0, "otherwise_opened": 0, "bytes": 0, "images": 0})
    _watch_reads(folder, seen)
    for buffer in (execution.GroupingBuffer, execution.ListBuffer):
        _watch_shuffles(buffer, seen)
    build.main(argv)
    sys.stdout.write(json.dumps(seen) + "\n")


def _watch_reads(folder: str, seen: Counter) -> None:
    """Count range reads, which `storage` does by `os.pread`, and other opened files."""
    read = os.pread

    def counting(descriptor: int, length: int, offset: int) -> bytes:
        data = read(descriptor, length, offset)
        place = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        seen["read_bytes"] += len(data) * place.startswith(folder)
        return data

    def see(event: str, arguments: Sequence) -> None:
        # `os.open` reports no mode; all other ways of opening a file do.
        if event == "open" and arguments[1] is not None:
            seen["otherwise_opened"] += str(arguments[0]).startswith(folder)

    os.pread = counting
    sys.addaudithook(see)


def _watch_shuffles(buffer: type, seen: Counter) -> None:
    append = buffer.append

    def counting(self: object, elements: bytes) -> None:
        seen["bytes"] += len(elements)
        seen["images"] += len(_IMAGE.findall(elements))
        append(self, elements)

    buffer.append = counting


if __name__ == "__main__":
    main(*sys.argv[1:])
