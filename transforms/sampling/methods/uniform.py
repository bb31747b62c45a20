"""Select images uniformly at random: every image of a group is equally likely."""

from dataclasses import dataclass

from transforms.sampling.plan import SamplingRequest


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of uniform sampling; there are none."""


def arrange(request: SamplingRequest, options: Options) -> None:
    """Return None, which selects images by hash alone."""
    del request, options
