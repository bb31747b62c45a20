"""Measure start-up: --help, and a plan of the miniature."""

import sys

from tests.benchmarks import children
from tests.benchmarks.settings import Row, Settings
from transforms.miniature import archives as miniature

HELP_S, PLAN_S = 1, 4
_SLOW = ("apache_beam", "tensorflow", "pyarrow", "matplotlib", "scipy")
_LIST_IMPORTS = """\
import sys
from pipelines import build
try:
    build.main(["--help"])
except SystemExit:
    pass
print(*sorted(name for name in sys.modules if "." not in name))
"""


def measure(settings: Settings) -> list[Row]:
    """Time --help and --plan_only, and list slow imports."""
    folder, output = settings.work / "miniature", settings.work / "startup"
    miniature.ensure_miniature(
        str(folder), num_classes=20, num_train=60, num_validation=20
    )
    taken = children.alternate(
        {
            "help": lambda: children.run_module("pipelines.build", "--help"),
            "plan": lambda: children.run_module(
                "pipelines.build",
                *("--input", folder, "--output", output, "--plan_only"),
                *("--grouping", "random_groups", "--num_groups", 5),
                *("--images_per_group", 100, "--min_validation_images", 100),
            ),
        },
        settings.repetitions,
    )
    imports = children.run([sys.executable, "-c", _LIST_IMPORTS]).output.split()
    slow = [name for name in _SLOW if name in imports]
    seconds = {name: [u.seconds for u in usages] for name, usages in taken.items()}
    cpu_s = {name: [u.cpu_s for u in usages] for name, usages in taken.items()}
    return [
        Row(
            what="start-up: --help",
            measured=f"{children.show(seconds['help'])} s"
            + (f", imports {', '.join(slow)}" if slow else ""),
            target=f"≤ {HELP_S} s, without Beam and TensorFlow",
            reached=children.median(seconds["help"]) <= HELP_S
            and not {"apache_beam", "tensorflow"} & set(slow),
            figures={"seconds": seconds["help"], "cpu_s": cpu_s["help"]},
        ),
        Row(
            what="start-up: build --plan_only on the miniature",
            measured=f"{children.show(seconds['plan'])} s",
            target=f"≤ {PLAN_S} s",
            reached=children.median(seconds["plan"]) <= PLAN_S,
            figures={"seconds": seconds["plan"], "cpu_s": cpu_s["plan"]},
        ),
    ]
