"""A build whose shuffles are looked into: how many bytes, and whether images are there.

python -m tests.benchmarks.shuffle_watch FLAGS OF BUILD
"""

import json
import re
import sys
from collections.abc import Sequence

from apache_beam.runners.portability.fn_api_runner import execution

from pipelines import build

# How image files begin, with the words that nearly all JPEG files have at once.
_IMAGE = re.compile(rb"\xff\xd8\xff[\xdb\xe0-\xef\xfe]|JFIF\0|Exif\0\0|\x89PNG\r\n")


def main(argv: Sequence[str]) -> None:
    """Build, and count what passes the embedded runner's grouping buffers."""
    seen = {"bytes": 0, "images": 0}
    for buffer in (execution.GroupingBuffer, execution.ListBuffer):
        _watch(buffer, seen)
    build.main(argv)
    sys.stdout.write(json.dumps(seen) + "\n")


def _watch(buffer: type, seen: dict[str, int]) -> None:
    append = buffer.append

    def counting(self: object, elements: bytes) -> None:
        seen["bytes"] += len(elements)
        seen["images"] += len(_IMAGE.findall(elements))
        append(self, elements)

    buffer.append = counting


if __name__ == "__main__":
    main(sys.argv[1:])
