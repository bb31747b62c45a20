"""docs/engines.md → the engines, each with the commands that the page gives for it.

A `sh` block that ends in `python -m pipelines.build RECIPE …` is an engine; the lines
before it that end in `&` start its servers.
"""

import dataclasses
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "engines.md"
_BUILD = "python -m pipelines.build RECIPE"
# Each is one server's; the tests put free ports in their places.
PORTS = ("50000", "8081", "8099", "6123")


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine as the page tells of it."""

    name: str
    servers: tuple[str, ...]  # command lines
    flags: tuple[str, ...]  # of any job

    @property
    def needs(self) -> tuple[str, ...]:
        """What `make engines` brings of it."""
        return tuple(re.findall(r"\.engines/[\w./-]+", " ".join(self.commands)))

    @property
    def commands(self) -> tuple[str, ...]:
        """All lines."""
        return (*self.servers, shlex.join(self.flags))


def is_there(engine: Engine) -> bool:
    """Tell whether all that it needs is installed."""
    return all((ROOT / path).exists() for path in engine.needs)


def read_engines() -> list[Engine]:
    """Read the page."""
    engines = []
    for heading, body in re.findall(
        r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL
    ):
        for block in re.findall(r"```sh\n(.*?)```", body, re.DOTALL):
            lines = re.sub(r" *\\\n *", " ", block).splitlines()
            servers = tuple(line[:-1].strip() for line in lines if line[-1:] == "&")
            builds = [line for line in lines if line.startswith(_BUILD)]
            for line in builds:
                flags = tuple(shlex.split(line.removeprefix(_BUILD)))
                what = f" {flags[0][2:]}" if len(builds) > 1 else ""
                what += " with workers" if servers else ""
                engines.append(Engine(heading.lower() + what, servers, flags))
    return engines
