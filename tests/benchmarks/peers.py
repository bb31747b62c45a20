"""Compare the throughput of a build with that of img2dataset."""

import json
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks import children, photographs, throughput
from tests.benchmarks.children import Usage
from tests.benchmarks.settings import NotMeasured, Row, Settings

SMALL, LARGE = 1.25, 1.45
_THREADS = (2, 8, 32)  # per process; the fastest on a tenth of the images is used
_SCRIPT = Path(__file__).with_name("peer_img2dataset.py")


def measure(settings: Settings) -> list[Row]:
    """Compare builds of a fifth of the images and of all with img2dataset."""
    few = settings.images // 5
    return [_compare(settings, few, SMALL), _compare(settings, settings.images, LARGE)]


def _compare(settings: Settings, num_images: int, target: float) -> Row:
    version = find_version(settings.peer_python)
    folder = photographs.make_archive(settings, num_images)
    files = _repeat_photographs(settings, num_images)
    num_threads, seconds = find_num_threads(settings, files)
    taken = children.alternate(
        {
            "ours": lambda: throughput.build(folder, settings.work / "peers"),
            "peer": partial(run_peer, settings, files, num_threads),
        },
        settings.repetitions,
    )
    pairs = list(zip(taken["ours"], taken["peer"], strict=True))
    times = [peer.seconds / ours.seconds for ours, peer in pairs]
    rates = [num_images / peer.seconds for _, peer in pairs]
    return Row(
        what=f"build of {num_images:,} images compared with img2dataset: images per "
        "second, whole process",
        measured=f"{children.show(times)} × (img2dataset {version} with "
        f"{num_threads} threads per process: {children.show(rates, 0)})",
        target=f"≥ {target} ×",
        reached=children.median(times) >= target,
        figures={
            "times": times,
            "ours_s": [ours.seconds for ours, _ in pairs],
            "peer_s": [peer.seconds for _, peer in pairs],
            "ours_cpu_s": [ours.cpu_s for ours, _ in pairs],
            "peer_cpu_s": [peer.cpu_s for _, peer in pairs],
            "peer_version": version,
            "seconds_of_a_tenth_by_threads": seconds,
        },
    )


def _repeat_photographs(settings: Settings, num_images: int) -> list[Path]:
    files = settings.find_photographs()
    return [files[number % len(files)] for number in range(num_images)]


def find_num_threads(
    settings: Settings, files: Sequence[Path]
) -> tuple[int, dict[int, float]]:
    """Return the fastest number of threads of img2dataset, and the seconds of each."""
    tenth = files[: max(len(files) // 10, 100)]
    seconds = {n: run_peer(settings, tenth, n).seconds for n in _THREADS}
    return min(seconds, key=seconds.__getitem__), seconds


def find_version(python: Path) -> str:
    """Return the version of img2dataset in another environment."""
    code = "from importlib.metadata import version; print(version('img2dataset'))"
    try:
        return children.run([str(python), "-c", code]).output.strip()
    except (FileNotFoundError, RuntimeError):
        raise NotMeasured(
            "needs --peer_python, the Python of an environment with img2dataset "
            "(python3.11 -m venv .venv-bench; .venv-bench/bin/pip install img2dataset)"
        ) from None


def run_peer(settings: Settings, files: Sequence[Path], num_threads: int) -> Usage:
    """Run img2dataset on files."""
    urls = settings.work / "urls.txt"
    lines = [f"file://{file.resolve()}" for file in files]
    urls.write_text("\n".join(lines) + "\n", encoding="utf-8")
    num_images = len(files)
    output = settings.work / "peer"
    cores = len(os.sched_getaffinity(0))
    per_shard = min(1000, -(-num_images // cores))  # so that no process idles
    words = (urls, output, cores, num_threads, per_shard)
    try:
        usage = children.run(
            [str(settings.peer_python), str(_SCRIPT), *map(str, words)],
            environment={"NO_ALBUMENTATIONS_UPDATE": "1"},  # avoids a network request
        )
        counts = [json.loads(f.read_text()) for f in output.glob("*_stats.json")]
        if (num_written := sum(c["successes"] for c in counts)) != num_images:
            raise RuntimeError(f"img2dataset wrote {num_written} of {num_images}")
        return usage
    finally:
        shutil.rmtree(output, ignore_errors=True)
