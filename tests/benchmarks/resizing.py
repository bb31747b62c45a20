"""Compare decoding, resizing and encoding on one core with Pillow."""

import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.benchmarks import children
from tests.benchmarks.settings import Row, Settings
from transforms.images.process import process
from transforms.images.settings import CHROMA, ImageSettings, target_size

TIMES, LEVELS = 1.8, 1
_SETTINGS = ImageSettings()
_FINEST = ImageSettings(jpeg_quality=100)  # pixels then differ by the resize alone


def measure(settings: Settings) -> list[Row]:
    """Process every photograph with both, alternately."""
    files = [path.read_bytes() for path in settings.find_photographs()]
    # Pillow ignores inverted CMYK, so these few images cannot be compared.
    files = [data for data in files if Image.open(io.BytesIO(data)).mode != "CMYK"]
    with_pillow(files[0])
    taken = children.alternate(
        {
            "ours": lambda: _time(lambda data: process(data, _SETTINGS).jpeg, files),
            "pillow": lambda: _time(with_pillow, files),
        },
        settings.repetitions,
    )
    speedups = [p / o for o, p in zip(taken["ours"], taken["pillow"], strict=True)]
    differences = [_compare(data) for data in files]
    mean, largest = float(np.mean(differences)), max(differences)
    msec = {name: [1000 * s / len(files) for s in t] for name, t in taken.items()}
    return [
        Row(
            what="resize and codec per image, one core, compared with Pillow bicubic",
            measured=f"{children.show(speedups)} × ({children.show(msec['ours'])} ms; "
            f"Pillow {children.show(msec['pillow'])} ms), "
            f"mean difference {mean:.2f} of 255, maximum {largest:.2f}",
            target=f"≥ {TIMES} ×, mean difference < {LEVELS}",
            reached=children.median(speedups) >= TIMES and mean < LEVELS,
            figures={"cpu_msec": msec, "differences": differences},
        )
    ]


def with_pillow(data: bytes, quality: int = _SETTINGS.jpeg_quality) -> bytes:
    """Process an image with Pillow alone."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    size = target_size(*image.size, _SETTINGS)
    resized = image.resize(size, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    resized.save(file, "JPEG", quality=quality, subsampling=CHROMA)
    return file.getvalue()


def _time(make: Callable[[bytes], bytes], files: list[bytes]) -> float:
    """Return the CPU seconds for all files, in one thread."""
    started = time.thread_time()
    for data in files:
        make(data)
    return time.thread_time() - started


def _compare(data: bytes) -> float:
    """Return the mean absolute difference between both results."""
    ours, theirs = (
        np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), np.int16)
        for jpeg in (
            process(data, _FINEST).jpeg,
            with_pillow(data, _FINEST.jpeg_quality),
        )
    )
    return float(np.abs(ours - theirs).mean())
