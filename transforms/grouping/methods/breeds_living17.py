"""Group 68 classes into the 17 superclasses of BREEDS Living-17."""

import functools

from transforms.grouping import published

NUM_GROUPS = "method"
HAS_GIVEN_NAMES = True
Options = published.Options
group_classes = functools.partial(published.group_as_published, "breeds_living17")
