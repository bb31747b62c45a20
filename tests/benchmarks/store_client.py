"""Upload files to a bucket or read images from it, in a separate process.

python -m tests.benchmarks.store_client upload FOLDER TARGET
python -m tests.benchmarks.store_client read INDEX NUM_IMAGES
"""

import json
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq

from transforms import storage
from transforms.images import read as image_reading
from transforms.index import table as index_table

_NUM_FIRST = 32  # reads that open connections, which a long job keeps open


def read(index: str, num_images: int) -> None:
    """Read images as the shard writer does; print the CPU time."""
    root = index_table.read_description(index)["inputs"][0]
    refs = index_table.to_refs(pq.read_table(index))
    random.Random(0).shuffle(refs)
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(storage.num_readers(cores, [root])) as pool:

        def read_all(refs: list) -> int:
            roots = [root] * len(refs)
            return sum(map(len, pool.map(image_reading.read_image_bytes, roots, refs)))

        read_all(refs[:_NUM_FIRST])
        chosen = refs[_NUM_FIRST : _NUM_FIRST + num_images]
        started = time.process_time()
        num_bytes = read_all(chosen)
        cpu_s = time.process_time() - started
    figures = {"cpu_s": cpu_s, "images": len(chosen), "bytes": num_bytes}
    sys.stdout.write(json.dumps(figures) + "\n")


def main(what: str, place: str, more: str) -> None:
    """Run the named command."""
    if what == "upload":
        storage.copy_folder(place, more)
    else:
        read(place, int(more))


if __name__ == "__main__":
    main(*sys.argv[1:])
