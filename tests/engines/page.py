"""Read the engines and their commands from docs/engines.md.

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
PORTS = ("50000", "8081", "8099", "6123", "8786", "8787")


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine as described on the page."""

    name: str
    servers: tuple[str, ...]  # command lines
    flags: tuple[str, ...]  # of any job

    @property
    def needs(self) -> tuple[str, ...]:
        """Requirements that `make engines` installs."""
        return tuple(re.findall(r"\.engines/[\w./-]+", " ".join(self.commands)))

    @property
    def commands(self) -> tuple[str, ...]:
        """All command lines."""
        return (*self.servers, shlex.join(self.flags))


def is_there(engine: Engine) -> bool:
    """Return whether all requirements are installed."""
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
