"""Do the same work without a pipeline: one process per core, each a plain loop.

    python -m tests.benchmarks.bare_loop build|inspect INDEX OUTPUT

Prints the seconds of the loop, excluding start-up.
"""

import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from transforms.formats.webdataset import make_member
from transforms.images import decode
from transforms.images.process import process
from transforms.images.settings import ImageSettings
from transforms.index import table as index_table


def build(refs: Sequence, path: str, output: str) -> int:
    """Read, decode, resize, encode and append to a tar."""
    settings = ImageSettings()
    source = os.open(path, os.O_RDONLY)
    with open(output, "wb") as file:  # noqa: PTH123
        for ref in refs:
            data = os.pread(source, ref.length, ref.offset)
            processed = process(data, settings)
            labels = {"file_name": f"{ref.key}.JPEG", "label": 0, "wnid": ref.wnid}
            file.write(
                make_member(f"{ref.key}.jpg", processed.jpeg)
                + make_member(f"{ref.key}.cls", b"0")
                + make_member(f"{ref.key}.json", json.dumps(labels).encode())
            )
    return len(refs)


def inspect(refs: Sequence, path: str, output: str) -> int:
    """Read, hash and decode in full."""
    del output
    source = os.open(path, os.O_RDONLY)
    for ref in refs:
        data = os.pread(source, ref.length, ref.offset)
        hashlib.sha256(data).hexdigest()
        decode.decode(decode.open_image(data))
    return len(refs)


def main(what: str, index: str, output: str) -> None:
    """Distribute the images of an index to one process per core."""
    work = {"build": build, "inspect": inspect}[what]
    refs = index_table.to_refs(pq.read_table(index))
    root = index_table.read_description(index)["inputs"][0]
    path = f"{root}/{refs[0].uri}"
    Path(output).mkdir(parents=True, exist_ok=True)
    num_processes = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("fork")
    started = time.perf_counter()
    with context.Pool(num_processes) as pool:
        done = pool.starmap(
            work,
            [
                (refs[number::num_processes], path, f"{output}/{number:05d}.tar")
                for number in range(num_processes)
            ],
        )
        pool.close()
        pool.join()
    seconds = time.perf_counter() - started
    sys.stdout.write(json.dumps({"seconds": seconds, "images": sum(done)}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
