"""Compare `index --inspect` with a bare loop that reads, hashes and decodes."""

from tests.benchmarks import children, photographs, throughput
from tests.benchmarks.settings import Row, Settings

MAX_RATIO = 1.2


def measure(settings: Settings) -> list[Row]:
    """Time the inspection of an archive of photographs, and the bare loop."""
    folder = photographs.make_archive(settings, settings.images)
    output = settings.work / "inspecting.parquet"
    taken = children.alternate(
        {
            "inspect": lambda: children.run_module(
                "pipelines.index",
                *("--input", folder, "--output", output, "--inspect"),
            ),
            "loop": lambda: throughput.loop("inspect", folder, settings.work / "none"),
        },
        settings.repetitions,
    )
    output.unlink()
    pairs = list(zip(taken["inspect"], taken["loop"], strict=True))
    ratios = [whole.seconds / loop.seconds for whole, loop in pairs]
    cpu = [whole.cpu_s / loop.cpu_s for whole, loop in pairs]
    rates = [settings.images / whole.seconds for whole, _ in pairs]
    return [
        Row(
            what="index --inspect: time, whole process",
            measured=f"{children.show(ratios)} × the bare loop "
            f"({children.show(rates, 0)} images per second)",
            target=f"≤ {MAX_RATIO} × the bare loop",
            reached=children.median(ratios) <= MAX_RATIO,
            figures={
                "inspect_s": [whole.seconds for whole, _ in pairs],
                "loop_s": [loop.seconds for _, loop in pairs],
                "ratio": ratios,
                "cpu_ratio": cpu,
            },
        )
    ]
