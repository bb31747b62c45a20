"""Do the work of a job in a plain loop, one process per core; nothing of this project.

PYTHON tests/benchmarks/bare_loop.py build|inspect ARCHIVE OUTPUT

ARCHIVE is the official tar of class tars. Prints the seconds and the CPU seconds of the
loop, without start-up.
"""

import hashlib
import io
import json
import multiprocessing
import os
import sys
import tarfile
import time
from pathlib import Path

from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image

SIDE, QUALITY = 256, 90
CATMULL_ROM = ResizeOptions(ResizeAlg.convolution(FilterType.catmull_rom))


def _convert(data):
    """Decode, resize to a shorter side of 256, encode."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    scale = SIDE / min(width, height)
    if scale < 1:
        full = image
        image = Image.new("RGB", (round(width * scale), round(height * scale)))
        Resizer().resize_pil(full, image, CATMULL_ROM)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return file.getvalue()


def _read(archive, number, num_processes):
    """Yield label, name and bytes of every image in each n-th class archive."""
    with tarfile.open(archive) as whole:
        for label, member in enumerate(whole):
            if label % num_processes == number:
                with tarfile.open(fileobj=whole.extractfile(member)) as images:
                    for image in images:
                        yield label, image.name, images.extractfile(image).read()


def _build(images, output):
    """Convert each image and append it and its label to a tar."""
    num_images = 0
    with tarfile.open(output, "w") as tar:
        for label, name, data in images:
            key = name.removesuffix(".JPEG")
            members = {f"{key}.jpg": _convert(data), f"{key}.cls": b"%d" % label}
            for member, content in members.items():
                header = tarfile.TarInfo(member)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
            num_images += 1
    return num_images


def _inspect(images, _):
    """Hash and decode each image."""
    num_images = 0
    for _, _, data in images:
        hashlib.sha256(data).hexdigest()
        Image.open(io.BytesIO(data)).load()
        num_images += 1
    return num_images


def _run(what, archive, output, number, num_processes):
    work = {"build": _build, "inspect": _inspect}[what]
    done = work(_read(archive, number, num_processes), f"{output}/{number:05d}.tar")
    return done, time.process_time()


def main(what, archive, output):
    """Distribute the classes of an archive over one process per core."""
    Path(output).mkdir(parents=True, exist_ok=True)
    num_processes = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("fork")
    started = time.perf_counter()
    with context.Pool(num_processes) as pool:
        done = pool.starmap(
            _run,
            [(what, archive, output, n, num_processes) for n in range(num_processes)],
            chunksize=1,
        )
        pool.close()
        pool.join()
    figures = {
        "seconds": time.perf_counter() - started,
        "cpu_s": sum(cpu_s for _, cpu_s in done),
        "images": sum(num_images for num_images, _ in done),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
