"""Class lists of published subsets: one text file a list, a wnid a line.

dogs118               the 118 dog breeds that ImageNet-1k shares with Stanford Dogs
imagenet100_der       ImageNet-100 of PODNet and DER (class-incremental learning)
imagenet100_kaggle    ImageNet-100 as Kaggle has it
imagenet100_sololearn ImageNet-100 of Contrastive Multiview Coding and solo-learn
imagenet_a            the 200 classes of ImageNet-A
imagenet_r            the 200 classes of ImageNet-R
imagenette            ten classes that are easy to tell apart
imagewoof             ten dog breeds that are not
mini_imagenet         the 100 classes of few-shot learning's miniImageNet
scan_50               the 50 classes of SCAN (unsupervised classification)
scan_100              its 100 classes
scan_200              its 200 classes

The three lists that are called ImageNet-100 differ: any two share at most 69 classes.
"""

import functools
from importlib import resources

_SUFFIX = ".txt"
NAMES = tuple(
    sorted(
        file.name.removesuffix(_SUFFIX)
        for file in resources.files(__name__).iterdir()
        if file.name.endswith(_SUFFIX)
    )
)


@functools.cache
def load(name: str) -> tuple[str, ...]:
    """Return a list's wnids, in order."""
    text = (resources.files(__name__) / f"{name}{_SUFFIX}").read_text()
    return tuple(sorted(text.split()))
