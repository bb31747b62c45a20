"""Every image of a group is as likely as any other."""

from dataclasses import dataclass

from transforms.sampling.plan import SamplingRequest


@dataclass(frozen=True, kw_only=True)
class Options:
    """This sampler has no options."""


def arrange(request: SamplingRequest, options: Options) -> None:
    """Leave all to the hashes."""
    del request, options
