"""Compare the throughput of a build with that of img2dataset."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

from tests.benchmarks import children, photographs, throughput
from tests.benchmarks.children import Usage
from tests.benchmarks.settings import NotMeasured, Row, Settings

TIMES = 1.8
_THREADS = (2, 8, 32)  # per process; the fastest on a tenth of the images is used
_SCRIPT = Path(__file__).with_name("peer_img2dataset.py")


def measure(settings: Settings) -> list[Row]:
    """Time a build of all images, and img2dataset with as many."""
    version = _find_version(settings.peer_python)
    folder = photographs.make_archive(settings, settings.images)
    tenth = max(settings.images // 10, 100)
    seconds = {n: _run_peer(settings, tenth, n).seconds for n in _THREADS}
    num_threads = min(seconds, key=seconds.__getitem__)
    taken = children.alternate(
        {
            "ours": lambda: throughput.build(folder, settings.work / "peers"),
            "peer": partial(_run_peer, settings, settings.images, num_threads),
        },
        settings.repetitions,
    )
    pairs = list(zip(taken["ours"], taken["peer"], strict=True))
    times = [peer.seconds / ours.seconds for ours, peer in pairs]
    rates = [settings.images / peer.seconds for _, peer in pairs]
    return [
        Row(
            what="build compared with img2dataset: images per second, whole process",
            measured=f"{children.show(times)} × (img2dataset {version} with "
            f"{num_threads} threads per process: {children.show(rates, 0)})",
            target=f"≥ {TIMES} ×",
            reached=children.median(times) >= TIMES,
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
    ]


def _find_version(python: Path) -> str:
    code = "from importlib.metadata import version; print(version('img2dataset'))"
    try:
        return children.run([str(python), "-c", code]).output.strip()
    except (FileNotFoundError, RuntimeError):
        raise NotMeasured(
            "needs --peer_python, the Python of an environment with img2dataset "
            "(python3.11 -m venv .venv-bench; .venv-bench/bin/pip install img2dataset)"
        ) from None


def _run_peer(settings: Settings, num_images: int, num_threads: int) -> Usage:
    """Run img2dataset on the photographs, repeated; their files are cached."""
    files = settings.find_photographs()
    urls = settings.work / "urls.txt"
    lines = [f"file://{files[n % len(files)].resolve()}" for n in range(num_images)]
    urls.write_text("\n".join(lines) + "\n", encoding="utf-8")
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
