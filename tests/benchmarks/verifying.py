"""Compare the time of `verify` with that of the build.

`python -m tests.benchmarks verifying --repetitions 2` takes four minutes.
"""

import shutil

from tests.benchmarks import children, photographs, throughput
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
    pairs = []
    for _ in range(settings.repetitions):
        build = throughput.build_all(folder, output)
        dataset = output / "photographs" / "1.0.0"
        pairs.append((build, children.run_module("pipelines.verify", dataset)))
        shutil.rmtree(output)
    ratios = [verify.seconds / build.seconds for build, verify in pairs]
    cpu_ratios = [verify.cpu_s / build.cpu_s for build, verify in pairs]
    return Row(
        what=f"verify of {num_images:,} {what} with all readers",
        measured=f"{children.show(ratios)} of the build's time, "
        f"{children.show(cpu_ratios)} of its CPU time",
        target="reported" if target is None else f"≤ {target}",
        reached=None if target is None else children.median(ratios) <= target,
        figures={
            "images": num_images,
            **{
                f"{name}_{measure}": [getattr(pair[number], measure) for pair in pairs]
                for number, name in enumerate(("build", "verify"))
                for measure in ("seconds", "cpu_s")
            },
            "ratio": ratios,
        },
    )
