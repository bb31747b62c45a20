"""Select the images of a group with the first keys."""

from dataclasses import dataclass

import numpy as np

from transforms.options import flag
from transforms.sampling.plan import SamplerOutput


@dataclass(frozen=True, kw_only=True)
class Options:
    """How keys are sorted."""

    reverse: bool = flag("take the last keys", default=False)


def arrange(request, options):
    keys = np.array(request.read_images()["key"].to_pylist())
    ranks = np.argsort(np.argsort(keys))
    orders = len(keys) - 1 - ranks if options.reverse else ranks
    return SamplerOutput(parts=np.zeros(len(keys), np.int16), orders=orders)
