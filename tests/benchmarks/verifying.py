"""Compare the time of `verify` with that of the build.

`python -m tests.benchmarks verifying --repetitions 2` takes four minutes.
"""

import shutil

from tests.benchmarks import children, photographs, throughput
from tests.benchmarks.children import Usage
from tests.benchmarks.settings import Row, Settings


def measure(settings: Settings) -> list[Row]:
    """Compare both for photographs, and for 2.5 × as many small images as by default.

    Small images are copied without conversion, so that reading them takes longer than
    writing them.
    """
    small = photographs.shrink(settings)
    return [
        _compare(settings, settings.images, "photographs", 1),
        _compare(small, int(2.5 * settings.images), "small images", None),
    ]


def _compare(
    settings: Settings, num_images: int, what: str, target: float | None
) -> Row:
    """Time builds in both default formats, and `verify` with all readers after each."""
    folder = photographs.make_archive(settings, num_images)
    output = settings.work / "verifying"
    taken: dict[str, list[Usage]] = {"build": [], "verify": []}
    for _ in range(settings.repetitions):
        taken["build"].append(throughput.build_all(folder, output))
        dataset = output / "photographs" / "1.0.0"
        taken["verify"].append(children.run_module("pipelines.verify", dataset))
        shutil.rmtree(output)
    ratios = children.divide(taken["verify"], taken["build"], "seconds")
    cpu_ratios = children.divide(taken["verify"], taken["build"], "cpu_s")
    return Row(
        what=f"verify of {num_images:,} {what} with all readers",
        measured=f"{children.show(ratios)} of the build's time, "
        f"{children.show(cpu_ratios)} of its CPU time",
        target="reported" if target is None else f"≤ {target}",
        reached=None if target is None else children.median(ratios) <= target,
        figures={
            "images": num_images,
            **children.list_times(taken),
            "ratio": ratios,
        },
    )
