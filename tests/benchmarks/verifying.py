"""Compare the time of `verify` with that of the build.

`python -m tests.benchmarks verifying --repetitions 2` takes four minutes.
"""

import shutil

from tests.benchmarks import children, photographs, throughput
from tests.benchmarks.settings import Row, Settings


def measure(settings: Settings) -> list[Row]:
    """Time builds in both default formats, and `verify` with all readers after each."""
    folder = photographs.make_archive(settings, settings.images)
    output = settings.work / "verifying"
    pairs = []
    for _ in range(settings.repetitions):
        build = throughput.build_all(folder, output)
        dataset = output / "photographs" / "1.0.0"
        pairs.append((build, children.run_module("pipelines.verify", dataset)))
        shutil.rmtree(output)
    figures = {
        f"{name}_{what}": [getattr(pair[number], what) for pair in pairs]
        for number, name in enumerate(("build", "verify"))
        for what in ("seconds", "cpu_s")
    }
    ratios = [verify.seconds / build.seconds for build, verify in pairs]
    cpu_ratios = [verify.cpu_s / build.cpu_s for build, verify in pairs]
    return [
        Row(
            what=f"verify of {settings.images:,} images with all readers",
            measured=f"{children.show(ratios)} of the build's time, "
            f"{children.show(cpu_ratios)} of its CPU time",
            target="≤ 1",
            reached=children.median(ratios) <= 1,
            figures={"images": settings.images, **figures, "ratio": ratios},
        )
    ]
