"""Compare the peak memory of a small and a large build, all processes together."""

from tests.benchmarks import photographs, throughput
from tests.benchmarks.settings import Row, Settings

TIMES, MOST_MB = 1.15, 1000
_PER_SHARD = 250  # so that the small build has as many processes as the large one


def measure(settings: Settings) -> list[Row]:
    """Build a twentieth of the images, then all of them."""
    sizes = (settings.images // 20, settings.images)
    peaks = {
        size: throughput.build(
            photographs.make_archive(settings, size),
            settings.work / "memory",
            *("--images_per_shard", str(_PER_SHARD)),
            sums_memory=True,
        ).peak_mb
        for size in sizes
    }
    few, many = peaks.values()
    return [
        Row(
            what=f"build: peak memory for {sizes[0]:,} and {sizes[1]:,} images",
            measured=f"{few:.0f} MB and {many:.0f} MB, {many / few:.2f} ×",
            target=f"≤ {TIMES} ×, ≤ 1 GB",
            reached=many <= TIMES * few and many <= MOST_MB,
            figures={"peak_mb": peaks},
        )
    ]
