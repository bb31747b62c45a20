"""Every image of a group is as likely as any other."""

from dataclasses import dataclass

from transforms.sampling.plan import SamplingRequest


@dataclass(frozen=True, kw_only=True)
class Options:
    """Uniform sampling has none."""


def arrange(request: SamplingRequest, options: Options) -> None:
    """Leave all to the hashes."""
    del request, options
